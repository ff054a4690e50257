import type { Db } from '#platform/db/db.ts';
import type { Listener } from '#platform/db/listener.ts';
import { type Bucket, findBucket, noBucket } from './buckets.ts';

/** What is known of buckets, so that not every request has to ask. */
export interface BucketCache {
  /** @throws AppError STORAGE_NOT_FOUND */
  get(name: string): Promise<Bucket>;
  /** To be called after a change of this server's own, so that its next request counts with it. */
  forget(): void;
}

/** Sent by triggers, so that changes count at once on all servers, whoever makes them. */
const CHANNEL = 'insforge_storage_buckets';
/** A missed notification must not keep a bucket public for longer than this. */
const MAX_AGE_MS = 10_000;
const MAX_KNOWN = 1_000;

export function createBucketCache({ system }: Pick<Db, 'system'>, listener: Listener): BucketCache {
  let known = new Map<string, { bucket: Bucket; loadedAt: number }>();
  const forget = () => {
    // What is being loaded right now goes into the old map, where nobody finds it.
    known = new Map();
  };
  listener.on(CHANNEL, forget);

  return {
    forget,
    async get(name) {
      const entry = known.get(name);
      if (entry && Date.now() - entry.loadedAt < MAX_AGE_MS) return entry.bucket;
      const target = known;
      const loadedAt = Date.now();
      const bucket = await findBucket(system, name);
      if (!bucket) throw noBucket(name);
      if (target.size >= MAX_KNOWN) target.clear();
      target.set(name, { bucket, loadedAt });
      return bucket;
    },
  };
}
