import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';

/** Links that carry their own permission, until they expire. */
export interface LinkSigner {
  /** What to append to the URL of an object so that it can be read without a credential. */
  sign(bucket: string, key: string, expiresAt: Date): string;
  /** True for the query of an unexpired link to this very object. */
  verify(bucket: string, key: string, query: { expires?: unknown; signature?: unknown }): boolean;
}

/** @param jwtSecret what the key of the signatures is derived from; changing it ends all links */
export function createLinkSigner(jwtSecret: string): LinkSigner {
  const secret = Buffer.from(hkdfSync('sha256', jwtSecret, '', 'insforge:storage:links', 32));
  const signatureOf = (bucket: string, key: string, expires: number) =>
    // A bucket's name has no slash, so the three cannot be read in two ways.
    createHmac('sha256', secret).update(`${expires}/${bucket}/${key}`).digest();
  return {
    sign(bucket, key, expiresAt) {
      const expires = Math.ceil(expiresAt.getTime() / 1000);
      return `expires=${expires}&signature=${signatureOf(bucket, key, expires).toString('base64url')}`;
    },
    verify(bucket, key, { expires, signature }) {
      if (typeof expires !== 'string' || typeof signature !== 'string' || !/^\d{1,12}$/.test(expires)) return false;
      const given = Buffer.from(signature, 'base64url');
      const expected = signatureOf(bucket, key, Number(expires));
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) return false;
      return Number(expires) * 1000 > Date.now();
    },
  };
}

/** The path of an object. The key's slashes are encoded too: the clients build it the same way. */
export function objectPath(bucket: string, key: string): string {
  return `/api/storage/buckets/${bucket}/objects/${encodeURIComponent(key)}`;
}
