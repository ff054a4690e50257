import { join } from 'node:path';
import type { FastifyPluginAsync } from 'fastify';
import { openLocalBlobs } from '#platform/blobs/local.ts';
import { createS3Blobs, type S3BlobsConfig } from '#platform/blobs/s3.ts';
import type { Db } from '#platform/db/db.ts';
import type { Listener } from '#platform/db/listener.ts';
import { AppError, toAppError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { Platform } from '#platform/platform.ts';
import { createBucketCache } from './bucket-cache.ts';
import { createGarbageCollector } from './garbage.ts';
import { createImageRenderer } from './images.ts';
import { createLinkSigner } from './links.ts';
import { bucketRoutes } from './routes/buckets.ts';
import { configRoutes } from './routes/config.ts';
import { downloadRoutes } from './routes/downloads.ts';
import { objectRoutes } from './routes/objects.ts';
import { operationRoutes } from './routes/operations.ts';
import { policyRoutes } from './routes/policies.ts';
import { createReaderGuard } from './routes/reader.ts';
import { createOrigin } from './routes/request.ts';
import { resumableDiscovery, resumableRoutes } from './routes/resumable.ts';
import { downloadStrategyRoutes, uploadStrategyRoutes } from './routes/strategies.ts';
import { uploadRoutes } from './routes/uploads.ts';
import type { Storage } from './storage.ts';

export {
  createBucket,
  deleteBucket,
  findBucket,
  getBucket,
  listBuckets,
} from './buckets.ts';
export { bytesOf } from './bytes.ts';
export { deleteObjects, deleteVersion } from './deletion.ts';
export { type Expected, readExpected, readVersion } from './expectations.ts';
export { folderOf, listObjects, type ObjectListing } from './listing.ts';
export { readStorageMetadata, storageAsMarkdown } from './metadata.ts';
export type { ObjectMetadata, ReadableObject, StoredObject } from './object-row.ts';
export {
  getObject,
  headObject,
  openObject,
  putObject,
  withObject,
} from './objects.ts';
export { copyObject } from './relocation.ts';
export { isKnown, withoutScript } from './serving.ts';
export type { Actor, Storage, StorageTx } from './storage.ts';
export {
  addPart,
  beginUpload,
  completeUpload,
  endUpload,
  etagOfParts,
  findUpload,
  isUploadOf,
  listParts,
  listUploads,
  type Upload,
  type UploadPart,
} from './uploads.ts';

export interface OpenStorageOptions {
  db: Db;
  log: Logger;
  listener: Listener;
  dataDir: string;
  /** Absent: files lie in the data folder. */
  s3: S3BlobsConfig | undefined;
}

/**
 * Opens the blob store and starts to collect garbage. To be called before the listener is started, and closed before
 * the database.
 */
export async function openStorage(options: OpenStorageOptions): Promise<Storage & { close(): Promise<void> }> {
  const { db, log, listener, dataDir, s3 } = options;
  const blobs = s3 ? createS3Blobs(s3) : await openLocalBlobs(join(dataDir, 'storage'));
  const garbage = createGarbageCollector({ db, blobs, log });
  return {
    db,
    blobs,
    buckets: createBucketCache(db, listener),
    collectGarbage: garbage.poke,
    async close() {
      await garbage.close();
      await blobs.close();
    },
  };
}

interface StorageOptions {
  files: Storage;
  platform: Pick<Platform, 'guards' | 'jwtSecret'>;
  /** What links in answers begin with; absent: the host that the client asked. */
  publicUrl: string | undefined;
  /** How long an upload or a download may stand still. */
  idleMs: number;
}

/** Files over REST and the tus protocol. */
export const storage: FastifyPluginAsync<StorageOptions> = async (app, options) => {
  const { files, platform, publicUrl, idleMs } = options;
  const { guards, jwtSecret } = platform;
  const parts = { storage: files, idleMs, originOf: createOrigin(publicUrl), links: createLinkSigner(jwtSecret) };
  // A link opens the bytes and nothing else: who could ask for a new one with it would have it for ever.
  const guardReader = createReaderGuard({ storage: files, guards });
  app.decorateRequest('reader', null as never);
  app.setErrorHandler((error) => {
    const appError = toAppError(error);
    if (appError.code !== 'INVALID_INPUT') throw error;
    throw new AppError('STORAGE_INVALID_PARAMETER', appError.message, { status: appError.status, cause: error });
  });

  await app.register(async (admins) => {
    admins.addHook('onRequest', guards.requireAdmin);
    await admins.register(bucketRoutes, parts);
    await admins.register(policyRoutes, parts);
    await admins.register(configRoutes, parts);
  });
  await app.register(async (users) => {
    users.addHook('onRequest', guards.requireUser);
    await users.register(objectRoutes, parts);
    await users.register(uploadStrategyRoutes, parts);
    await users.register(uploadRoutes, parts);
    await users.register(resumableRoutes, parts);
  });
  await app.register(async (readers) => {
    readers.addHook('onRequest', createReaderGuard({ storage: files, guards, links: parts.links }));
    await readers.register(downloadRoutes, { ...parts, images: createImageRenderer(files) });
  });
  await app.register(async (readers) => {
    readers.addHook('onRequest', guardReader);
    await readers.register(downloadStrategyRoutes, parts);
  });
  await app.register(resumableDiscovery);
  await app.register(operationRoutes, { ...parts, guards, guardReader });
};
