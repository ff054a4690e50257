/** The HTTP side: bodies come as text, answers go out as text, and errors have the engine's own form. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '#platform/errors.ts';
import { clientLeft, logFailure } from '#platform/http/leaving.ts';
import { answerRequest, type Engine } from './engine.ts';
import { RecordsError, toErrorAnswer } from './errors.ts';
import { parseAccept } from './grammar/media-types.ts';
import { functionMethods, tableMethods } from './methods.ts';
import { openApiDocument } from './openapi.ts';
import { type HttpRequest, hasForbiddenCharacters, headerOf, schemaOf } from './parse.ts';
import { profileOf } from './plan.ts';
import type { Answer } from './respond.ts';
import { readRights } from './rights.ts';
import type { Schema } from './schema/types.ts';

export const TABLES = '/api/database/records';
export const FUNCTIONS = '/api/database/rpc';

type Target = 'table' | 'function';

export function registerRoutes(app: FastifyInstance, engine: Engine): void {
  acceptAnyBody(app);
  app.setErrorHandler(renderError);
  const methods = ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'];
  for (const [path, target] of PATHS) {
    app.route<Named>({
      method: methods,
      url: `${path}/:name`,
      handler: async (request, reply) => send(reply, await handle(engine, target, request, () => clientLeft(reply))),
    });
    app.options<Named>(`${path}/:name`, (request, reply) => {
      const list = target === 'table' ? tableMethods : functionMethods;
      const { current } = engine.cache;
      return reply
        .header('allow', list(current, schemaOf(toHttp(target, request), current), request.params.name))
        .send();
    });
    app.all(`${path}/:name/*`, () => {
      throw new RecordsError('PGRST125', 'Invalid path specified in request URL');
    });
  }
  app.get<Named>(TABLES, (request, reply) => sendDocument(engine, request, reply));
  app.options(TABLES, (_request, reply) => reply.header('allow', 'OPTIONS,GET,HEAD').send());
}

interface Named {
  Params: { name: string };
}

const PATHS = [
  [TABLES, 'table'],
  [FUNCTIONS, 'function'],
] as const;

const DOCUMENT_TYPE = 'application/openapi+json';
const DOCUMENT_TYPES = [DOCUMENT_TYPE, 'application/json', 'application/*', '*/*'];

/** What the caller may use of one schema, as an OpenAPI document. */
async function sendDocument(
  engine: Engine,
  request: FastifyRequest<Named>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { current } = engine.cache;
  const http = toHttp('table', request);
  const accept = headerOf(http, 'accept') || '*/*';
  if (!parseAccept(accept).some(({ name }) => DOCUMENT_TYPES.includes(name))) {
    throw new RecordsError('PGRST107', `None of these media types are available: ${accept}`);
  }
  const schemaName = schemaOf(http, current);
  const rights = await readRights(engine.db, request.caller.claims, schemaName);
  const context = { host: request.host, basePath: '/api/database', version: engine.version };
  const document = openApiDocument(current, schemaName, rights, context);
  const profile = profileOf(current, schemaName);
  if (profile !== undefined) reply.header('content-profile', profile);
  return reply.type(`${DOCUMENT_TYPE}; charset=utf-8`).send(JSON.stringify(document));
}

async function handle(
  engine: Engine,
  target: Target,
  request: FastifyRequest<Named>,
  signal: () => AbortSignal,
): Promise<Answer> {
  const { name } = request.params;
  if (hasForbiddenCharacters(name) && !isKnown(engine.cache.current, target, name)) {
    throw new AppError('DATABASE_VALIDATION_ERROR', 'A name must not contain quotes or control characters', {
      nextActions: 'Check the name; GET /api/database/records/ lists the tables and functions there are.',
    });
  }
  for (const header of ['accept-profile', 'content-profile']) {
    if (isRepeated(request, header)) {
      throw new AppError('INVALID_INPUT', `The header ${header} must be given once`, {
        nextActions: 'Send it once, with the name of one schema.',
      });
    }
  }
  return answerRequest(engine, request.caller.claims, toHttp(target, request), signal);
}

function isKnown({ relations, routines }: Schema, target: Target, name: string): boolean {
  return [...(target === 'table' ? relations : routines).values()].some((names) => names.has(name));
}

function toHttp(target: Target, request: FastifyRequest<Named>): HttpRequest {
  const at = request.url.indexOf('?');
  return {
    method: request.method,
    target,
    name: request.params.name,
    path: at < 0 ? request.url : request.url.slice(0, at),
    query: at < 0 ? '' : request.url.slice(at + 1),
    headers: request.headers,
    body: typeof request.body === 'string' ? request.body : '',
  };
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
  if (error instanceof Error && 'code' in error && error.code === 'FST_ERR_CTP_BODY_TOO_LARGE') throw tooLarge(request);
  const isAnonymous = request.caller?.claims.role === 'anon';
  const answer = error instanceof AppError ? undefined : toErrorAnswer(error, isAnonymous);
  if (!answer) throw error;
  if (answer.status >= 500) logFailure(error, request, reply);
  if (answer.statusText !== undefined) reply.raw.statusMessage = answer.statusText;
  return reply
    .code(answer.status)
    .headers(answer.headers)
    .type('application/json; charset=utf-8')
    .send(Buffer.from(JSON.stringify(answer.body)));
}

function tooLarge({ routeOptions: { bodyLimit } }: FastifyRequest): AppError {
  const limit = `${Math.floor((bodyLimit ?? 0) / 1024 / 1024)} MB`;
  return new AppError('PAYLOAD_TOO_LARGE', `The body of a request can have at most ${limit}`, {
    nextActions: 'Send fewer rows at a time.',
  });
}
