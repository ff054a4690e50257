import { constants } from 'node:fs';
import { copyFile, type FileHandle, link, mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { AppError } from '#platform/errors.ts';
import { BlobMissing, type Blobs, type StagedBlob } from './blobs.ts';
import { isBlobId, measure, newBlobId } from './receive.ts';

/** Below this, one read is cheaper than a stream. */
const SMALL_BYTES = 256 * 1024;
const STREAM_CHUNK_BYTES = 256 * 1024;
/** Chunks that arrive faster than the disk takes them are written together, up to this many bytes. */
const WRITE_BYTES = 256 * 1024;

/**
 * Blobs as files: `<folder>/<two digits>/<id>`, and `<folder>/incoming/<id>` while they arrive. A blob becomes
 * visible by a rename after its bytes are on disk, and counts as stored when its folder is on disk too.
 */
export async function openLocalBlobs(folder: string): Promise<Blobs> {
  const incoming = join(folder, 'incoming');
  // Only one server uses a data folder, so what is still arriving belongs to one that was killed.
  await rm(incoming, { recursive: true, force: true });
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  const shards = Array.from({ length: 256 }, (_, index) => index.toString(16).padStart(2, '0'));
  await Promise.all(shards.map((shard) => mkdir(join(folder, shard), { recursive: true, mode: 0o700 })));
  await syncFolder(folder);

  const pathOf = (id: string) => {
    if (!isBlobId(id)) throw new BlobMissing(`no blob ${JSON.stringify(id)}`);
    return join(folder, id.slice(0, 2), id);
  };
  const publish = async (temporary: string, id: string) => {
    await rename(temporary, pathOf(id));
    await syncFolder(dirname(pathOf(id)));
  };

  const copy = async (id: string) => {
    const second = newBlobId();
    // Bytes never change, so two names of one file are as good as two files.
    await link(pathOf(id), pathOf(second)).catch(explainMissing);
    await syncFolder(dirname(pathOf(second)));
    return second;
  };

  return {
    driver: 'local',

    async stage(source, options): Promise<StagedBlob> {
      const id = newBlobId();
      const temporary = join(incoming, id);
      const file = await open(temporary, 'wx', 0o600).catch(explainFull);
      let isOpen = true;
      const close = async () => {
        if (!isOpen) return;
        isOpen = false;
        await file.close();
      };
      const discard = async () => {
        await close();
        await Promise.all([rm(temporary, { force: true }), rm(pathOf(id), { force: true })]);
      };
      try {
        const { bytes, result } = measure(source, options);
        await writeAll(file, bytes);
        return {
          id,
          ...result(),
          async commit() {
            try {
              await file.datasync();
              await close();
              await publish(temporary, id);
            } catch (error) {
              await discard();
              explainFull(error);
            }
          },
          discard,
        };
      } catch (error) {
        await discard();
        return explainFull(error);
      }
    },

    async open(id, range) {
      const file = await open(pathOf(id), 'r').catch(explainMissing);
      try {
        const start = range?.start ?? 0;
        const length = (range?.end ?? (await file.stat()).size - 1) - start + 1;
        if (length > SMALL_BYTES) {
          return file.createReadStream({ start, end: start + length - 1, highWaterMark: STREAM_CHUNK_BYTES });
        }
        const bytes = await readExactly(file, start, length);
        await file.close();
        return bytes;
      } catch (error) {
        await file.close();
        throw error;
      }
    },

    async stat(id) {
      return stat(pathOf(id)).then(({ size }) => ({ size }), noEntry);
    },

    copy,

    async concat(ids) {
      const [first, ...rest] = ids;
      if (first !== undefined && rest.length === 0) return copy(first);
      const id = newBlobId();
      const temporary = join(incoming, id);
      try {
        if (first !== undefined) {
          await copyFile(pathOf(first), temporary, constants.COPYFILE_FICLONE).catch(explainMissing);
        }
        const file = await open(temporary, 'a', 0o600);
        try {
          for (const part of rest) await append(file, pathOf(part));
          await file.datasync();
        } finally {
          await file.close();
        }
        await publish(temporary, id);
        return id;
      } catch (error) {
        await rm(temporary, { force: true });
        return explainFull(error);
      }
    },

    async delete(ids) {
      for (const id of ids) await unlink(pathOf(id)).catch(noEntry);
    },

    async *list() {
      for (const shard of shards) {
        const names = (await readdir(join(folder, shard))).filter(isBlobId);
        const page = await Promise.all(
          names.map(async (id) => {
            const found = await stat(pathOf(id)).catch(noEntry);
            return found ? [{ id, modifiedAt: found.ctimeMs }] : [];
          }),
        );
        yield page.flat();
      }
    },

    close: async () => {},
  };
}

async function writeAll(file: FileHandle, bytes: AsyncIterable<Uint8Array>): Promise<void> {
  let waiting: Uint8Array[] = [];
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
  for await (const chunk of bytes) {
    if (failure) throw failure;
    waiting.push(chunk);
    waitingBytes += chunk.length;
    // The disk is kept busy with one write while the next one collects.
    if (writing && waitingBytes >= WRITE_BYTES) await writing;
    if (!writing && waitingBytes >= WRITE_BYTES / 4) flush();
  }
  await writing;
  if (!failure && waitingBytes > 0) flush();
  await writing;
  if (failure) throw failure;
}

/** `writev` may write less than it was given, for instance up to the last free byte of the disk. */
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

async function append(file: FileHandle, path: string): Promise<void> {
  const source = await open(path, 'r').catch(explainMissing);
  const stream: Readable = source.createReadStream({ highWaterMark: STREAM_CHUNK_BYTES });
  await writeAll(file, stream);
}

async function readExactly(file: FileHandle, start: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(Math.max(0, length));
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await file.read(bytes, filled, bytes.length - filled, start + filled);
    if (bytesRead === 0) throw new Error('a blob is shorter than its row says');
    filled += bytesRead;
  }
  return bytes;
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

function noEntry(error: unknown): undefined {
  if (codeOf(error) !== 'ENOENT') throw error;
}

function explainMissing(error: unknown): never {
  if (codeOf(error) === 'ENOENT') throw new BlobMissing('there is no such blob', { cause: error });
  throw error;
}

function explainFull(error: unknown): never {
  const code = codeOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    throw new AppError('STORAGE_INSUFFICIENT_QUOTA', 'There is no room left to store this file', { cause: error });
  }
  throw error;
}
