import { createHash } from 'node:crypto';
import type { ClientAuth, Configuration, ServerMetadata } from 'openid-client';
import { AppError } from '#platform/errors.ts';
import { type OutgoingFetch, privateAddressBehind } from '#platform/outgoing/fetch.ts';
import type { PlainProvider, Profile, ProviderRow } from './providers.ts';

/** A provider with what an admin configured for it. */
export interface Provider {
  /** The name that identities are stored under. */
  name: string;
  row: ProviderRow;
  clientId: string;
  clientSecret: string;
  callbackUrl: string;
  /** An admin answers for the addresses of a provider that does not say whether they are verified. */
  trustsEmail: boolean;
}

export interface Identity extends Profile {
  isEmailVerified: boolean;
  /** The answer about the user, as far as it is stored. */
  data: Record<string, unknown>;
}

interface Bindings {
  state: string;
  nonce: string;
  codeVerifier: string;
}

export interface OAuthClient {
  /** The address at the provider where the user signs in. @throws AppError AUTH_OAUTH_CONFIG_ERROR, UPSTREAM_FAILURE */
  authorizationUrl(provider: Provider, bindings: Bindings, extra: Readonly<Record<string, string>>): Promise<string>;
  /**
   * Turns the answer of a provider into the identity it vouches for.
   * @throws also the errors of openid-client; `reasonOf` tells what may be said about them
   */
  identify(provider: Provider, parameters: URLSearchParams, bindings: Bindings): Promise<Identity>;
  /** Where the keys are that an OpenID Connect provider signs with, and what its tokens may call it. */
  keysOf(provider: Provider): Promise<{ issuers: string[]; jwksUri: URL }>;
}

/** Discovery documents and keys change rarely, but they do. */
const REMEMBERED_MS = 10 * 60_000;
const MAX_REMEMBERED = 100;
const TIMEOUT_SECONDS = 10;
const MAX_STORED_BYTES = 8 * 1024;

type Remembered = { until: number; configuration: Promise<Configuration> };

/** @param allowInsecure http instead of https, for providers of the developer's own machine */
export function createOAuthClient(options: { fetch: OutgoingFetch; allowInsecure: boolean }): OAuthClient {
  const remembered = new Map<string, Remembered>();

  const configurationOf = (provider: Provider): Promise<Configuration> => {
    const { name, row, clientId, clientSecret } = provider;
    const key = createHash('sha256')
      .update(JSON.stringify([name, row, clientId, clientSecret]))
      .digest('hex');
    const known = remembered.get(key);
    if (known && known.until > Date.now()) return known.configuration;
    const configuration = configure(provider, options).catch((error: unknown) => {
      remembered.delete(key);
      throw unreachable(name, error);
    });
    if (remembered.size >= MAX_REMEMBERED) remembered.delete(remembered.keys().next().value ?? '');
    remembered.set(key, { until: Date.now() + REMEMBERED_MS, configuration });
    return configuration;
  };

  return {
    async authorizationUrl(provider, bindings, extra) {
      const { buildAuthorizationUrl } = await import('openid-client');
      const { row, callbackUrl } = provider;
      const configuration = await configurationOf(provider);
      const url = buildAuthorizationUrl(configuration, {
        ...extra,
        ...row.authorize,
        redirect_uri: callbackUrl,
        scope: row.scopes.join(row.scopeSeparator ?? ' '),
        state: bindings.state,
        ...('issuer' in row && row.usesNonce !== false ? { nonce: bindings.nonce } : {}),
        ...(row.usesPkce === false ? {} : challengeOf(bindings.codeVerifier)),
      });
      renameClientId(url.searchParams, row);
      return url.href;
    },

    async identify(provider, parameters, bindings) {
      const { row } = provider;
      const configuration = await configurationOf(provider);
      const json =
        'issuer' in row
          ? await openIdAnswer(configuration, provider, parameters, bindings)
          : await plainAnswer(configuration, provider, row, parameters, bindings);
      const profile = row.profile(json.user, json.more);
      if (profile.id === '') throw new Error(`${provider.name} did not say who the user is`);
      const name = row.nameInCallback?.(parameters) ?? profile.name;
      const isEmailVerified = profile.isEmailVerified ?? provider.trustsEmail;
      return { ...profile, name, isEmailVerified, data: keep(json.user, row.kept) };
    },

    async keysOf(provider) {
      const { issuer, jwks_uri } = (await configurationOf(provider)).serverMetadata();
      const otherIssuers = ('issuer' in provider.row && provider.row.otherIssuers) || [];
      return { issuers: [issuer, ...otherIssuers], jwksUri: new URL(jwks_uri ?? '') };
    },
  };
}

