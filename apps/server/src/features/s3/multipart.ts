import {
  addPart,
  beginUpload,
  endUpload,
  findUpload,
  getBucket,
  isUploadOf,
  listUploads,
  openObject,
  listParts as storedParts,
  type Upload,
  type UploadPart,
} from '#features/storage/index.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import {
  CHECKSUMS,
  type ChecksumAlgorithm,
  type ChecksumType,
  checksumElement,
  isChecksumAlgorithm,
  summedUp,
} from './checksums.ts';
import { OWNER, quoteEtag, type S3Context, type S3Reply, xmlReply } from './context.ts';
import { readCopySource, sourceOf } from './copy-source.ts';
import { S3Error } from './errors.ts';
import { readEncoding, readLimit } from './listing.ts';
import { checkConditions, checksumHeaders, readMetadata } from './object-headers.ts';
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
  await storage.db.system.tx(async (tx) => {
    await tx.query(sql`delete from storage.s3_uploads where created_at < now() - ${REMEMBERED}::interval`);
    await tx.query(sql`
      insert into storage.s3_uploads (upload_id, checksum_algorithm, checksum_type, tags)
      values (${upload.id}, ${algorithm ?? null}, ${type ?? null}, ${JSON.stringify(tags)}::jsonb)`);
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
  const upload = await storage.db.system.tx((tx) => findUpload(tx, 's3', id));
  if (upload && upload.bucket === request.bucket && upload.key === request.key && isUploadOf(actor, upload))
    return upload;
  throw new S3Error('NoSuchUpload', undefined, { UploadId: id });
}

function readPartNumber({ query }: S3Request): number {
  const text = query.get('partNumber') ?? '';
  const number = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= MAX_PARTS) return number;
  throw new S3Error('InvalidArgument', `Part number must be an integer between 1 and ${MAX_PARTS}, inclusive`);
}

export async function uploadPart(context: S3Context): Promise<S3Reply> {
  const { payload } = context;
  const algorithmOf = (known: S3Upload | undefined) => {
    const expected = known?.algorithm ?? undefined;
    if (expected === undefined || payload.algorithm === undefined || payload.algorithm === expected) return expected;
    throw new S3Error(
      'InvalidRequest',
      `Checksum Type mismatch occurred, expected checksum Type: ${expected}, actual checksum Type: ${payload.algorithm}`,
    );
  };
  const part = await receivePart(context, payload.size, (known) => ({
    body: payload.read(algorithmOf(known)),
    checksums: () => {
      const checksum = payload.checksum();
      return checksum && { [checksum.algorithm]: checksum.value };
    },
  }));
  return { headers: { etag: quoteEtag(part.etag), ...checksumHeaders(part.checksums ?? undefined) } };
}

export async function uploadPartCopy(context: S3Context): Promise<S3Reply> {
  const { storage, actor, request } = context;
  const source = await sourceOf(storage, actor, readCopySource(request));
  checkConditions(request, source, 'x-amz-copy-source-');
  const range = readSourceRange(request, source.size);
  const size = range ? range.end - range.start + 1 : source.size;
  const part = await receivePart(context, size, (known) => {
    async function* bytes(): AsyncGenerator<Uint8Array> {
      const body = size === 0 ? Buffer.alloc(0) : await openObject(storage, source, range);
      if (Buffer.isBuffer(body)) yield body;
      else yield* body;
    }
    const { bytes: body, sums } = summedUp(bytes(), known?.algorithm ?? undefined);
    return { body, checksums: sums };
  });
  return xmlReply('CopyPartResult', [
    ['LastModified', part.createdAt.toISOString()],
    ['ETag', quoteEtag(part.etag)],
    ...checksumNodes(part),
  ]);
}

/** Unlike a Range header, this one must be exact. */
function readSourceRange(request: S3Request, size: number): { start: number; end: number } | undefined {
  const text = headerOf(request, 'x-amz-copy-source-range');
  if (text === undefined) return undefined;
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(text) ?? [];
  const [start, end] = [Number(first), Number(last)];
  if (first === undefined || start > end) {
    throw new S3Error('InvalidArgument', 'The x-amz-copy-source-range value must be of the form bytes=first-last');
  }
  if (end >= size) throw new S3Error('InvalidRange', `Range specified is not valid for source object of size: ${size}`);
  return { start, end };
}

interface Incoming {
  body: AsyncIterable<Uint8Array>;
  /** Known when the body has ended. */
  checksums: () => Record<string, string> | undefined;
}

