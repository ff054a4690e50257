import { findBucket, type Storage } from '#features/storage/index.ts';
import { BlobMissing } from '#platform/blobs/blobs.ts';
import { toAppError } from '#platform/errors.ts';
import type { AccessKeyRing } from './access-keys.ts';
import type { Gateway, S3Reply } from './context.ts';
import { S3Error } from './errors.ts';
import { findOperation, type Operation } from './operations.ts';
import { openPayload } from './payload.ts';
import { readRequest, type S3Request } from './request.ts';
import { checkSignature, readSignature } from './signature.ts';
import { verifySignature } from './sigv4.ts';

/** An HTTP request as the gateway needs it: nothing merged, nothing decoded, the body unread. */
export interface RawRequest {
  method: string;
  url: string;
  rawHeaders: readonly string[];
  /** The URL that the client reached this server under. */
  origin: string;
  body: AsyncIterable<Uint8Array>;
}

export interface Served {
  reply: S3Reply;
  operation: Operation;
  request: S3Request;
  accessKeyId: string;
}

const ACCESS_KEY_ID = /^[A-Z0-9]{1,64}$/;

/**
 * Serves one request. In this order: who signed it, was it signed as it came, what does it ask for, do it.
 * Nothing of the body is read before the signature is proven.
 * @throws S3Error, or what the storage throws
 */
export async function serve(gateway: Gateway, keys: AccessKeyRing, raw: RawRequest): Promise<Served> {
  const request = readRequest(raw.method, raw.url, raw.rawHeaders);
  const signature = readSignature(request);
  const { accessKeyId } = signature;
  const key = ACCESS_KEY_ID.test(accessKeyId) ? await keys.signingKeyOf(signature) : undefined;
  if (key === undefined) throw new S3Error('InvalidAccessKeyId', undefined, { AWSAccessKeyId: accessKeyId });
  checkSignature(signature, request, gateway.region, Date.now());
  const signer = verifySignature(signature, request, key);
  keys.touch(accessKeyId);
  const operation = findOperation(request);
  const payload = openPayload({ request, signature, signer, body: raw.body, sumsBody: !operation.sumsObject });
  const actor = { claims: { role: 'project_admin' }, via: 's3', accessKeyId } as const;
  const reply = await operation.run({ ...gateway, request, origin: raw.origin, payload, actor });
  return { reply, operation, request, accessKeyId };
}

/** Says any failure in the words of S3. What is unknown is an internal error, and tells no more. */
export async function toS3Error(
  error: unknown,
  storage: Storage,
  raw: Pick<RawRequest, 'method' | 'url'>,
): Promise<S3Error> {
  if (error instanceof S3Error) return error;
  if (error instanceof BlobMissing) return new S3Error('NoSuchKey');
  const { code, status, message } = toAppError(error);
  switch (code) {
    case 'STORAGE_NOT_FOUND':
      return missing(storage, readRequest(raw.method, raw.url, []));
    case 'STORAGE_ALREADY_EXISTS':
      return new S3Error('PreconditionFailed', undefined, { Condition: 'If-None-Match' });
    case 'STORAGE_INVALID_PARAMETER':
      if (status === 412) return new S3Error('PreconditionFailed', undefined, { Condition: 'If-Match' });
      if (status === 413) return new S3Error('EntityTooLarge', message);
      if (status === 408) return new S3Error('RequestTimeout', message);
      return new S3Error(/name for a bucket/.test(message) ? 'InvalidBucketName' : 'InvalidArgument', message);
    case 'STORAGE_INVALID_FILE_TYPE':
      return new S3Error('InvalidRequest', message);
    case 'STORAGE_PERMISSION_DENIED':
      return new S3Error('AccessDenied', message);
    case 'STORAGE_INSUFFICIENT_QUOTA':
      return new S3Error('QuotaExceeded', message);
    case 'UPSTREAM_FAILURE':
      return new S3Error('ServiceUnavailable');
    default:
      return new S3Error('InternalError');
  }
}

/** The storage says that something is not there; S3 wants to know whether it was the bucket. */
async function missing({ db }: Storage, { bucket, key }: S3Request): Promise<S3Error> {
  const found = await findBucket(db.system, bucket).catch(() => undefined);
  return found
    ? new S3Error('NoSuchKey', undefined, { Key: key })
    : new S3Error('NoSuchBucket', undefined, { BucketName: bucket });
}
