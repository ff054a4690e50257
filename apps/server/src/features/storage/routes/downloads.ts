import { ImageQuerySchema } from '@insforge/contract/storage.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { ByteRange } from '#platform/blobs/blobs.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { ImageRenderer, Rendition } from '../images.ts';
import { UNKNOWN_TYPE } from '../media-types.ts';
import type { ReadableObject, StoredObject } from '../object-row.ts';
import { openObject, withObject } from '../objects.ts';
import {
  contentDisposition,
  contentSecurityPolicy,
  evaluateConditions,
  headerOf,
  isKnown,
  nameOf,
  present,
  rangeOf,
  type Version,
} from '../serving.ts';
import type { Storage } from '../storage.ts';
import type { Reader } from './reader.ts';
import { cutOffWhenIdle, keyOf } from './request.ts';

const OBJECT = '/api/storage/buckets/:bucket/objects/*';
/** How long the store serves bytes directly after it was asked here. */
const REDIRECT_SECONDS = 300;
const YEAR_SECONDS = 365 * 24 * 3600;
/** What an uploader over S3 may say about the bytes, and what is harmless to repeat. */
const KEPT_HEADERS = ['content-encoding', 'content-language'] as const;

const DownloadQuerySchema = z.object({
  ...ImageQuerySchema.shape,
  /** The version that the client means. */
  v: z.string().optional(),
  /** Present: save it instead of showing it, under this name where one is given. */
  download: z.string().max(255).optional(),
  expires: z.string().optional(),
  signature: z.string().optional(),
});
type DownloadQuery = z.infer<typeof DownloadQuerySchema>;

interface DownloadOptions {
  storage: Storage;
  images: ImageRenderer;
  idleMs: number;
}

/** The bytes of objects. To be registered where the reader's guard runs. */
export const downloadRoutes: FastifyPluginAsyncZod<DownloadOptions> = async (app, { storage, images, idleMs }) => {
  const schema = { params: z.object({ bucket: z.string() }), querystring: DownloadQuerySchema };

  const send = async (request: FastifyRequest, reply: FastifyReply, query: DownloadQuery, object: ReadableObject) => {
    const { reader } = request;
    const rendition = isImageQuery(query) ? images.plan(object, query) : undefined;
    const version = toVersion(object, rendition);
    const presentation = present(version, reader.bucket.inlineActiveContent);
    if (query.download !== undefined) presentation.disposition = 'attachment';
    const disposition = contentDisposition(presentation.disposition, query.download || nameOf(object));
    const cacheControl = cacheControlOf(reader, query, object);

    const status = evaluateConditions(request.headers, version);
    if (status === 412) {
      throw new AppError('STORAGE_INVALID_PARAMETER', 'The object is not the version that If-Match names', { status });
    }
    reply.headers({
      etag: version.etag,
      'last-modified': version.modifiedAt.toUTCString(),
      'cache-control': cacheControl,
      'accept-ranges': 'bytes',
      ...(reader.by === 'user' ? { vary: 'Authorization, X-API-Key, Origin' } : {}),
    });
    if (status === 304) return reply.status(304).send();

    const { presign } = storage.blobs;
    if (presign && !rendition && request.method === 'GET' && object.blob !== null && object.bytes === null) {
      const expiresInSeconds = REDIRECT_SECONDS;
      const { contentType } = presentation;
      const url = await presign.download(object.blob, { contentType, disposition, cacheControl, expiresInSeconds });
      return reply.header('cache-control', 'no-store').redirect(url, 302);
    }

    const original = { size: object.size, open: (range: ByteRange) => openObject(storage, object, range) };
    const { size, open } = rendition ? await rendition.render(object) : original;
    const range = rangeOf(request.headers, version, size);
    if (range === 'unsatisfiable') {
      reply.header('content-range', `bytes */${size}`);
      throw new AppError('STORAGE_INVALID_PARAMETER', `The object has ${size} bytes`, { status: 416 });
    }
    const part = range ?? { start: 0, end: size - 1 };
    const body = request.method === 'HEAD' ? undefined : await open(part);
    reply.headers({
      'content-type': presentation.contentType,
      'content-disposition': disposition,
      'content-length': part.end - part.start + 1,
      'x-content-type-options': 'nosniff',
      ...(range ? { 'content-range': `bytes ${part.start}-${part.end}/${size}` } : {}),
      ...(rendition ? {} : keptHeaders(object)),
    });
    const policy = contentSecurityPolicy(presentation);
    if (policy !== undefined) reply.header('content-security-policy', policy);
    cutOffWhenIdle(request, idleMs);
    return reply.status(range ? 206 : 200).send(body);
  };

  app.route({
    method: ['GET', 'HEAD'],
    url: OBJECT,
    schema,
    handler: async (request, reply) => {
      const { query, headers, reader } = request;
      // Most images that are asked for have been made.
      const isUnread = request.method === 'HEAD' || isImageQuery(query);
      const skipBytes = isUnread ? sql`true` : isKnown(headerOf(headers));
      const wanted = { bucket: reader.bucket.name, key: keyOf(request), skipBytes };
      return withObject(storage, reader.actor, wanted, (object) => send(request, reply, query, object));
    },
  });
};

function isImageQuery({ width, height, format, quality, resize }: DownloadQuery): boolean {
  return [width, height, format, quality, resize].some((value) => value !== undefined);
}

function toVersion(object: StoredObject, rendition: Rendition | undefined): Version {
  const { size, mimeType, detectedType, uploadedAt } = object;
  // Without an MD5, the time it was stored tells versions apart.
  const etag = rendition?.etag ?? object.etag ?? `${uploadedAt.getTime()}-${size}`;
  return {
    etag: `"${etag}"`,
    modifiedAt: uploadedAt,
    mimeType: rendition?.mimeType ?? mimeType ?? UNKNOWN_TYPE,
    detectedType: rendition?.mimeType ?? detectedType,
  };
}

/**
 * A URL that names its version may be kept for good by everybody, if everybody may have it; the others are asked
 * about each time. What one user may see is kept by their browser only.
 */
function cacheControlOf({ by }: Reader, { v, expires }: DownloadQuery, { etag }: StoredObject): string {
  const isPinned = v !== undefined && v === etag;
  if (by === 'public') return isPinned ? `public, max-age=${YEAR_SECONDS}, immutable` : 'public, no-cache';
  if (by === 'user') return 'private, no-cache';
  const left = Math.max(0, Math.floor(Number(expires) - Date.now() / 1000));
  return `private, max-age=${isPinned ? left : 0}`;
}

function keptHeaders({ metadata }: StoredObject): Record<string, string> {
  const headers = metadata?.headers ?? {};
  return Object.fromEntries(
    KEPT_HEADERS.flatMap((name) => {
      const value = headers[name];
      return value !== undefined && /^[\w, -]{1,100}$/.test(value) ? [[name, value]] : [];
    }),
  );
}
