import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { ImageQuery } from '@insforge/contract/storage.ts';
import type { Sharp } from 'sharp';
import type { ByteRange } from '#platform/blobs/blobs.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError, toAppError } from '#platform/errors.ts';
import { readAll } from './bytes.ts';
import type { ReadableObject, StoredObject } from './object-row.ts';
import { noObject, openObject } from './objects.ts';
import { isRolledBack, type Storage } from './storage.ts';

/** An image that can be served in place of the original. */
export interface Rendition {
  mimeType: string;
  /** Follows from the source and what is wanted of it, so it is known before the image is. */
  etag: string;
  /** Makes the image of the object, or finds it where it was made before. */
  render(object: ReadableObject): Promise<Rendered>;
}

export interface Rendered {
  size: number;
  open(range: ByteRange): Promise<Buffer | Readable>;
}

export interface ImageRenderer {
  /**
   * What the query makes of an object.
   * @throws AppError STORAGE_INVALID_PARAMETER for what is no image, or too large a one
   */
  plan(object: StoredObject, query: ImageQuery): Rendition;
}

const MAX_SOURCE_BYTES = 25 * 1024 * 1024;
const MAX_PIXELS = 50_000_000;
const MAX_SECONDS = 15;
/** More at once would only make each of them late. */
const MAX_AT_ONCE = 2;
const MAX_WAITING = 50;
/** Whoever asks for ever new sizes of one image gets them, but they are not kept. */
const MAX_KEPT = 64;

/** Formats we read: detected type -> the format for `origin`. Vector graphics can load what they like, so they are not here. */
const READABLE: Readonly<Record<string, string>> = {
  'image/avif': 'avif',
  'image/gif': 'gif',
  'image/jpeg': 'jpeg',
  'image/png': 'png',
  'image/tiff': 'jpeg',
  'image/webp': 'webp',
};

/** How a format is written. */
const WRITERS: Readonly<Record<string, (image: Sharp, quality: number) => Sharp>> = {
  avif: (image, quality) => image.avif({ quality, effort: 2 }),
  gif: (image) => image.gif(),
  jpeg: (image, quality) => image.jpeg({ quality, mozjpeg: true }),
  png: (image) => image.png(),
  webp: (image, quality) => image.webp({ quality }),
};

const FITS = { cover: 'cover', contain: 'inside', fill: 'inside' } as const;

interface Recipe {
  width: number | undefined;
  height: number | undefined;
  resize: NonNullable<ImageQuery['resize']>;
  format: string;
  quality: number;
}

export function createImageRenderer(storage: Storage): ImageRenderer {
  const take = createTurns(MAX_AT_ONCE, MAX_WAITING);
  const making = new Map<string, Promise<Rendered>>();

  return {
    plan(object, { width, height, resize = 'cover', format = 'origin', quality = 80 }) {
      const { blob, origin } = readableImage(object);
      const recipe = { width, height, resize, format: format === 'origin' ? origin : format, quality };
      const name = recipeName(recipe);
      const id = `${blob} ${name}`;
      return {
        mimeType: `image/${recipe.format}`,
        etag: createHash('md5').update(id).digest('hex'),
        async render(readable) {
          const known = await findRendered(storage, blob, name);
          if (known) return known;
          // Of many who ask for the same at once, one makes it.
          let rendered = making.get(id);
          if (!rendered) {
            rendered = take(() => make(storage, readable, recipe)).finally(() => making.delete(id));
            making.set(id, rendered);
          }
          return rendered;
        },
      };
    },
  };
}

function readableImage({ bucket, key, blob, size, detectedType }: StoredObject) {
  if (blob === null) throw noObject(bucket, key);
  const origin = READABLE[detectedType ?? ''];
  if (origin === undefined) {
    throw new AppError(
      'STORAGE_INVALID_PARAMETER',
      `"${key}" is no image that can be changed (${detectedType ?? 'unknown type'})`,
      {
        nextActions: `Leave out width, height, resize, format and quality. Images are ${Object.keys(READABLE).join(', ')}.`,
      },
    );
  }
  if (size > MAX_SOURCE_BYTES) {
    throw new AppError(
      'STORAGE_INVALID_PARAMETER',
      `Images above ${MAX_SOURCE_BYTES / 1024 / 1024} MB are not changed`,
    );
  }
  return { blob, origin };
}

