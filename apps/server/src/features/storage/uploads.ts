import { createHash, randomUUID } from 'node:crypto';
import { BlobTooLarge, HEAD_BYTES, type StagedBlob } from '#platform/blobs/blobs.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { readAll } from './bytes.ts';
import type { Expected } from './expectations.ts';
import { checkAllowedType, detectType, UNKNOWN_TYPE } from './media-types.ts';
import type { ObjectMetadata, StoredObject } from './object-row.ts';
import { authorizePut, recordObject, tooLarge } from './objects.ts';
import { type Actor, isRolledBack, type Storage, type StorageTx, uploaderOf } from './storage.ts';

/** An upload that arrives in pieces, or beside this server. It survives a restart. */
export interface Upload {
  id: string;
  protocol: 'tus' | 's3' | 'presigned';
  bucket: string;
  key: string;
  mimeType: string | null;
  /** The size in bytes that was announced. */
  announcedSize: number | null;
  role: string;
  subject: string | null;
  metadata: ObjectMetadata | null;
  /** Of a presigned upload: where its bytes are going to be. */
  blob: string | null;
  createdAt: Date;
  expiresAt: Date;
  /** Of tus: since when the object is there. */
  completedAt: Date | null;
}

export interface UploadPart {
  number: number;
  size: number;
  /** MD5 in hex. */
  etag: string;
  checksums: Record<string, string> | null;
  createdAt: Date;
}

const UPLOAD_COLUMNS = sql`
  u.id, u.protocol, u.bucket, u.key, u.mime_type as "mimeType", u.size::float8 as "announcedSize", u.role, u.subject,
  u.metadata, u.blob, u.created_at as "createdAt", u.expires_at as "expiresAt",
  u.completed_at as "completedAt"`;

export interface BeginUpload {
  /** A UUID; absent: one is made. */
  id?: string;
  protocol: Upload['protocol'];
  bucket: string;
  key: string;
  mimeType?: string | undefined;
  announcedSize?: number | undefined;
  metadata?: ObjectMetadata | undefined;
  blob?: string | undefined;
  expiresInSeconds: number;
}

/** Begins an upload, once it is certain that the actor may write the object. */
export async function beginUpload(storage: Storage, actor: Actor, request: BeginUpload): Promise<Upload> {
  const { protocol, bucket, key, announcedSize = null, metadata, blob = null, expiresInSeconds } = request;
  const { mimeType } = await authorizePut(storage, actor, request);
  const upload = await storage.db.system.one<Upload>(sql`
    insert into storage.uploads as u (id, protocol, bucket, key, mime_type, size, role, subject, s3_access_key_id, metadata,
      blob, expires_at)
    values (${request.id ?? randomUUID()}, ${protocol}, ${bucket}, ${key}, ${mimeType}, ${announcedSize}, ${actor.claims.role}, ${uploaderOf(actor)},
      ${actor.accessKeyId ?? null}, ${metadata ? JSON.stringify(metadata) : null}, ${blob},
      now() + make_interval(secs => ${expiresInSeconds}))
    returning ${UPLOAD_COLUMNS}`);
  if (!upload) throw new Error('an insert returned no row');
  return upload;
}

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** An upload that has not expired. Whether the caller may go on with it is `isUploadOf`. */
export async function findUpload(tx: StorageTx, protocol: Upload['protocol'], id: string): Promise<Upload | undefined> {
  if (!UUID.test(id)) return undefined;
  return tx.one<Upload>(sql`
    select ${UPLOAD_COLUMNS} from storage.uploads u
    where u.id = ${id} and u.protocol = ${protocol} and u.expires_at > now()`);
}

/** Says how large an upload is going to be, where that was left open. */
export async function announceSize(tx: StorageTx, { id }: Upload, size: number): Promise<void> {
  await tx.query(sql`update storage.uploads set size = ${size}::bigint where id = ${id} and size is null`);
}

/** True for whoever began it. */
export function isUploadOf(actor: Actor, { role, subject }: Upload): boolean {
  return role === actor.claims.role && subject === uploaderOf(actor);
}

