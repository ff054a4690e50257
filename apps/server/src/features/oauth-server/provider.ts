import { createHmac } from 'node:crypto';
import { OAUTH_SCOPES, RedirectUrisSchema } from '@insforge/contract/oauth-server.ts';
import type { Adapter, AdapterPayload, Configuration, KoaContextWithOIDC, Provider } from 'oidc-provider';
import type { FrontDoor } from '#features/auth/index.ts';
import { pageHeaders } from '#features/auth-pages/index.ts';
import type { Platform } from '#platform/platform.ts';
import { findClientMetadata, makeClientId, storeDynamicClient } from './clients.ts';
import { errorPage } from './pages.ts';
import { interactionPath, PATHS } from './paths.ts';
import {
  consumeRecord,
  deleteRecord,
  endGrant,
  findGrantId,
  findRecord,
  forgetSpentGrants,
  storeRecord,
} from './records.ts';
import { readDynamicRegistration } from './settings.ts';

/** What the provider stands on. */
export interface ProviderParts {
  platform: Pick<Platform, 'db' | 'cipher' | 'tokens' | 'jwtSecret'>;
  door: FrontDoor;
  /** The issuer, and the URL under which browsers reach this server. */
  apiBaseUrl: string;
  log: { error(fields: object, event: string): void };
}

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const TTL = {
  AccessToken: HOUR,
  AuthorizationCode: MINUTE,
  Grant: 365 * DAY,
  IdToken: HOUR,
  Interaction: 30 * MINUTE,
  RefreshToken: 30 * DAY,
  Session: 12 * HOUR,
};

/** Of programs that registered themselves without one. */
const DEFAULT_SCOPE = 'openid profile email';

const GRANTS = ['authorization_code', 'refresh_token'];

/** Loads the provider. It is large, so this is left until somebody needs it. */
export async function openProvider(parts: ProviderParts): Promise<Provider> {
  const { Provider } = await import('oidc-provider');
  const { apiBaseUrl } = parts;
  const provider = new Provider(apiBaseUrl, await configure(parts));
  // What it reads there is what `sayWhoAsks` wrote: whether the browser came by TLS decides whether cookies are Secure.
  provider.proxy = true;
  provider.on('server_error', (_ctx, err) => parts.log.error({ err }, 'request.failed'));
  provider.use(nameForbiddenGrants);
  provider.use(addScope(provider));
  signAccessTokens(provider, parts);
  return provider;
}

/** RFC 6749, section 5.2, has a code of its own for a grant that a client was not registered for. */
async function nameForbiddenGrants(ctx: KoaContextWithOIDC, next: () => Promise<void>): Promise<void> {
  await next();
  const { route, client, params } = ctx.oidc ?? {};
  const grantType = String(params?.grant_type);
  if (route !== 'token' || !client || !GRANTS.includes(grantType) || client.grantTypeAllowed(grantType)) return;
  ctx.body = Object.assign({}, ctx.body, { error: 'unauthorized_client' });
}

/** A request without a scope is for all that the program was registered for (RFC 6749, section 3.3). */
const addScope = (provider: Provider) => async (ctx: KoaContextWithOIDC, next: () => Promise<void>) => {
  const { client_id: id, scope } = ctx.query;
  if (ctx.path === PATHS.authorization && typeof id === 'string' && !scope) {
    const client = await provider.Client.find(id);
    ctx.query = { ...ctx.query, scope: client?.scope ?? DEFAULT_SCOPE };
  }
  await next();
};

async function configure(parts: ProviderParts): Promise<Configuration> {
  const { platform, door } = parts;
  const { db, tokens, jwtSecret } = platform;
  const cookieKey = createHmac('sha256', jwtSecret).update('insforge:oauth-cookies').digest('hex');
  return {
    adapter: (model) => createAdapter(platform, model),
    jwks: { keys: [await tokens.exportSigningKey()] } as Configuration['jwks'],
    routes: PATHS,
    scopes: Object.keys(OAUTH_SCOPES),
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'picture', 'updated_at'],
    },
    responseTypes: ['code'],
    pkce: { required: () => true },
    clientAuthMethods: ['client_secret_post', 'client_secret_basic', 'none'],
    clientDefaults: {
      grant_types: GRANTS,
      response_types: ['code'],
      id_token_signed_response_alg: 'RS256',
    },
    // Every token that is refreshed is replaced; the use of an old one ends the grant (RFC 9700, section 4.14.2).
    rotateRefreshToken: true,
    issueRefreshToken: async (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    features: {
      devInteractions: { enabled: false },
      userinfo: { enabled: true },
      revocation: {
        enabled: true,
        allowedPolicy: async (_ctx, client, token) => token.clientId === client.clientId,
      },
      introspection: {
        enabled: true,
        // Programs may ask about tokens of their own; public ones, which anybody can pose as, about none.
        allowedPolicy: async (_ctx, client, token) =>
          client.clientAuthMethod !== 'none' && token.clientId === client.clientId,
      },
      registration: { enabled: true, idFactory: makeClientId },
      rpInitiatedLogout: { enabled: false },
      // Access tokens have one audience. MCP clients always name the resource they want; they are served all the same.
      resourceIndicators: { enabled: false },
      // Nothing here would hold anybody to these.
      dPoP: { enabled: false },
      pushedAuthorizationRequests: { enabled: false },
    },
    discovery: { service_documentation: `${parts.apiBaseUrl}/api/docs` },
    clientBasedCORS: () => true,
    cookies: {
      names: { session: 'insforge_oauth', interaction: 'insforge_oauth_step', resume: 'insforge_oauth_resume' },
      keys: [cookieKey],
      long: { signed: true, httpOnly: true, sameSite: 'lax' },
      short: { signed: true, httpOnly: true, sameSite: 'lax' },
    },
    ttl: TTL,
    interactions: { url: (_ctx, { uid }) => interactionPath(uid) },
    findAccount: async (_ctx, id) => {
      const user = await door.find(id);
      if (!user) return undefined;
      return { accountId: id, claims: async () => toClaims(user) };
    },
    loadExistingGrant: (ctx) => loadGrant(ctx, parts),
    renderError: async (ctx, { error, error_description: description }) => {
      const page = await errorPage(db, { error, description });
      ctx.set(pageHeaders(page));
      ctx.type = 'html';
      ctx.body = page.html;
    },
  };
}

