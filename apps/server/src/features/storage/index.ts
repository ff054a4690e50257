import { join } from 'node:path';
import type { Blobs } from '#platform/blobs/blobs.ts';
import { openLocalBlobs } from '#platform/blobs/local.ts';
import type { Db } from '#platform/db/db.ts';
import type { Logger } from '#platform/log.ts';
import { createGarbageCollector } from './garbage.ts';
import type { Storage } from './storage.ts';

export {
  type Bucket,
  type BucketSettings,
  createBucket,
  deleteBucket,
  findBucket,
  getBucket,
  listBuckets,
  measureBucket,
  updateBucket,
} from './buckets.ts';
export { checkBucketName, checkKey } from './keys.ts';
export { type ListRequest, listObjects, type ObjectListing } from './listing.ts';
export type { ObjectMetadata, StoredObject } from './object-row.ts';
export {
  authorizePut,
  type CopyRequest,
  copyObject,
  deleteObjects,
  getObject,
  headObject,
  moveObject,
  openObject,
  type PutRequest,
  putObject,
  recordObject,
} from './objects.ts';
export { type Actor, asActor, isRolledBack, type Storage, type StorageTx } from './storage.ts';

export {
  type AddPart,
  addPart,
  type BeginUpload,
  beginUpload,
  type CompleteUpload,
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

export interface StorageOptions {
  db: Db;
  log: Logger;
  dataDir: string;
}

/** Opens the blob store and starts to collect garbage. To be closed before the database. */
export async function openStorage({ db, log, dataDir }: StorageOptions): Promise<Storage & { close(): Promise<void> }> {
  const startedAt = Date.now();
  const blobs: Blobs = await openLocalBlobs(join(dataDir, 'storage'));
  const garbage = createGarbageCollector({ db, blobs, log, startedAt });
  return {
    db,
    blobs,
    collectGarbage: garbage.poke,
    async close() {
      await garbage.close();
      await blobs.close();
    },
  };
}
