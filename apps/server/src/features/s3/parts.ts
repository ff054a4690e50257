import {
  addPart,
  openObject,
  type ReadableObject,
  listParts as storedParts,
  type UploadPart,
  withObject,
} from '#features/storage/index.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { checksumElement, isChecksumAlgorithm, summedUp } from './checksums.ts';
import { OWNER, quoteEtag, type S3Context, type S3Reply, xmlReply } from './context.ts';
import { explainMissingSource, readCopySource } from './copy-source.ts';
import { S3Error } from './errors.ts';
import { readEncoding, readLimit } from './listing.ts';
import { currentUpload, findS3Upload, MAX_PARTS, type S3Upload } from './multipart.ts';
import { checkConditions, checksumHeaders } from './object-headers.ts';
import { headerOf, type S3Request } from './request.ts';
import type { XmlNode } from './xml.ts';

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
  const from = readCopySource(request);
  const copy = (source: ReadableObject) => copyPart(context, source);
  const part = await withObject(storage, actor, from, copy).catch(explainMissingSource(from));
  return xmlReply('CopyPartResult', [
    ['LastModified', part.createdAt.toISOString()],
    ['ETag', quoteEtag(part.etag)],
    ...checksumNodes(part),
  ]);
}

async function copyPart(context: S3Context, source: ReadableObject): Promise<UploadPart> {
  const { storage, request } = context;
  checkConditions(request, source, 'x-amz-copy-source-');
  const range = readSourceRange(request, source.size);
  const size = range ? range.end - range.start + 1 : source.size;
  return receivePart(context, size, (known) => {
    async function* bytes(): AsyncGenerator<Uint8Array> {
      const body = size === 0 ? Buffer.alloc(0) : await openObject(storage, source, range);
      if (Buffer.isBuffer(body)) yield body;
      else yield* body;
    }
    const { bytes: body, sums } = summedUp(bytes(), known?.algorithm ?? undefined);
    return { body, checksums: sums };
  });
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
  const { system } = storage.db;
  const [known, bucket, others] = await Promise.all([
    findS3Upload(system, upload.id),
    storage.buckets.get(upload.bucket),
    system.one<{ bytes: number }>(sql`
      select coalesce(sum(size), 0)::float8 as bytes from storage.upload_parts
      where upload_id = ${upload.id} and number <> ${number}`),
  ]);
  const maxBytes = bucket.maxBytes - (others?.bytes ?? 0);
  // Refused here and not only at the completion, which would find a disk full of parts.
  if (size > maxBytes) throw new S3Error('EntityTooLarge', 'The parts together are larger than what the bucket takes');
  const { body, checksums } = incomingOf(known);
  return addPart(storage, upload, { number, body, maxBytes, replace: true, verify: checksums }).catch((error) => {
    const hasEnded = error instanceof AppError && error.code === 'STORAGE_NOT_FOUND';
    throw hasEnded ? new S3Error('NoSuchUpload', undefined, { UploadId: upload.id }) : error;
  });
}

export async function listParts(context: S3Context): Promise<S3Reply> {
  const { storage, request } = context;
  const upload = await currentUpload(context);
  const limit = readLimit(request, 'max-parts', 1000);
  const after = readLimit(request, 'part-number-marker', MAX_PARTS) % MAX_PARTS;
  const { system } = storage.db;
  const known = await findS3Upload(system, upload.id);
  const parts = await storedParts(system, upload, { after, limit: limit + 1 });
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
