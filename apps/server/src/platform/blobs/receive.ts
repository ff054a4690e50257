import { randomUUID } from 'node:crypto';
import { countBytes } from '../buffers.ts';
import { BlobTooLarge, HEAD_BYTES, type StageOptions } from './blobs.ts';

/** A new random name of a blob. */
export function newBlobId(): string {
  return randomUUID().replaceAll('-', '');
}

/** True for what `newBlobId` makes; everything else would have to come from outside and is refused. */
export function isBlobId(id: string): boolean {
  return /^[0-9a-f]{32}$/.test(id);
}

/** What is learnt of bytes while they pass. */
interface Received {
  size: number;
  head: Buffer;
}

/**
 * Counts and limits bytes on their way.
 * @returns an iterable to read the bytes from, and the result, to be called when it has ended
 */
export function measure(
  source: AsyncIterable<Uint8Array>,
  { maxBytes }: Pick<StageOptions, 'maxBytes'>,
): { bytes: AsyncGenerator<Uint8Array>; result: () => Received } {
  const head: Uint8Array[] = [];
  let headBytes = 0;
  let size = 0;
  const pass = async function* () {
    for await (const chunk of source) {
      size += chunk.length;
      countBytes(chunk.length);
      if (size > maxBytes) throw new BlobTooLarge(maxBytes);
      if (headBytes < HEAD_BYTES) {
        head.push(chunk.subarray(0, HEAD_BYTES - headBytes));
        headBytes += head.at(-1)?.length ?? 0;
      }
      yield chunk;
    }
  };
  return { bytes: pass(), result: () => ({ size, head: Buffer.concat(head) }) };
}
