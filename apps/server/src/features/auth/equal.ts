import { createHash, timingSafeEqual } from 'node:crypto';

const digest = (text: string) => createHash('sha256').update(text).digest();

/** Compares in a time that tells neither where the two differ nor how long the secret one is. */
export function isEqual(presented: string, secret: string): boolean {
  return timingSafeEqual(digest(presented), digest(secret));
}
