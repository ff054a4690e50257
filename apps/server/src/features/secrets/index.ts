import type { FastifyPluginAsync } from 'fastify';
import type { Platform } from '#platform/platform.ts';
import { type Credentials, writeCredentials } from '#platform/secrets/credentials-file.ts';
import { rotationRoutes } from './routes.ts';

interface SecretsOptions {
  platform: Pick<Platform, 'db' | 'keys' | 'guards'>;
  dataDir: string;
}

/** The keys that programs call this server with. */
export const secrets: FastifyPluginAsync<SecretsOptions> = async (app, { platform, dataDir }) => {
  const { db, keys, guards } = platform;
  // The file is read, merged and replaced: two writers at once would lose a key.
  let last = Promise.resolve();
  const publish = (credentials: Credentials) => {
    last = last.catch(() => {}).then(() => writeCredentials(dataDir, credentials));
    return last;
  };

  app.addHook('onRequest', guards.requireAdmin);
  await app.register(rotationRoutes, { db, keys, publish });
};
