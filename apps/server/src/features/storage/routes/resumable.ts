import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Locker } from '@tus/server';
import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import { toAppError, toErrorBody } from '#platform/errors.ts';
import { bytesOf } from '../bytes.ts';
import type { Storage } from '../storage.ts';
import { actorOf } from './request.ts';

const PATH = '/storage/v1/upload/resumable';

interface ResumableOptions {
  storage: Storage;
  idleMs: number;
}

/**
 * Uploads that go on after a broken connection or a restart: https://tus.io/protocols/resumable-upload. The library
 * speaks the protocol; this hands it the request as the Fetch API has it, and its answer to Fastify.
 */
export const resumableRoutes: FastifyPluginAsync<ResumableOptions> = async (app, { storage, idleMs }) => {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  let locker: Promise<Locker> | undefined;

  const handle = async (request: FastifyRequest) => {
    const [{ MemoryLocker, Server }, { beginResumable, createResumableStore }] = await Promise.all([
      import('@tus/server'),
      import('../resumable.ts'),
    ]);
    const actor = actorOf(request);
    locker ??= Promise.resolve(new MemoryLocker());
    const server = new Server({
      path: PATH,
      locker,
      datastore: createResumableStore(storage, actor),
      namingFunction: () => randomUUID(),
      generateUrl: (_request, { path, id }) => `${path}/${id}`,
      onUploadCreate: async (_request, upload) => {
        await beginResumable(storage, actor, upload);
        return {};
      },
      onResponseError: (_request, error) => toTusError(error),
    });
    const { body, brokeWith } = bodyOf(request, idleMs);
    const response = await server.handleWeb(toFetchRequest(request, body));
    const broken = brokeWith();
    if (broken !== undefined) throw broken;
    return response;
  };

  app.route({
    method: ['POST', 'PATCH', 'HEAD', 'DELETE'],
    url: PATH,
    handler: handle,
  });
  app.route({
    method: ['PATCH', 'HEAD', 'DELETE'],
    url: `${PATH}/:id`,
    handler: handle,
  });
};

/** What the library throws has a status and a text; what we throw gets our envelope. */
function toTusError(error: Error | { status_code: number; body: string }): { status_code: number; body: string } {
  if ('status_code' in error) return error;
  const appError = toAppError(error);
  return { status_code: appError.status, body: JSON.stringify(toErrorBody(appError)) };
}

/** The body, ending quietly where the connection breaks, so that what arrived is kept. */
function bodyOf(request: FastifyRequest, idleMs: number): { body: Readable | undefined; brokeWith: () => unknown } {
  let failure: unknown;
  const source = request.body;
  const untilBroken = async function* (stream: Readable) {
    try {
      yield* bytesOf(stream, idleMs);
    } catch (error) {
      failure = error;
    }
  };
  const body = source instanceof Readable ? Readable.from(untilBroken(source), { objectMode: false }) : undefined;
  return { body, brokeWith: () => failure };
}

function toFetchRequest(request: FastifyRequest, body: Readable | undefined): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (typeof value === 'string') headers.set(name, value);
  }
  const { method } = request;
  return new Request(new URL(request.url, 'http://localhost'), {
    method,
    headers,
    ...(body && method !== 'HEAD' ? { body: Readable.toWeb(body) as ReadableStream, duplex: 'half' } : {}),
  });
}
