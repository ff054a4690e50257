import { ClientTypeQuerySchema, SessionReplySchema, UserIdSchema } from '@insforge/contract/auth.ts';
import {
  EnrolFactorSchema,
  EnrolledFactorSchema,
  FactorCodeSchema,
  FactorListSchema,
  RecoveryCodesSchema,
  RemovedFactorSchema,
  RemoveFactorSchema,
  SecondFactorSchema,
  VerifiedFactorSchema,
} from '@insforge/contract/factors.ts';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import {
  checkSecondFactor,
  enrolFactor,
  hasFactor,
  isPending,
  listFactors,
  removeAllFactors,
  removeFactor,
  verifyFactor,
} from '../factors.ts';
import { countRecoveryCodes, makeRecoveryCodes } from '../recovery-codes.ts';
import { checkAnswer } from '../second-factor.ts';
import type { Aal } from '../sessions.ts';
import { type Auth, startUserSession, userClaims } from '../sign-in.ts';
import { totpUri } from '../totp.ts';
import { readUser } from '../users.ts';
import { deviceOf } from './device.ts';
import { ownSessionOf } from './own-session.ts';
import { deliver } from './sessions.ts';

interface FactorOptions {
  auth: Auth;
  cipher: Cipher;
}

const Params = z.object({ id: z.guid() });

/** The second half of a sign-in, for whoever has shown the first factor. */
export const secondFactorRoutes: FastifyPluginAsyncZod<FactorOptions> = async (app, { auth, cipher }) => {
  app.post(
    '/api/auth/sessions/second-factor',
    {
      schema: { querystring: ClientTypeQuerySchema, body: SecondFactorSchema, response: { 200: SessionReplySchema } },
    },
    async (request, reply) => {
      const proof = await checkAnswer({ ...auth, cipher }, request.body);
      return deliver(reply, request.query.client_type, await startUserSession(auth, proof, deviceOf(request)));
    },
  );
};

/** One's own second factors. Whatever weakens the account asks for a code, so that a stolen token cannot. */
export const ownFactorRoutes: FastifyPluginAsyncZod<FactorOptions> = async (app, { auth, cipher }) => {
  const { db, tokens, customClaims } = auth;
  const parts = { ...auth, cipher };

  const tokenOf = async ({ id, userId }: OwnUserSession, aal: Aal) =>
    tokens.sign(await userClaims(customClaims, await readUser(db.system, userId), { aal }), id);

  app.get('/api/auth/factors', { schema: { response: { 200: FactorListSchema } } }, async (request) => {
    const { userId } = userSessionOf(request);
    const [data, recoveryCodesLeft] = await Promise.all([
      listFactors(db.system, userId),
      countRecoveryCodes(db.system, userId),
    ]);
    return { data, recoveryCodesLeft };
  });

  app.post(
    '/api/auth/factors',
    { schema: { body: EnrolFactorSchema, response: { 200: EnrolledFactorSchema } } },
    async (request) => {
      const { userId, aal } = userSessionOf(request);
      if (aal !== 'aal2' && (await hasFactor(db.system, userId))) throw needsSecondFactor();
      const { email } = await readUser(db.system, userId);
      const { name } = request.body;
      const { id, secret } = await enrolFactor(parts, userId, name);
      const uri = totpUri({ secret, issuer: request.hostname, account: email });
      return { id, type: 'totp', name, secret, uri } as const;
    },
  );

  app.post(
    '/api/auth/factors/:id/verify',
    { schema: { params: Params, body: FactorCodeSchema, response: { 200: VerifiedFactorSchema } } },
    async (request) => {
      const session = userSessionOf(request);
      if (session.aal !== 'aal2' && (await hasFactor(db.system, session.userId))) throw needsSecondFactor();
      const factor = { id: request.params.id, code: request.body.code };
      const recoveryCodes = await verifyFactor(parts, { userId: session.userId, sessionId: session.id }, factor);
      return { recoveryCodes, accessToken: await tokenOf(session, 'aal2') };
    },
  );

  app.delete(
    '/api/auth/factors/:id',
    { schema: { params: Params, body: RemoveFactorSchema, response: { 200: RemovedFactorSchema } } },
    async (request) => {
      const session = userSessionOf(request);
      const { userId } = session;
      const { id } = request.params;
      if (!(await isPending(db.system, userId, id))) {
        const { code } = request.body;
        if (!code) throw new AppError('INVALID_INPUT', 'code: is required to remove a factor that is in force');
        await checkSecondFactor(parts, userId, code);
      }
      await db.system.tx((tx) => removeFactor(tx, userId, id));
      const aal = (await hasFactor(db.system, userId)) ? session.aal : 'aal1';
      return { message: 'Factor removed', accessToken: await tokenOf(session, aal) };
    },
  );

  app.post(
    '/api/auth/factors/recovery-codes',
    { schema: { body: FactorCodeSchema, response: { 200: RecoveryCodesSchema } } },
    async (request) => {
      const { userId } = userSessionOf(request);
      await checkSecondFactor(parts, userId, request.body.code);
      return { recoveryCodes: await db.system.tx((tx) => makeRecoveryCodes(tx, userId)) };
    },
  );
};

/** The factors of any user, for the admin, who can let in somebody who lost theirs. */
export const userFactorRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  const UserParams = z.object({ id: UserIdSchema });

  app.get(
    '/api/auth/users/:id/factors',
    { schema: { params: UserParams, response: { 200: FactorListSchema } } },
    async ({ params }) => {
      const { id } = await readUser(db.system, params.id);
      return { data: await listFactors(db.system, id), recoveryCodesLeft: await countRecoveryCodes(db.system, id) };
    },
  );

  app.delete(
    '/api/auth/users/:id/factors',
    { schema: { params: UserParams, response: { 200: z.object({ message: z.string(), removedCount: z.number() }) } } },
    (request) =>
      db.system.tx(async (tx) => {
        const { id: userId } = await readUser(tx, request.params.id);
        const removedCount = await removeAllFactors(tx, userId);
        await audit(tx, request, {
          action: 'REMOVE_USER_FACTORS',
          module: 'AUTH',
          details: { userId, removedCount },
        });
        return { message: 'Second factors removed; the user signs in anew', removedCount };
      }),
  );
};

interface OwnUserSession {
  id: string;
  userId: string;
  aal: Aal;
}

function userSessionOf(request: FastifyRequest): OwnUserSession {
  const { id, realm, subject, aal } = ownSessionOf(request);
  if (realm === 'user') return { id, userId: subject, aal };
  throw new AppError('FORBIDDEN', 'The admin of the server has no second factor');
}

const needsSecondFactor = () =>
  new AppError('FORBIDDEN', 'This session has shown one factor of two', {
    nextActions: 'Sign in again, with the second factor.',
  });
