import type { FastifyPluginAsync } from 'fastify';
import type { Platform } from '#platform/platform.ts';
import { connectionRoutes } from './routes/connection.ts';
import { keyRoutes } from './routes/keys.ts';
import { metadataRoutes } from './routes/metadata.ts';
import { EMPTY_SECTIONS, type Sections } from './sections.ts';

interface MetadataOptions {
  platform: Pick<Platform, 'db' | 'database' | 'guards' | 'keys'>;
  version: string;
  /** What other features tell about themselves, in the order in which it is shown. */
  sections: Sections;
}

/** What an agent asks first: what is there. */
export const metadata: FastifyPluginAsync<MetadataOptions> = async (app, { platform, version, sections }) => {
  const { db, guards, keys } = platform;
  app.addHook('onRequest', guards.requireAdmin);
  await app.register(keyRoutes, { keys });
  await app.register(connectionRoutes, { platform });
  await app.register(metadataRoutes, { db, version, sections: { ...EMPTY_SECTIONS, ...sections } });
};
