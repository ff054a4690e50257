import type { FastifyReply, FastifyRequest } from 'fastify';
import { toAppError } from '#platform/errors.ts';
import type { RefreshTokens } from '../refresh-tokens.ts';
import { endedSession, type PresentedSession, type Realm, SESSION_SECONDS } from '../sessions.ts';

/** Apps live on other sites than this server, so the cookie must travel across sites; hence the CSRF token. */
const ATTRIBUTES = { httpOnly: true, secure: true, sameSite: 'none' } as const;

const COOKIES = {
  user: { name: 'insforge_refresh_token', attributes: { ...ATTRIBUTES, path: '/api/auth' } },
  admin: { name: 'insforge_admin_refresh_token', attributes: { ...ATTRIBUTES, path: '/api/auth/admin' } },
} as const;

/** Hands the refresh token to the browser. */
export function setSessionCookie(reply: FastifyReply, realm: Realm, refreshToken: string): void {
  const { name, attributes } = COOKIES[realm];
  reply.setCookie(name, refreshToken, { ...attributes, maxAge: SESSION_SECONDS });
}

export function clearSessionCookie(reply: FastifyReply, realm: Realm): void {
  const { name, attributes } = COOKIES[realm];
  reply.clearCookie(name, attributes);
}

/** The session of the realm's cookie, if there is a valid one. @throws AppError FORBIDDEN without its CSRF token */
export async function findCookieSession(
  request: FastifyRequest,
  refreshTokens: RefreshTokens,
  realm: Realm,
): Promise<PresentedSession | undefined> {
  const session = await refreshTokens.read(request.cookies[COOKIES[realm].name], realm);
  if (session) refreshTokens.checkCsrf(session, request.headers['x-csrf-token']);
  return session;
}

/** The session of the realm's cookie. @throws AppError AUTH_UNAUTHORIZED, FORBIDDEN */
export async function requireCookieSession(
  request: FastifyRequest,
  refreshTokens: RefreshTokens,
  realm: Realm,
): Promise<PresentedSession> {
  const session = await findCookieSession(request, refreshTokens, realm);
  if (!session) throw endedSession();
  return session;
}

/** An error handler that takes the cookie from a browser whose session is over, and passes the error on. */
export function dropDeadCookie(realm: Realm) {
  return (error: unknown, _request: FastifyRequest, reply: FastifyReply): void => {
    if (toAppError(error).status === 401) clearSessionCookie(reply, realm);
    throw error;
  };
}
