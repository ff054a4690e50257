import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Locker } from '@tus/server';
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '#platform/errors.ts';
import { bytesOf } from '../bytes.ts';
import type { Storage } from '../storage.ts';
import { acceptFiles, actorOf } from './request.ts';

const PATH = '/storage/v1/upload/resumable';
const VERSION = '1.0.0';

/** What the server can do, for whoever asks. A browser's question for another origin is answered by CORS before. */
export const resumableDiscovery: FastifyPluginAsync = async (app) => {
  for (const url of [PATH, `${PATH}/:id`]) {
    app.options(url, async (_request, reply) => {
      const { EXTENSIONS } = await import('../resumable.ts');
      return reply
        .status(204)
        .headers({ 'tus-resumable': VERSION, 'tus-version': VERSION, 'tus-extension': EXTENSIONS.join(',') })
        .send();
    });
  }
};

interface ResumableOptions {
  storage: Storage;
  idleMs: number;
}

/**
 * Uploads that go on after a broken connection or a restart: https://tus.io/protocols/resumable-upload. The library
 * speaks the protocol; this hands it the request as the Fetch API has it, and its answer to Fastify.
 */
export const resumableRoutes: FastifyPluginAsync<ResumableOptions> = async (app, { storage, idleMs }) => {
  acceptFiles(app);
  let locker: Promise<Locker> | undefined;

  const handle = async (request: FastifyRequest, reply: FastifyReply) => {
    // Of every answer, as the protocol wants it.
    reply.header('tus-resumable', VERSION);
    if (request.headers['tus-resumable'] !== VERSION) {
      reply.header('tus-version', VERSION);
      throw new AppError('STORAGE_INVALID_PARAMETER', `This server speaks version ${VERSION} of the tus protocol`, {
        status: 412,
        nextActions: `Send the header Tus-Resumable: ${VERSION}.`,
      });
    }
    const [{ MemoryLocker, Server }, { beginResumable, createResumableStore }] = await Promise.all([
      import('@tus/server'),
      import('../resumable.ts'),
    ]);
    const actor = actorOf(request);
    locker ??= Promise.resolve(new MemoryLocker());
    let failure: unknown;
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
      allowedOrigins: () => true,
      allowedCredentials: true,
      onResponseError: (_request, error) => {
        failure = error;
        return undefined;
      },
    });
    const { body, brokeWith } = bodyOf(request, idleMs);
    const response = await server.handleWeb(toFetchRequest(request, body));
    failure = brokeWith() ?? failure;
    if (failure !== undefined) throw toError(failure);
    // What the library refuses by its headers it does not report.
    if (response.status >= 400) throw toError({ status_code: response.status, body: await response.text() });
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

/** What the library throws has a status and a text; our own envelope is made of it. */
function toError(failure: unknown): unknown {
  if (typeof failure !== 'object' || failure === null || !('status_code' in failure)) return failure;
  const { status_code: status, body = '' } = failure as { status_code: number; body?: string };
  return new AppError(status === 404 ? 'STORAGE_NOT_FOUND' : 'STORAGE_INVALID_PARAMETER', body.trim(), { status });
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
