import {
  beginUpload,
  endUpload,
  findUpload,
  folderOf as folderOfKey,
  isUploadOf,
  listUploads,
  type Upload,
} from '#features/storage/index.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { CHECKSUMS, type ChecksumAlgorithm, type ChecksumType, isChecksumAlgorithm } from './checksums.ts';
import { OWNER, type S3Context, type S3Reply, xmlReply } from './context.ts';
import { S3Error } from './errors.ts';
import { readEncoding, readLimit } from './listing.ts';
import { readMetadata } from './object-headers.ts';
import { headerOf, type S3Request } from './request.ts';
import { readTagsHeader, type Tag } from './tagging.ts';
import type { XmlNode } from './xml.ts';

/** An upload that nobody completes is swept after this. */
const EXPIRES_SECONDS = 7 * 24 * 3600;
/** Longer than any upload lives. */
const REMEMBERED = '8 days';
export const MAX_PARTS = 10_000;

/** What the gateway knows of an upload beside what the storage does. */
export interface S3Upload {
  algorithm: ChecksumAlgorithm | null;
  type: ChecksumType | null;
  tags: Tag[] | null;
  /** Of the object, since a completion began. */
  etag: string | null;
  checksums: Record<string, string> | null;
  isCompleted: boolean;
}

export async function findS3Upload(tx: Pick<SystemTx, 'one'>, id: string): Promise<S3Upload | undefined> {
  return tx.one<S3Upload>(sql`
    select checksum_algorithm as algorithm, checksum_type as type, tags, etag, checksums,
      completed_at is not null as "isCompleted"
    from storage.s3_uploads where upload_id::text = ${id}`);
}

export async function createMultipartUpload({ storage, actor, request }: S3Context): Promise<S3Reply> {
  const { bucket, key } = request;
  const { algorithm, type } = readChecksumWish(request);
  const tags = readTagsHeader(request);
  const upload = await beginUpload(storage, actor, {
    protocol: 's3',
    bucket,
    key,
    mimeType: headerOf(request, 'content-type'),
    metadata: readMetadata(request),
    expiresInSeconds: EXPIRES_SECONDS,
  });
  const remember = storage.db.system.tx(async (tx) => {
    await tx.query(sql`delete from storage.s3_uploads where created_at < now() - ${REMEMBERED}::interval`);
    await tx.query(sql`
      insert into storage.s3_uploads (upload_id, checksum_algorithm, checksum_type, tags)
      values (${upload.id}, ${algorithm ?? null}, ${type ?? null}, ${JSON.stringify(tags)}::jsonb)`);
  });
  await remember.catch(async (error) => {
    await endUpload(storage, upload.id);
    throw error;
  });
  return xmlReply(
    'InitiateMultipartUploadResult',
    [
      ['Bucket', bucket],
      ['Key', key],
      ['UploadId', upload.id],
    ],
    {
      'x-amz-checksum-algorithm': algorithm,
      'x-amz-checksum-type': type,
      'x-amz-abort-date': upload.expiresAt.toUTCString(),
    },
  );
}

function readChecksumWish(request: S3Request): { algorithm?: ChecksumAlgorithm; type?: ChecksumType } {
  const algorithm = headerOf(request, 'x-amz-checksum-algorithm')?.toUpperCase();
  const type = headerOf(request, 'x-amz-checksum-type')?.toUpperCase();
  if (algorithm === undefined) {
    if (type === undefined) return {};
    throw new S3Error(
      'InvalidRequest',
      'The x-amz-checksum-type header can only be used with x-amz-checksum-algorithm',
    );
  }
  if (!isChecksumAlgorithm(algorithm)) {
    throw new S3Error(
      'InvalidRequest',
      `The checksum algorithm ${algorithm} is not one of ${Object.keys(CHECKSUMS).join(', ')}`,
    );
  }
  const types: readonly ChecksumType[] = CHECKSUMS[algorithm].types;
  const chosen = type === undefined ? types[0] : types.find((known) => known === type);
  if (!chosen)
    throw new S3Error('InvalidRequest', `The ${type} checksum type cannot be used with the ${algorithm} algorithm`);
  return { algorithm, type: chosen };
}

/** The upload that a request names, if it is one of this object. */
export async function currentUpload({ storage, actor, request }: S3Context): Promise<Upload> {
  const id = request.query.get('uploadId') ?? '';
  const upload = await findUpload(storage.db.system, 's3', id);
  if (upload && upload.bucket === request.bucket && upload.key === request.key && isUploadOf(actor, upload))
    return upload;
  throw new S3Error('NoSuchUpload', undefined, { UploadId: id });
}

export async function abortMultipartUpload(context: S3Context): Promise<S3Reply> {
  const { storage } = context;
  const { id } = await currentUpload(context);
  await endUpload(storage, id);
  await storage.db.system.query(sql`delete from storage.s3_uploads where upload_id = ${id}`);
  return { status: 204 };
}

/** Nothing comes after it in the order of keys. */
const LAST_CHARACTER = '\u{10ffff}';

export async function listMultipartUploads({ storage, request }: S3Context): Promise<S3Reply> {
  const { bucket, query } = request;
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const limit = readLimit(request, 'max-uploads', 1000);
  const [keyMarker, idMarker] = [query.get('key-marker') ?? '', query.get('upload-id-marker') ?? ''];
  const folderOf = (key: string) => folderOfKey(key, prefix, delimiter);
  // A page that ended within a folder goes on behind all that is in it.
  const isFolder = keyMarker !== '' && folderOf(keyMarker) === keyMarker;
  const after = {
    key: isFolder ? keyMarker + LAST_CHARACTER : keyMarker,
    ...(idMarker === '' ? {} : { id: idMarker }),
  };
  const { system } = storage.db;
  await storage.buckets.get(bucket);
  const uploads = await listUploads(system, 's3', {
    bucket,
    prefix,
    limit: limit + 1,
    ...(keyMarker === '' ? {} : { after }),
  });
  const page = uploads.slice(0, limit);
  const last = uploads.length > limit ? page.at(-1) : undefined;
  const lastFolder = last && folderOf(last.key);
  const folders = new Set(page.flatMap(({ key }) => folderOf(key) ?? []));
  const encode = readEncoding(request);
  return xmlReply('ListMultipartUploadsResult', [
    ['Bucket', bucket],
    ['KeyMarker', encode(keyMarker)],
    ['UploadIdMarker', idMarker],
    ['NextKeyMarker', last && encode(lastFolder ?? last.key)],
    ['NextUploadIdMarker', lastFolder === undefined ? last?.id : undefined],
    ['Prefix', encode(prefix)],
    ['Delimiter', delimiter === '' ? undefined : encode(delimiter)],
    ['EncodingType', query.get('encoding-type')],
    ['MaxUploads', limit],
    ['IsTruncated', last !== undefined],
    ...page
      .filter(({ key }) => folderOf(key) === undefined)
      .map((upload): XmlNode => ['Upload', describe(upload, encode)]),
    ...[...folders].map((folder): XmlNode => ['CommonPrefixes', [['Prefix', encode(folder)]]]),
  ]);
}

function describe({ key, id, createdAt }: Upload, encode: (name: string) => string): XmlNode[] {
  return [
    ['Key', encode(key)],
    ['UploadId', id],
    ['Initiator', OWNER],
    ['Owner', OWNER],
    ['StorageClass', 'STANDARD'],
    ['Initiated', createdAt.toISOString()],
  ];
}
