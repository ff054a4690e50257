import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify';
import type { Provider } from 'oidc-provider';
import { sendPage } from '#features/auth-pages/index.ts';
import type { Db } from '#platform/db/db.ts';
import { AppError, toAppError } from '#platform/errors.ts';
import { bearerOf } from '#platform/http/caller.ts';
import { logFailure } from '#platform/http/leaving.ts';
import type { AccessTokens } from '#platform/tokens/access-tokens.ts';
import { kindOf } from '../clients.ts';
import { describe } from '../discovery.ts';
import { sayWhoAsks } from '../forwarded.ts';
import { errorPage } from '../pages.ts';
import { PATHS } from '../paths.ts';
import { readDynamicRegistration } from '../settings.ts';

interface ProtocolOptions {
  db: Db;
  apiBaseUrl: string;
  tokens: AccessTokens;
  provider: () => Promise<Provider>;
}

const MAX_BODY_BYTES = 56 * 1024;
const perMinute = (max: number) => ({ max, timeWindow: '1 minute', hook: 'preHandler' as const });

/** One client, wherever it runs, and nobody else in its name from the same place. */
const byClient = (request: FastifyRequest) => {
  const { client_id: id } = formOf(request);
  const basic = /^basic\s+(\S+)/i.exec(request.headers.authorization ?? '')?.[1];
  const fromBasic = basic && Buffer.from(basic, 'base64').toString().split(':', 1)[0];
  return `client:${id ?? fromBasic ?? request.ip}`;
};

const LIMITS = {
  authorize: perMinute(100),
  token: { ...perMinute(50), keyGenerator: byClient },
  userinfo: { ...perMinute(100), keyGenerator: (request: FastifyRequest) => bearerOf(request) ?? request.ip },
  register: perMinute(10),
};

/** The endpoints that programs and browsers speak the protocol with. */
export const protocolRoutes: FastifyPluginAsync<ProtocolOptions> = async (
  app,
  { db, apiBaseUrl, tokens, provider },
) => {
  acceptText(app);
  app.addHook('onRequest', sayWhoAsks);
  app.setErrorHandler(async (error, request, reply) => {
    const isPage = request.routeOptions.url?.startsWith(PATHS.authorization);
    if (!isPage) return renderOAuthError(error, request, reply);
    const { status, name, message } = toOAuthError(error, request, reply);
    return sendPage(reply, await errorPage(db, { error: name, description: message }), status);
  });

  const serve = async (request: FastifyRequest, reply: FastifyReply, body?: Record<string, string>) => {
    const callback = (await provider()).callback();
    reply.hijack();
    await callback(await toRaw(request, tokens, body), reply.raw);
  };

  // The second is where MCP clients look (RFC 8414).
  for (const path of ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server']) {
    app.get(path, async (_request, reply) => {
      reply.header('cache-control', 'public, max-age=60');
      return describe(apiBaseUrl, await readDynamicRegistration(db.system));
    });
  }

  const authorize = { config: { rateLimit: LIMITS.authorize } };
  app.get(PATHS.authorization, authorize, (request, reply) => serve(request, reply));
  app.get(`${PATHS.authorization}/:uid`, authorize, (request, reply) => serve(request, reply));
  // https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest wants both methods.
  app.post(PATHS.authorization, authorize, (request, reply) =>
    reply.redirect(`${PATHS.authorization}?${new URLSearchParams(formOf(request))}`, 303),
  );
  app.post(PATHS.token, { config: { rateLimit: LIMITS.token } }, (request, reply) =>
    serve(request, reply, formOf(request)),
  );
  app.post(PATHS.revocation, { config: { rateLimit: LIMITS.token } }, (request, reply) =>
    serve(request, reply, formOf(request)),
  );
  app.post(PATHS.introspection, { config: { rateLimit: LIMITS.token } }, (request, reply) =>
    serve(request, reply, formOf(request)),
  );
  app.get(PATHS.userinfo, { config: { rateLimit: LIMITS.userinfo } }, (request, reply) => serve(request, reply));
  app.post(PATHS.userinfo, { config: { rateLimit: LIMITS.userinfo } }, (request, reply) =>
    serve(request, reply, formOf(request)),
  );
  app.post(PATHS.registration, { config: { rateLimit: LIMITS.register } }, async (request, reply) => {
    if (!(await readDynamicRegistration(db.system))) {
      throw new AppError('FORBIDDEN', 'Programs do not register themselves here', {
        nextActions: 'An admin can allow it: PUT /api/oauth/v1/settings {"dynamicRegistration":true}.',
      });
    }
    const metadata = withKind(parseJson(textOf(request)));
    const callback = (await provider()).callback();
    reply.hijack();
    await callback(withBody(request, JSON.stringify(metadata), 'application/json'), reply.raw);
  });
};

