import type { Readable } from 'node:stream';
import type * as ClientS3 from '@aws-sdk/client-s3';
import type { S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { AppError } from '#platform/errors.ts';
import {
  BlobMissing,
  type Blobs,
  BlobTooLarge,
  type ByteRange,
  type Presigner,
  type StagedBlob,
  type StageOptions,
} from './blobs.ts';
import { createDigests, digestNames } from './digests.ts';
import { createMeter, isBlobId, newBlobId } from './receive.ts';

/** An S3-compatible store, and how to get in. */
export interface S3BlobsConfig {
  bucket: string;
  region: string;
  endpoint: string | undefined;
  forcePathStyle: boolean;
  credentials: S3ClientConfig['credentials'] | undefined;
  keyPrefix: string;
  usePresignedUrls: boolean;
}

/** The smallest part of a multipart upload, except for its last one. */
const MIN_PART_BYTES = 5 * 1024 * 1024;
const SMALL_BYTES = 256 * 1024;
const DELETE_BATCH = 1000;

/** The SDK, loaded when it is first needed: it takes 35 MB. */
interface Sdk {
  s3: typeof ClientS3;
  client: S3Client;
}

/** Blobs as objects of an S3 bucket, named `<prefix><id>`. The store makes each of them visible as a whole. */
export function createS3Blobs(config: S3BlobsConfig): Blobs {
  const { bucket: Bucket, keyPrefix } = config;
  let loading: Promise<Sdk> | undefined;
  const load = () => (loading ??= loadSdk(config));
  const keyOf = (id: string) => {
    if (!isBlobId(id)) throw new BlobMissing(`no blob ${JSON.stringify(id)}`);
    return keyPrefix + id;
  };

  const open = async (id: string, range?: ByteRange): Promise<Buffer | Readable> => {
    if (range && range.end < range.start) return Buffer.alloc(0);
    const { s3, client } = await load();
    const Range = range && `bytes=${range.start}-${range.end}`;
    const command = new s3.GetObjectCommand({ Bucket, Key: keyOf(id), ...(Range ? { Range } : {}) });
    const { Body, ContentLength } = await client.send(command).catch(explain);
    if (!Body) throw new BlobMissing('there is no such blob');
    const isSmall = ContentLength !== undefined && ContentLength <= SMALL_BYTES;
    return isSmall ? Buffer.from(await Body.transformToByteArray()) : (Body as Readable);
  };

  const remove = async (ids: readonly string[]) => {
    if (ids.length === 0) return;
    const { s3, client } = await load();
    for (let start = 0; start < ids.length; start += DELETE_BATCH) {
      const Objects = ids.slice(start, start + DELETE_BATCH).map((id) => ({ Key: keyOf(id) }));
      const command = new s3.DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } });
      const { Errors = [] } = await client.send(command).catch(explain);
      if (Errors[0]) throw new Error(`the store did not delete ${Errors.length} blobs: ${Errors[0].Message}`);
    }
  };

  const stage: Blobs['stage'] = async (source, options) => {
    const sdk = await load();
    const id = newBlobId();
    const received = await receive(sdk, { Bucket, Key: keyOf(id) }, source, options).catch(explain);
    return { id, ...received, commit: async () => {}, discard: () => remove([id]) };
  };

  const stat: Blobs['stat'] = async (id) => {
    const { s3, client } = await load();
    const command = new s3.HeadObjectCommand({ Bucket, Key: keyOf(id) });
    const found = await client.send(command).catch(explain).catch(whereMissing);
    return found && { size: found.ContentLength ?? 0, modifiedAt: found.LastModified?.getTime() ?? Date.now() };
  };

  return {
    driver: 's3',
    smallBytes: 0,
    // Any server may be writing to it.
    isLeftBehind: () => false,
    stage,
    open,
    stat,
    async copy(id) {
      const { s3, client } = await load();
      const copy = newBlobId();
      const CopySource = `${Bucket}/${encodeURI(keyOf(id))}`;
      await client.send(new s3.CopyObjectCommand({ Bucket, Key: keyOf(copy), CopySource })).catch(explain);
      return copy;
    },
    async concat(ids) {
      const sizes = await Promise.all(ids.map(async (id) => (await stat(id))?.size ?? 0));
      const canJoin = ids.length > 1 && sizes.slice(0, -1).every((size) => size >= MIN_PART_BYTES);
      const joined = canJoin ? await joinParts(await load(), { Bucket, keyOf }, ids) : undefined;
      if (joined !== undefined) return joined;
      const { id } = await stage(readInTurn(ids, open), { maxBytes: Number.POSITIVE_INFINITY });
      return id;
    },
    delete: remove,
    list: async function* () {
      yield* listBlobs(await load(), { Bucket, Prefix: keyPrefix });
    },
    ...(config.usePresignedUrls ? { presign: createPresigner({ Bucket, keyOf, load }) } : {}),
    async close() {
      (await loading)?.client.destroy();
    },
  };
}

