import { type IdTokenSignIn, OAUTH_PROVIDERS, type OAuthProvider } from '@insforge/contract/oauth.ts';
import type { Db, SystemTx } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { readConfig as readAuthConfig } from '../config.ts';
import { issueExchangeCode } from '../exchange-codes.ts';
import { checkRedirect, withParameters } from '../redirects.ts';
import type { Device } from '../sessions.ts';
import { type Auth, startUserSession, type UserSession } from '../sign-in.ts';
import { findOrCreateAccount, holdIdentity } from './accounts.ts';
import { type OAuthClient, type Provider, reasonOf } from './client.ts';
import { findConfig, type StoredConfig } from './configs.ts';
import { readCustomConfig } from './custom-configs.ts';
import type { IdTokens } from './id-tokens.ts';
import { atOwnHost, mappedTraits, OPENID, PROVIDERS, type ProviderRow } from './providers.ts';
import type { States } from './states.ts';

/** What signing in with a provider stands on. */
export interface OAuthParts {
  db: Db;
  cipher: Cipher;
  log: Logger;
  client: OAuthClient;
  states: States;
  idTokens: IdTokens;
  apiBaseUrl: string;
  allowPrivateNetwork: boolean;
  /** Known providers that are not at their public address. */
  ownHosts: Partial<Record<OAuthProvider, string>>;
}

interface Start {
  redirectUri: string;
  codeChallenge: string;
  /** Goes to the provider as far as it does not touch the protocol. */
  extra: Readonly<Record<string, unknown>>;
}

/** Parameters of the authorization request that are ours alone. */
const RESERVED = new Set([
  'client_id',
  'client_secret',
  'redirect_uri',
  'response_type',
  'response_mode',
  'scope',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'request',
  'request_uri',
  'registration',
  'claims',
  'dpop_jkt',
]);
const MAX_EXTRA_LENGTH = 512;

/** The address of a provider where a sign-in begins. @throws AppError INVALID_INPUT, AUTH_OAUTH_CONFIG_ERROR */
export async function startSignIn(parts: OAuthParts, name: string, start: Start): Promise<string> {
  const { db, client, states } = parts;
  const redirectUri = await checkAllowed(parts, start.redirectUri);
  const provider = await findProvider(parts, name);
  const extra = Object.entries(start.extra).filter(
    (entry): entry is [string, string] =>
      !RESERVED.has(entry[0]) && typeof entry[1] === 'string' && entry[1].length <= MAX_EXTRA_LENGTH,
  );
  const departure = { provider: name, redirectUri, codeChallenge: start.codeChallenge };
  const bindings = await states.issue(db.system, departure);
  return client.authorizationUrl(provider, bindings, Object.fromEntries(extra));
}

/**
 * Takes the answer of a provider and says where the browser goes: back to the app, with a code that is worth a
 * session, or with an error.
 * @throws AppError INVALID_INPUT where nobody knows any more, or may know, where the user came from
 */
export async function finishSignIn(parts: OAuthParts, name: string, answer: URLSearchParams): Promise<string> {
  const { db, client, states, log } = parts;
  const state = answer.get('state') ?? undefined;
  const { redirectUri, codeChallenge, ...bindings } = await states.redeem(db.system, name, state);
  // The list may have been shortened while the user was away.
  const target = await checkAllowed(parts, redirectUri);
  try {
    const provider = await findProvider(parts, name);
    const identity = await client.identify(provider, answer, { state: state ?? '', ...bindings });
    const user = await findOrCreateAccount(db, name, identity);
    const code = await db.system.tx(async (tx) => {
      await holdIdentity(tx, name, identity, user.id);
      return issueExchangeCode(tx, { userId: user.id }, codeChallenge);
    });
    return withParameters(target, { insforge_code: code });
  } catch (error) {
    log.warn({ provider: name, reason: error instanceof Error ? error.message : String(error) }, 'oauth.failed');
    return withParameters(target, { error: reasonOf(name, error) });
  }
}

/** Opens a session for an ID token of a native SDK. @throws AppError AUTH_UNAUTHORIZED, and those of accounts */
export async function signInWithIdToken(
  auth: Auth,
  parts: OAuthParts,
  given: IdTokenSignIn,
  device: Device,
): Promise<UserSession> {
  const { db, cipher, idTokens } = parts;
  const config = await findConfig(db.system, cipher, given.provider);
  const audience = [config?.clientId, ...(config?.nativeClientIds ?? [])].filter((id) => typeof id === 'string');
  const [clientId] = audience;
  if (!config || clientId === undefined) throw notConfigured(given.provider, config);
  // Nobody is asked for anything but public keys, so there need be no secret.
  const provider = toProvider(parts, given.provider, { ...config, clientId, clientSecret: config.clientSecret ?? '' });
  const identity = await idTokens.verify(provider, given, audience);
  const user = await findOrCreateAccount(db, given.provider, identity);
  const hold = (tx: SystemTx) => holdIdentity(tx, given.provider, identity, user.id);
  return startUserSession(auth, { user, aal: 'aal1', hold }, device);
}

