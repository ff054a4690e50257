import { DatabaseConfigSchema, UpdateDatabaseConfigSchema } from '@insforge/contract/schema.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { readDatabaseConfig, updateDatabaseConfig } from '../config.ts';

export const configRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.get('/api/database/config', { schema: { response: { 200: DatabaseConfigSchema } } }, () =>
    readDatabaseConfig(db.system),
  );

  app.patch(
    '/api/database/config',
    { schema: { body: UpdateDatabaseConfigSchema, response: { 200: DatabaseConfigSchema } } },
    (request) =>
      db.system.tx(async (tx) => {
        const config = await updateDatabaseConfig(tx, request.body);
        const details = { updatedFields: Object.keys(request.body) };
        await audit(tx, request, { action: 'UPDATE_DATABASE_CONFIG', module: 'DATABASE', details });
        return config;
      }),
  );
};
