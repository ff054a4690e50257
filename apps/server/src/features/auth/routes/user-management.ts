import { UserIdSchema, UserSchema } from '@insforge/contract/auth.ts';
import {
  BanSchema,
  ImpersonateSchema,
  ImpersonationSchema,
  ImportReportSchema,
  ImportSchema,
  UserUpdateSchema,
} from '@insforge/contract/users.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import type { AccessTokens } from '#platform/tokens/access-tokens.ts';
import { actFor, isActing } from '../acting.ts';
import { banUser, unbanUser } from '../bans.ts';
import type { CustomClaims } from '../custom-claims.ts';
import { updateUser } from '../user-changes.ts';
import { importUsers } from '../user-import.ts';
import { deleteUsers, readUser, USER_WRITER, unknownUser } from '../users.ts';

const Params = z.object({ id: UserIdSchema });

interface UserManagementOptions {
  db: Db;
  tokens: AccessTokens;
  customClaims: CustomClaims;
}

/** What the admin does with users, besides creating and listing them. */
export const userManagementRoutes: FastifyPluginAsyncZod<UserManagementOptions> = async (app, options) => {
  const { db, tokens } = options;
  tokens.onActingToken((sessionId) => isActing(db, sessionId));

  app.patch(
    '/api/auth/users/:id',
    { schema: { params: Params, body: UserUpdateSchema, response: { 200: UserSchema } } },
    async (request) => {
      const { id } = request.params;
      await updateUser(db, id, request.body);
      const details = { userId: id, updatedFields: Object.keys(request.body) };
      await audit(db.system, request, { action: 'UPDATE_USER', module: 'AUTH', details });
      return readUser(db.system, id);
    },
  );

  app.delete(
    '/api/auth/users/:id',
    { schema: { params: Params, response: { 200: z.object({ message: z.string() }) } } },
    async (request) => {
      const { id } = request.params;
      const deletedCount = await db.as(USER_WRITER).tx((tx) => deleteUsers(tx, [id]));
      if (deletedCount === 0) throw unknownUser(id);
      const details = { userIds: [id], deletedCount };
      await audit(db.system, request, { action: 'DELETE_USERS', module: 'AUTH', details });
      return { message: 'User deleted successfully' };
    },
  );

  app.post(
    '/api/auth/users/:id/ban',
    { schema: { params: Params, body: BanSchema, response: { 200: UserSchema } } },
    async (request) => {
      const { id } = request.params;
      await db.as(USER_WRITER).tx((tx) => banUser(tx, id, request.body));
      const details = { userId: id, ...request.body };
      await audit(db.system, request, { action: 'BAN_USER', module: 'AUTH', details });
      return readUser(db.system, id);
    },
  );

  app.delete(
    '/api/auth/users/:id/ban',
    { schema: { params: Params, response: { 200: UserSchema } } },
    async (request) => {
      const { id } = request.params;
      await db.as(USER_WRITER).tx((tx) => unbanUser(tx, id));
      await audit(db.system, request, { action: 'UNBAN_USER', module: 'AUTH', details: { userId: id } });
      return readUser(db.system, id);
    },
  );

  app.post(
    '/api/auth/users/:id/impersonate',
    { schema: { params: Params, body: ImpersonateSchema, response: { 200: ImpersonationSchema } } },
    async (request) => {
      const user = await readUser(db.system, request.params.id);
      // Before the token exists: nobody acts for a user without a trace.
      const details = { userId: user.id, ...request.body };
      await audit(db.system, request, { action: 'IMPERSONATE_USER', module: 'AUTH', details });
      const { actor } = request.caller;
      return { ...(await actFor(options, user, { actor, userAgent: request.headers['user-agent'] })), user };
    },
  );

  app.post(
    '/api/auth/users/import',
    { schema: { body: ImportSchema, response: { 200: ImportReportSchema } } },
    async (request) => {
      const { users, dryRun } = request.body;
      const report = await importUsers(db, users, dryRun);
      const { rows, ...details } = report;
      if (!dryRun) await audit(db.system, request, { action: 'IMPORT_USERS', module: 'AUTH', details });
      return report;
    },
  );
};
