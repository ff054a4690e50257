import { ProfileReplySchema, UpdateProfileSchema, UserIdSchema, UserSchema } from '@insforge/contract/auth.ts';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Db } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import type { Guards } from '#platform/http/caller.ts';
import { mergeProfile, readProfile, readUserAtOnce, USER_WRITER } from '../users.ts';

export const publicProfileRoutes: FastifyPluginAsyncZod<{ db: Db; guards: Guards }> = async (app, { db, guards }) => {
  app.addHook('onRequest', guards.checkCredential);
  app.get(
    '/api/auth/profiles/:id',
    { schema: { params: z.object({ id: UserIdSchema }), response: { 200: ProfileReplySchema } } },
    ({ params }) => readProfile(db.system, params.id),
  );
};

/** What a signed-in user may ask about themselves. */
export const currentUserRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.get(
    '/api/auth/sessions/current',
    { schema: { response: { 200: z.object({ user: UserSchema }) } } },
    async (request) => ({ user: await readUserAtOnce(db, userIdOf(request)) }),
  );

  app.patch(
    '/api/auth/profiles/current',
    { schema: { body: UpdateProfileSchema, response: { 200: ProfileReplySchema } } },
    (request) => db.as(USER_WRITER).tx((tx) => mergeProfile(tx, userIdOf(request), request.body.profile)),
  );
};

function userIdOf({ caller }: FastifyRequest): string {
  if (caller.claims.role !== 'authenticated') {
    throw new AppError('FORBIDDEN', `A token of the role ${caller.claims.role} belongs to no user`, {
      nextActions: 'Sign in as a user with POST /api/auth/sessions; admins use GET /api/auth/admin/sessions/current.',
    });
  }
  // Whoever signs tokens with our secret may have users elsewhere, under other ids than ours.
  if (UserIdSchema.safeParse(caller.actor).success) return caller.actor;
  throw new AppError('AUTH_USER_NOT_FOUND', `There is no user ${caller.actor}`);
}
