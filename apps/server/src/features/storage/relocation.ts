import { newBlobId } from '#platform/blobs/receive.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { Expected } from './expectations.ts';
import { checkAllowedType, normaliseType } from './media-types.ts';
import {
  OBJECT_COLUMNS,
  type ObjectMetadata,
  type ObjectRow,
  type ReadableObject,
  type StoredObject,
  toStoredObject,
} from './object-row.ts';
import { authorizePut, headObject, noObject, recordObject, tooLarge, withObject } from './objects.ts';
import { type Actor, asActor, isDenied, isRolledBack, named, permissionDenied, type Storage } from './storage.ts';

export interface CopyRequest {
  from: { bucket: string; key: string };
  to: { bucket: string; key: string };
  /** The last look at what is going to be copied; throwing keeps it from being copied. May replace what is said of it. */
  amend?: (source: StoredObject) => { mimeType?: string; metadata?: ObjectMetadata };
  expected?: Expected | undefined;
}

/** Copies an object the actor may read to a key they may write. The copy lives on its own. */
export async function copyObject(storage: Storage, actor: Actor, request: CopyRequest): Promise<StoredObject> {
  return withObject(storage, actor, request.from, (source) => copyFrom(storage, actor, source, request));
}

async function copyFrom(
  storage: Storage,
  actor: Actor,
  source: ReadableObject,
  request: CopyRequest,
): Promise<StoredObject> {
  const { to, expected } = request;
  if (source.blob === null) throw noObject(source.bucket, source.key);
  const amended = { ...source, ...request.amend?.(source) };
  const { bucket, mimeType } = await authorizePut(storage, actor, {
    ...to,
    mimeType: amended.mimeType ?? undefined,
    announcedSize: source.size,
    expected,
  });
  checkAllowedType(bucket, mimeType, source.detectedType);
  const blob = source.bytes ? newBlobId() : await storage.blobs.copy(source.blob);
  try {
    const object = { ...amended, ...to, mimeType, blob };
    return await recordObject(storage, actor, { object, expected });
  } catch (error) {
    if (isRolledBack(error) && !source.bytes) await storage.blobs.delete([blob]);
    throw error;
  }
}

/**
 * Gives an object another key, perhaps in another bucket. Its bytes stay where they are.
 * @throws AppError STORAGE_ALREADY_EXISTS when the key is taken
 */
export async function moveObject(
  storage: Storage,
  actor: Actor,
  { from, to }: Pick<CopyRequest, 'from' | 'to'>,
): Promise<StoredObject> {
  const source = await headObject(storage, actor, from.bucket, from.key);
  // For the database this is an update, and policies of updates often say nothing of buckets. What may not be uploaded
  // there may not be moved there.
  const { bucket } = await authorizePut(storage, actor, {
    ...to,
    mimeType: source.mimeType ?? undefined,
    announcedSize: source.size,
  });
  const row = await asActor(storage, actor, `move ${named(from.bucket, from.key)}`, async (tx) => {
    const moved = await tx
      .one<ObjectRow>(sql`
        update storage.objects o set bucket = ${to.bucket}, key = ${to.key}
        where o.bucket = ${from.bucket} and o.key = ${from.key} returning ${OBJECT_COLUMNS}`)
      .catch((error) => {
        if (isDenied(error)) throw permissionDenied(actor, `write ${named(to.bucket, to.key)}`, error);
        const isTaken = error instanceof Error && 'code' in error && error.code === '23505';
        throw isTaken
          ? new AppError('STORAGE_ALREADY_EXISTS', `There is an object ${named(to.bucket, to.key)} already`)
          : error;
      });
    if (!moved) throw noObject(from.bucket, from.key);
    // Seen after the change, so that refusing takes it back.
    if (moved.size > bucket.maxBytes) throw tooLarge(bucket);
    checkAllowedType(bucket, normaliseType(moved.mime_type ?? undefined), moved.detected_type);
    return moved;
  });
  return toStoredObject(to.bucket, row);
}
