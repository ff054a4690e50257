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
  head: Uint8Array;
}

/** Counts and limits bytes on their way. */
export interface Meter {
  /** @throws BlobTooLarge */
  note(chunk: Uint8Array): void;
  /** To be called when all have passed. */
  result(): Received;
}

export function createMeter({ maxBytes }: Pick<StageOptions, 'maxBytes'>): Meter {
  const head: Uint8Array[] = [];
  let headBytes = 0;
  let size = 0;
  return {
    note(chunk) {
      size += chunk.length;
      countBytes(chunk.length);
      if (size > maxBytes) throw new BlobTooLarge(maxBytes);
      if (headBytes >= HEAD_BYTES) return;
      const piece = chunk.subarray(0, HEAD_BYTES - headBytes);
      head.push(piece);
      headBytes += piece.length;
    },
    result: () => ({ size, head: joined(head) }),
  };
}

/** All pieces as one; not copied where there is only one. */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces;
  return only && pieces.length === 1 ? only : Buffer.concat(pieces);
}
