import type { StoredFile } from '@insforge/contract/storage.ts';
import { objectPath } from './links.ts';
import type { StoredObject } from './object-row.ts';

/** An object as clients know it. The URL names the version, so that browsers may keep what they have of it. */
export function toStoredFile(origin: string, object: StoredObject): StoredFile {
  const { bucket, key, size, mimeType, uploadedAt, etag } = object;
  return {
    bucket,
    key,
    size,
    ...(mimeType === null ? {} : { mimeType }),
    uploadedAt: uploadedAt.toISOString(),
    url: `${origin}${objectPath(bucket, key)}${etag === null ? '' : `?v=${encodeURIComponent(etag)}`}`,
  };
}
