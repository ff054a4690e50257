import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, type FileHandle, link, mkdir, open, opendir, rm, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AppError } from '#platform/errors.ts';
import { BlobMissing, type Blobs, type ByteRange, type StagedBlob, type StageOptions } from './blobs.ts';
import { type Digests, digestNames, digestsOf } from './digests.ts';
import { readExactly, SMALL_BYTES, streamOf, syncFolder, takeBeginning, writeAll, writeAt } from './files.ts';
import { createHashers, type Hashers, type Hashing } from './hashing.ts';
import { createMeter, isBlobId, joined, newBlobId } from './receive.ts';

/** Below this, one read is cheaper than a stream. */
const MAX_READ_BYTES = 256 * 1024;
const LIST_PAGE = 500;
/** Blobs are spread over 16 folders, which is enough for millions. */
const SHARDS = [...'0123456789abcdef'];
/** So many go to one folder before the next has its turn, so that uploads at the same time share its syncs. */
const SHARD_TURN = 1000;
/** What tells the blobs of one run of the server from those of the others. */
const RUN_BYTES = 4;

interface Store {
  layout: Layout;
  hashers: Hashers;
}

/** Where blobs lie: `<folder>/<first digit>/<id>`. */
interface Layout {
  /** @throws BlobMissing for what is no name of a blob */
  pathOf(id: string): string;
  shardPathOf(shard: string): string;
  newId(): string;
  isOfThisRun(id: string): boolean;
  /** Resolves when all names that are in the shard of a blob now are on disk. */
  syncShardOf(id: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * Blobs as files. They are written under the names that they keep: nobody looks for one before a row has it, and rows
 * are written when the bytes and their name are on disk. What a crash cuts short is only a blob that no row points at.
 */
export async function openLocalBlobs(folder: string): Promise<Blobs> {
  const layout = await openLayout(folder);
  const hashers = createHashers();
  return {
    driver: 'local',
    smallBytes: SMALL_BYTES,
    stage: (source, options) => stageBlob({ layout, hashers }, source, options),
    open: (id, range) => openFile(layout.pathOf(id), range),
    stat: (id) => stat(layout.pathOf(id)).then(({ size, ctimeMs: modifiedAt }) => ({ size, modifiedAt }), noEntry),
    copy: (id) => linkFile(layout, id),
    concat: (ids) => concatFiles(layout, ids),
    async delete(ids) {
      for (const id of ids) await unlink(layout.pathOf(id)).catch(noEntry);
    },
    list: () => listFiles(layout),
    isLeftBehind: (id) => !layout.isOfThisRun(id),
    async close() {
      await hashers.close();
      await layout.close();
    },
  };
}

async function openLayout(folder: string): Promise<Layout> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await Promise.all(SHARDS.map((shard) => mkdir(join(folder, shard), { recursive: true, mode: 0o700 })));
  await syncFolder(folder);
  const handles = await Promise.all(
    SHARDS.map(async (shard) => [shard, await open(join(folder, shard), 'r')] as const),
  );
  const syncs = new Map(handles.map(([shard, handle]) => [shard, shareRuns(() => handle.sync())]));
  let made = 0;
  // Only one process at a time has the folder. The age of a file says nothing of who wrote it: one that shares its
  // bytes with others is as young as the last change to any of them.
  const run = randomBytes(RUN_BYTES).toString('hex');
  return {
    pathOf(id) {
      if (!isBlobId(id)) throw new BlobMissing(`no blob ${JSON.stringify(id)}`);
      return join(folder, id.slice(0, 1), id);
    },
    shardPathOf: (shard) => join(folder, shard),
    newId: () => `${SHARDS[Math.floor(made++ / SHARD_TURN) % SHARDS.length]}${run}${newBlobId().slice(1 + run.length)}`,
    isOfThisRun: (id) => id.startsWith(run, 1),
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

/** What is small waits in memory, and meets the disk only when it is going to stay. */
async function stageBlob(
  { layout, hashers }: Store,
  source: AsyncIterable<Uint8Array>,
  options: StageOptions,
): Promise<StagedBlob> {
  const id = layout.newId();
  const path = layout.pathOf(id);
  const meter = createMeter(options);
  const names = digestNames(options);
  const { beginning, rest } = await takeBeginning(source, meter.note);
  let file: FileHandle | undefined;
  const discard = async () => {
    await file?.close();
    await rm(path, { force: true });
  };
  const orDiscard = async (error: unknown): Promise<never> => {
    await discard();
    return explainFull(error);
  };
  const create = async () => {
    file = await open(path, 'wx', 0o600);
    return file;
  };
  const publish = async (created: FileHandle) => {
    // Bytes and name together, in one commit of the file system's journal instead of two.
    await Promise.all([created.datasync(), layout.syncShardOf(id)]);
    await created.close();
  };
  if (!rest) {
    const bytes = joined(beginning);
    const write = async () => {
      const created = await create();
      await writeAt(created, bytes, 0);
      await publish(created);
    };
    const digests = digestsOf(bytes, names);
    return { id, ...meter.result(), bytes, digests, commit: () => write().catch(orDiscard), discard };
  }
  const created = await create().catch(orDiscard);
  const digests = await writeHashing(created, chain(beginning, rest), hashers.begin(names)).catch(orDiscard);
  return { id, ...meter.result(), digests, commit: () => publish(created).catch(orDiscard), discard };
}

async function writeHashing(file: FileHandle, bytes: AsyncIterable<Uint8Array>, hashing: Hashing): Promise<Digests> {
  try {
    await writeAll(file, bytes, { look: hashing.update });
  } catch (error) {
    await hashing.finish().catch(() => {});
    throw error;
  }
  return hashing.finish();
}

async function* chain(beginning: readonly Uint8Array[], rest: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* beginning;
  yield* rest;
}

async function openFile(path: string, range: ByteRange | undefined): Promise<Buffer | Readable> {
  const file = await open(path, 'r').catch(explainMissing);
  try {
    const start = range?.start ?? 0;
    const length = (range?.end ?? (await file.stat()).size - 1) - start + 1;
    if (length > MAX_READ_BYTES) {
      return streamOf(file, start, length);
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
  const copy = layout.newId();
  try {
    await link(layout.pathOf(id), layout.pathOf(copy)).catch(explainMissing);
  } catch (error) {
    return NO_LINK.has(codeOf(error)) ? joinFiles(layout, [id]) : explainFull(error);
  }
  await layout.syncShardOf(copy);
  return copy;
}

/** A file has so many names and no more (ext4: 65,000), and file systems of other worlds know only one. */
const NO_LINK = new Set<unknown>(['EMLINK', 'EPERM', 'ENOTSUP', 'ENOSYS']);

async function concatFiles(layout: Layout, ids: readonly string[]): Promise<string> {
  const [first, second] = ids;
  return first !== undefined && second === undefined ? linkFile(layout, first) : joinFiles(layout, ids);
}

async function joinFiles(layout: Layout, [first, ...rest]: readonly string[]): Promise<string> {
  const id = layout.newId();
  const path = layout.pathOf(id);
  try {
    if (first !== undefined) {
      await copyFile(layout.pathOf(first), path, constants.COPYFILE_FICLONE).catch(explainMissing);
    }
    const file = await open(path, first === undefined ? 'wx' : 'r+', 0o600);
    try {
      let position = (await file.stat()).size;
      for (const part of rest) position = await append(file, layout.pathOf(part), position);
      await Promise.all([file.datasync(), layout.syncShardOf(id)]);
    } finally {
      await file.close();
    }
    return id;
  } catch (error) {
    await rm(path, { force: true });
    return explainFull(error);
  }
}

async function append(file: FileHandle, path: string, position: number): Promise<number> {
  const source = await open(path, 'r').catch(explainMissing);
  const { size } = await source.stat();
  return writeAll(file, streamOf(source, 0, size), { position });
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
