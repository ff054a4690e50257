import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { countBytes } from '../buffers.ts';

/** What is no more than this is taken as one piece. */
export const SMALL_BYTES = 64 * 1024;
/** Chunks of a socket are small; so much of them makes one write. */
const SLOT_BYTES = 128 * 1024;
/** One slot is filled while so many are on their way. */
const MAX_UNDERWAY = 2;
const MAX_FREE = 32;
/** Used again and again, since memory that comes and goes costs more than to copy into it. */
const free: Uint8Array[] = [];

const takeSlot = () => free.pop() ?? new Uint8Array(new SharedArrayBuffer(SLOT_BYTES));

/** Reads on as long as there is little. `rest` is absent where that was all, else what there may be beside it. */
export async function takeBeginning(
  source: AsyncIterable<Uint8Array>,
  note: (chunk: Uint8Array) => void,
): Promise<{ beginning: Uint8Array[]; rest?: AsyncGenerator<Uint8Array> }> {
  const chunks = source[Symbol.asyncIterator]();
  const beginning: Uint8Array[] = [];
  try {
    for (let size = 0; size <= SMALL_BYTES; ) {
      const { done, value } = await chunks.next();
      if (done) return { beginning };
      note(value);
      beginning.push(value);
      size += value.length;
    }
  } catch (error) {
    await chunks.return?.();
    throw error;
  }
  return { beginning, rest: noting({ [Symbol.asyncIterator]: () => chunks }, note) };
}

async function* noting(
  source: AsyncIterable<Uint8Array>,
  note: (chunk: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    note(chunk);
    yield chunk;
  }
}

interface WriteOptions {
  /** Where in the file. */
  position?: number;
  /** Sees all bytes as well, in their order. They lie in shared memory, and stay there until it resolves. */
  look?: (bytes: Uint8Array) => Promise<void>;
}

/**
 * Writes all there is.
 * @returns the position behind it
 */
export async function writeAll(
  file: FileHandle,
  source: AsyncIterable<Uint8Array>,
  { position = 0, look }: WriteOptions = {},
): Promise<number> {
  const underway: Promise<Uint8Array>[] = [];
  let slot = takeSlot();
  let filled = 0;
  let end = position;
  const send = async (full: Uint8Array, length: number, start: number) => {
    const bytes = full.subarray(0, length);
    const [write] = await Promise.allSettled([writeAt(file, bytes, start), look?.(bytes)]);
    if (write.status === 'rejected') throw write.reason;
    return full;
  };
  const flush = () => {
    const sent = send(slot, filled, end);
    sent.catch(() => {}); // thrown where it is waited for
    underway.push(sent);
    end += filled;
    filled = 0;
  };
  try {
    for await (const chunk of source) {
      for (let taken = 0; taken < chunk.length; ) {
        const piece = chunk.subarray(taken, taken + slot.length - filled);
        slot.set(piece, filled);
        filled += piece.length;
        taken += piece.length;
        if (filled < slot.length) continue;
        flush();
        const next = underway.length > MAX_UNDERWAY ? await underway.shift() : undefined;
        slot = next ?? takeSlot();
      }
    }
    if (filled > 0) flush();
    await Promise.all(underway);
    return end;
  } finally {
    // Nobody may close the file, or take the memory, while either is in use.
    const settled = await Promise.allSettled(underway);
    free.push(...settled.flatMap((sent) => (sent.status === 'fulfilled' ? [sent.value] : [])));
    free.splice(MAX_FREE);
  }
}

/** One write may take less than it was given, for instance up to the last free byte of the disk. */
export async function writeAt(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

/** @throws where the file is shorter */
export async function readExactly(file: FileHandle, start: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(Math.max(0, length));
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, start + filled);
    if (bytesRead === 0) throw tooShort();
    filled += bytesRead;
  }
  return bytes;
}

/** Resolves when the names in a folder are on disk. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

const STREAM_CHUNK_BYTES = 256 * 1024;

/** The bytes of a file from `start` on. Closes the file at its end. */
export function streamOf(file: FileHandle, start: number, length: number): Readable {
  const end = start + length;
  let position = start;
  let reading: Promise<unknown> | undefined;
  const readInto = async (stream: Readable) => {
    if (position === end) return stream.push(null);
    const buffer = Buffer.allocUnsafeSlow(Math.min(STREAM_CHUNK_BYTES, end - position));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) throw tooShort();
    position += bytesRead;
    countBytes(buffer.length);
    return stream.push(buffer.subarray(0, bytesRead));
  };
  return new Readable({
    highWaterMark: STREAM_CHUNK_BYTES,
    read() {
      reading = readInto(this).catch((error) => this.destroy(error));
    },
    destroy(error, done) {
      // Nobody may close the file while it is read: its number could be that of another one already.
      Promise.resolve(reading)
        .then(() => file.close())
        .then(() => done(error), done);
    },
  });
}

const tooShort = () => new Error('a blob is shorter than its row says');
