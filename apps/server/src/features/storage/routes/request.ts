import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError, toAppError } from '#platform/errors.ts';
import type { Actor } from '../storage.ts';

/** Who acts, for requests that a guard has let in. */
export function actorOf(request: FastifyRequest): Actor {
  return { claims: request.caller.claims, via: 'rest' };
}

/** Whoever reads what is open to all: the bytes are, and the row is read by the platform. */
export const EVERYBODY: Actor = { claims: { role: 'project_admin' }, via: 'rest' };

/** A bucket may be called `objects` too. */
const BEFORE_KEY = /^.*?\/buckets\/[^/]+\/(?:download-strategy\/)?objects\//;

/**
 * The key in the path, after `/objects/`. Read from the URL as it came: a router that knows paths would take a
 * slash at the end, or an encoded one, for something else.
 * @param operation a last segment that is not part of the key
 * @throws AppError STORAGE_INVALID_PARAMETER for a broken encoding
 */
export function keyOf(request: FastifyRequest, operation?: string): string {
  const [path = ''] = (request.raw.url ?? '').split('?', 1);
  const [start = ''] = BEFORE_KEY.exec(path) ?? [];
  const end = operation === undefined ? path.length : path.length - `/${operation}`.length;
  try {
    return decodeURIComponent(path.slice(start.length, end));
  } catch (cause) {
    throw new AppError('STORAGE_INVALID_PARAMETER', 'The key in the path is not encoded as UTF-8 with % signs', {
      cause,
      nextActions: 'Encode it once, as encodeURIComponent(key) does.',
    });
  }
}

/** What links in answers begin with. */
export function createOrigin(publicUrl: string | undefined): (request: FastifyRequest) => string {
  return (request) => publicUrl ?? `${request.protocol}://${request.host}`;
}

/** Ends a connection that moves no byte for so long. Counts until the answer is sent. */
export function cutOffWhenIdle({ raw }: FastifyRequest, ms: number): void {
  // Node destroys a socket that times out. In-process requests have none.
  if ('setTimeout' in raw.socket) raw.socket.setTimeout(ms);
}

/** A refused upload is let run on for so long, so that its sender gets to read why. */
const LINGER_MS = 5_000;

/** For scopes whose bodies are files: hands them on as streams, and ends what is still being sent after the answer. */
export function acceptFiles(app: FastifyInstance): void {
  // Whatever the type says, the body is not for us to parse.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  app.addHook('onError', async (_request, reply, error) => {
    // What is left of such a body will not come, and must not be waited for.
    if (toAppError(error).status === 408) reply.header('connection', 'close');
  });
  app.addHook('onResponse', async ({ raw }) => {
    if (raw.complete) return;
    // Node reads the rest and throws it away; not without end.
    setTimeout(() => raw.complete || raw.destroy(), LINGER_MS).unref();
  });
}
