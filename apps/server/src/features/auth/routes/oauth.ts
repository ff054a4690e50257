import { ClientTypeQuerySchema, SessionReplySchema } from '@insforge/contract/auth.ts';
import {
  CustomProviderKeySchema,
  ExchangeSchema,
  IdTokenSignInSchema,
  OAuthProviderSchema,
  StartOAuthQuerySchema,
  StartOAuthReplySchema,
} from '@insforge/contract/oauth.ts';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { EmailAuth } from '../code-mails.ts';
import { checkExchangeCode } from '../email-sign-in.ts';
import { finishSignIn, type OAuthParts, signInWithIdToken, startSignIn } from '../oauth/flow.ts';
import { startUserSession } from '../sign-in.ts';
import { deviceOf } from './device.ts';
import { LIMITS } from './limits.ts';
import { deliver } from './sessions.ts';

const KNOWN = z.object({ name: OAuthProviderSchema });
const CUSTOM = z.object({ name: CustomProviderKeySchema });

/** A known provider also answers under the address of custom ones: older clients do not know all of their names. */
const PATHS = [
  { path: '/api/auth/oauth/:name', params: KNOWN },
  { path: '/api/auth/oauth/custom/:name', params: CUSTOM },
] as const;

/** Signing in with a provider: open to everybody, because the provider says who is there. */
export const oauthRoutes: FastifyPluginAsyncZod<{ auth: EmailAuth; oauth: OAuthParts }> = async (
  app,
  { auth, oauth },
) => {
  // Apple answers with a form. It stays text here: openid-client refuses what is in it twice.
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
    done(null, body),
  );

  for (const { path, params } of PATHS) {
    app.get(
      path,
      {
        config: { rateLimit: LIMITS.signIn },
        schema: { params, querystring: StartOAuthQuerySchema, response: { 200: StartOAuthReplySchema } },
      },
      async ({ params, query }) => {
        const { redirect_uri: redirectUri, code_challenge: codeChallenge, ...extra } = query;
        return { authUrl: await startSignIn(oauth, params.name, { redirectUri, codeChallenge, extra }) };
      },
    );

    app.route({
      method: ['GET', 'POST'],
      url: `${path}/callback`,
      // Whoever only asks for the headers must not use the answer up.
      exposeHeadRoute: false,
      config: { rateLimit: LIMITS.signIn },
      schema: { params },
      handler: async (request, reply) => {
        const target = await finishSignIn(oauth, request.params.name, answerIn(request));
        // The address of this page has the provider's code in it.
        return reply.header('referrer-policy', 'no-referrer').redirect(target, 302);
      },
    });
  }

  app.post(
    '/api/auth/oauth/exchange',
    {
      config: { rateLimit: LIMITS.signIn },
      schema: { querystring: ClientTypeQuerySchema, body: ExchangeSchema, response: { 200: SessionReplySchema } },
    },
    async (request, reply) => {
      const { code, code_verifier: codeVerifier } = request.body;
      const proof = await checkExchangeCode(auth, { code, codeVerifier });
      return deliver(reply, request.query.client_type, await startUserSession(auth, proof, deviceOf(request)));
    },
  );

  app.post(
    '/api/auth/id-token',
    {
      config: { rateLimit: LIMITS.signIn },
      schema: { querystring: ClientTypeQuerySchema, body: IdTokenSignInSchema, response: { 200: SessionReplySchema } },
    },
    async (request, reply) =>
      deliver(reply, request.query.client_type, await signInWithIdToken(auth, oauth, request.body, deviceOf(request))),
  );
};

/** What a provider sent: in the query, or, where it posted a form, in the body. */
function answerIn({ method, url, body }: FastifyRequest): URLSearchParams {
  if (method === 'POST') return new URLSearchParams(typeof body === 'string' ? body : '');
  const start = url.indexOf('?');
  return new URLSearchParams(start < 0 ? '' : url.slice(start));
}
