import { LinkQuerySchema } from '@insforge/contract/auth-email.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { EmailAuth } from '../code-mails.ts';
import { type SentLink, wrongCode } from '../email-codes.ts';
import { openMagicLink } from '../email-sign-in.ts';
import { withParameters } from '../redirects.ts';
import { readRedirect, verifyByLink } from '../verification.ts';
import { LIMITS } from './limits.ts';

/** What people are told of a link that is of no use any more. */
export const DEAD_LINK = 'The link has been used or has expired';

/** What the links in mails open. The browser is sent on to the app, or to our own pages where no app wants it. */
export const emailLinkRoutes: FastifyPluginAsyncZod<{ auth: EmailAuth }> = async (app, { auth }) => {
  const { db, codes, apiBaseUrl } = auth;
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

  /** Where a link leads. The list of allowed addresses may have changed since it was sent. */
  const targetOf = async (request: FastifyRequest, link: SentLink | undefined, page: 'verify' | 'reset') => {
    if (!link && !request.headers.accept?.includes('text/html')) throw wrongCode('link');
    return (await readRedirect(auth, link?.redirectTo ?? undefined)) ?? new URL(`${apiBaseUrl}/auth/${page}`);
  };
  const lead = (reply: FastifyReply, target: URL, parameters: Record<string, string>) =>
    reply.redirect(withParameters(target, parameters), 302);

  app.get('/api/auth/email/verify-link', options, async (request, reply) => {
    const { token } = request.query;
    const link = await codes.findLink(db.system, 'VERIFY_EMAIL', token);
    const target = await targetOf(request, link, 'verify');
    const isVerified = await verifyByLink(auth, token);
    return lead(reply, target, {
      ...(isVerified ? { insforge_status: 'success' } : { insforge_status: 'error', insforge_error: DEAD_LINK }),
      insforge_type: 'verify_email',
    });
  });

  app.get('/api/auth/email/reset-password-link', options, async (request, reply) => {
    const { token } = request.query;
    const link = await codes.findLink(db.system, 'RESET_PASSWORD', token);
    const target = await targetOf(request, link, 'reset');
    return lead(reply, target, {
      ...(link?.isLive ? { insforge_status: 'ready', token } : { insforge_status: 'error', insforge_error: DEAD_LINK }),
      insforge_type: 'reset_password',
    });
  });

  app.get('/api/auth/email/magic-link', options, async (request, reply) => {
    const opened = await openMagicLink(auth, request.query.token);
    if (!opened) throw wrongCode('link');
    // As after signing in with another provider: the SDK looks for these two.
    return lead(reply, opened.redirectTo, opened.code ? { insforge_code: opened.code } : { error: DEAD_LINK });
  });
};
