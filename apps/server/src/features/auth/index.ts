import type { OAuthProvider } from '@insforge/contract/oauth.ts';
import type { FastifyPluginAsync } from 'fastify';
import { createOutbox } from '#features/email/index.ts';
import type { Logger } from '#platform/log.ts';
import type { Platform } from '#platform/platform.ts';
import { createRootAdmin } from './admin.ts';
import type { Captcha } from './captcha/captcha.ts';
import type { EmailAuth } from './code-mails.ts';
import { type CustomClaims, createCustomClaims } from './custom-claims.ts';
import { createEmailCodes } from './email-codes.ts';
import { type OAuthCredentials, seedConfigs } from './oauth/configs.ts';
import type { OAuthParts } from './oauth/flow.ts';
import { openOAuth } from './oauth/parts.ts';
import { createRefreshTokens } from './refresh-tokens.ts';
import { accountRoutes } from './routes/account.ts';
import { adminSessionRoutes, currentAdminRoutes } from './routes/admin.ts';
import { captchaRoutes, requireCaptcha } from './routes/captcha.ts';
import { configRoutes, publicConfigRoutes } from './routes/config.ts';
import { customClaimsRoutes } from './routes/custom-claims.ts';
import { mailCodeRoutes, mailRequestRoutes } from './routes/email.ts';
import { emailLinkRoutes } from './routes/email-links.ts';
import { ownFactorRoutes, secondFactorRoutes, userFactorRoutes } from './routes/factors.ts';
import { jwksRoutes } from './routes/jwks.ts';
import type { MailLimit } from './routes/mail-limit.ts';
import { oauthRoutes } from './routes/oauth.ts';
import { customOAuthConfigRoutes, oauthConfigRoutes } from './routes/oauth-configs.ts';
import { requireOwnSession } from './routes/own-session.ts';
import { ownSessionRoutes, userSessionRoutes } from './routes/own-sessions.ts';
import { currentUserRoutes, publicProfileRoutes } from './routes/profiles.ts';
import { purposeOfSignIn, sessionRoutes, signUpRoutes } from './routes/sessions.ts';
import { userManagementRoutes } from './routes/user-management.ts';
import { userRoutes } from './routes/users.ts';
import { createSessionOpenings } from './session-openings.ts';
import { createThrottle } from './throttle.ts';

export { createCaptcha } from './captcha/captcha.ts';
export { CAPTCHAS } from './captcha/providers.ts';
export { readAuthConfig } from './config.ts';
export { createFrontDoor, type FrontDoor, type Proved } from './front-door.ts';
export { DEAD_LINK } from './routes/email-links.ts';
export { LIMITS } from './routes/limits.ts';
export { createMailLimit, type MailLimit } from './routes/mail-limit.ts';
export { ownSessionOf, requireOwnSession } from './routes/own-session.ts';

interface AuthOptions {
  platform: Pick<Platform, 'db' | 'listener' | 'cipher' | 'keys' | 'tokens' | 'guards' | 'jwtSecret' | 'adminPassword'>;
  captcha: Captcha;
  adminUsername: string;
  apiBaseUrl: string;
  mailLimit: MailLimit;
  allowPrivateNetwork: boolean;
  log: Logger;
  oauth: {
    /** Client ids and secrets that the environment gives. */
    credentials: OAuthCredentials;
    /** Known providers that are not at their public address. */
    ownHosts: Partial<Record<OAuthProvider, string>>;
  };
}

/** Nothing here needs more, and most of it is open to everybody. */
const MAX_BODY_BYTES = 1024 * 1024;

