import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { countBytes } from '../buffers.ts';

/** Less than this is collected before it is written, since chunks of a socket are small. */
const WRITE_BYTES = 64 * 1024;
/** Writes wait in memory up to this many bytes, while the one before is on its way to the disk. */
const WAITING_BYTES = 192 * 1024;

/** Reads on until there is enough for a write. `rest` is undefined where there is no more. */
export async function takeBeginning(
  bytes: AsyncGenerator<Uint8Array>,
): Promise<{ beginning: Uint8Array[]; rest: AsyncGenerator<Uint8Array> | undefined }> {
  const beginning: Uint8Array[] = [];
  for (let size = 0; size < WRITE_BYTES; ) {
    const { done, value } = await bytes.next();
    if (done) return { beginning, rest: undefined };
    beginning.push(value);
    size += value.length;
  }
  return { beginning, rest: bytes };
}

/** Writes what there is, in few large writes, one of them at a time. */
export async function writeAll(
  file: FileHandle,
  beginning: Uint8Array[],
  rest: AsyncIterable<Uint8Array> | undefined,
): Promise<void> {
  if (!rest) return writev(file, beginning);
  let waiting = beginning;
  let waitingBytes = 0;
  let writing: Promise<void> | undefined;
  let failure: unknown;
  const flush = () => {
    const batch = waiting;
    waiting = [];
    waitingBytes = 0;
    writing = writev(file, batch)
      .catch((error) => {
        failure ??= error;
      })
      .finally(() => {
        writing = undefined;
      });
  };
  try {
    for await (const chunk of rest) {
      if (failure) break;
      waiting.push(chunk);
      waitingBytes += chunk.length;
      if (writing && waitingBytes >= WAITING_BYTES) await writing;
      if (!writing && waitingBytes >= WRITE_BYTES) flush();
    }
  } finally {
    // Nobody may close the file while it is written.
    await writing;
  }
  if (!failure && waiting.length > 0) flush();
  await writing;
  if (failure) throw failure;
}

/** One write may take less than it was given, for instance up to the last free byte of the disk. */
async function writev(file: FileHandle, chunks: Uint8Array[]): Promise<void> {
  let rest = chunks;
  while (rest.length > 0) {
    let { bytesWritten } = rest.length === 1 && rest[0] ? await file.write(rest[0]) : await file.writev(rest);
    const left: Uint8Array[] = [];
    for (const chunk of rest) {
      if (bytesWritten >= chunk.length) bytesWritten -= chunk.length;
      else {
        left.push(bytesWritten > 0 ? chunk.subarray(bytesWritten) : chunk);
        bytesWritten = 0;
      }
    }
    rest = left;
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