type User = NonNullable<Awaited<ReturnType<FrontDoor['find']>>>;

/** https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims */
function toClaims({ id, email, emailVerified, profile, updatedAt }: User) {
  const { name, avatar_url: picture } = profile ?? {};
  return {
    sub: id,
    email,
    email_verified: emailVerified,
    ...(typeof name === 'string' ? { name } : {}),
    ...(typeof picture === 'string' && picture !== '' ? { picture } : {}),
    updated_at: Math.floor(Date.parse(updatedAt) / 1000),
  };
}

/**
 * What the user granted before, also in another browser: nobody is asked twice for the same. Each browser has a grant
 * of its own, so that what ends the tokens of one device leaves the others alone.
 */
async function loadGrant(ctx: KoaContextWithOIDC, { platform: { db, cipher } }: ProviderParts) {
  const { client, session, result, provider } = ctx.oidc;
  const [userId, clientId] = [session?.accountId, client?.clientId];
  if (userId === undefined || clientId === undefined) return undefined;
  const find = async (id: string | undefined) => {
    const grant = id === undefined ? undefined : await provider.Grant.find(id);
    return grant?.accountId === userId && grant.clientId === clientId ? grant : undefined;
  };
  const own = await find(result?.consent?.grantId ?? session?.grantIdFor(clientId));
  const latest = await find(await findGrantId(db.system, cipher, { userId, clientId }));
  if (!latest || latest.jti === own?.jti) return own;
  const grant = own ?? new provider.Grant({ accountId: userId, clientId });
  grant.addOIDCScope(latest.getOIDCScope());
  grant.addOIDCClaims(latest.getOIDCClaims());
  const id = await grant.save();
  await forgetSpentGrants(db.system, { userId, clientId, keptIds: [id, latest.jti] });
  return grant;
}

/**
 * The provider hands out ids of what it stores. Programs get a signed token in its place, which names the id in
 * `jti` and which every part of this server understands; where it comes back, `protocol.ts` puts the id in again.
 */
function signAccessTokens(provider: Provider, { platform: { tokens }, door }: ProviderParts): void {
  const prototype: { getValueAndPayload(): Promise<{ value: string; payload: AdapterPayload }> } = provider.AccessToken
    .prototype as never;
  const original = prototype.getValueAndPayload;
  prototype.getValueAndPayload = async function () {
    const { value: tokenId, payload } = await original.call(this);
    const { accountId = '', clientId = '', scope = '', iat = 0, exp = 0 } = payload;
    const user = await door.find(accountId);
    if (!user) throw new Error('the user is gone');
    const claims = await door.claimsOf(user, { aal: 'aal1' });
    const grant = { tokenId, clientId, scope, issuedAt: iat, expiresAt: exp };
    return { value: await tokens.signForClient(claims, grant), payload };
  };
}

/** Clients have a table of their own; all else is a record. */
function createAdapter({ db, cipher }: ProviderParts['platform'], model: string): Adapter {
  const tx = db.system;
  if (model === 'Client') {
    return {
      find: (id) => findClientMetadata(tx, cipher, id),
      upsert: async (_id, payload) => {
        // The address is open; whether anything is stored is the admin's to say.
        if (!(await readDynamicRegistration(tx))) return;
        await checkRegistration(payload);
        await storeDynamicClient(tx, cipher, payload);
      },
      ...NOT_FOR_CLIENTS,
    };
  }
  return {
    upsert: (id, payload, seconds) => storeRecord(tx, cipher, { model, id, payload, seconds }),
    find: (id) => findRecord(tx, cipher, model, { id }),
    findByUid: (uid) => findRecord(tx, cipher, model, { uid }),
    findByUserCode: async () => undefined,
    consume: async (id) => {
      if (await consumeRecord(tx, model, id)) return;
      const { errors } = await import('oidc-provider');
      throw new errors.InvalidGrant('used already');
    },
    destroy: (id) => deleteRecord(tx, model, id),
    revokeByGrantId: (grantId) => endGrant(tx, grantId),
  };
}

/** What the provider would let pass of a program that registers itself. */
async function checkRegistration(metadata: AdapterPayload): Promise<void> {
  const { errors } = await import('oidc-provider');
  const { error } = RedirectUrisSchema.safeParse(metadata.redirect_uris);
  if (error) throw new errors.InvalidRedirectUri(`redirect_uris ${error.issues[0]?.message}`);
  if (JSON.stringify(metadata).includes('\\u0000'))
    throw new errors.InvalidClientMetadata('no text has zero characters');
}

const NOT_FOR_CLIENTS = {
  findByUid: async () => undefined,
  findByUserCode: async () => undefined,
  consume: async () => undefined,
  destroy: async () => undefined,
  revokeByGrantId: async () => undefined,
};
