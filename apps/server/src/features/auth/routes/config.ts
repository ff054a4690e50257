import { AuthConfigSchema, AuthConfigUpdateSchema, PublicAuthConfigSchema } from '@insforge/contract/auth.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { readConfig, readPublicConfig, updateConfig } from '../config.ts';

export const publicConfigRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.get('/api/auth/public-config', { schema: { response: { 200: PublicAuthConfigSchema } } }, async () =>
    readPublicConfig(db.system),
  );
};

export const configRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.get('/api/auth/config', { schema: { response: { 200: AuthConfigSchema } } }, () => readConfig(db.system));

  app.put(
    '/api/auth/config',
    { schema: { body: AuthConfigUpdateSchema, response: { 200: AuthConfigSchema } } },
    (request) =>
      db.system.tx(async (tx) => {
        const config = await updateConfig(tx, request.body);
        const details = { updatedFields: Object.keys(request.body) };
        await audit(tx, request, { action: 'UPDATE_AUTH_CONFIG', module: 'AUTH', details });
        return config;
      }),
  );
};