async function checkAllowed({ db, apiBaseUrl }: OAuthParts, redirectUri: string): Promise<string> {
  const { allowedRedirectUrls: allowed } = await readAuthConfig(db.system);
  return checkRedirect('redirect_uri', redirectUri, { allowed, apiBaseUrl }).href;
}

const isKnown = (name: string): name is OAuthProvider => OAUTH_PROVIDERS.some((known) => known === name);

function findProvider(parts: OAuthParts, name: string): Promise<Provider> {
  return isKnown(name) ? findKnownProvider(parts, name) : findCustomProvider(parts, name);
}

/** @throws AppError AUTH_OAUTH_CONFIG_ERROR */
async function findKnownProvider(parts: OAuthParts, name: OAuthProvider): Promise<Provider> {
  const config = await findConfig(parts.db.system, parts.cipher, name);
  if (!config?.clientId || config.clientSecret === null) throw notConfigured(name, config);
  return toProvider(parts, name, { ...config, clientId: config.clientId, clientSecret: config.clientSecret });
}

function notConfigured(name: OAuthProvider, config: object | undefined): AppError {
  const call = config
    ? `PUT /api/auth/oauth/${name}/config {"clientId":"…","clientSecret":"…"}`
    : `POST /api/auth/oauth/configs {"provider":"${name}","clientId":"…","clientSecret":"…"}`;
  return new AppError('AUTH_OAUTH_CONFIG_ERROR', `Signing in with ${name} is not configured`, {
    nextActions: `An admin configures it: ${call}.`,
  });
}

function toProvider(
  { apiBaseUrl, ownHosts }: OAuthParts,
  name: OAuthProvider,
  config: StoredConfig & { clientId: string; clientSecret: string },
): Provider {
  const { clientId, clientSecret, scopes, trustEmail: trustsEmail } = config;
  const ownHost = ownHosts[name];
  const row = ownHost === undefined ? PROVIDERS[name] : atOwnHost(PROVIDERS[name], ownHost);
  const callbackUrl = callbackUrlOf(apiBaseUrl, name);
  const known = { name, clientId, clientSecret, callbackUrl, trustsEmail };
  return { ...known, row: withScopes(row, scopes?.length ? scopes : row.scopes) };
}

/** @throws AppError AUTH_OAUTH_CONFIG_NOT_FOUND */
async function findCustomProvider({ db, cipher, apiBaseUrl }: OAuthParts, name: string): Promise<Provider> {
  const config = await readCustomConfig(db.system, cipher, name);
  const { clientId, clientSecret, discoveryEndpoint, authorizeUrl, tokenUrl, userinfoUrl, scopes } = config;
  const mapped = mappedTraits(config.profile ?? { id: 'id', email: 'email', name: 'name' }, scopes ?? []);
  const row: ProviderRow =
    discoveryEndpoint !== null
      ? { ...OPENID, issuer: discoveryEndpoint }
      : { ...mapped, authorizeUrl: authorizeUrl ?? '', tokenUrl: tokenUrl ?? '', userinfoUrl: userinfoUrl ?? '' };
  const callbackUrl = callbackUrlOf(apiBaseUrl, name);
  const known = { name, clientId, clientSecret: clientSecret ?? '', callbackUrl, trustsEmail: config.trustEmail };
  return { ...known, row: withScopes(row, scopes ?? row.scopes) };
}

/** Whether there is an ID token is not the admin's choice: without OpenID Connect, it could not be checked. */
function withScopes(row: ProviderRow, scopes: readonly string[]): ProviderRow {
  const others = scopes.filter((scope) => scope !== 'openid');
  return { ...row, scopes: 'issuer' in row && row.scopes.includes('openid') ? ['openid', ...others] : others };
}

/** What has to be entered at the provider. Each has an address of its own, so that none can answer for another. */
export function callbackUrlOf(apiBaseUrl: string, name: string): string {
  return `${apiBaseUrl}/api/auth/oauth/${isKnown(name) ? '' : 'custom/'}${name}/callback`;
}