function challengeOf(codeVerifier: string) {
  const codeChallenge = createHash('sha256').update(codeVerifier).digest('base64url');
  return { code_challenge: codeChallenge, code_challenge_method: 'S256' };
}

const WELL_KNOWN = '/.well-known/openid-configuration';

/** What openid-client needs to know about a provider: discovered, or from the row. */
async function configure(
  { row, clientId, clientSecret }: Provider,
  { fetch, allowInsecure }: { fetch: OutgoingFetch; allowInsecure: boolean },
): Promise<Configuration> {
  const library = await import('openid-client');
  const secret = (await row.clientSecret?.(clientSecret, clientId)) ?? clientSecret;
  const clientAuth: ClientAuth = (server, client, body, headers) => {
    if (prefersBasic(server, row)) headers.set('authorization', basicAuth(clientId, secret));
    else library.ClientSecretPost(secret)(server, client, body, headers);
    renameClientId(body, row);
  };

  const extensions = [
    ...('issuer' in row ? [library.enableNonRepudiationChecks] : []),
    ...(allowInsecure ? [library.allowInsecureRequests] : []),
  ];
  let configuration: Configuration;
  if ('issuer' in row && !row.endpoints) {
    const options = { [library.customFetch]: fetch, execute: extensions };
    configuration = await library.discovery(discoveryAddress(row.issuer), clientId, secret, clientAuth, options);
  } else {
    configuration = new library.Configuration(knownServer(row), clientId, secret, clientAuth);
    configuration[library.customFetch] = 'issuer' in row ? fetch : withTokenAnswer(fetch, row);
    for (const extend of extensions) extend(configuration);
  }
  configuration.timeout = TIMEOUT_SECONDS;
  return configuration;
}

function renameClientId(parameters: URLSearchParams, { clientIdName }: ProviderRow): void {
  if (clientIdName === undefined) return;
  parameters.set(clientIdName, parameters.get('client_id') ?? '');
  parameters.delete('client_id');
}

/** Puts the token into the form that openid-client reads. */
function withTokenAnswer(fetch: OutgoingFetch, { tokenUrl, tokenAnswer }: PlainProvider): OutgoingFetch {
  if (!tokenAnswer) return fetch;
  return async (url, init) => {
    const response = await fetch(url, init);
    return url === tokenUrl && response.ok ? Response.json(tokenAnswer(await response.json())) : response;
  };
}

/** What discovery would tell, where we know it. */
function knownServer(row: ProviderRow): ServerMetadata {
  if ('issuer' in row) return { issuer: row.issuer, ...row.endpoints };
  return {
    issuer: row.responseIssuer ?? new URL(row.authorizeUrl).origin,
    authorization_endpoint: row.authorizeUrl,
    token_endpoint: row.tokenUrl,
  };
}

/**
 * Directories of Microsoft that several share have a placeholder in their issuer. openid-client fills it in where
 * it was given the issuer, not where it was given the whole address.
 */
function discoveryAddress(issuer: string): URL {
  return new URL(issuer.startsWith('https://login.microsoftonline.com/') ? issuer.replace(WELL_KNOWN, '') : issuer);
}

/** Without a word about it, `client_secret_basic` is what a provider takes (OpenID Connect Discovery 1.0, section 3). */
function prefersBasic(server: ServerMetadata, row: ProviderRow): boolean {
  if (row.clientAuth) return row.clientAuth === 'basic';
  if (!('issuer' in row)) return false;
  const supported = server.token_endpoint_auth_methods_supported;
  return !supported || supported.includes('client_secret_basic');
}

/**
 * RFC 6749, section 2.3.1. openid-client would also encode `-` and `_`, which is allowed, but which providers that
 * forgot to decode (X) do not survive.
 */
function basicAuth(clientId: string, secret: string): string {
  const encode = (text: string) => new URLSearchParams({ '': text }).toString().slice(1);
  return `Basic ${btoa(`${encode(clientId)}:${encode(secret)}`)}`;
}

