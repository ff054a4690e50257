import {
  AnonTokenReplySchema,
  DeleteUsersReplySchema,
  DeleteUsersSchema,
  UserIdSchema,
  UserListQuerySchema,
  UserListSchema,
  UserSchema,
} from '@insforge/contract/auth.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import type { AccessKeys } from '#platform/tokens/access-keys.ts';
import { deleteUsers, listUsers, readUser, USER_WRITER } from '../users.ts';

/** The users of the project, for its admin. */
export const userRoutes: FastifyPluginAsyncZod<{ db: Db; keys: AccessKeys }> = async (app, { db, keys }) => {
  app.get(
    '/api/auth/users',
    { schema: { querystring: UserListQuerySchema, response: { 200: UserListSchema } } },
    async ({ query }) => {
      const { data, total } = await listUsers(db.system, query);
      return { data, pagination: { offset: query.offset, limit: query.limit, total } };
    },
  );

  app.get(
    '/api/auth/users/:id',
    { schema: { params: z.object({ id: UserIdSchema }), response: { 200: UserSchema } } },
    ({ params }) => readUser(db.system, params.id),
  );

  app.delete(
    '/api/auth/users',
    { schema: { body: DeleteUsersSchema, response: { 200: DeleteUsersReplySchema } } },
    async (request) => {
      const { userIds } = request.body;
      const deletedCount = await db.as(USER_WRITER).tx((tx) => deleteUsers(tx, userIds));
      await audit(db.system, request, { action: 'DELETE_USERS', module: 'AUTH', details: { userIds, deletedCount } });
      return { message: 'Users deleted successfully', deletedCount };
    },
  );

  app.post('/api/auth/tokens/anon', { schema: { response: { 200: AnonTokenReplySchema } } }, async () => ({
    accessToken: await keys.current('anon'),
    message: 'This is the anon key. Rotate it with POST /api/secrets/anon-key/rotate.',
  }));
};
