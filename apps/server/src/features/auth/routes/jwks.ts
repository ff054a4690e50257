import type { FastifyPluginAsync } from 'fastify';
import type { AccessTokens } from '#platform/tokens/access-tokens.ts';

/** The keys that others verify our access tokens with. */
export const jwksRoutes: FastifyPluginAsync<{ tokens: AccessTokens }> = async (app, { tokens }) => {
  for (const path of ['/.well-known/jwks.json', '/api/.well-known/jwks.json']) {
    app.get(path, async (_request, reply) => {
      reply.header('cache-control', 'public, max-age=600');
      return tokens.jwks;
    });
  }
};