async function openIdAnswer(
  configuration: Configuration,
  { row, callbackUrl }: Provider,
  parameters: URLSearchParams,
  { state, nonce, codeVerifier }: Bindings,
): Promise<{ user: Record<string, unknown>; more?: unknown }> {
  const { authorizationCodeGrant, fetchUserInfo } = await import('openid-client');
  const tokens = await authorizationCodeGrant(configuration, at(callbackUrl, parameters), {
    expectedState: state,
    idTokenExpected: true,
    ...(row.usesNonce === false ? {} : { expectedNonce: nonce }),
    ...(row.usesPkce === false ? {} : { pkceCodeVerifier: codeVerifier }),
  });
  const claims = tokens.claims();
  if (!claims) throw new Error('there was no ID token');
  const isComplete = claims.email !== undefined && claims.email_verified !== undefined;
  if (isComplete || !configuration.serverMetadata().userinfo_endpoint) return { user: claims };
  return { user: { ...claims, ...(await fetchUserInfo(configuration, tokens.access_token, claims.sub)) } };
}

async function plainAnswer(
  configuration: Configuration,
  { callbackUrl }: Provider,
  row: PlainProvider,
  parameters: URLSearchParams,
  { state, codeVerifier }: Bindings,
): Promise<{ user: Record<string, unknown>; more?: unknown }> {
  const { authorizationCodeGrant, fetchProtectedResource } = await import('openid-client');
  const answer = new URLSearchParams(parameters);
  // Mix-up is ruled out by an address of its own for each provider (RFC 9700, section 4.4.2.2).
  if (row.responseIssuer === undefined) answer.delete('iss');
  const { access_token } = await authorizationCodeGrant(configuration, at(callbackUrl, answer), {
    expectedState: state,
    ...(row.usesPkce === false ? {} : { pkceCodeVerifier: codeVerifier }),
  });
  const read = async (address: string): Promise<unknown> => {
    const headers = new Headers({ accept: 'application/json' });
    const response = await fetchProtectedResource(configuration, access_token, new URL(address), 'GET', null, headers);
    const { pathname } = new URL(address);
    if (!response.ok) throw new Error(`${pathname} answered with status ${response.status}`);
    // The error of the parser quotes the answer, which is about somebody, and this one is for the log.
    return response.json().catch(() => {
      throw new Error(`${pathname} answered with something else than JSON`);
    });
  };
  const user = await read(row.userinfoUrl);
  if (typeof user !== 'object' || user === null) throw new Error('the answer about the user is no object');
  return { user: { ...user }, ...(row.moreUrl === undefined ? {} : { more: await read(row.moreUrl) }) };
}

function at(callbackUrl: string, parameters: URLSearchParams): URL {
  const url = new URL(callbackUrl);
  url.search = parameters.toString();
  return url;
}

function keep(json: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  const kept = Object.fromEntries(Object.entries(json).filter(([name]) => names.includes(name)));
  return JSON.stringify(kept).length > MAX_STORED_BYTES ? {} : kept;
}

/** Error codes of RFC 6749 and OpenID Connect; anything else that stands in their place is not repeated. */
const ERROR_CODE = /^[a-z_]{1,64}$/;

/** The `error` of RFC 6749. GitHub sends it with the status 200, where openid-client looks for a token. */
function errorCodeIn(error: unknown): string | undefined {
  for (let at = error; typeof at === 'object' && at !== null; at = 'cause' in at ? at.cause : undefined) {
    const body: unknown = 'body' in at ? at.body : at;
    if (typeof body === 'object' && body !== null && 'error' in body && typeof body.error === 'string') {
      return body.error;
    }
  }
  return undefined;
}

/** What the app may be told about a sign-in that failed at the provider. The log has the rest. */
export function reasonOf(name: string, error: unknown): string {
  if (error instanceof AppError) return error.message;
  const refused = privateAddressBehind(error);
  if (refused) return `${name} cannot be reached: ${refused.message}`;
  const code = errorCodeIn(error);
  if (code === 'access_denied') return code;
  if (code !== undefined && ERROR_CODE.test(code)) return `${name} refused the sign-in: ${code}`;
  return `The sign-in with ${name} failed`;
}

/** The error of a provider that cannot even be asked where the user signs in. */
function unreachable(name: string, cause: unknown): AppError {
  if (cause instanceof AppError) return cause;
  const refused = privateAddressBehind(cause);
  if (refused) {
    return new AppError('AUTH_OAUTH_CONFIG_ERROR', `${name} cannot be reached: ${refused.message}`, {
      cause,
      nextActions: 'For a provider of your own machine or network, start the server with ALLOW_PRIVATE_NETWORK=true.',
    });
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new AppError('UPSTREAM_FAILURE', `${name} cannot be asked how to sign in (${reason})`, {
    cause,
    nextActions: 'Check the address of the provider; its discovery document must be readable from this server.',
  });
}
