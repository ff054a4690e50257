import { AdminSchema, AdminSessionReplySchema, AdminSignInSchema, DoneSchema } from '@insforge/contract/auth.ts';
import type { FastifyReply } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { bearerOf } from '#platform/http/caller.ts';
import { type AdminSession, type RootAdmin, refreshAdminSession, signInAdmin } from '../admin.ts';
import { endSession } from '../sessions.ts';
import type { Auth } from '../sign-in.ts';
import {
  clearSessionCookie,
  dropDeadCookie,
  findCookieSession,
  requireCookieSession,
  setSessionCookie,
} from './cookies.ts';
import { deviceOf } from './device.ts';
import { LIMITS } from './limits.ts';

/** Signing in and out as the admin, who works in a browser. */
export const adminSessionRoutes: FastifyPluginAsyncZod<{ auth: Auth; rootAdmin: RootAdmin }> = async (
  app,
  { auth, rootAdmin },
) => {
  const { db, tokens, refreshTokens } = auth;

  app.post(
    '/api/auth/admin/sessions',
    {
      config: { rateLimit: LIMITS.adminSignIn },
      schema: { body: AdminSignInSchema, response: { 200: AdminSessionReplySchema } },
    },
    async (request, reply) => deliver(reply, await signInAdmin(auth, rootAdmin, request.body, deviceOf(request))),
  );

  app.post(
    '/api/auth/admin/refresh',
    {
      config: { rateLimit: LIMITS.refresh },
      errorHandler: dropDeadCookie('admin'),
      schema: { response: { 200: AdminSessionReplySchema } },
    },
    async (request, reply) => {
      const presented = await requireCookieSession(request, refreshTokens, 'admin');
      return deliver(reply, await refreshAdminSession(auth, rootAdmin, presented, deviceOf(request)));
    },
  );

  app.post('/api/auth/admin/logout', { schema: { response: { 200: DoneSchema } } }, async (request, reply) => {
    const session = await findCookieSession(request, refreshTokens, 'admin');
    const id = session?.id ?? (await tokens.sessionOf(bearerOf(request) ?? ''));
    if (id !== undefined) await endSession(db.system, 'admin', id);
    clearSessionCookie(reply, 'admin');
    return { success: true, message: 'Logged out successfully' } as const;
  });
};

export const currentAdminRoutes: FastifyPluginAsyncZod = async (app) => {
  app.get('/api/auth/admin/sessions/current', { schema: { response: { 200: AdminSchema } } }, async ({ caller }) => ({
    admin: { sub: caller.actor },
  }));
};

function deliver(reply: FastifyReply, { refreshToken, ...rest }: AdminSession) {
  setSessionCookie(reply, 'admin', refreshToken);
  return rest;
}