function recipeName({ width = 0, height = 0, resize, format, quality }: Recipe): string {
  return `${width}x${height}-${resize}-${format}-q${quality}`;
}

async function findRendered({ db, blobs }: Storage, source: string, recipe: string): Promise<Rendered | undefined> {
  const row = await db.system.one<{ blob: string; size: number }>(sql`
    select blob, size::float8 from storage.renditions where source = ${source} and recipe = ${recipe}`);
  return row && { size: row.size, open: (range) => blobs.open(row.blob, range) };
}

async function make(storage: Storage, object: ReadableObject, recipe: Recipe): Promise<Rendered> {
  const made = await transform(await readAll(await openObject(storage, object)), recipe);
  await keep(storage, object, recipe, made).catch((error) => {
    // Whoever only reads need not hear of it; the image is made again next time.
    if (toAppError(error).code !== 'STORAGE_INSUFFICIENT_QUOTA') throw error;
  });
  return { size: made.length, open: async ({ start, end }) => made.subarray(start, end + 1) };
}

async function keep(
  { db, blobs }: Storage,
  { bucket, key, blob: source }: StoredObject,
  recipe: Recipe,
  made: Buffer,
): Promise<void> {
  const staged = await blobs.stage(once(made), { maxBytes: made.length });
  try {
    await staged.commit();
    const kept = await db.system.query(sql`
      insert into storage.renditions (source, recipe, blob, size, mime_type)
      select ${source}, ${recipeName(recipe)}, ${staged.id}, ${staged.size}::bigint, ${`image/${recipe.format}`}
      where exists (select from storage.objects where bucket = ${bucket} and key = ${key} and blob = ${source})
        and (select count(*) from storage.renditions where source = ${source}) < ${MAX_KEPT}
      on conflict do nothing returning blob`);
    if (kept.length === 0) await staged.discard();
  } catch (error) {
    if (isRolledBack(error)) await staged.discard();
    throw error;
  }
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

let library: Promise<typeof import('sharp')> | undefined;

async function transform(bytes: Buffer, { width, height, resize, format, quality }: Recipe): Promise<Buffer> {
  // Takes 30 MB, and few servers change images.
  library ??= import('sharp').then((loaded) => {
    loaded.default.cache(false);
    loaded.default.concurrency(1);
    return loaded;
  });
  const { default: sharp } = await library;
  const image = sharp(bytes, { limitInputPixels: MAX_PIXELS, failOn: 'error' })
    .rotate()
    .timeout({ seconds: MAX_SECONDS });
  if (width !== undefined || height !== undefined) {
    // With one side only there is no box to stretch to, and the other could be as long as memory.
    const isStretched = resize === 'fill' && width !== undefined && height !== undefined;
    image.resize({ width, height, fit: isStretched ? 'fill' : FITS[resize], withoutEnlargement: !isStretched });
  }
  const written = WRITERS[format]?.(image, quality) ?? image;
  try {
    return await written.toBuffer();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AppError('STORAGE_INVALID_PARAMETER', `This image cannot be changed: ${reason}`, { cause });
  }
}

/** Lets so many work at once and so many wait; who comes after is sent away. */
function createTurns(atOnce: number, waiting: number) {
  let running = 0;
  const queue: (() => void)[] = [];
  return async <Result>(work: () => Promise<Result>): Promise<Result> => {
    if (running >= atOnce) {
      if (queue.length >= waiting) {
        throw new AppError('TOO_MANY_REQUESTS', 'Too many images are being changed right now', {
          nextActions: 'Try again in a few seconds.',
        });
      }
      await new Promise<void>((resolve) => queue.push(resolve));
    } else running++;
    try {
      return await work();
    } finally {
      // The place goes to whoever is next.
      const next = queue.shift();
      if (next) next();
      else running--;
    }
  };
}
