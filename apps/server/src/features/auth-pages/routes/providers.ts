import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { FrontDoor } from '#features/auth/index.ts';
import { AppError } from '#platform/errors.ts';
import { FlowSchema } from '../flow.ts';

/** Where the buttons of providers lead: on to the provider, which sends people to the app and not back here. */
export const providerRoutes: FastifyPluginAsyncZod<{ door: FrontDoor }> = async (app, { door }) => {
  const schema = { params: z.object({ provider: z.string().max(100) }), querystring: FlowSchema };
  app.get(
    '/auth/with/:provider',
    { config: { rateLimit: { max: 1000, timeWindow: '1 minute' } }, schema },
    async (request, reply) => {
      const { provider } = request.params;
      const { redirect_to: redirectTo = '', code_challenge: challenge = '', email } = request.query;
      const { oAuthProviders } = await door.config();
      const path = oAuthProviders.includes(provider) ? provider : `custom/${provider}`;
      const started = await app.inject({
        url: `/api/auth/oauth/${path.split('/').map(encodeURIComponent).join('/')}`,
        query: { redirect_uri: redirectTo, code_challenge: challenge, ...(email ? { login_hint: email } : {}) },
        remoteAddress: request.ip,
      });
      const { authUrl, message } = started.json();
      if (typeof authUrl === 'string') return reply.redirect(authUrl, 303);
      throw new AppError('INVALID_INPUT', String(message), { status: started.statusCode });
    },
  );
};
