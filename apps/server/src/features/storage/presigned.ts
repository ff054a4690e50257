import { BlobMissing, type Presigner } from '#platform/blobs/blobs.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { checkAllowedType } from './media-types.ts';
import type { StoredObject } from './object-row.ts';
import { authorizePut, headObject, recordObject, tooLarge } from './objects.ts';
import { type Actor, isRolledBack, type Storage, uploaderOf } from './storage.ts';
import { beginUpload, detectTypeOf, endUpload, findUpload, isUploadOf, type Upload } from './uploads.ts';

const UPLOAD_SECONDS = 3600;

export interface UploadPlan {
  key: string;
  /** Absent: the bytes go through this server. */
  presigned?: { url: string; fields: Record<string, string>; uploadId: string; expiresAt: Date };
}

/** Decides which way an upload goes, once it is certain that the actor may write the object. */
export async function planUpload(
  storage: Storage,
  actor: Actor,
  request: { bucket: string; key: string; mimeType: string | undefined; announcedSize: number | undefined },
): Promise<UploadPlan> {
  const { presign } = storage.blobs;
  if (!presign) {
    await authorizePut(storage, actor, request);
    return { key: request.key };
  }
  const { maxBytes } = await storage.buckets.get(request.bucket);
  const { id, url, fields } = await presign.upload({
    maxBytes,
    contentType: request.mimeType ?? 'application/octet-stream',
    expiresInSeconds: UPLOAD_SECONDS,
  });
  const upload = await beginUpload(storage, actor, {
    ...request,
    protocol: 'presigned',
    blob: id,
    expiresInSeconds: UPLOAD_SECONDS,
  });
  return { key: request.key, presigned: { url, fields, uploadId: upload.id, expiresAt: upload.expiresAt } };
}

/**
 * Makes an object of bytes that went to the store directly, as far as they are what was agreed on.
 * @param uploadId from the plan; absent: the latest upload of this actor to the key
 */
export async function confirmUpload(
  storage: Storage,
  actor: Actor,
  target: { bucket: string; key: string; uploadId: string | undefined; size: number },
): Promise<StoredObject> {
  const { bucket: name, key } = target;
  const { presign } = storage.blobs;
  // Whoever uploaded through this server has nothing to confirm; older clients ask all the same.
  if (!presign) return headObject(storage, actor, name, key);
  const upload = await findPresigned(storage, actor, target);
  // Its form can be posted again until it expires. What is looked at and kept is a copy, which nobody can write to.
  const blob = upload?.blob ? await storage.blobs.copy(upload.blob).catch(whereMissing) : undefined;
  if (!upload || blob === undefined) {
    throw new AppError('STORAGE_NOT_FOUND', `Nothing was uploaded for "${key}" in bucket "${name}"`, {
      nextActions: 'POST the form of the upload strategy to its uploadUrl first, then confirm with its confirmUrl.',
    });
  }
  try {
    const { size, etag } = await measureBlob(presign, blob);
    const bucket = await storage.buckets.get(name);
    if (size > bucket.maxBytes) throw tooLarge(bucket);
    if (size !== target.size) {
      throw new AppError(
        'STORAGE_INVALID_PARAMETER',
        `The store has ${size} bytes, not the ${target.size} that were confirmed`,
      );
    }
    const detectedType = await detectTypeOf(storage, blob, size);
    const { mimeType } = upload;
    checkAllowedType(bucket, mimeType ?? '', detectedType);
    const object = { bucket: name, key, size, mimeType, detectedType, etag, blob };
    const stored = await recordObject(storage, actor, { object });
    await endUpload(storage, upload.id);
    return stored;
  } catch (error) {
    if (isRolledBack(error)) await storage.blobs.delete([blob]);
    throw error;
  }
}

async function measureBlob(presign: Presigner, blob: string): Promise<{ size: number; etag: string }> {
  const found = await presign.inspect(blob);
  if (!found) throw new BlobMissing('a copy is not where it was made');
  return found;
}

function whereMissing(error: unknown): undefined {
  if (!(error instanceof BlobMissing)) throw error;
}

async function findPresigned(
  storage: Storage,
  actor: Actor,
  { bucket, key, uploadId }: { bucket: string; key: string; uploadId: string | undefined },
): Promise<Upload | undefined> {
  const id = uploadId ?? (await latestPresigned(storage, actor, bucket, key));
  const upload = id === undefined ? undefined : await findUpload(storage.db.system, 'presigned', id);
  const isMeant = upload?.bucket === bucket && upload.key === key;
  return upload && isMeant && isUploadOf(actor, upload) ? upload : undefined;
}

async function latestPresigned(
  { db }: Storage,
  actor: Actor,
  bucket: string,
  key: string,
): Promise<string | undefined> {
  const row = await db.system.one<{ id: string }>(sql`
    select id from storage.uploads
    where protocol = 'presigned' and bucket = ${bucket} and key = ${key} and role = ${actor.claims.role}
      and subject is not distinct from ${uploaderOf(actor)}
    order by created_at desc limit 1`);
  return row?.id;
}
