import { ClientTypeQuerySchema, SessionReplySchema } from '@insforge/contract/auth.ts';
import {
  ExchangeResetCodeSchema,
  MessageSchema,
  ResetPasswordSchema,
  ResetTokenSchema,
  SendCodeSchema,
  SendMagicLinkSchema,
  SendOtpSchema,
  SentSchema,
  VerifyEmailSchema,
} from '@insforge/contract/auth-email.ts';
import type { onRequestAsyncHookHandler, preValidationAsyncHookHandler } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { addressOf, hasApiKey } from '#platform/http/caller.ts';
import type { AccessKeys } from '#platform/tokens/access-keys.ts';
import type { EmailAuth } from '../code-mails.ts';
import { sendMagicLink, sendOtp } from '../email-sign-in.ts';
import { exchangeResetCode, resetPassword, sendReset } from '../password-reset.ts';
import { startUserSession } from '../sign-in.ts';
import { sendVerification, verifyByCode } from '../verification.ts';
import { deviceOf } from './device.ts';
import { deliver } from './sessions.ts';

const sent = (message: string) => ({ success: true, message }) as const;

/** Asking for a mail. What is answered does not depend on whether anybody has the address. */
export const mailRequestRoutes: FastifyPluginAsyncZod<{
  auth: EmailAuth;
  mailLimit: onRequestAsyncHookHandler;
  captcha: preValidationAsyncHookHandler;
}> = async (app, { auth, mailLimit, captcha }) => {
  app.addHook('onRequest', mailLimit);
  app.addHook('preValidation', captcha);
  const response = { 202: SentSchema };

  app.post('/api/auth/email/send-otp', { schema: { body: SendOtpSchema, response } }, async ({ body }, reply) => {
    await sendOtp(auth, body.email);
    return reply.status(202).send(sent('If sign-in is available for this email, we have sent a verification code.'));
  });

  app.post(
    '/api/auth/email/send-magic-link',
    { schema: { body: SendMagicLinkSchema, response } },
    async ({ body }, reply) => {
      await sendMagicLink(auth, body);
      return reply.status(202).send(sent('If sign-in is available for this email, we have sent a link.'));
    },
  );

  app.post(
    '/api/auth/email/send-verification',
    { schema: { body: SendCodeSchema, response } },
    async ({ body }, reply) => {
      await sendVerification(auth, body);
      return reply
        .status(202)
        .send(sent('If your email is registered, we have sent you a verification mail. Please check your inbox.'));
    },
  );

  app.post(
    '/api/auth/email/send-reset-password',
    { schema: { body: SendCodeSchema, response } },
    async ({ body }, reply) => {
      await sendReset(auth, body);
      return reply
        .status(202)
        .send(sent('If your email is registered, we have sent you a password reset mail. Please check your inbox.'));
    },
  );
};

/** Redeeming what a mail brought. */
export const mailCodeRoutes: FastifyPluginAsyncZod<{ auth: EmailAuth; keys: AccessKeys }> = async (
  app,
  { auth, keys },
) => {
  app.post(
    '/api/auth/email/verify',
    {
      schema: { querystring: ClientTypeQuerySchema, body: VerifyEmailSchema, response: { 200: SessionReplySchema } },
    },
    async (request, reply) => {
      const device = deviceOf(request);
      const proof = await verifyByCode(auth, request.body, device.address);
      return deliver(reply, request.query.client_type, await startUserSession(auth, proof, device));
    },
  );

  app.post(
    '/api/auth/email/exchange-reset-password-token',
    { schema: { body: ExchangeResetCodeSchema, response: { 200: ResetTokenSchema } } },
    (request) => exchangeResetCode(auth, request.body, addressOf(request)),
  );

  app.post(
    '/api/auth/email/reset-password',
    { schema: { body: ResetPasswordSchema, response: { 200: MessageSchema } } },
    async (request) => {
      const address = (await hasApiKey(keys, request)) ? null : addressOf(request);
      await resetPassword(auth, request.body, address);
      return { message: 'Password reset successfully' };
    },
  );
};
