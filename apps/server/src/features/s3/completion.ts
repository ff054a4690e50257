import { completeUpload, etagOfParts, listParts, type UploadPart } from '#features/storage/index.ts';
import { BlobMissing } from '#platform/blobs/blobs.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { CHECKSUM_ALGORITHMS, checksumElement, checksumHeader, combineChecksums } from './checksums.ts';
import { quoteEtag, type S3Context, type S3Reply, xmlReply } from './context.ts';
import { S3Error } from './errors.ts';
import { currentUpload, findS3Upload, MAX_PARTS, type S3Upload } from './multipart.ts';
import { checksumTypeOf, expectedBy } from './object-headers.ts';
import { readDocument } from './payload.ts';
import { headerOf, type S3Request } from './request.ts';
import { writeTags } from './tagging.ts';
import { childrenOf, parseXml, textOf, type XmlNode, type XmlValue } from './xml.ts';

const MIN_PART_BYTES = 5 * 1024 * 1024;

/** What a client believes to have uploaded. */
interface WantedPart {
  number: number;
  etag: string;
  checksums: Record<string, string>;
}

/**
 * Makes the object of its parts. The object appears as a whole; until then the upload stays as it is and can be
 * completed again. Asked again after it was completed, the answer is the same.
 */
export async function completeMultipartUpload(context: S3Context): Promise<S3Reply> {
  const { storage, actor, request, payload } = context;
  const wanted = readParts(await parseXml(await readDocument(payload), 'CompleteMultipartUpload'));
  const expected = expectedBy(request);
  const etag = etagOfParts(wanted.map((part) => part.etag));
  const id = request.query.get('uploadId') ?? '';
  const known = await findS3Upload(storage.db.system, id);
  try {
    const upload = await currentUpload(context);
    const parts = chooseParts(wanted, await listParts(storage.db.system, upload));
    const checksums = await sumUp(request, parts, known);
    checkSize(request, parts);
    await storage.db.system.query(sql`
      update storage.s3_uploads set etag = ${etag}, checksums = ${JSON.stringify(checksums)}::jsonb
      where upload_id = ${upload.id}`);
    await completeUpload(storage, actor, upload, {
      numbers: parts.map(({ number }) => number),
      expected,
      metadata: { ...upload.metadata, checksums },
    });
    await finish(context, upload.id, known);
    return answer(context, etag, checksums);
  } catch (error) {
    const done = await findCompleted(context, id, etag, error);
    if (done) return answer(context, etag, done);
    throw error;
  }
}

async function finish({ storage, request }: S3Context, id: string, known: S3Upload | undefined): Promise<void> {
  await storage.db.system.tx(async (tx) => {
    await tx.query(sql`update storage.s3_uploads set completed_at = now() where upload_id = ${id}`);
    if (known?.tags && known.tags.length > 0) await writeTags(tx, request, known.tags);
  });
}

/** Its parts are gone, or its own object is what stands in the way of its condition. */
const ENDED = new Set([404, 409, 412]);

/**
 * The checksums of the object where an earlier request, or one at the same time, completed the upload from the
 * same parts. What that request left undone when it was interrupted shows in the object itself.
 */
async function findCompleted(
  context: S3Context,
  id: string,
  etag: string,
  error: unknown,
): Promise<Record<string, string> | undefined> {
  const hasEnded =
    (error instanceof S3Error && (error.code === 'NoSuchUpload' || error.code === 'InvalidPart')) ||
    (error instanceof AppError && ENDED.has(error.status)) ||
    error instanceof BlobMissing;
  if (!hasEnded) return undefined;
  const { storage, request } = context;
  const known = await findS3Upload(storage.db.system, id);
  if (known?.etag !== etag) return undefined;
  const object = await storage.db.system.one<{ etag: string | null }>(sql`
    select etag from storage.objects where bucket = ${request.bucket} and key = ${request.key}`);
  if (!known.isCompleted) {
    if (object?.etag !== etag) return undefined;
    await finish(context, id, known);
  }
  return known.checksums ?? {};
}

