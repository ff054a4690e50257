import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { checkBucketName } from './keys.ts';
import type { StorageTx } from './storage.ts';

export interface Bucket {
  name: string;
  /** Readable by URL without a credential. Never means that its objects can be listed. */
  isPublic: boolean;
  createdAt: Date;
  updatedAt: Date;
  /** The limit in force, in bytes: the bucket's own, else that of the storage settings. */
  maxBytes: number;
  /** The bucket's own limit. */
  fileSizeLimit: number | null;
  /** Such as `image/*`; null allows every type. */
  allowedMimeTypes: string[] | null;
  /** Html, svg, xml and js are shown in a sandbox instead of being downloads. */
  inlineActiveContent: boolean;
  corsRules: unknown;
  versioningStatus: 'Enabled' | 'Disabled' | 'Suspended';
}

/** What an admin decides about a bucket. */
export interface BucketSettings {
  isPublic?: boolean | undefined;
  fileSizeLimit?: number | null | undefined;
  allowedMimeTypes?: string[] | null | undefined;
  inlineActiveContent?: boolean | undefined;
}

const COLUMNS = sql`
  b.name, coalesce(b.public, false) as "isPublic", b.created_at as "createdAt", b.updated_at as "updatedAt",
  coalesce(b.file_size_limit, (select c.max_file_size_mb from storage.config c) * 1048576::bigint, 52428800)::float8
    as "maxBytes",
  b.file_size_limit::float8 as "fileSizeLimit", b.allowed_mime_types as "allowedMimeTypes",
  b.inline_active_content as "inlineActiveContent", b.cors_rules as "corsRules",
  b.versioning_status as "versioningStatus"`;

/** All buckets by name. */
export async function listBuckets(tx: StorageTx): Promise<Bucket[]> {
  return tx.query<Bucket>(sql`select ${COLUMNS} from storage.buckets b order by b.name collate "C"`);
}

export async function findBucket(tx: StorageTx, name: string): Promise<Bucket | undefined> {
  checkBucketName(name);
  return tx.one<Bucket>(sql`select ${COLUMNS} from storage.buckets b where b.name = ${name}`);
}

/** @throws AppError STORAGE_NOT_FOUND */
export async function getBucket(tx: StorageTx, name: string): Promise<Bucket> {
  const bucket = await findBucket(tx, name);
  if (!bucket) throw noBucket(name);
  return bucket;
}

export function noBucket(name: string): AppError {
  return new AppError('STORAGE_NOT_FOUND', `There is no bucket "${name}"`, {
    nextActions:
      'List the buckets with GET /api/storage/buckets, or create it with POST /api/storage/buckets as an admin.',
  });
}

/** @throws AppError STORAGE_ALREADY_EXISTS */
export async function createBucket(tx: StorageTx, name: string, settings: BucketSettings): Promise<Bucket> {
  checkBucketName(name);
  const { isPublic = true, fileSizeLimit = null, allowedMimeTypes = null, inlineActiveContent = false } = settings;
  const created = await tx.query(sql`
    insert into storage.buckets (name, public, file_size_limit, allowed_mime_types, inline_active_content)
    values (${name}, ${isPublic}, ${fileSizeLimit}, ${allowedMimeTypes}, ${inlineActiveContent})
    on conflict do nothing returning name`);
  if (created.length === 0) throw new AppError('STORAGE_ALREADY_EXISTS', `There is a bucket "${name}" already`);
  return getBucket(tx, name);
}

/** Changes what `settings` names. */
export async function updateBucket(tx: StorageTx, name: string, settings: BucketSettings): Promise<Bucket> {
  checkBucketName(name);
  const columns = {
    public: settings.isPublic,
    file_size_limit: settings.fileSizeLimit,
    allowed_mime_types: settings.allowedMimeTypes,
    inline_active_content: settings.inlineActiveContent,
  };
  const changes = Object.entries(columns).filter(([, value]) => value !== undefined);
  const assignments = changes.map(([column, value]) => sql`${sql.id(column)} = ${value}`);
  await tx.query(sql`
    update storage.buckets set ${sql.join([...assignments, sql`updated_at = now()`])} where name = ${name}`);
  return getBucket(tx, name);
}

/** What a bucket holds. */
export interface BucketContent {
  objects: number;
  bytes: number;
}

export async function measureBucket(tx: StorageTx, name: string): Promise<BucketContent> {
  const content = await tx.one<BucketContent>(sql`
    select count(*)::float8 as objects, coalesce(sum(size), 0)::float8 as bytes
    from storage.objects where bucket = ${name}`);
  return content ?? { objects: 0, bytes: 0 };
}

/** Deletes a bucket with all that is in it; its bytes become garbage in the same transaction. */
export async function deleteBucket(tx: StorageTx, name: string): Promise<void> {
  checkBucketName(name);
  const deleted = await tx.query(sql`delete from storage.buckets where name = ${name} returning name`);
  if (deleted.length === 0) throw noBucket(name);
}

/** What each bucket holds, by name. */
export async function measureBuckets(tx: StorageTx): Promise<({ name: string } & BucketContent)[]> {
  return tx.query(sql`
    select b.name, count(o.key)::float8 as objects, coalesce(sum(o.size), 0)::float8 as bytes
    from storage.buckets b left join storage.objects o on o.bucket = b.name
    group by b.name order by b.name collate "C"`);
}
