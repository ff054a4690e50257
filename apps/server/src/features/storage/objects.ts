import type { Readable } from 'node:stream';
import { BlobMissing, BlobTooLarge, type ByteRange, type StagedBlob } from '#platform/blobs/blobs.ts';
import { type TextRow, toStatement } from '#platform/db/batch.ts';
import type { RowWrite } from '#platform/db/groups.ts';
import { Sql, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { type Bucket, noBucket } from './buckets.ts';
import { type Expected, lockExpected, notAsExpected } from './expectations.ts';
import { checkKey } from './keys.ts';
import { checkAllowedType, detectType, normaliseType } from './media-types.ts';
import {
  OBJECT_COLUMNS,
  type ObjectMetadata,
  objectFromText,
  type ReadableObject,
  readableColumns,
  readableFromText,
  type StoredObject,
} from './object-row.ts';
import {
  type Actor,
  explainDenial,
  isAdmin,
  isRolledBack,
  named,
  readAsActor,
  type Storage,
  uploaderOf,
  writeAsActor,
} from './storage.ts';

export interface PutRequest {
  bucket: string;
  key: string;
  /** The bytes. They are read only once it is certain that they may be written. */
  body: AsyncIterable<Uint8Array>;
  /** What the uploader says it is. */
  mimeType?: string | undefined;
  /** The size the uploader announced, to refuse before a byte is read. */
  announcedSize?: number | undefined;
  /** The bytes are no more than this, if that is known. */
  atMost?: number | undefined;
  metadata?: ObjectMetadata | undefined;
  /** Fails where something else is under the key. */
  expected?: Expected | undefined;
  /** Hex digests to have in `verify` besides md5. */
  hashes?: readonly string[] | undefined;
  /** The last look at what was received; throwing keeps it from being stored. May amend the metadata. */
  verify?: (received: StagedBlob) => ObjectMetadata | undefined | Promise<ObjectMetadata | undefined>;
}

/**
 * Stores a file under a key, replacing what was there. In this order: may the actor do it (decided by the
 * database, before a byte is read); the bytes, without holding a transaction; the bytes durable; the row. A
 * crash in between leaves garbage, never a row without its bytes. What is small is kept in the row itself, so that
 * the statement which stores it also decides.
 * @throws AppError STORAGE_NOT_FOUND, STORAGE_PERMISSION_DENIED, STORAGE_INVALID_PARAMETER (413 when too large, 412
 * when another version is there than expected), STORAGE_ALREADY_EXISTS, STORAGE_INVALID_FILE_TYPE, STORAGE_INSUFFICIENT_QUOTA
 */
export async function putObject(storage: Storage, actor: Actor, request: PutRequest): Promise<StoredObject> {
  const { bucket: name, key, body } = request;
  const isSmall = request.atMost !== undefined && request.atMost <= storage.blobs.smallBytes;
  const { bucket, mimeType } = await (isSmall ? checkPut(storage, request) : authorizePut(storage, actor, request));
  const staged = await storage.blobs
    .stage(body, { maxBytes: bucket.maxBytes, hashes: request.hashes ?? [] })
    .catch((error) => {
      throw error instanceof BlobTooLarge ? tooLarge(bucket) : error;
    });
  try {
    const detectedType = await detectType(staged.head);
    checkAllowedType(bucket, mimeType, detectedType);
    const metadata = (await request.verify?.(staged)) ?? request.metadata;
    const { size, id: blob, digests, bytes = null } = staged;
    if (!bytes) await staged.commit();
    return await recordObject(storage, actor, {
      object: { bucket: name, key, size, mimeType, detectedType, etag: digests.md5 ?? null, blob, bytes, metadata },
      expected: request.expected,
    });
  } catch (error) {
    if (isRolledBack(error)) await staged.discard();
    throw error;
  }
}

/**
 * Decides whether an upload may begin, for uploads whose bytes come later or by another way.
 * @throws AppError as `putObject` does
 */
export async function authorizePut(
  storage: Storage,
  actor: Actor,
  request: Pick<PutRequest, 'bucket' | 'key' | 'mimeType' | 'announcedSize' | 'expected'>,
): Promise<{ bucket: Bucket; mimeType: string }> {
  const checked = await checkPut(storage, request);
  await probePut(storage, actor, request);
  if (request.expected) await checkExpected(storage, actor, { ...request, expected: request.expected });
  return checked;
}

/** What can be told without knowing who asks. */
async function checkPut(
  storage: Storage,
  request: Pick<PutRequest, 'bucket' | 'key' | 'mimeType' | 'announcedSize'>,
): Promise<{ bucket: Bucket; mimeType: string }> {
  checkKey(request.key);
  const bucket = await storage.buckets.get(request.bucket);
  const mimeType = normaliseType(request.mimeType);
  if ((request.announcedSize ?? 0) > bucket.maxBytes) throw tooLarge(bucket);
  checkAllowedType(bucket, mimeType, null);
  return { bucket, mimeType };
}

export function tooLarge({ name, maxBytes, fileSizeLimit }: Bucket): AppError {
  const limit = `${Number((maxBytes / 1024 / 1024).toFixed(3))} MB`;
  return new AppError('STORAGE_INVALID_PARAMETER', `The file is larger than the ${limit} that bucket "${name}" takes`, {
    status: 413,
    nextActions:
      fileSizeLimit === null
        ? 'An admin can raise the limit for all buckets: PUT /api/storage/config {"maxFileSizeMb":200}, or set one for this bucket: PATCH /api/storage/buckets/{bucket} {"fileSizeLimit":bytes}.'
        : 'An admin can raise it: PATCH /api/storage/buckets/{bucket} {"fileSizeLimit":bytes}.',
  });
}

/** Runs the very statement that will store the row, and takes it back. */
async function probePut(
  { db }: Storage,
  actor: Actor,
  { bucket, key, expected }: Pick<PutRequest, 'bucket' | 'key' | 'expected'>,
): Promise<void> {
  if (isAdmin(actor)) return;
  const object = { bucket, key, size: 0, mimeType: null, detectedType: null, etag: null, blob: null };
  await db
    .as(actor.claims)
    .rehearse(toStatement(toSql(writeOf(actor, object, expected))))
    .catch(explainDenial(actor, `write ${named(bucket, key)}`))
    .catch(explainMissingBucket(bucket));
}

type NewObject = Omit<StoredObject, 'uploadedAt' | 'uploadedBy' | 'metadata'> & {
  metadata?: ObjectMetadata | null | undefined;
  /** Absent where they are in the blob store. */
  bytes?: Uint8Array | null;
};

/**
 * Points a key at a committed blob. What the key pointed at before becomes garbage. The caller discards the
 * blob when this throws and `isRolledBack`.
 */
export async function recordObject(
  storage: Storage,
  actor: Actor,
  { object, expected }: { object: NewObject; expected?: Expected | undefined },
): Promise<StoredObject> {
  const { bucket } = object;
  const row = await writeAsActor(storage, actor, object, writeOf(actor, object, expected)).catch(
    explainMissingBucket(bucket),
  );
  if (!row) throw await explainUnexpected(storage, actor, { ...object, expected });
  if (row.at(-2) !== INSERTED) storage.collectGarbage();
  return objectFromText(bucket, row);
}

/** Looks before the bytes are read; the row is written under the same condition again. */
async function checkExpected(
  storage: Storage,
  actor: Actor,
  { bucket, key, expected }: { bucket: string; key: string; expected: Expected },
): Promise<void> {
  const found = await headObject(storage, actor, bucket, key).catch((error) => {
    if (error instanceof AppError && error.code === 'STORAGE_NOT_FOUND' && expected === 'nothing') return undefined;
    throw error;
  });
  if (!found || expected === 'anything') return;
  if (expected === 'nothing') throw alreadyThere(bucket, key);
  if (found.etag === null || !expected.etags.includes(found.etag)) throw notAsExpected();
}

async function explainUnexpected(
  storage: Storage,
  actor: Actor,
  { bucket, key, expected }: { bucket: string; key: string; expected: Expected | undefined },
): Promise<AppError> {
  if (expected === 'nothing') return alreadyThere(bucket, key);
  await headObject(storage, actor, bucket, key);
  return notAsExpected();
}

const alreadyThere = (bucket: string, key: string) =>
  new AppError('STORAGE_ALREADY_EXISTS', `There is an object ${named(bucket, key)} already`);

const insert = (source: Sql, onConflict: Sql) => sql`
  insert into storage.objects as o (bucket, key, size, mime_type, uploaded_at, uploaded_by, uploaded_via,
    s3_access_key_id, etag, blob, bytes, detected_type, metadata)
  ${source} on conflict ${onConflict} returning ${OBJECT_COLUMNS}, o.xmax, o.bucket || '/' || o.key`;

const REPLACE = sql`(bucket, key) do update set
  size = excluded.size, mime_type = excluded.mime_type, uploaded_at = excluded.uploaded_at,
  uploaded_via = excluded.uploaded_via, s3_access_key_id = excluded.s3_access_key_id, etag = excluded.etag,
  blob = excluded.blob, bytes = excluded.bytes, detected_type = excluded.detected_type, metadata = excluded.metadata`;

const upsert = (rows: Sql) => insert(sql`values ${rows}`, REPLACE);
const insertNew = (rows: Sql) => insert(sql`values ${rows}`, sql`do nothing`);

/** What writes an object: a row that can share its statement, or a statement that looks first at what is there. */
function writeOf(actor: Actor, object: NewObject, expected: Expected | undefined): RowWrite | Sql {
  const { bucket, key, size, mimeType, detectedType, etag, blob, bytes = null, metadata } = object;
  const values = sql`
    ${bucket}, ${key}, ${size}::bigint, ${mimeType}, now(), ${uploaderOf(actor)}, ${actor.via},
    ${actor.accessKeyId ?? null}, ${etag}, ${blob}, ${bytes}::bytea, ${detectedType},
    ${metadata ? JSON.stringify(metadata) : null}::jsonb`;
  const row = { row: sql`(${values})`, lock: `${bucket}/${key}` };
  if (expected === undefined) return { into: upsert, ...row };
  if (expected === 'nothing') return { into: insertNew, ...row };
  return insert(sql`select ${values} from ${lockExpected(bucket, key, expected)} found`, REPLACE);
}

const toSql = (write: RowWrite | Sql): Sql => (write instanceof Sql ? write : write.into(write.row));

/** What PostgreSQL says of a row that took the place of none: no transaction has locked it to change it. */
const INSERTED = '0';

const FOREIGN_KEY_VIOLATION = '23503';

/** The bucket can be deleted while the bytes arrive. */
function explainMissingBucket(bucket: string): (error: unknown) => never {
  return (error) => {
    const isGone = error instanceof Error && 'code' in error && error.code === FOREIGN_KEY_VIOLATION;
    throw isGone ? noBucket(bucket) : error;
  };
}

/**
 * The row of an object that the actor may read. What is hidden from them and what is not there look alike.
 * @throws AppError STORAGE_NOT_FOUND; STORAGE_PERMISSION_DENIED for a role that may read no objects at all
 */
export async function headObject(storage: Storage, actor: Actor, bucket: string, key: string): Promise<StoredObject> {
  return objectFromText(bucket, await findRow(storage, actor, bucket, key, OBJECT_COLUMNS));
}

export interface ObjectToRead {
  bucket: string;
  key: string;
  /** True of a row `o` whose bytes are probably not wanted, so that they are left where they are. */
  skipBytes?: Sql | undefined;
}

/** The same for whoever wants to open it. */
async function readObject(storage: Storage, actor: Actor, wanted: ObjectToRead): Promise<ReadableObject> {
  const { bucket, key, skipBytes = sql`false` } = wanted;
  return readableFromText(bucket, await findRow(storage, actor, bucket, key, readableColumns(skipBytes)));
}

async function findRow(storage: Storage, actor: Actor, bucket: string, key: string, columns: Sql): Promise<TextRow> {
  checkKey(key);
  const statement = sql`select ${columns} from storage.objects o where o.bucket = ${bucket} and o.key = ${key}`;
  const [row] = await readAsActor(storage, actor, `read ${named(bucket, key)}`, statement);
  if (!row) throw noObject(bucket, key);
  return row;
}

export function noObject(bucket: string, key: string): AppError {
  return new AppError('STORAGE_NOT_FOUND', `There is no object ${named(bucket, key)}, or it is not yours to see`, {
    nextActions: 'List what there is with GET /api/storage/buckets/{bucket}/objects?prefix=….',
  });
}

/**
 * Reads the row of an object and does something with it, such as opening its bytes. An upload that replaces the
 * object in between is met by doing it again with the new row.
 */
export async function withObject<Result>(
  storage: Storage,
  actor: Actor,
  wanted: ObjectToRead,
  use: (object: ReadableObject) => Promise<Result>,
): Promise<Result> {
  const { bucket, key } = wanted;
  const object = await readObject(storage, actor, wanted);
  try {
    return await use(object);
  } catch (error) {
    if (!(error instanceof BlobMissing)) throw error;
    const again = await readObject(storage, actor, { bucket, key });
    if (again.blob !== object.blob) return use(again);
    throw new AppError('STORAGE_NOT_FOUND', `The bytes of ${named(bucket, key)} are missing from the store`, {
      cause: error,
      nextActions:
        'Servers that share a database must share a store as well: set S3_BUCKET for all of them. Else restore the data folder, or upload the file again.',
    });
  }
}

/**
 * The bytes of an object, or a part of them.
 * @param object from `withObject`
 * @throws AppError STORAGE_NOT_FOUND when this server never had the bytes; BlobMissing when they were replaced
 * since the row was read
 */
export async function openObject(
  storage: Storage,
  object: ReadableObject,
  range: ByteRange = { start: 0, end: object.size - 1 },
): Promise<Buffer | Readable> {
  if (object.bytes !== null) return object.bytes.subarray(range.start, range.end + 1);
  if (object.blob === null) throw noObject(object.bucket, object.key);
  return storage.blobs.open(object.blob, range).catch(async (error) => {
    const skipped = error instanceof BlobMissing && (await readSkipped(storage, object));
    if (!skipped) throw error;
    return skipped.subarray(range.start, range.end + 1);
  });
}

/** What `skipBytes` left in a row. Who may have this version has been decided with the row. */
async function readSkipped({ db }: Storage, { bucket, key, blob }: StoredObject): Promise<Buffer | undefined> {
  const row = await db.system.one<{ bytes: Buffer }>(sql`
    select bytes from storage.objects
    where bucket = ${bucket} and key = ${key} and blob = ${blob} and bytes is not null`);
  return row?.bytes;
}

/** Row and bytes together. */
export async function getObject(
  storage: Storage,
  actor: Actor,
  wanted: ObjectToRead,
  rangeOf: (object: StoredObject) => ByteRange | undefined = () => undefined,
): Promise<{ object: StoredObject; body: Buffer | Readable }> {
  return withObject(storage, actor, wanted, async (object) => ({
    object,
    body: await openObject(storage, object, rangeOf(object)),
  }));
}
