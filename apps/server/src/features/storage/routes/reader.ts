import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '#platform/errors.ts';
import { type Guards, presentsCredential } from '#platform/http/caller.ts';
import type { Bucket } from '../buckets.ts';
import type { LinkSigner } from '../links.ts';
import type { Actor, Storage } from '../storage.ts';
import { actorOf, EVERYBODY, keyOf } from './request.ts';

/** Who reads an object by its URL. */
export interface Reader {
  bucket: Bucket;
  actor: Actor;
  /** `public`: everybody may; `link`: the URL is the permission; `user`: the policies decide. */
  by: 'public' | 'link' | 'user';
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set where objects are read. */
    reader: Reader;
  }
}

export type ReaderGuard = (request: FastifyRequest, reply: FastifyReply) => Promise<void>;

interface ReaderOptions {
  storage: Storage;
  guards: Guards;
  /** Present: a signed link opens the object as well. */
  links?: LinkSigner;
}

/**
 * The guard of reading by URL: a public bucket asks for nothing, a signed link for nothing more, and everything
 * else for a credential. One that is broken is refused everywhere, so that its owner hears of it.
 */
export function createReaderGuard({ storage, guards, links }: ReaderOptions): ReaderGuard {
  return async (request, reply) => {
    await guards.checkCredential.call(request.server, request, reply);
    const { bucket: name } = request.params as { bucket: string };
    const query = request.query as { expires?: unknown; signature?: unknown };
    const bucket = await storage.buckets.get(name);
    if (bucket.isPublic) {
      request.reader = { bucket, actor: EVERYBODY, by: 'public' };
      return;
    }
    if (links && query.signature !== undefined) {
      if (links.verify(name, keyOf(request), query)) {
        request.reader = { bucket, actor: EVERYBODY, by: 'link' };
        return;
      }
      if (!presentsCredential(request)) {
        throw new AppError('STORAGE_PERMISSION_DENIED', 'This link has expired, or it was changed', {
          nextActions:
            'Whoever may read the file can make a new one: GET /api/storage/buckets/{bucket}/download-strategy/objects/{key}?expiresIn=3600.',
        });
      }
    }
    await guards.requireUser.call(request.server, request, reply);
    request.reader = { bucket, actor: actorOf(request), by: 'user' };
  };
}