function answer({ request, origin }: S3Context, etag: string, checksums: Record<string, string>): S3Reply {
  const values = Object.entries(checksums).map(([algorithm, value]): XmlNode => [`Checksum${algorithm}`, value]);
  const [first] = Object.values(checksums);
  return xmlReply('CompleteMultipartUploadResult', [
    ['Location', origin + request.path],
    ['Bucket', request.bucket],
    ['Key', request.key],
    ['ETag', quoteEtag(etag)],
    ...values,
    ['ChecksumType', first === undefined ? undefined : checksumTypeOf(first)],
  ]);
}

function readParts(document: XmlValue): WantedPart[] {
  const parts = childrenOf(document, 'Part').map((part): WantedPart => {
    const number = Number(textOf(part, 'PartNumber'));
    const etag = (textOf(part, 'ETag') ?? '').trim().replace(/^"(.*)"$/, '$1');
    if (!Number.isInteger(number) || number < 1 || number > MAX_PARTS) throw new S3Error('MalformedXML');
    const checksums = CHECKSUM_ALGORITHMS.flatMap((algorithm) => {
      const value = textOf(part, checksumElement(algorithm));
      return value === undefined ? [] : [[algorithm, value.trim()]];
    });
    return { number, etag, checksums: Object.fromEntries(checksums) };
  });
  if (parts.length === 0 || parts.length > MAX_PARTS) throw new S3Error('MalformedXML');
  const isOrdered = parts.every(({ number }, index) => number > (parts[index - 1]?.number ?? 0));
  if (!isOrdered) throw new S3Error('InvalidPartOrder');
  return parts;
}

function chooseParts(wanted: readonly WantedPart[], stored: readonly UploadPart[]): UploadPart[] {
  const byNumber = new Map(stored.map((part) => [part.number, part]));
  const parts = wanted.map(({ number, etag, checksums }) => {
    const part = byNumber.get(number);
    const isSame =
      part?.etag === etag &&
      Object.entries(checksums).every(([algorithm, value]) => (part.checksums?.[algorithm] ?? value) === value);
    if (!part || !isSame) throw new S3Error('InvalidPart', undefined, { PartNumber: number, ETag: etag });
    return part;
  });
  const small = parts.slice(0, -1).find(({ size }) => size < MIN_PART_BYTES);
  if (!small) return parts;
  throw new S3Error('EntityTooSmall', undefined, {
    ProposedSize: small.size,
    MinSizeAllowed: MIN_PART_BYTES,
    PartNumber: small.number,
    ETag: small.etag,
  });
}

/** The checksum of the whole object, held against the one that the client may have sent. */
async function sumUp(
  request: S3Request,
  parts: readonly UploadPart[],
  known: S3Upload | undefined,
): Promise<Record<string, string>> {
  if (!known?.algorithm || !known.type) return {};
  const { algorithm, type } = known;
  const sums = parts.map(({ checksums, size }) => ({ value: checksums?.[algorithm] ?? '', size }));
  const value = await combineChecksums(algorithm, type, sums);
  const claimedType = headerOf(request, 'x-amz-checksum-type')?.toUpperCase() ?? type;
  if (claimedType !== type)
    throw new S3Error('InvalidRequest', `The upload was created with the checksum type ${type}`);
  const claimed = headerOf(request, checksumHeader(algorithm)) ?? value;
  // A composite one may come without the number of parts.
  if (claimed !== value && claimed !== value.replace(/-\d+$/, '')) {
    throw new S3Error('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`);
  }
  return { [algorithm]: value };
}

function checkSize(request: S3Request, parts: readonly UploadPart[]): void {
  const claimed = headerOf(request, 'x-amz-mp-object-size');
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (claimed === undefined || Number(claimed) === size) return;
  throw new S3Error('InvalidRequest', `The object has ${size} bytes and not ${claimed}`);
}