/** Users, their sessions and profiles, the admin's session, and the settings of sign-in. */
export const auth: FastifyPluginAsync<AuthOptions> = async (app, { platform, adminUsername, ...options }) => {
  const { db, listener, cipher, keys, tokens, guards, jwtSecret, adminPassword } = platform;
  const customClaims = createCustomClaims(db, listener);
  const { log, captcha, mailLimit, apiBaseUrl, allowPrivateNetwork } = options;
  const parts: EmailAuth = {
    db,
    tokens,
    refreshTokens: createRefreshTokens(jwtSecret),
    throttle: createThrottle(db.system),
    customClaims,
    openSessionAtOnce: createSessionOpenings(db),
    outbox: createOutbox(cipher),
    codes: createEmailCodes(jwtSecret),
    apiBaseUrl,
  };
  const { credentials, ownHosts } = options.oauth;
  const oauth = openOAuth({ db, cipher, log, jwtSecret, apiBaseUrl, allowPrivateNetwork, ownHosts });
  app.addHook('onClose', () => oauth.close());
  await db.system.tx((tx) => seedConfigs(tx, cipher, credentials));
  const rootAdmin = createRootAdmin({ username: adminUsername, password: adminPassword, jwtSecret });

  app.addHook('onRoute', (route) => {
    route.bodyLimit = MAX_BODY_BYTES;
  });
  app.addHook('onRequest', async (_request, reply) => {
    // Most answers carry tokens or personal data.
    reply.header('cache-control', 'no-store');
  });

  await app.register(async (everybody) => {
    await everybody.register(sessionRoutes, {
      auth: parts,
      captcha: requireCaptcha({ captcha, keys }, purposeOfSignIn),
    });
    await everybody.register(secondFactorRoutes, { auth: parts, cipher });
    await everybody.register(mailRequestRoutes, {
      auth: parts,
      mailLimit,
      captcha: requireCaptcha({ captcha, keys }, () => 'mail'),
    });
    await everybody.register(mailCodeRoutes, { auth: parts, keys });
    await everybody.register(emailLinkRoutes, { auth: parts });
    await everybody.register(oauthRoutes, { auth: parts, oauth });
    await everybody.register(adminSessionRoutes, { auth: parts, rootAdmin });
    await everybody.register(publicConfigRoutes, { db });
    await everybody.register(publicProfileRoutes, { db, guards });
    await everybody.register(jwksRoutes, { tokens });
  });
  await app.register(async (keyHolders) => {
    keyHolders.addHook('onRequest', guards.requireUser);
    await keyHolders.register(signUpRoutes, {
      auth: parts,
      captcha: requireCaptcha({ captcha, keys }, () => 'sign-up'),
    });
  });
  await app.register(async (signedIn) => {
    signedIn.addHook('onRequest', guards.requireToken);
    await signedIn.register(currentUserRoutes, { db });
    await signedIn.register(async (inPerson) => {
      inPerson.addHook('onRequest', requireOwnSession(db));
      await inPerson.register(ownSessionRoutes, { db });
      await inPerson.register(ownFactorRoutes, { auth: parts, cipher });
      await inPerson.register(accountRoutes, { auth: parts, mailLimit });
    });
    await signedIn.register(async (signedInAdmins) => {
      signedInAdmins.addHook('onRequest', guards.requireAdmin);
      await signedInAdmins.register(currentAdminRoutes);
    });
  });
  await app.register(forAdmins, { ...options, platform, customClaims, oauth });
};

type AdminOptions = Pick<AuthOptions, 'platform' | 'captcha'> & { customClaims: CustomClaims; oauth: OAuthParts };

const forAdmins: FastifyPluginAsync<AdminOptions> = async (admins, { platform, captcha, customClaims, oauth }) => {
  const { db, cipher, keys, tokens, guards } = platform;
  admins.addHook('onRequest', guards.requireAdmin);
  await admins.register(userRoutes, { db, keys });
  await admins.register(userManagementRoutes, { db, tokens, customClaims });
  await admins.register(userSessionRoutes, { db });
  await admins.register(userFactorRoutes, { db });
  await admins.register(customClaimsRoutes, { db, customClaims });
  await admins.register(configRoutes, { db });
  await admins.register(captchaRoutes, { db, cipher, captcha });
  await admins.register(oauthConfigRoutes, oauth);
  await admins.register(customOAuthConfigRoutes, oauth);
};
