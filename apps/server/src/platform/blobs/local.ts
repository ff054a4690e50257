import { constants } from 'node:fs';
import { copyFile, type FileHandle, link, mkdir, open, opendir, rename, rm, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AppError } from '#platform/errors.ts';
import { BlobMissing, type Blobs, type ByteRange, type StagedBlob, type StageOptions } from './blobs.ts';
import { isBlobId, measure, newBlobId } from './receive.ts';

/** Below this, one read is cheaper than a stream. */
const SMALL_BYTES = 256 * 1024;
const STREAM_CHUNK_BYTES = 256 * 1024;
const LIST_PAGE = 500;
/** Blobs are spread over 16 folders: enough for millions, few enough that uploads share the syncs of a folder. */
const SHARDS = [...'0123456789abcdef'];

/** Where blobs lie: `<folder>/<first digit>/<id>`, and `<folder>/incoming/<id>` while they arrive. */
interface Layout {
  /** @throws BlobMissing for what is no name of a blob */
  pathOf(id: string): string;
  incomingPathOf(id: string): string;
  shardPathOf(shard: string): string;
  /** Resolves when all names that are in the shard of a blob now are on disk. */
  syncShardOf(id: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * Blobs as files. Names are random and bytes never change, so one that is cut short by a power failure is only a
 * blob that no row points at: rows are written when the bytes and their name are on disk.
 */
export async function openLocalBlobs(folder: string): Promise<Blobs> {
  const layout = await openLayout(folder);
  return {
    driver: 'local',
    stage: (source, options) => stageFile(layout, source, options),
    open: (id, range) => openFile(layout.pathOf(id), range),
    stat: (id) => stat(layout.pathOf(id)).then(({ size, ctimeMs: modifiedAt }) => ({ size, modifiedAt }), noEntry),
    copy: (id) => linkFile(layout, id),
    concat: (ids) => concatFiles(layout, ids),
    async delete(ids) {
      for (const id of ids) await unlink(layout.pathOf(id)).catch(noEntry);
    },
    list: () => listFiles(layout),
    close: () => layout.close(),
  };
}

async function openLayout(folder: string): Promise<Layout> {
  const incoming = join(folder, 'incoming');
  // Only one server uses a data folder, so what is still arriving belongs to one that was killed.
  await rm(incoming, { recursive: true, force: true });
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  await Promise.all(SHARDS.map((shard) => mkdir(join(folder, shard), { recursive: true, mode: 0o700 })));
  await syncFolder(folder);
  const handles = await Promise.all(
    SHARDS.map(async (shard) => [shard, await open(join(folder, shard), 'r')] as const),
  );
  const syncs = new Map(handles.map(([shard, handle]) => [shard, shareRuns(() => handle.sync())]));
  return {
    pathOf(id) {
      if (!isBlobId(id)) throw new BlobMissing(`no blob ${JSON.stringify(id)}`);
      return join(folder, id.slice(0, 1), id);
    },
    incomingPathOf: (id) => join(incoming, id),
    shardPathOf: (shard) => join(folder, shard),
    async syncShardOf(id) {
      await syncs.get(id.slice(0, 1))?.();
    },
    async close() {
      for (const [, handle] of handles) await handle.close();
    },
  };
}

/**
 * Runs `work` for all who ask while a run is going on only once more, when that run is over: whoever asks is served
 * by a run that began after they asked.
 */
function shareRuns(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = () => {
    next = undefined;
    running = work().finally(() => {
      running = undefined;
    });
    return running;
  };
  return () => {
    if (!running) return start();
    next ??= running.then(start, start);
    return next;
  };
}

async function stageFile(
  layout: Layout,
  source: AsyncIterable<Uint8Array>,
  options: StageOptions,
): Promise<StagedBlob> {
  const id = newBlobId();
  const temporary = layout.incomingPathOf(id);
  const file = await open(temporary, 'wx', 0o600).catch(explainFull);
  let isOpen = true;
  const close = async () => {
    if (!isOpen) return;
    isOpen = false;
    await file.close();
  };
  const discard = async () => {
    await close();
    await Promise.all([rm(temporary, { force: true }), rm(layout.pathOf(id), { force: true })]);
  };
  const orDiscard = async (error: unknown): Promise<never> => {
    await discard();
    return explainFull(error);
  };
  const { bytes, result } = measure(source, options);
  await writeAll(file, bytes).catch(orDiscard);
  const publish = async () => {
    await rename(temporary, layout.pathOf(id));
    // Bytes and name together, in one commit of the file system's journal instead of two.
    await Promise.all([file.datasync(), layout.syncShardOf(id)]);
    await close();
  };
  return { id, ...result(), commit: () => publish().catch(orDiscard), discard };
}

async function openFile(path: string, range: ByteRange | undefined): Promise<Buffer | Readable> {
  const file = await open(path, 'r').catch(explainMissing);
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
}

/** Bytes never change, so two names of one file are as good as two files. */
async function linkFile(layout: Layout, id: string): Promise<string> {
  const copy = newBlobId();
  await link(layout.pathOf(id), layout.pathOf(copy)).catch(explainMissing);
  await layout.syncShardOf(copy);
  return copy;
}

async function concatFiles(layout: Layout, [first, ...rest]: readonly string[]): Promise<string> {
  if (first !== undefined && rest.length === 0) return linkFile(layout, first);
  const id = newBlobId();
  const temporary = layout.incomingPathOf(id);
  try {
    if (first !== undefined) {
      await copyFile(layout.pathOf(first), temporary, constants.COPYFILE_FICLONE).catch(explainMissing);
    }
    const file = await open(temporary, 'a', 0o600);
    try {
      for (const part of rest) await append(file, layout.pathOf(part));
      await file.datasync();
    } finally {
      await file.close();
    }
    await rename(temporary, layout.pathOf(id));
    await layout.syncShardOf(id);
    return id;
  } catch (error) {
    await rm(temporary, { force: true });
    return explainFull(error);
  }
}

async function append(file: FileHandle, path: string): Promise<void> {
  const source = await open(path, 'r').catch(explainMissing);
  const stream: Readable = source.createReadStream({ highWaterMark: STREAM_CHUNK_BYTES });
  await writeAll(file, stream);
}

async function* listFiles({ shardPathOf }: Layout): AsyncGenerator<string[]> {
  for (const shard of SHARDS) {
    let page: string[] = [];
    for await (const { name } of await opendir(shardPathOf(shard), { bufferSize: LIST_PAGE })) {
      if (isBlobId(name)) page.push(name);
      if (page.length < LIST_PAGE) continue;
      yield page;
      page = [];
    }
    yield page;
  }
}

/** Writes wait in memory up to this many bytes, while the one before is on its way to the disk. */
const WAITING_BYTES = 192 * 1024;
/** Less than this is collected before it is written, since chunks of a socket are small. */
const WRITE_BYTES = 64 * 1024;

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
  try {
    for await (const chunk of bytes) {
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
  if (!failure && waitingBytes > 0) flush();
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
