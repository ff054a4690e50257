import { UserIdSchema } from '@insforge/contract/auth.ts';
import { EndedSessionsSchema, SessionListSchema } from '@insforge/contract/factors.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { endOneSession, endSessions, listSessions, type SessionOwner } from '../session-list.ts';
import { readUser } from '../users.ts';
import { clearSessionCookie } from './cookies.ts';
import { ownSessionOf } from './own-session.ts';

const ENDED = { message: 'Signed out there' };

/** The devices that somebody is signed in on. */
export const ownSessionRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.get('/api/auth/sessions', { schema: { response: { 200: SessionListSchema } } }, async (request) => {
    const session = ownSessionOf(request);
    return { data: await listSessions(db.system, session, session.id) };
  });

  app.delete(
    '/api/auth/sessions/:id',
    { schema: { params: z.object({ id: z.guid() }), response: { 200: EndedSessionsSchema } } },
    async (request, reply) => {
      const session = ownSessionOf(request);
      await endOneSession(db.system, session, request.params.id);
      if (request.params.id === session.id) clearSessionCookie(reply, session.realm);
      return { ...ENDED, endedCount: 1 };
    },
  );

  app.delete(
    '/api/auth/sessions',
    {
      schema: {
        querystring: z.object({ keepCurrent: z.stringbool().default(false) }),
        response: { 200: EndedSessionsSchema },
      },
    },
    async (request, reply) => {
      const session = ownSessionOf(request);
      const { keepCurrent } = request.query;
      const endedCount = await db.system.tx((tx) => endSessions(tx, session, keepCurrent ? session.id : undefined));
      if (!keepCurrent) clearSessionCookie(reply, session.realm);
      return { message: keepCurrent ? 'Signed out on all other devices' : 'Signed out everywhere', endedCount };
    },
  );
};

/** The devices of any user, for the admin. */
export const userSessionRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  const Params = z.object({ id: UserIdSchema });
  const ownerOf = async ({ id }: { id: string }): Promise<SessionOwner> => ({
    realm: 'user',
    subject: (await readUser(db.system, id)).id,
  });

  app.get(
    '/api/auth/users/:id/sessions',
    { schema: { params: Params, response: { 200: SessionListSchema } } },
    async ({ params }) => ({ data: await listSessions(db.system, await ownerOf(params)) }),
  );

  app.delete(
    '/api/auth/users/:id/sessions/:sessionId',
    { schema: { params: Params.extend({ sessionId: z.guid() }), response: { 200: EndedSessionsSchema } } },
    async (request) => {
      const { id, sessionId } = request.params;
      await endOneSession(db.system, await ownerOf(request.params), sessionId);
      const details = { userId: id, sessionId };
      await audit(db.system, request, { action: 'END_USER_SESSION', module: 'AUTH', details });
      return { ...ENDED, endedCount: 1 };
    },
  );

  app.delete(
    '/api/auth/users/:id/sessions',
    { schema: { params: Params, response: { 200: EndedSessionsSchema } } },
    async (request) => {
      const owner = await ownerOf(request.params);
      const endedCount = await db.system.tx((tx) => endSessions(tx, owner));
      const details = { userId: request.params.id, endedCount };
      await audit(db.system, request, { action: 'END_USER_SESSIONS', module: 'AUTH', details });
      return { message: 'Signed out everywhere', endedCount };
    },
  );
};
