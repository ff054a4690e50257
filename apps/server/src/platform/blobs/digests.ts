import { createHash, hash } from 'node:crypto';
import type { StageOptions } from './blobs.ts';

/** Hex digests by name. */
export type Digests = Record<string, string>;

/** The digests that a blob is going to have. */
export const digestNames = ({ hashes = [] }: StageOptions): string[] => [...new Set(['md5', ...hashes])];

/** Hashes bytes piece by piece. */
export function createDigests(names: readonly string[]): { update(bytes: Uint8Array): void; digests(): Digests } {
  const all = names.map((name) => ({ name, hash: createHash(name) }));
  return {
    update(bytes) {
      for (const { hash } of all) hash.update(bytes);
    },
    digests: () => Object.fromEntries(all.map(({ name, hash }) => [name, hash.digest('hex')])),
  };
}

/** The same of bytes that are all there. */
export function digestsOf(bytes: Uint8Array, names: readonly string[]): Digests {
  return Object.fromEntries(names.map((name) => [name, hash(name, bytes, 'hex')]));
}