/** Bodies stay text: this server reads them as JSON or as a form, the provider as what it expects. */
function acceptText(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  const types = ['application/json', 'application/x-www-form-urlencoded'];
  app.addContentTypeParser(types, { parseAs: 'string', bodyLimit: MAX_BODY_BYTES }, (_request, body, done) =>
    done(null, body),
  );
}

const forms = new WeakMap<FastifyRequest, Record<string, string>>();

/** The parameters of a body, which may be a form or, as documented here, JSON. @throws AppError INVALID_INPUT */
function formOf(request: FastifyRequest): Record<string, string> {
  const known = forms.get(request);
  if (known) return known;
  const isJson = /^application\/json/i.test(request.headers['content-type'] ?? '');
  const form = isJson ? textsIn(parseJson(textOf(request))) : parseForm(textOf(request));
  forms.set(request, form);
  return form;
}

/** https://www.rfc-editor.org/rfc/rfc6749#section-3.2: no parameter may occur twice. */
function parseForm(text: string): Record<string, string> {
  const parameters = new URLSearchParams(text);
  const form = Object.fromEntries(parameters);
  if (Object.keys(form).length === parameters.size) return form;
  throw new AppError('INVALID_INPUT', 'The body has a parameter twice');
}

function parseJson(text: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text || '{}');
  } catch (cause) {
    throw new AppError('INVALID_INPUT', 'The body is no JSON', { cause });
  }
  if (typeof parsed !== 'object' || parsed === null) throw new AppError('INVALID_INPUT', 'The body is no JSON object');
  return { ...parsed };
}

const textOf = ({ body }: FastifyRequest) => (typeof body === 'string' ? body : '');

function textsIn(parsed: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(parsed).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

/** MCP clients, which run on desktops, do not say that they are native programs: their addresses do. */
function withKind(metadata: Record<string, unknown>): Record<string, unknown> {
  const { redirect_uris: uris } = metadata;
  const isList = Array.isArray(uris) && uris.every((uri) => typeof uri === 'string');
  return isList ? { application_type: kindOf(uris), ...metadata } : metadata;
}

/** The request as the provider is to see it: with a form for a body, and its own ids in the place of our tokens. */
async function toRaw(request: FastifyRequest, tokens: AccessTokens, form?: Record<string, string>) {
  const bearer = bearerOf(request);
  const tokenId = bearer === undefined ? undefined : await tokens.clientTokenId(bearer);
  if (tokenId !== undefined) request.raw.headers.authorization = `Bearer ${tokenId}`;
  if (!form) return request.raw;
  const replaced = { ...form };
  for (const name of ['token', 'access_token']) {
    const given = replaced[name];
    // The provider answers a JWT with an error. One that is not ours is just a token that nobody has (RFC 7662, 2.2).
    if (given?.includes('.')) replaced[name] = (await tokens.clientTokenId(given)) ?? 'unknown';
  }
  return withBody(request, new URLSearchParams(replaced).toString(), 'application/x-www-form-urlencoded');
}

/** A request that can be read once more. The provider wants a stream, and takes the rest from the one that came. */
function withBody({ raw }: FastifyRequest, body: string, type: string): typeof raw {
  const bytes = Buffer.from(body);
  const headers = { ...raw.headers, 'content-type': type, 'content-length': String(bytes.length) };
  delete headers['transfer-encoding'];
  const { method, url, socket, httpVersion, httpVersionMajor, httpVersionMinor } = raw;
  const stream = Object.assign(Readable.from([bytes], { objectMode: false }), {
    headers,
    method,
    url,
    socket,
    connection: socket,
    httpVersion,
    httpVersionMajor,
    httpVersionMinor,
  });
  return stream as unknown as typeof raw;
}

/** https://www.rfc-editor.org/rfc/rfc6749#section-5.2 */
function toOAuthError(error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const { status, code, message, cause, nextActions } = toAppError(error);
  if (status >= 500) logFailure(cause ?? error, request, reply);
  const name =
    status === 429
      ? 'temporarily_unavailable'
      : code === 'FORBIDDEN'
        ? 'access_denied'
        : status >= 500
          ? 'server_error'
          : 'invalid_request';
  return { status, name, message, nextActions };
}

function renderOAuthError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, name, message, nextActions } = toOAuthError(error, request, reply);
  return reply
    .status(status)
    .header('cache-control', 'no-store')
    .send({ error: name, error_description: message, ...(nextActions === undefined ? {} : { nextActions }) });
}
