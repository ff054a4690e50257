import type { FastifyReply, FastifyRequest } from 'fastify';
import { isDatabaseError } from '#platform/errors.ts';

/** What the signal of `clientLeft` is raised with. */
class ClientLeft extends Error {
  override readonly name = 'ClientLeft';
}

/** A signal that is raised when the client goes away before it has its answer. */
export function clientLeft({ raw }: FastifyReply): AbortSignal {
  const leaving = new AbortController();
  const leave = () => leaving.abort(new ClientLeft('the client went away'));
  if (raw.destroyed) leave();
  raw.once('close', () => raw.writableFinished || leave());
  return leaving.signal;
}

/**
 * Logs what a request failed with. Where it failed because its client went away, nobody was failed, and so many are
 * such requests that the others would not be seen among them.
 */
export function logFailure(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const line = { err: error, req: request };
  if (reply.raw.destroyed && comesOfLeaving(error, request)) request.log.debug(line, 'request.abandoned');
  else request.log.error(line, 'request.failed');
}

const QUERY_CANCELED = '57014';

function comesOfLeaving(error: unknown, { raw }: FastifyRequest): boolean {
  if (isDatabaseError(error)) return error.code === QUERY_CANCELED;
  return error instanceof ClientLeft || error === raw.errored;
}
