import type { TextRow } from '#platform/db/batch.ts';
import { type Sql, sql } from '#platform/db/sql.ts';

/** What an uploader may say about a file beside its type. */
export interface ObjectMetadata {
  /** Headers to send back with it, names in lower case. */
  headers?: Record<string, string>;
  /** The uploader's own names and values. */
  user?: Record<string, string>;
  /** Verified checksums by algorithm, as the protocol writes them. */
  checksums?: Record<string, string>;
  /** Of an upload of the tus protocol: what its client sent along. */
  tus?: Record<string, string | null>;
}

export interface StoredObject {
  bucket: string;
  key: string;
  size: number;
  /** What the uploader said it is. */
  mimeType: string | null;
  /** What its first bytes say it is; null where they tell nothing. */
  detectedType: string | null;
  /** MD5 in hex; with `-<parts>` at its end where the file came in parts. */
  etag: string | null;
  uploadedAt: Date;
  uploadedBy: string | null;
  /** Name of the bytes in the blob store; null where this server does not have them. */
  blob: string | null;
  metadata: ObjectMetadata | null;
}

/** An object as it is read for its bytes. */
export interface ReadableObject extends StoredObject {
  /** Null: they are in the blob store, or were skipped. */
  bytes: Buffer | null;
}

export interface ObjectRow {
  key: string;
  size: number;
  mime_type: string | null;
  detected_type: string | null;
  etag: string | null;
  uploaded_ms: number;
  uploaded_by: string | null;
  blob: string | null;
  metadata: ObjectMetadata | null;
}

/** For a query on `storage.objects o`, in the order that `objectFromText` reads. */
export const OBJECT_COLUMNS = sql`
  o.key, o.size::float8, o.mime_type, o.detected_type, o.etag,
  coalesce(extract(epoch from o.uploaded_at) * 1000, 0)::float8 as uploaded_ms, o.uploaded_by, o.blob, o.metadata`;

/** The same with the bytes that are in the row, unless they are to be skipped, in the order that `readableFromText` reads. */
export const readableColumns = (skipBytes: Sql) =>
  sql`${OBJECT_COLUMNS}, case when ${skipBytes} then null else o.bytes end`;

export function toStoredObject(bucket: string, row: ObjectRow): StoredObject {
  return {
    bucket,
    key: row.key,
    size: row.size,
    mimeType: row.mime_type,
    detectedType: row.detected_type,
    etag: row.etag,
    uploadedAt: new Date(row.uploaded_ms),
    uploadedBy: row.uploaded_by,
    blob: row.blob,
    metadata: row.metadata,
  };
}

/** An object as a statement brought it that returns OBJECT_COLUMNS as text. */
export function objectFromText(bucket: string, row: TextRow): StoredObject {
  const [key, size, mime_type, detected_type, etag, uploadedMs, uploaded_by, blob, metadata] = row as (string | null)[];
  return toStoredObject(bucket, {
    key: key ?? '',
    size: Number(size),
    mime_type: mime_type ?? null,
    detected_type: detected_type ?? null,
    etag: etag ?? null,
    uploaded_ms: Number(uploadedMs),
    uploaded_by: uploaded_by ?? null,
    blob: blob ?? null,
    metadata: metadata ? JSON.parse(metadata) : null,
  });
}

/** An object as a statement brought it that returns readableColumns as text. */
export function readableFromText(bucket: string, row: TextRow): ReadableObject {
  const bytes = row[row.length - 1];
  return { ...objectFromText(bucket, row), bytes: bytes ? Buffer.from(bytes.slice(BYTEA_PREFIX.length), 'hex') : null };
}

/** How PostgreSQL begins bytes as text (https://www.postgresql.org/docs/current/datatype-binary.html). */
const BYTEA_PREFIX = '\\x';
