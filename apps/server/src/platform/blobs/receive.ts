import { createHash, randomBytes } from 'node:crypto';
import { countBytes } from '../buffers.ts';
import { BlobTooLarge, HEAD_BYTES, type StageOptions } from './blobs.ts';

/** What is learnt of bytes while they pass. */
export interface Received {
  size: number;
  digests: Record<string, string>;
  head: Buffer;
}

/** A new random name of a blob. */
export function newBlobId(): string {
  return randomBytes(16).toString('hex');
}

/** True for what `newBlobId` makes; everything else would have to come from outside and is refused. */
export function isBlobId(id: string): boolean {
  return /^[0-9a-f]{32}$/.test(id);
}

/**
 * Counts, limits and hashes bytes on their way.
 * @returns an iterable to read the bytes from, and the result, to be called when it has ended
 */
export function measure(
  source: AsyncIterable<Uint8Array>,
  { maxBytes, hashes = [] }: StageOptions,
): { bytes: AsyncGenerator<Uint8Array>; result: () => Received } {
  const digests = [...new Set(['md5', ...hashes])].map((name) => ({ name, hash: createHash(name) }));
  const head: Uint8Array[] = [];
  let headBytes = 0;
  let size = 0;
  const pass = async function* () {
    for await (const chunk of source) {
      size += chunk.length;
      countBytes(chunk.length);
      if (size > maxBytes) throw new BlobTooLarge(maxBytes);
      for (const { hash } of digests) hash.update(chunk);
      if (headBytes < HEAD_BYTES) {
        head.push(chunk.subarray(0, HEAD_BYTES - headBytes));
        headBytes += head.at(-1)?.length ?? 0;
      }
      yield chunk;
    }
  };
  return {
    bytes: pass(),
    result: () => ({
      size,
      digests: Object.fromEntries(digests.map(({ name, hash }) => [name, hash.digest('hex')])),
      head: Buffer.concat(head),
    }),
  };
}
