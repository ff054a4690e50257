import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { AccessKeys } from '#platform/tokens/access-keys.ts';

/** The keys in clear text, and the id of a project that has none. Secret answers are kept by nobody on the way. */
export const keyRoutes: FastifyPluginAsyncZod<{ keys: AccessKeys }> = async (app, { keys }) => {
  app.addHook('onRequest', async (_request, reply) => {
    reply.header('cache-control', 'no-store');
  });

  app.get('/api/metadata/api-key', { schema: { response: { 200: z.object({ apiKey: z.string() }) } } }, async () => ({
    apiKey: await keys.current('api'),
  }));

  app.get('/api/metadata/anon-key', { schema: { response: { 200: z.object({ anonKey: z.string() }) } } }, async () => ({
    anonKey: await keys.current('anon'),
  }));

  // Only projects of the hosted platform have an id.
  app.get(
    '/api/metadata/project-id',
    { schema: { response: { 200: z.object({ projectId: z.string().nullable() }) } } },
    async () => ({ projectId: null }),
  );
};
