import type { FastifyReply } from 'fastify';

/** A signal that is raised when the client goes away before it has its answer. */
export function clientLeft(reply: FastifyReply): AbortSignal {
  const leaving = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) leaving.abort(new Error('the client went away'));
  });
  return leaving.signal;
}