async function receivePart(
  context: S3Context,
  size: number,
  incomingOf: (known: S3Upload | undefined) => Incoming,
): Promise<UploadPart> {
  const { storage, request } = context;
  const number = readPartNumber(request);
  const upload = await currentUpload(context);
  const { known, maxBytes } = await storage.db.system.tx(async (tx) => {
    const bucket = await getBucket(tx, upload.bucket);
    const others = await tx.one<{ bytes: number }>(sql`
      select coalesce(sum(size), 0)::float8 as bytes from storage.upload_parts
      where upload_id = ${upload.id} and number <> ${number}`);
    return { known: await findS3Upload(tx, upload.id), maxBytes: bucket.maxBytes - (others?.bytes ?? 0) };
  });
  // Refused here and not only at the completion, which would find a disk full of parts.
  if (size > maxBytes) throw new S3Error('EntityTooLarge', 'The parts together are larger than what the bucket takes');
  const { body, checksums } = incomingOf(known);
  return addPart(storage, upload, { number, body, maxBytes, replace: true, verify: checksums }).catch((error) => {
    const hasEnded = error instanceof AppError && error.code === 'STORAGE_NOT_FOUND';
    throw hasEnded ? new S3Error('NoSuchUpload', undefined, { UploadId: upload.id }) : error;
  });
}

export async function abortMultipartUpload(context: S3Context): Promise<S3Reply> {
  const { storage } = context;
  const { id } = await currentUpload(context);
  await endUpload(storage, id);
  await storage.db.system.query(sql`delete from storage.s3_uploads where upload_id = ${id}`);
  return { status: 204 };
}

export async function listParts(context: S3Context): Promise<S3Reply> {
  const { storage, request } = context;
  const upload = await currentUpload(context);
  const limit = readLimit(request, 'max-parts', 1000);
  const after = readLimit(request, 'part-number-marker', MAX_PARTS) % MAX_PARTS;
  const [known, parts] = await storage.db.system.tx(async (tx) => [
    await findS3Upload(tx, upload.id),
    await storedParts(tx, upload, { after, limit: limit + 1 }),
  ]);
  const page = parts.slice(0, limit);
  const encode = readEncoding(request);
  return xmlReply('ListPartsResult', [
    ['Bucket', upload.bucket],
    ['Key', encode(upload.key)],
    ['UploadId', upload.id],
    ['Initiator', OWNER],
    ['Owner', OWNER],
    ['StorageClass', 'STANDARD'],
    ['ChecksumAlgorithm', known?.algorithm ?? undefined],
    ['ChecksumType', known?.type ?? undefined],
    ['PartNumberMarker', after],
    ['NextPartNumberMarker', page.at(-1)?.number ?? after],
    ['MaxParts', limit],
    ['IsTruncated', parts.length > limit],
    ...page.map(
      (part): XmlNode => [
        'Part',
        [
          ['PartNumber', part.number],
          ['LastModified', part.createdAt.toISOString()],
          ['ETag', quoteEtag(part.etag)],
          ['Size', part.size],
          ...checksumNodes(part),
        ],
      ],
    ),
  ]);
}

function checksumNodes({ checksums }: UploadPart): XmlNode[] {
  return Object.entries(checksums ?? {}).map(([algorithm, value]) => [
    isChecksumAlgorithm(algorithm) ? checksumElement(algorithm) : algorithm,
    value,
  ]);
}

export async function listMultipartUploads({ storage, request }: S3Context): Promise<S3Reply> {
  const { bucket, query } = request;
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const limit = readLimit(request, 'max-uploads', 1000);
  const [keyMarker, idMarker] = [query.get('key-marker') ?? '', query.get('upload-id-marker') ?? ''];
  const after = keyMarker === '' ? {} : { after: { key: keyMarker, ...(idMarker === '' ? {} : { id: idMarker }) } };
  const uploads = await storage.db.system.tx(async (tx) => {
    await getBucket(tx, bucket);
    return listUploads(tx, 's3', { bucket, prefix, limit: limit + 1, ...after });
  });
  const page = uploads.slice(0, limit);
  const isTruncated = uploads.length > limit;
  const folderOf = ({ key }: Upload) => {
    const end = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    return end < 0 ? undefined : key.slice(0, end + delimiter.length);
  };
  const folders = new Set(page.flatMap((upload) => folderOf(upload) ?? []));
  const encode = readEncoding(request);
  return xmlReply('ListMultipartUploadsResult', [
    ['Bucket', bucket],
    ['KeyMarker', encode(keyMarker)],
    ['UploadIdMarker', idMarker],
    ['NextKeyMarker', isTruncated ? encode(page.at(-1)?.key ?? '') : undefined],
    ['NextUploadIdMarker', isTruncated ? page.at(-1)?.id : undefined],
    ['Prefix', encode(prefix)],
    ['Delimiter', delimiter === '' ? undefined : encode(delimiter)],
    ['EncodingType', query.get('encoding-type')],
    ['MaxUploads', limit],
    ['IsTruncated', isTruncated],
    ...page
      .filter((upload) => folderOf(upload) === undefined)
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