async function* listBlobs({ s3, client }: Sdk, at: { Bucket: string; Prefix: string }): AsyncGenerator<string[]> {
  for (let ContinuationToken: string | undefined, isFirst = true; isFirst || ContinuationToken; isFirst = false) {
    const command = new s3.ListObjectsV2Command({ ...at, ContinuationToken });
    const { Contents = [], NextContinuationToken } = await client.send(command).catch(explain);
    ContinuationToken = NextContinuationToken;
    yield Contents.map(({ Key = '' }) => Key.slice(at.Prefix.length)).filter(isBlobId);
  }
}

async function loadSdk(config: S3BlobsConfig): Promise<Sdk> {
  const s3 = await import('@aws-sdk/client-s3');
  const { region, endpoint, forcePathStyle, credentials } = config;
  const client = new s3.S3Client({
    region,
    forcePathStyle,
    ...(endpoint ? { endpoint } : {}),
    ...(credentials ? { credentials } : {}),
    // Stores that are not Amazon's know no other checksums than those of the protocol.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  return { s3, client };
}

async function receive(
  sdk: Sdk,
  target: { Bucket: string; Key: string },
  source: AsyncIterable<Uint8Array>,
  options: StageOptions,
): Promise<Pick<StagedBlob, 'size' | 'head' | 'digests'>> {
  const meter = createMeter(options);
  const sums = createDigests(digestNames(options));
  const seen = async function* () {
    for await (const chunk of source) {
      meter.note(chunk);
      sums.update(chunk);
      yield chunk;
    }
  };
  await sendStream(sdk, target, seen());
  return { ...meter.result(), digests: sums.digests() };
}

/** One request for what fits into a part, else a multipart upload that holds one part in memory at a time. */
async function sendStream(
  { client }: Sdk,
  target: { Bucket: string; Key: string },
  bytes: AsyncIterable<Uint8Array>,
): Promise<void> {
  const { Upload } = await import('@aws-sdk/lib-storage');
  const { Readable } = await import('node:stream');
  const Body = Readable.from(bytes, { objectMode: false });
  const upload = new Upload({ client, params: { ...target, Body }, partSize: MIN_PART_BYTES, queueSize: 1 });
  await upload.done();
}

/** Has the store join parts by itself; undefined where it cannot do that. */
async function joinParts(
  { s3, client }: Sdk,
  { Bucket, keyOf }: { Bucket: string; keyOf: (id: string) => string },
  ids: readonly string[],
): Promise<string | undefined> {
  const id = newBlobId();
  const target = { Bucket, Key: keyOf(id) };
  const abort = (UploadId: string | undefined) =>
    client.send(new s3.AbortMultipartUploadCommand({ ...target, UploadId })).catch(() => {});
  const { UploadId } = await client.send(new s3.CreateMultipartUploadCommand(target)).catch(explain);
  try {
    const Parts: { PartNumber: number; ETag: string }[] = [];
    for (const [index, part] of ids.entries()) {
      const PartNumber = index + 1;
      const CopySource = `${Bucket}/${encodeURI(keyOf(part))}`;
      const command = new s3.UploadPartCopyCommand({ ...target, UploadId, PartNumber, CopySource });
      const { CopyPartResult } = await client.send(command);
      // Some stores take this for an upload of an empty part.
      if (!CopyPartResult?.ETag) throw new Error('the store copies no parts');
      Parts.push({ PartNumber, ETag: CopyPartResult.ETag });
    }
    const command = new s3.CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload: { Parts } });
    await client.send(command);
    return id;
  } catch {
    // What really stands in the way will do so again when the bytes are sent through this server.
    await abort(UploadId);
    return undefined;
  }
}

