import type { FastifyPluginAsync } from 'fastify';
import type { Platform } from '#platform/platform.ts';
import { migrationRoutes } from './routes.ts';

interface MigrationsOptions {
  platform: Pick<Platform, 'db' | 'guards'>;
  reloadSchema: () => Promise<void>;
}

/** The developer's migrations: SQL files, each applied once, whole, and in order. */
export const migrations: FastifyPluginAsync<MigrationsOptions> = async (app, { platform, reloadSchema }) => {
  app.addHook('onRequest', platform.guards.requireAdmin);
  await app.register(migrationRoutes, { door: { db: platform.db, reloadSchema } });
};
