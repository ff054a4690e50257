import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import cookie from '@fastify/cookie';
import cors, { type FastifyCorsOptions } from '@fastify/cors';
import rateLimit from '@fastify/rate-limit';
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  fastify,
  LogController,
} from 'fastify';
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import { AppError, toAppError, toErrorBody } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import { addressOf, networkOf } from './caller.ts';
import { logFailure } from './leaving.ts';
import { cutOffStalledBodies } from './stalls.ts';

const MAX_JSON_BYTES = 100 * 1024 * 1024;
/** Longer than any proxy in front of us keeps idle connections, so that we never close one it is about to use. */
const KEEP_ALIVE_MS = 72_000;
/** Filters travel in the URL, and a list of some hundred keys does not fit into Node's 16 KB. */
const MAX_HEADER_BYTES = 64 * 1024;

/** Any origin may call: what a request may do depends on its credential alone. */
const CORS: FastifyCorsOptions = {
  origin: true,
  credentials: true,
  exposedHeaders: ['Content-Range', 'Preference-Applied', 'Location', 'ETag'],
  methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
  maxAge: 86_400,
};

/**
 * The HTTP server without any feature: CORS, cookies, validation, and one form for every error.
 * @param trustedProxies who may say whom they speak for: addresses and networks, or the number of proxies
 * @param idleMs how long a body may stand still
 */
export async function createHttpServer(
  log: Logger,
  trustedProxies: readonly string[] | number,
  idleMs: number,
): Promise<FastifyInstance> {
  const loggerInstance: FastifyBaseLogger = log;
  const app = fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    bodyLimit: MAX_JSON_BYTES,
    keepAliveTimeout: KEEP_ALIVE_MS,
    http: { maxHeaderSize: MAX_HEADER_BYTES },
    trustProxy: typeof trustedProxies === 'number' ? (_address, hop) => hop < trustedProxies : [...trustedProxies],
    routerOptions: { maxParamLength: 2048, ignoreTrailingSlash: true },
    // A path that cannot be decoded fails before there is a route.
    frameworkErrors: renderError,
    return503OnClosing: true,
    forceCloseConnections: 'idle',
  });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.decorateRequest('caller', null as never);
  acceptEmptyJson(app);
  continueWhenRead(app);
  cutOffStalledBodies(app, idleMs);
  app.setErrorHandler(renderError);
  app.setNotFoundHandler((request) => {
    throw new AppError('NOT_FOUND', `Endpoint ${request.url.split('?', 1)[0]} not found`, {
      nextActions: 'GET /api/health tells which version runs here; check the method and the path.',
    });
  });
  await app.register(cors, {
    // Without an Origin nobody asks, and programs are spared the headers.
    delegator: ({ headers }, decide) => decide(null, headers.origin === undefined ? { origin: false } : CORS),
  });
  await app.register(cookie);
  await app.register(rateLimit, {
    global: false,
    // Some proxies tell the port as well, which is another one with every connection.
    keyGenerator: (request) => networkOf(addressOf(request) ?? request.ip),
    errorResponseBuilder: (_request, { after }) =>
      new AppError('TOO_MANY_REQUESTS', `Too many requests from this address; try again in ${after}`, {
        nextActions: `Wait ${after}.`,
      }),
  });
  return app;
}

/** The official CLI declares JSON on every request, also on those without a body. */
function acceptEmptyJson(app: FastifyInstance): void {
  // Fastify's own parser refuses __proto__ and constructor.prototype.
  const parse = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') return done(null, undefined);
    void parse(request, body.toString(), done);
  });
}

/**
 * Who asks before they send a body (Expect: 100-continue) is told to go on when somebody begins to read it, which is
 * after the guards: else they would send 100 MB only to hear that they may not. Node.js itself says yes to everybody.
 */
function continueWhenRead({ server }: FastifyInstance): void {
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    const read = request._read;
    request._read = (size) => {
      request._read = read;
      if (!response.headersSent) response.writeContinue();
      read.call(request, size);
    };
    server.emit('request', request, response);
  });
}

function renderError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const appError = toAppError(error);
  if (appError.status >= 500) logFailure(appError.cause ?? appError, request, reply);
  const waitFor = appError.details?.retryAfterSeconds;
  if (typeof waitFor === 'number') reply.header('retry-after', waitFor);
  return reply.status(appError.status).send(toErrorBody(appError));
}
