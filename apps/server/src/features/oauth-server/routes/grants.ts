import { OAuthGrantListSchema, OAuthProfileSchema, WithdrawnSchema } from '@insforge/contract/oauth-server.ts';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { decodeJwt } from 'jose';
import { z } from 'zod';
import { type FrontDoor, ownSessionOf } from '#features/auth/index.ts';
import type { Db } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import { bearerOf } from '#platform/http/caller.ts';
import type { AccessTokens } from '#platform/tokens/access-tokens.ts';
import { isTokenLive, listGrants, withdrawGrants } from '../records.ts';

/** What a user let programs do, for themselves. */
export const grantRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.get('/api/oauth/v1/grants', { schema: { response: { 200: OAuthGrantListSchema } } }, async (request) => ({
    data: await listGrants(db.system, userOf(request)),
  }));

  app.delete(
    '/api/oauth/v1/grants/:clientId',
    { schema: { params: z.object({ clientId: z.string().max(100) }), response: { 200: WithdrawnSchema } } },
    async (request) => {
      const isWithdrawn = await withdrawGrants(db.system, userOf(request), request.params.clientId);
      if (isWithdrawn) return { message: 'The program can do nothing in your name any more' };
      throw new AppError('NOT_FOUND', 'You have let no such program in', {
        nextActions: 'List them with GET /api/oauth/v1/grants.',
      });
    },
  );
};

function userOf(request: FastifyRequest): string {
  const { realm, subject } = ownSessionOf(request);
  if (realm === 'user') return subject;
  throw new AppError('FORBIDDEN', 'The admin of the server lets no programs in');
}

const profileLimit = {
  max: 100,
  timeWindow: '1 minute',
  keyGenerator: (request: FastifyRequest) => bearerOf(request) ?? request.ip,
};

/** Who a token speaks for, in the form that the documentation of this platform has. */
export const profileRoutes: FastifyPluginAsyncZod<{ db: Db; tokens: AccessTokens; door: FrontDoor }> = async (
  app,
  { db, tokens, door },
) => {
  app.get(
    '/auth/v1/profile',
    { config: { rateLimit: profileLimit }, schema: { response: { 200: OAuthProfileSchema } } },
    async (request, reply) => {
      reply.header('cache-control', 'no-store');
      const { userId, scopes } = await readToken(request);
      const user = await door.find(userId);
      if (!user) throw new AppError('AUTH_UNAUTHORIZED', 'The user is gone');
      const { name, avatar_url: avatar } = user.profile ?? {};
      const [mayProfile, mayEmail] = [scopes?.has('profile') ?? true, scopes?.has('email') ?? true];
      const text = (value: unknown) => (mayProfile && typeof value === 'string' && value !== '' ? value : null);
      return {
        user: {
          id: user.id,
          email: mayEmail ? user.email : null,
          profile: { name: text(name), avatar_url: text(avatar) },
          email_verified: mayEmail ? user.emailVerified : null,
          created_at: user.createdAt,
        },
      };
    },
  );

  /** @throws AppError AUTH_UNAUTHORIZED */
  async function readToken(request: FastifyRequest): Promise<{ userId: string; scopes?: Set<string> }> {
    const token = bearerOf(request);
    if (token === undefined) throw new AppError('AUTH_INVALID_CREDENTIALS', 'This needs the access token of a user');
    const tokenId = await tokens.clientTokenId(token);
    if (tokenId === undefined) return { userId: (await tokens.verify(token)).claims.sub };
    if (!(await isTokenLive(db.system, tokenId))) {
      throw new AppError('AUTH_UNAUTHORIZED', 'The token has expired or was withdrawn');
    }
    const { sub = '', scope } = decodeJwt(token);
    return { userId: sub, scopes: new Set(String(scope).split(' ')) };
  }
};