/** Uploads of a bucket in the order of S3's listing: by key, then by age. */
export async function listUploads(
  tx: StorageTx,
  protocol: Upload['protocol'],
  {
    bucket,
    prefix = '',
    after,
    limit,
  }: { bucket: string; prefix?: string; after?: { key: string; id?: string }; limit: number },
): Promise<Upload[]> {
  const isAfter =
    after === undefined
      ? sql`true`
      : after.id === undefined
        ? sql`u.key > ${after.key}`
        : sql`(u.key > ${after.key} or (u.key = ${after.key} and (u.created_at, u.id) >
            (select m.created_at, m.id from storage.uploads m where m.id::text = ${after.id})))`;
  return tx.query<Upload>(sql`
    select ${UPLOAD_COLUMNS} from storage.uploads u
    where u.bucket = ${bucket} and u.protocol = ${protocol} and starts_with(u.key, ${prefix}) and u.expires_at > now()
      and ${isAfter}
    order by u.key, u.created_at, u.id limit ${limit}`);
}

/** As many as S3 allows. */
const MAX_PARTS = 10_000;

export interface AddPart {
  number: number;
  body: AsyncIterable<Uint8Array>;
  /** Refuses a part that is larger; the object as a whole is measured when it is completed. */
  maxBytes: number;
  /** False: a part of this number must not be there yet. */
  replace: boolean;
  hashes?: readonly string[];
  checksums?: Record<string, string> | undefined;
  /** The last look at what was received; throwing keeps it from being stored. May name verified checksums. */
  verify?: (received: StagedBlob) => Record<string, string> | undefined | Promise<Record<string, string> | undefined>;
}

/** Receives one part; it is durable when this returns. */
export async function addPart(storage: Storage, upload: Upload, part: AddPart): Promise<UploadPart> {
  if (part.number > MAX_PARTS) {
    throw new AppError('STORAGE_INVALID_PARAMETER', `An upload has at most ${MAX_PARTS} parts`, {
      nextActions: 'Send it in larger pieces.',
    });
  }
  const staged = await storage.blobs
    .stage(part.body, { maxBytes: part.maxBytes, hashes: part.hashes ?? [] })
    .catch(async (error) => {
      throw error instanceof BlobTooLarge ? tooLarge(await storage.buckets.get(upload.bucket)) : error;
    });
  try {
    const checksums = (await part.verify?.(staged)) ?? part.checksums;
    await staged.commit();
    return await recordPart(storage, upload, { ...part, staged, checksums });
  } catch (error) {
    if (isRolledBack(error)) await staged.discard();
    throw error;
  }
}

async function recordPart(
  storage: Storage,
  upload: Upload,
  { number, staged, checksums, replace }: Pick<AddPart, 'number' | 'checksums' | 'replace'> & { staged: StagedBlob },
): Promise<UploadPart> {
  const onConflict = replace
    ? sql`(upload_id, number) do update set blob = excluded.blob, size = excluded.size, etag = excluded.etag,
        checksums = excluded.checksums, created_at = now()`
    : sql`do nothing`;
  // Selected from the upload, so that a part of an upload that was just ended is refused and not an orphan.
  const row = await storage.db.system.one<UploadPart>(sql`
    insert into storage.upload_parts as p (upload_id, number, blob, size, etag, checksums)
    select u.id, ${number}::int, ${staged.id}, ${staged.size}::bigint, ${staged.digests.md5 ?? ''},
      ${checksums ? JSON.stringify(checksums) : null}::jsonb
    from storage.uploads u where u.id = ${upload.id}
    on conflict ${onConflict}
    returning p.number, p.size::float8, p.etag, p.checksums, p.created_at as "createdAt"`);
  if (!row) throw new AppError('STORAGE_NOT_FOUND', 'This upload has ended, or another request sent the same part');
  storage.collectGarbage();
  return row;
}

