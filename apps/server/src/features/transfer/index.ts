import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import multipart from '@fastify/multipart';
import type { FastifyPluginAsync } from 'fastify';
import type { Platform } from '#platform/platform.ts';
import { formRoutes } from './routes/forms.ts';
import { streamRoutes } from './routes/streams.ts';

interface TransferOptions {
  platform: Pick<Platform, 'db' | 'database' | 'guards'>;
  reloadSchema: () => Promise<void>;
  dataDir: string;
}

/** Data and schema in and out, as SQL, CSV and JSON. */
export const transfer: FastifyPluginAsync<TransferOptions> = async (app, { platform, reloadSchema, dataDir }) => {
  const door = { db: platform.db, reloadSchema };
  // Nobody else on this machine may read what passes through.
  const tmpdir = join(dataDir, 'uploads');
  await rm(tmpdir, { recursive: true, force: true });
  await mkdir(tmpdir, { recursive: true, mode: 0o700 });
  app.addHook('onRequest', platform.guards.requireAdmin);
  await app.register(async (forms) => {
    await forms.register(multipart, { limits: { files: 1, fields: 20, fileSize: Number.POSITIVE_INFINITY } });
    await forms.register(formRoutes, { door, tmpdir });
  });
  await app.register(async (streams) => {
    // The body is a file: it is read as it comes, and never kept whole.
    streams.removeAllContentTypeParsers();
    streams.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
    await streams.register(streamRoutes, { door, database: platform.database });
  });
};
