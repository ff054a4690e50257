import type { FastifyPluginAsync } from 'fastify';
import type { Provider } from 'oidc-provider';
import { type FrontDoor, requireOwnSession } from '#features/auth/index.ts';
import { createFormGuard } from '#features/auth-pages/index.ts';
import type { Platform } from '#platform/platform.ts';
import { openProvider } from './provider.ts';
import { isTokenLive } from './records.ts';
import { clientRoutes } from './routes/clients.ts';
import { grantRoutes, profileRoutes } from './routes/grants.ts';
import { interactionRoutes } from './routes/interactions.ts';
import { protocolRoutes } from './routes/protocol.ts';

interface OAuthServerOptions {
  platform: Pick<Platform, 'db' | 'cipher' | 'tokens' | 'guards' | 'jwtSecret'>;
  door: FrontDoor;
  apiBaseUrl: string;
}

/** This server as an OAuth 2.0 and OpenID Connect provider, with which other programs sign its users in. */
export const oauthServer: FastifyPluginAsync<OAuthServerOptions> = async (app, { platform, door, apiBaseUrl }) => {
  const { db, cipher, tokens, guards, jwtSecret } = platform;
  let opening: Promise<Provider> | undefined;
  const provider = () => {
    opening ??= openProvider({ platform, door, apiBaseUrl, log: app.log });
    return opening;
  };
  const formGuard = createFormGuard(jwtSecret, apiBaseUrl.startsWith('https:'));
  tokens.onClientToken((tokenId) => isTokenLive(db.system, tokenId));

  await app.register(protocolRoutes, { db, apiBaseUrl, tokens, provider });
  await app.register(interactionRoutes, { db, door, provider, formGuard, apiBaseUrl, jwtSecret });
  await app.register(profileRoutes, { db, tokens, door });
  await app.register(async (signedIn) => {
    signedIn.addHook('onRequest', guards.requireToken);
    signedIn.addHook('onRequest', requireOwnSession(db));
    await signedIn.register(grantRoutes, { db });
  });
  await app.register(async (admins) => {
    admins.addHook('onRequest', guards.requireAdmin);
    admins.addHook('onRequest', async (_request, reply) => void reply.header('cache-control', 'no-store'));
    await admins.register(clientRoutes, { db, cipher });
  });
};
