import {
  type ClientType,
  ClientTypeQuerySchema,
  DoneSchema,
  RefreshSchema,
  SessionReplySchema,
  SignInSchema,
  SignUpReplySchema,
  SignUpSchema,
} from '@insforge/contract/auth.ts';
import type { FastifyReply, FastifyRequest, preValidationAsyncHookHandler } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { AppError } from '#platform/errors.ts';
import { bearerOf } from '#platform/http/caller.ts';
import type { EmailAuth } from '../code-mails.ts';
import { signInWithOtp } from '../email-sign-in.ts';
import { endedSession, endSession, type PresentedSession } from '../sessions.ts';
import { type Auth, refreshUserSession, type SessionTokens, signIn, startUserSession } from '../sign-in.ts';
import { signUp } from '../sign-up.ts';
import { readRedirect, sendFirstVerification } from '../verification.ts';
import {
  clearSessionCookie,
  dropDeadCookie,
  findCookieSession,
  requireCookieSession,
  setSessionCookie,
} from './cookies.ts';
import { deviceOf } from './device.ts';
import { LIMITS } from './limits.ts';

interface SessionOptions {
  auth: EmailAuth;
  captcha: preValidationAsyncHookHandler;
}

/** Whoever signs in with a code has passed the captcha when they asked for it. */
export const purposeOfSignIn = ({ body }: FastifyRequest) =>
  (body as { method?: unknown } | null)?.method === 'otp' ? undefined : 'sign-in';

/** Signing in and out: open to everybody, because the credential is in the request. */
export const sessionRoutes: FastifyPluginAsyncZod<SessionOptions> = async (app, { auth, captcha }) => {
  const { db, tokens, refreshTokens } = auth;

  app.post(
    '/api/auth/sessions',
    {
      preValidation: captcha,
      schema: { querystring: ClientTypeQuerySchema, body: SignInSchema, response: { 200: SessionReplySchema } },
    },
    async (request, reply) => {
      const { body } = request;
      const device = deviceOf(request);
      const session = body.method === 'otp' ? signInWithOtp(auth, body, device) : signIn(auth, body, device);
      return deliver(reply, request.query.client_type, await session);
    },
  );

  app.post(
    '/api/auth/refresh',
    {
      config: { rateLimit: LIMITS.refresh },
      errorHandler: dropDeadCookie('user'),
      schema: { querystring: ClientTypeQuerySchema, body: RefreshSchema, response: { 200: SessionReplySchema } },
    },
    async (request, reply) => {
      const { client_type } = request.query;
      const presented =
        client_type === 'web'
          ? await requireCookieSession(request, refreshTokens, 'user')
          : await requireBodySession(auth, request.body.refreshToken);
      return deliver(reply, client_type, await refreshUserSession(auth, presented, deviceOf(request)));
    },
  );

  app.post(
    '/api/auth/logout',
    { schema: { querystring: ClientTypeQuerySchema, body: RefreshSchema, response: { 200: DoneSchema } } },
    async (request, reply) => {
      const isWeb = request.query.client_type === 'web';
      const session = isWeb
        ? await findCookieSession(request, refreshTokens, 'user')
        : await refreshTokens.read(request.body.refreshToken, 'user');
      // Clients that hold their tokens themselves send nothing but the access token.
      const id = session?.id ?? (await tokens.sessionOf(bearerOf(request) ?? ''));
      if (id !== undefined) await endSession(db.system, 'user', id);
      if (isWeb) clearSessionCookie(reply, 'user');
      return { success: true, message: 'Logged out successfully' } as const;
    },
  );
};

/** Sign-up: for callers that hold at least the anon key. */
export const signUpRoutes: FastifyPluginAsyncZod<SessionOptions> = async (app, { auth, captcha }) => {
  app.post(
    '/api/auth/users',
    {
      preValidation: captcha,
      config: { rateLimit: LIMITS.signUp },
      schema: { querystring: ClientTypeQuerySchema, body: SignUpSchema, response: { 200: SignUpReplySchema } },
    },
    async (request, reply) => {
      const isAdmin = request.caller.claims.role === 'project_admin';
      // Before anybody is created: what cannot be answered must not have happened.
      const redirectTo = await readRedirect(auth, request.body.redirectTo);
      const { proof, mustVerify } = await signUp(auth.db, request.body, { isAdmin });
      const { user } = proof;
      if (mustVerify) await auth.db.system.tx((tx) => sendFirstVerification(auth, tx, user, redirectTo));
      if (isAdmin || mustVerify) return { user, accessToken: null, requireEmailVerification: mustVerify };
      return deliver(reply, request.query.client_type, await startUserSession(auth, proof, deviceOf(request)));
    },
  );
};

/** Gives a client its tokens in the way that its kind keeps them. */
export function deliver<Tokens extends SessionTokens>(
  reply: FastifyReply,
  clientType: ClientType,
  { refreshToken, csrfToken, ...rest }: Tokens,
) {
  if (clientType !== 'web') return { ...rest, refreshToken };
  setSessionCookie(reply, 'user', refreshToken);
  return { ...rest, csrfToken };
}

async function requireBodySession(
  { refreshTokens }: Auth,
  refreshToken: string | undefined,
): Promise<PresentedSession> {
  if (!refreshToken) {
    throw new AppError('INVALID_INPUT', 'refreshToken: is required for this client_type', {
      nextActions: 'Send {"refreshToken":"…"} from the last sign-in or refresh. Web clients leave client_type out.',
    });
  }
  const presented = await refreshTokens.read(refreshToken, 'user');
  if (!presented) throw endedSession();
  return presented;
}
