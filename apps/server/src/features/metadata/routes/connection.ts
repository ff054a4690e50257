import { DatabaseConnectionSchema } from '@insforge/contract/metadata.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import type { Platform } from '#platform/platform.ts';
import { describeConnection } from '../connection.ts';

/** The way past this server, for psql and its kind. */
export const connectionRoutes: FastifyPluginAsyncZod<{ platform: Pick<Platform, 'db' | 'database'> }> = async (
  app,
  { platform: { db, database } },
) => {
  app.get(
    '/api/metadata/database-connection-string',
    { schema: { response: { 200: DatabaseConnectionSchema } } },
    async () => describeConnection(database),
  );

  app.get(
    '/api/metadata/database-password',
    { schema: { response: { 200: z.object({ databasePassword: z.string() }) } } },
    async (request, reply) => {
      reply.header('cache-control', 'no-store');
      await audit(db.system, request, {
        action: 'GET_SECRET',
        module: 'SECRETS',
        details: { key: 'DATABASE_PASSWORD' },
      });
      return { databasePassword: database.password };
    },
  );
};
