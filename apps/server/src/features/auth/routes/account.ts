import {
  ChangeEmailSchema,
  ChangePasswordSchema,
  ConfirmEmailSchema,
  MessageSchema,
  SentSchema,
  UserReplySchema,
} from '@insforge/contract/auth-email.ts';
import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { AppError } from '#platform/errors.ts';
import { addressOf } from '#platform/http/caller.ts';
import { changeEmail, changePassword, confirmEmail, type Owner, sendReauthentication } from '../account-changes.ts';
import type { EmailAuth } from '../code-mails.ts';
import { LIMITS } from './limits.ts';
import { ownSessionOf } from './own-session.ts';

interface AccountOptions {
  auth: EmailAuth;
  mailLimit: onRequestAsyncHookHandler;
}

/** What users change about their own account, after proving again who they are. */
export const accountRoutes: FastifyPluginAsyncZod<AccountOptions> = async (app, { auth, mailLimit }) => {
  app.post(
    '/api/auth/email/send-reauthentication',
    { onRequest: mailLimit, schema: { response: { 202: SentSchema } } },
    async (request, reply) => {
      await sendReauthentication(auth, ownerOf(request).userId);
      return reply.status(202).send({ success: true, message: 'We have sent a code to the address of your account.' });
    },
  );

  app.put(
    '/api/auth/users/current/password',
    { config: { rateLimit: LIMITS.signIn }, schema: { body: ChangePasswordSchema, response: { 200: MessageSchema } } },
    async (request) => {
      await changePassword(auth, ownerOf(request), request.body);
      return { message: 'Password changed. All other sessions have ended.' };
    },
  );

  app.put(
    '/api/auth/users/current/email',
    { onRequest: mailLimit, schema: { body: ChangeEmailSchema, response: { 202: SentSchema } } },
    async (request, reply) => {
      await changeEmail(auth, ownerOf(request), request.body);
      return reply.status(202).send({
        success: true,
        message: 'If the new address is free, we have sent a code to it: POST /api/auth/users/current/email/confirm.',
      });
    },
  );

  app.post(
    '/api/auth/users/current/email/confirm',
    { config: { rateLimit: LIMITS.signIn }, schema: { body: ConfirmEmailSchema, response: { 200: UserReplySchema } } },
    // Tokens name the old address until the next refresh.
    async (request) => ({ user: await confirmEmail(auth, ownerOf(request), request.body) }),
  );
};

function ownerOf(request: FastifyRequest): Owner {
  const { id, realm, subject } = ownSessionOf(request);
  if (realm === 'user') return { userId: subject, sessionId: id, address: addressOf(request) };
  throw new AppError('FORBIDDEN', 'The admin has no account of this kind', {
    nextActions: 'The admin is configured with ROOT_ADMIN_USERNAME and ROOT_ADMIN_PASSWORD.',
  });
}
