/** The HTTP side: bodies come as text, answers go out as text, and errors have the engine's own form. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '#platform/errors.ts';
import { answerRequest, type Engine } from './engine.ts';
import { RecordsError, toErrorAnswer } from './errors.ts';
import { hasForbiddenCharacters } from './parse.ts';
import type { Answer } from './respond.ts';

export const TABLES = '/api/database/records';
export const FUNCTIONS = '/api/database/rpc';

type Target = 'table' | 'function';

export function registerRoutes(app: FastifyInstance, engine: Engine): void {
  acceptAnyBody(app);
  app.setErrorHandler(renderError);
  const route = (path: string, target: Target, methods: string[]) =>
    app.route<{ Params: { name: string } }>({
      method: methods,
      url: `${path}/:name`,
      handler: async (request, reply) => send(reply, await handle(engine, target, request)),
    });
  route(TABLES, 'table', ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE']);
  route(FUNCTIONS, 'function', ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE']);
  for (const path of [TABLES, FUNCTIONS]) {
    app.all(`${path}/:name/*`, () => {
      throw new RecordsError('PGRST125', 'Invalid path specified in request URL');
    });
  }
}

async function handle(
  engine: Engine,
  target: Target,
  request: FastifyRequest<{ Params: { name: string } }>,
): Promise<Answer> {
  const { name } = request.params;
  const { relations } = engine.cache.current;
  if (hasForbiddenCharacters(name) && ![...relations.values()].some((tables) => tables.has(name))) {
    throw new AppError('DATABASE_VALIDATION_ERROR', 'A name must not contain quotes or control characters');
  }
  for (const header of ['accept-profile', 'content-profile']) {
    if (isRepeated(request, header)) throw new AppError('INVALID_INPUT', `The header ${header} must be given once`);
  }
  const at = request.url.indexOf('?');
  return answerRequest(engine, request.caller.claims, {
    method: request.method,
    target,
    name,
    path: at < 0 ? request.url : request.url.slice(0, at),
    query: at < 0 ? '' : request.url.slice(at + 1),
    headers: request.headers,
    body: typeof request.body === 'string' ? request.body : '',
  });
}

/** Node joins repeated headers with a comma, which a schema name may have too. */
function isRepeated({ headers, raw }: FastifyRequest, name: string): boolean {
  if (!headers[name]?.includes(',')) return false;
  return raw.rawHeaders.filter((word, position) => position % 2 === 0 && word.toLowerCase() === name).length > 1;
}

function send(reply: FastifyReply, { status, headers, body }: Answer): FastifyReply {
  return reply.code(status).headers(headers).send(body);
}

/** Whatever the type: PostgreSQL takes JSON apart, and the engine tells which types it knows. */
function acceptAnyBody(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/octet-stream', { parseAs: 'buffer' }, (_request, body, done) => {
    done(null, `\\x${body.toString('hex')}`);
  });
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
}

/** Errors of the engine and of PostgreSQL; all others are for the server's own handler. */
function renderError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const isAnonymous = request.caller?.claims.role === 'anon';
  const answer = error instanceof AppError ? undefined : toErrorAnswer(error, isAnonymous);
  if (!answer) throw error;
  if (answer.status >= 500) request.log.error({ err: error }, 'records.failed');
  return reply
    .code(answer.status)
    .headers(answer.headers)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(answer.body));
}
