import type { Readable } from 'node:stream';
import { DataStore, Upload as TusUpload } from '@tus/server';
import { AppError } from '#platform/errors.ts';
import { tooLarge } from './objects.ts';
import type { Actor, Storage } from './storage.ts';
import {
  addPart,
  announceSize,
  beginUpload,
  completeUpload,
  endUpload,
  findUpload,
  isUploadOf,
  listParts,
  type Upload,
} from './uploads.ts';

/** An upload that does not move for so long is given up. */
export const RESUMABLE_SECONDS = 24 * 3600;
/** So much at most is sent again after the server was killed. */
const PART_BYTES = 8 * 1024 * 1024;

/** Of the protocol. */
export const EXTENSIONS = ['creation', 'creation-with-upload', 'creation-defer-length', 'termination', 'expiration'];

/** The names that clients use in Upload-Metadata. */
const BUCKET_NAMES = ['bucketName', 'bucket'];
const KEY_NAMES = ['objectName', 'key', 'filename', 'name'];
const TYPE_NAMES = ['contentType', 'filetype', 'type'];

type TusMetadata = Record<string, string | null>;

/** Begins an upload of the tus protocol, as its metadata says. */
export async function beginResumable(
  storage: Storage,
  actor: Actor,
  { id, size, metadata = {} }: Pick<TusUpload, 'id' | 'size' | 'metadata'>,
): Promise<void> {
  const find = (names: string[]) => names.map((name) => metadata[name]).find((value) => value);
  const bucket = find(BUCKET_NAMES);
  const key = find(KEY_NAMES);
  if (!bucket || !key) {
    throw new AppError('STORAGE_INVALID_PARAMETER', 'The upload does not say where to', {
      nextActions: 'Send Upload-Metadata with bucketName and objectName, and contentType if you know it.',
    });
  }
  if (Object.values(metadata).some((value) => value?.includes('\0'))) {
    throw new AppError('STORAGE_INVALID_PARAMETER', 'Upload-Metadata must not contain the character NUL');
  }
  await beginUpload(storage, actor, {
    id,
    protocol: 'tus',
    bucket,
    key,
    mimeType: find(TYPE_NAMES) ?? undefined,
    announcedSize: size,
    metadata: { tus: metadata },
    expiresInSeconds: RESUMABLE_SECONDS,
  });
}

/**
 * What @tus/server stores uploads in, for one actor. All state is in the database and the blob store, so any server
 * goes on where another was killed.
 */
export function createResumableStore(storage: Storage, actor: Actor): DataStore {
  const own = async (id: string): Promise<Upload> => {
    const upload = await findUpload(storage.db.system, 'tus', id);
    if (!upload || !isUploadOf(actor, upload)) throw noUpload();
    return upload;
  };

  return Object.assign(new DataStore(), {
    extensions: EXTENSIONS,

    create: async (upload: TusUpload) => upload,

    async getUpload(id: string) {
      const upload = await own(id);
      const offset = await offsetOf(storage, upload);
      // The server may have been killed when all was there but the object; and an empty file is all there at once.
      if (!upload.completedAt && offset === upload.announcedSize) await complete(storage, actor, upload);
      return new TusUpload({
        id,
        offset,
        size: upload.announcedSize ?? undefined,
        metadata: (upload.metadata?.tus ?? {}) as TusMetadata,
        creation_date: upload.createdAt.toISOString(),
      });
    },

    async write(source: Readable, id: string, offset: number) {
      const upload = await own(id);
      const bucket = await storage.buckets.get(upload.bucket);
      const parts = await listParts(storage.db.system, upload);
      const written = await writeParts(storage, upload, {
        source,
        number: (parts.at(-1)?.number ?? 0) + 1,
        room: Math.min(bucket.maxBytes, upload.announcedSize ?? Number.POSITIVE_INFINITY) - offset,
      });
      if (written === undefined) throw tooLarge(bucket);
      if (offset + written === upload.announcedSize) await complete(storage, actor, upload);
      return offset + written;
    },

    async declareUploadLength(id: string, size: number) {
      const upload = await own(id);
      const bucket = await storage.buckets.get(upload.bucket);
      if (size > bucket.maxBytes) throw tooLarge(bucket);
      await announceSize(storage.db.system, upload, size);
    },

    async remove(id: string) {
      const upload = await own(id);
      await endUpload(storage, upload.id);
    },

    getExpiration: () => RESUMABLE_SECONDS * 1000,
  });
}

function noUpload(): AppError {
  return new AppError('STORAGE_NOT_FOUND', 'There is no such upload, or it is not yours', {
    nextActions: 'Begin a new one with POST /storage/v1/upload/resumable.',
  });
}

async function offsetOf({ db }: Storage, upload: Upload): Promise<number> {
  if (upload.completedAt) return upload.announcedSize ?? 0;
  const parts = await listParts(db.system, upload);
  return parts.reduce((sum, part) => sum + part.size, 0);
}

async function complete(storage: Storage, actor: Actor, upload: Upload): Promise<void> {
  await completeUpload(storage, actor, upload, { keep: true, metadata: null });
}

/**
 * Stores what arrives in parts that are durable one by one.
 * @returns how many bytes were stored; undefined when there were more than `room`
 */
async function writeParts(
  storage: Storage,
  upload: Upload,
  { source, number, room }: { source: Readable; number: number; room: number },
): Promise<number | undefined> {
  const chunks: AsyncIterator<Buffer> = source[Symbol.asyncIterator]();
  let isEnded = false;
  let written = 0;
  const onePart = async function* (first: Buffer) {
    yield first;
    for (let bytes = first.length; bytes < PART_BYTES; ) {
      const next = await chunks.next();
      if (next.done) {
        isEnded = true;
        return;
      }
      bytes += next.value.length;
      yield next.value;
    }
  };
  for (let part = number; !isEnded; part++) {
    const first = await chunks.next();
    if (first.done) break;
    if (written >= room) return undefined;
    const { size } = await addPart(storage, upload, {
      number: part,
      body: onePart(first.value),
      maxBytes: room - written,
      replace: false,
    });
    written += size;
  }
  return written;
}
