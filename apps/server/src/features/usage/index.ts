import type { FastifyPluginAsync } from 'fastify';
import type { Platform } from '#platform/platform.ts';
import { recordRoutes, usageRoutes } from './routes.ts';

interface UsageOptions {
  platform: Pick<Platform, 'db' | 'guards'>;
}

/** Which tools of agents are used, and whether they work. */
export const usage: FastifyPluginAsync<UsageOptions> = async (app, { platform }) => {
  const { db, guards } = platform;
  await app.register(async (tools) => {
    tools.addHook('onRequest', guards.requireApiKey);
    await tools.register(recordRoutes, { db });
  });
  await app.register(async (admins) => {
    admins.addHook('onRequest', guards.requireAdmin);
    await admins.register(usageRoutes, { db });
  });
};
