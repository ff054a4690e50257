import { LinkQuerySchema } from '@insforge/contract/auth-email.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { EmailAuth } from '../code-mails.ts';
import { wrongCode } from '../email-codes.ts';
import { openMagicLink } from '../email-sign-in.ts';
import { deadLinkPage, newPasswordPage, type Page, verifiedPage } from '../pages.ts';
import { withParameters } from '../redirects.ts';
import { readRedirect, verifyByLink } from '../verification.ts';
import { LIMITS } from './limits.ts';

const DEAD_LINK = 'The link has been used or has expired';

/** What the links in mails open. A browser is sent on to the app, or shown a page where no app wants it. */
export const emailLinkRoutes: FastifyPluginAsyncZod<{ auth: EmailAuth }> = async (app, { auth }) => {
  const { db, codes } = auth;
  const options = {
    // A mail scanner that only asks for the headers must not spend a link.
    exposeHeadRoute: false,
    config: { rateLimit: LIMITS.signIn },
    schema: { querystring: LinkQuerySchema },
  };
  app.addHook('onRequest', async (_request, reply) => {
    // The address of this page, and of the one that it leads to, carries a token.
    reply.header('referrer-policy', 'no-referrer');
  });

  app.get('/api/auth/email/verify-link', options, async (request, reply) => {
    const { token } = request.query;
    const link = await codes.findLink(db.system, 'VERIFY_EMAIL', token);
    // The list may have changed since the link was sent.
    const redirectTo = await readRedirect(auth, link?.redirectTo ?? undefined);
    const isVerified = await verifyByLink(auth, token);
    if (!redirectTo) return isVerified ? show(reply, verifiedPage()) : showDeadLink(request, reply);
    const outcome: Record<string, string> = isVerified
      ? { insforge_status: 'success' }
      : { insforge_status: 'error', insforge_error: DEAD_LINK };
    return reply.redirect(withParameters(redirectTo, { ...outcome, insforge_type: 'verify_email' }), 302);
  });

  app.get('/api/auth/email/reset-password-link', options, async (request, reply) => {
    const { token } = request.query;
    const link = await codes.findLink(db.system, 'RESET_PASSWORD', token);
    const redirectTo = await readRedirect(auth, link?.redirectTo ?? undefined);
    if (!redirectTo) return link?.isLive ? show(reply, newPasswordPage(token)) : showDeadLink(request, reply);
    const outcome: Record<string, string> = link?.isLive
      ? { insforge_status: 'ready', token }
      : { insforge_status: 'error', insforge_error: DEAD_LINK };
    return reply.redirect(withParameters(redirectTo, { ...outcome, insforge_type: 'reset_password' }), 302);
  });

  app.get('/api/auth/email/magic-link', options, async (request, reply) => {
    const opened = await openMagicLink(auth, request.query.token);
    if (!opened) return showDeadLink(request, reply);
    const { redirectTo, code } = opened;
    // As after signing in with another provider: the SDK looks for these two.
    return reply.redirect(withParameters(redirectTo, code ? { insforge_code: code } : { error: DEAD_LINK }), 302);
  });
};

function show(reply: FastifyReply, { html, contentSecurityPolicy }: Page): FastifyReply {
  return reply.header('content-security-policy', contentSecurityPolicy).type('text/html; charset=utf-8').send(html);
}

function showDeadLink({ headers }: FastifyRequest, reply: FastifyReply): FastifyReply {
  if (!headers.accept?.includes('text/html')) throw wrongCode('link');
  return show(reply.status(400), deadLinkPage());
}
