import { isIP } from 'node:net';
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify';
import type { Claims } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import type { AccessKeys } from '#platform/tokens/access-keys.ts';
import type { AccessTokens } from '#platform/tokens/access-tokens.ts';

/** Who sent a request, as its credential proves. */
export interface Caller {
  kind: 'api-key' | 'anon-key' | 'token';
  /** What the database is told: the role, and for tokens subject and address. */
  claims: Claims;
  /** The name in the audit log: `api-key`, `anonymous`, or the subject of the token. */
  actor: string;
  /** The session that a token of ours came from. */
  sessionId?: string;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the guards; null where no guard ran. */
    caller: Caller;
  }
}

/** The access levels. A feature puts one on an encapsulated scope, not into its handlers. */
export interface Guards {
  /** Anybody. But a credential that is presented must be valid: a broken one is never taken for none. */
  checkCredential: onRequestAsyncHookHandler;
  /** API key, anon key or any valid token. */
  requireUser: onRequestAsyncHookHandler;
  /** API key, or a token of the role project_admin. */
  requireAdmin: onRequestAsyncHookHandler;
  /** A token; no key will do. */
  requireToken: onRequestAsyncHookHandler;
  /** API key, or a token of somebody: the anon key, which everybody has, will not do. */
  requireIdentity: onRequestAsyncHookHandler;
  /** The API key; no token will do. */
  requireApiKey: onRequestAsyncHookHandler;
}

const API_KEY: Caller = { kind: 'api-key', claims: { role: 'project_admin' }, actor: 'api-key' };
const ANON_KEY: Caller = { kind: 'anon-key', claims: { role: 'anon' }, actor: 'anonymous' };

/** Builds the guards from the two things that can prove who is calling. */
export function createGuards(keys: AccessKeys, tokens: AccessTokens): Guards {
  const identify = async (request: FastifyRequest): Promise<Caller> => {
    if (await hasApiKey(keys, request)) return API_KEY;
    const bearer = bearerOf(request);
    if (bearer === undefined) {
      throw new AppError('AUTH_INVALID_CREDENTIALS', 'This request carries no credential');
    }
    if (bearer.startsWith('anon_')) return byAnonKey(keys, bearer);
    const { claims } = await tokens.verify(bearer);
    const sessionId = claims.more?.sid;
    // Only a signed-in user has an identity that policies may rely on.
    return {
      kind: 'token',
      claims: claims.role === 'authenticated' ? claims : { role: claims.role },
      actor: claims.sub,
      ...(typeof sessionId === 'string' ? { sessionId } : {}),
    };
  };

  const guard =
    (accepts: (caller: Caller) => true | AppError): onRequestAsyncHookHandler =>
    async (request) => {
      const caller = await identify(request);
      const verdict = accepts(caller);
      if (verdict !== true) throw verdict;
      request.caller = caller;
    };

  const requireUser = guard(() => true);
  return {
    async checkCredential(request, reply) {
      if (presentsCredential(request)) await requireUser.call(this, request, reply);
    },
    requireUser,
    requireAdmin: guard(
      ({ claims }) =>
        claims.role === 'project_admin' ||
        new AppError('AUTH_UNAUTHORIZED', 'This needs the rights of an admin', {
          status: 403,
          nextActions: 'Use the API key, or sign in with POST /api/auth/admin/sessions.',
        }),
    ),
    requireToken: guard(
      ({ kind }) =>
        kind === 'token' || new AppError('AUTH_INVALID_CREDENTIALS', 'This needs the token of a signed-in user'),
    ),
    requireIdentity: guard(
      ({ claims }) =>
        claims.role !== 'anon' ||
        new AppError('AUTH_INVALID_CREDENTIALS', 'This needs the token of a signed-in user, or the API key'),
    ),
    requireApiKey: guard(
      ({ kind }) => kind === 'api-key' || new AppError('AUTH_INVALID_API_KEY', 'This needs the API key'),
    ),
  };
}

/** The token of `Authorization: Bearer`; an absent, empty or different scheme counts as none. */
export function bearerOf(request: FastifyRequest): string | undefined {
  const header = request.headers.authorization;
  if (!header || header.length < 8 || header.slice(0, 7).toLowerCase() !== 'bearer ') return undefined;
  return header.slice(7).trim() || undefined;
}

/** True where a request says who sends it, rightly or not. */
export function presentsCredential(request: FastifyRequest): boolean {
  return apiKeyOf(request) !== undefined || bearerOf(request) !== undefined;
}

/**
 * True for a server of the project.
 * @throws AppError AUTH_INVALID_API_KEY for a key that is none of ours
 */
export async function hasApiKey(keys: AccessKeys, request: FastifyRequest): Promise<boolean> {
  const presented = apiKeyOf(request);
  if (presented === undefined) return false;
  if (await keys.verify('api', presented)) return true;
  throw new AppError('AUTH_INVALID_API_KEY', 'The API key is not valid');
}

/** The API key of `X-API-Key`, which goes first, or of `Authorization: Bearer`. */
function apiKeyOf(request: FastifyRequest): string | undefined {
  const header = request.headers['x-api-key'];
  if (typeof header === 'string' && header !== '') return header;
  const bearer = bearerOf(request);
  return bearer?.startsWith('ik_') ? bearer : undefined;
}

/** The address of the client for an `inet` column; a proxy may have named one that is none. */
export function addressOf(request: FastifyRequest): string | null {
  // A socket for both kinds of addresses writes IPv4 in the form of IPv6, and some proxies add the port.
  const address = request.ip
    .replace(/%.*$/, '')
    .replace(/^::ffff:(?=\d+\.)/i, '')
    .replace(/^([\d.]+):\d+$/, '$1')
    .replace(/^\[(.*)\](?::\d+)?$/, '$1');
  return isIP(address) ? address : null;
}

/** What counts as one place on the network: whoever has an IPv6 address has 2^64 of them. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  const [left = [], right = []] = address.split('::').map((half) => half.split(':').filter(Boolean));
  const groups = [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right];
  return `${groups.slice(0, 4).join(':')}::/64`;
}

async function byAnonKey(keys: AccessKeys, presented: string): Promise<Caller> {
  if (await keys.verify('anon', presented)) return ANON_KEY;
  throw new AppError('AUTH_INVALID_CREDENTIALS', 'The anon key is not valid', {
    nextActions: 'Read the current one with GET /api/metadata/anon-key as an admin.',
  });
}
