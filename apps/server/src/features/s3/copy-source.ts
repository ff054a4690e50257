import { AppError } from '#platform/errors.ts';
import { S3Error } from './errors.ts';
import { headerOf, type S3Request } from './request.ts';

interface ObjectName {
  bucket: string;
  key: string;
}

/** The object that x-amz-copy-source names: `/bucket/key` or `bucket/key`, percent-encoded. */
export function readCopySource(request: S3Request): ObjectName {
  const [path = '', query = ''] = (headerOf(request, 'x-amz-copy-source') ?? '').split('?', 2);
  const version = new URLSearchParams(query).get('versionId');
  if (version !== null && version !== 'null') throw new S3Error('NoSuchVersion');
  const [, bucket, key] = /^\/?([^/]+)\/(.+)$/s.exec(decode(path)) ?? [];
  if (!bucket || !key) throw new S3Error('InvalidArgument', 'x-amz-copy-source must have the form bucket/key');
  return { bucket, key };
}

function decode(path: string): string {
  try {
    const decoded = decodeURIComponent(path);
    if (!decoded.includes('\0')) return decoded;
  } catch {}
  throw new S3Error('InvalidArgument', 'x-amz-copy-source must be percent-encoded');
}

/** For `catch`: what is missing is told as missing there, and not where it would have been copied to. */
export function explainMissingSource({ key }: ObjectName): (error: unknown) => never {
  return (error) => {
    const isMissing = error instanceof AppError && error.code === 'STORAGE_NOT_FOUND';
    throw isMissing ? new S3Error('NoSuchKey', 'The source of the copy does not exist', { Key: key }) : error;
  };
}