/** The parts received so far, by number. */
export async function listParts(
  tx: StorageTx,
  upload: Upload,
  { after = 0, limit = MAX_PARTS }: { after?: number; limit?: number } = {},
): Promise<UploadPart[]> {
  return tx.query<UploadPart>(sql`
    select number, size::float8, etag, checksums, created_at as "createdAt" from storage.upload_parts
    where upload_id = ${upload.id} and number > ${after} order by number limit ${limit}`);
}

export interface CompleteUpload {
  /** True: the upload stays, completed and without parts, until it expires. */
  keep?: boolean;
  /** The parts that make up the object, in their order; all of them where absent. */
  numbers?: readonly number[] | undefined;
  expected?: Expected | undefined;
  /** Replaces the metadata given at the beginning, for instance to add checksums. */
  metadata?: ObjectMetadata | null | undefined;
}

/**
 * Makes one object of the parts and ends the upload.
 * @throws AppError as `putObject` does, and STORAGE_NOT_FOUND when a part is missing
 */
export async function completeUpload(
  storage: Storage,
  actor: Actor,
  upload: Upload,
  { numbers, expected, keep = false, metadata = upload.metadata }: CompleteUpload = {},
): Promise<StoredObject> {
  const parts = await chosenParts(storage, upload, numbers);
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  const { bucket, mimeType } = await authorizePut(storage, actor, {
    bucket: upload.bucket,
    key: upload.key,
    mimeType: upload.mimeType ?? UNKNOWN_TYPE,
    announcedSize: size,
    expected,
  });
  const blob = await storage.blobs.concat(parts.map((part) => part.blob));
  try {
    const detectedType = await detectTypeOf(storage, blob, size);
    checkAllowedType(bucket, mimeType, detectedType);
    const etag = etagOfParts(parts.map((part) => part.etag));
    const object = { bucket: upload.bucket, key: upload.key, size, mimeType, detectedType, etag, blob, metadata };
    const stored = await recordObject(storage, actor, { object, expected });
    await (keep ? settleUpload(storage, upload.id) : endUpload(storage, upload.id));
    return stored;
  } catch (error) {
    if (isRolledBack(error)) await storage.blobs.delete([blob]);
    throw error;
  }
}

async function chosenParts(
  storage: Storage,
  upload: Upload,
  numbers: readonly number[] | undefined,
): Promise<{ number: number; size: number; etag: string; blob: string }[]> {
  const stored = await storage.db.system.query<{ number: number; size: number; etag: string; blob: string }>(sql`
    select number, size::float8, etag, blob from storage.upload_parts where upload_id = ${upload.id} order by number`);
  if (numbers === undefined) return stored;
  const byNumber = new Map(stored.map((part) => [part.number, part]));
  return numbers.map((number) => {
    const part = byNumber.get(number);
    if (!part) throw new AppError('STORAGE_NOT_FOUND', `The upload has no part ${number}`);
    return part;
  });
}

/** What the bytes of a committed blob are. */
export async function detectTypeOf({ blobs }: Storage, blob: string, size: number): Promise<string | null> {
  if (size === 0) return null;
  const head = await blobs.open(blob, { start: 0, end: Math.min(size, HEAD_BYTES) - 1 });
  return detectType(await readAll(head));
}

/** S3's form for an object that came in parts: the MD5 of their MD5s, and how many there were. */
export function etagOfParts(etags: readonly string[]): string {
  const all = createHash('md5')
    .update(Buffer.from(etags.join(''), 'hex'))
    .digest('hex');
  return `${all}-${etags.length}`;
}

async function settleUpload({ db, collectGarbage }: Storage, id: string): Promise<void> {
  await db.system.query(sql`
    with done as (update storage.uploads set completed_at = now() where id = ${id} returning id)
    delete from storage.upload_parts using done where upload_id = done.id`);
  collectGarbage();
}

/** Ends an upload; its parts become garbage. False where there is none. */
export async function endUpload(storage: Storage, id: string): Promise<boolean> {
  const ended = await storage.db.system.query(sql`delete from storage.uploads where id = ${id} returning id`);
  storage.collectGarbage();
  return ended.length > 0;
}