async function* readInTurn(
  ids: readonly string[],
  open: (id: string) => Promise<Buffer | Readable>,
): AsyncGenerator<Uint8Array> {
  for (const id of ids) {
    const body = await open(id);
    if (Buffer.isBuffer(body)) yield body;
    else yield* body;
  }
}

interface PresignerParts {
  Bucket: string;
  keyOf: (id: string) => string;
  load: () => Promise<Sdk>;
}

function createPresigner({ Bucket, keyOf, load }: PresignerParts): Presigner {
  return {
    async upload({ maxBytes, contentType, expiresInSeconds }) {
      const { client } = await load();
      const { createPresignedPost } = await import('@aws-sdk/s3-presigned-post');
      const id = newBlobId();
      const { url, fields } = await createPresignedPost(client, {
        Bucket,
        Key: keyOf(id),
        Fields: { 'Content-Type': contentType },
        Conditions: [['content-length-range', 0, maxBytes]],
        Expires: expiresInSeconds,
      });
      return { id, url, fields };
    },
    async download(id, { contentType, disposition, cacheControl, expiresInSeconds }) {
      const { s3, client } = await load();
      const { getSignedUrl } = await import('@aws-sdk/s3-request-presigner');
      const command = new s3.GetObjectCommand({
        Bucket,
        Key: keyOf(id),
        ResponseContentType: contentType,
        ResponseContentDisposition: disposition,
        ResponseCacheControl: cacheControl,
      });
      return getSignedUrl(client, command, { expiresIn: expiresInSeconds });
    },
    async inspect(id) {
      const { s3, client } = await load();
      const command = new s3.HeadObjectCommand({ Bucket, Key: keyOf(id) });
      const found = await client.send(command).catch(explain).catch(whereMissing);
      return found && { size: found.ContentLength ?? 0, etag: (found.ETag ?? '').replaceAll('"', '') };
    },
  };
}

function statusOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('$metadata' in error)) return undefined;
  return (error.$metadata as { httpStatusCode?: number }).httpStatusCode;
}

/** Says in our words what the store says. What came from the source of an upload passes. */
function explain(error: unknown): never {
  if (error instanceof AppError || error instanceof BlobTooLarge) throw error;
  const status = statusOf(error);
  const name = error instanceof Error ? error.name : '';
  if (status === 404 && name !== 'NoSuchBucket') throw new BlobMissing('there is no such blob', { cause: error });
  if (status === 507 || /StorageFull|QuotaExceeded/.test(name)) {
    throw new AppError('STORAGE_INSUFFICIENT_QUOTA', 'The store has no room left for this file', { cause: error });
  }
  throw new AppError('UPSTREAM_FAILURE', 'The store of the files does not answer as it should', {
    cause: error,
    nextActions: 'Check S3_BUCKET, S3_ENDPOINT_URL, S3_REGION and the credentials; the server log has what it said.',
  });
}

function whereMissing(error: unknown): undefined {
  if (!(error instanceof BlobMissing)) throw error;
}
