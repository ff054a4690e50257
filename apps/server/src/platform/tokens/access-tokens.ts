import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPair,
  type KeyObject,
  sign as signWith,
} from 'node:crypto';
import { promisify } from 'node:util';
import { decodeProtectedHeader, exportJWK, type JWK, type JWTPayload, jwtVerify } from 'jose';
import type { Claims, Role } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import { signingInput } from './signing-input.ts';

export const ACCESS_TOKEN_SECONDS = 15 * 60;

export interface AccessTokens {
  /** Signs an access token for the claims, valid for 15 minutes. `sessionId` is the session it came from. */
  sign(claims: Claims & { sub: string }, sessionId?: string, seconds?: number): Promise<string>;
  /**
   * Checks a token and returns who it speaks for. Verified tokens are remembered until they expire.
   * @throws AppError AUTH_UNAUTHORIZED for anything that is not a valid, unexpired access token
   */
  verify(token: string): VerifiedToken | Promise<VerifiedToken>;
  /**
   * Signs an access token that a user granted to a program of somebody else's. It names the grant's token id, and
   * counts only while `isGranted` says that this is in force.
   */
  signForClient(claims: Claims & { sub: string }, grant: ClientGrant): Promise<string>;
  /** The id of a token that `signForClient` made; undefined for every other text. */
  clientTokenId(token: string): Promise<string | undefined>;
  /** Tells how to find out whether a session in which somebody acts for a user goes on. Until then, none does. */
  onActingToken(isLive: (sessionId: string) => Promise<boolean>): void;
  /** Tells how to find out whether the token of a client is in force. Until then, none is. */
  onClientToken(isGranted: (tokenId: string) => Promise<boolean>): void;
  /** The private key as JWK, for the one feature that signs tokens of other kinds with it. */
  exportSigningKey(): Promise<JWK>;
  /**
   * The session that a token of ours came from, also where the token has expired: whoever leaves may be late.
   * Undefined for every other token. It says which session to end, never who is calling.
   */
  sessionOf(token: string): Promise<string | undefined>;
  /** The public key set that others verify our tokens with. */
  readonly jwks: { keys: JWK[] };
}

export interface VerifiedToken {
  claims: Claims & { sub: string };
  /** Seconds since the epoch. */
  expiresAt: number;
}

/** What a user granted to a program of somebody else's. Times are seconds since the epoch. */
export interface ClientGrant {
  tokenId: string;
  clientId: string;
  scope: string;
  issuedAt: number;
  expiresAt: number;
}

/** Who made the tokens of clients, and for whom. Our own users' tokens carry neither. */
const CLIENT_ISSUER = 'insforge';
const CLIENT_AUDIENCE = 'insforge-api';
/** The scope without which a client learns who the user is, but cannot act for them here. */
export const API_SCOPE = 'api';

/** Generates the RSA key pair of a server, as PEM. */
export async function makeSigningKey(): Promise<{ privateKey: string; publicKey: string }> {
  return promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
}

/** How far the clock of whoever else signs tokens may be ahead of ours. */
const CLOCK_TOLERANCE_SECONDS = 60;
const ROLES: ReadonlySet<string> = new Set<Role>(['anon', 'authenticated', 'project_admin']);
const MAX_REMEMBERED = 10_000;

/** @param keys the RSA pair as PEM with its key id, and the secret that third parties may sign HS256 tokens with */
export async function createAccessTokens(keys: {
  privateKey: string;
  publicKey: string;
  keyId: string;
  jwtSecret: string;
}): Promise<AccessTokens> {
  const privateKey = createPrivateKey(keys.privateKey);
  const publicKey = createPublicKey(keys.publicKey);
  const sharedSecret = createSecretKey(keys.jwtSecret, 'utf8');
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), kid: keys.keyId, alg: 'RS256', use: 'sig' }] };
  const remembered = new Map<string, VerifiedToken>();

  // The algorithm belongs to the key. A token chooses between two keys by its key id, never how it is verified.
  const keyFor = (kid: string | undefined): [KeyObject, string] =>
    kid === keys.keyId ? [publicKey, 'RS256'] : [sharedSecret, 'HS256'];

  let isGranted: (tokenId: string) => Promise<boolean> = async () => false;
  let isLive: (sessionId: string) => Promise<boolean> = async () => false;

  const read = (token: string) => readToken(token, keyFor);

  const check = async (token: string): Promise<VerifiedToken> => {
    const { payload, isOurs } = await read(token);
    const verified = toVerifiedToken(payload, isOurs);
    if (isOurs && payload.client_id !== undefined) {
      // Never remembered: the user may withdraw the grant at any moment.
      if (!isClientToken(payload) || !(await isGranted(payload.jti))) throw invalidToken();
      requireApiScope(payload.scope);
      return verified;
    }
    if (isOurs && payload.act !== undefined) {
      // Nor these: they count for an hour, and whoever ends the session means now.
      if (typeof payload.sid !== 'string' || !(await isLive(payload.sid))) throw invalidToken();
      return verified;
    }
    if (remembered.size >= MAX_REMEMBERED) remembered.delete(remembered.keys().next().value ?? '');
    remembered.set(token, verified);
    return verified;
  };

  const signed = (typ: string, claims: object) => signOnThread(privateKey, { kid: keys.keyId, typ }, claims);

  return {
    jwks,
    sign({ more, ...claims }, sessionId, seconds = ACCESS_TOKEN_SECONDS) {
      const iat = Math.floor(Date.now() / 1000);
      return signed('JWT', { ...more, ...claims, sid: sessionId, iat, exp: iat + seconds });
    },
    verify(token) {
      const known = remembered.get(token);
      if (!known) return check(token);
      if (known.expiresAt * 1000 > Date.now()) return known;
      remembered.delete(token);
      throw invalidToken();
    },
    signForClient: ({ more, ...claims }, { tokenId, clientId, scope, issuedAt, expiresAt }) =>
      signed('at+jwt', {
        ...more,
        ...claims,
        client_id: clientId,
        scope,
        jti: tokenId,
        iss: CLIENT_ISSUER,
        aud: CLIENT_AUDIENCE,
        iat: issuedAt,
        exp: expiresAt,
      }),
    async clientTokenId(token) {
      const { payload, isOurs } = await read(token).catch(() => ({ payload: {}, isOurs: false }));
      return isOurs && isClientToken(payload) ? payload.jti : undefined;
    },
    onActingToken(lookup) {
      isLive = lookup;
    },
    onClientToken(lookup) {
      isGranted = lookup;
    },
    exportSigningKey: async () => ({ ...(await exportJWK(privateKey)), kid: keys.keyId, alg: 'RS256', use: 'sig' }),
    async sessionOf(token) {
      const options = { algorithms: ['RS256'], clockTolerance: Number.MAX_SAFE_INTEGER };
      const { payload } = await jwtVerify(token, publicKey, options).catch(() => ({ payload: { sid: undefined } }));
      return typeof payload.sid === 'string' ? payload.sid : undefined;
    },
  };
}

/** What a token says of itself, where it is well-formed, signed by whose key it names, and in force by its times. */
async function readToken(
  token: string,
  keyFor: (kid: string | undefined) => [KeyObject, string],
): Promise<{ payload: JWTPayload & { sub: string }; isOurs: boolean }> {
  try {
    const [key, algorithm] = keyFor(decodeProtectedHeader(token).kid);
    const { payload } = await jwtVerify(token, key, { algorithms: [algorithm], requiredClaims: ['sub', 'exp'] });
    const { sub, iat = 0 } = payload;
    if (typeof sub !== 'string' || sub === '') throw new Error('the subject is no text');
    if (iat > Date.now() / 1000 + CLOCK_TOLERANCE_SECONDS) throw new Error('it was made in the future');
    return { payload: { ...payload, sub }, isOurs: key.type === 'public' };
  } catch (cause) {
    throw invalidToken(cause);
  }
}

/** RSA takes as long as all that the main thread does for a sign-in. */
function signOnThread(key: KeyObject, { kid, typ }: { kid: string; typ: string }, claims: object): Promise<string> {
  const input = signingInput({ alg: 'RS256', kid, typ }, claims);
  return new Promise((resolve, reject) => {
    signWith('sha256', Buffer.from(input), key, (error, signature) => {
      if (error) reject(error);
      else resolve(`${input}.${signature.toString('base64url')}`);
    });
  });
}

/** Says what every token must; the rest of a token of ours is for policies (RFC 7519, section 4.1). */
const NOT_PASSED_ON = new Set(['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'role', 'email']);

function isClientToken(payload: JWTPayload): payload is JWTPayload & { jti: string; scope: string } {
  return (
    payload.iss === CLIENT_ISSUER &&
    payload.aud === CLIENT_AUDIENCE &&
    typeof payload.client_id === 'string' &&
    typeof payload.jti === 'string' &&
    typeof payload.scope === 'string'
  );
}

function requireApiScope(scope: string): void {
  if (scope.split(' ').includes(API_SCOPE)) return;
  throw new AppError('AUTH_UNAUTHORIZED', `This token was granted for "${scope}", not for the API`, {
    status: 403,
    nextActions: `Ask the user for the scope ${API_SCOPE}. What this token may read is at /api/oauth/v1/userinfo.`,
  });
}

/** @param isOurs whether this server signed it; of others' tokens, only who they speak for is believed */
function toVerifiedToken(payload: JWTPayload & { sub: string }, isOurs: boolean): VerifiedToken {
  // Where the audience is somebody else, it is an ID token, which tells a client who signed in and opens nothing.
  if (isOurs && payload.aud !== undefined && payload.aud !== CLIENT_AUDIENCE) throw invalidToken();
  if (isOurs && payload.iss !== undefined && payload.iss !== CLIENT_ISSUER) throw invalidToken();
  // Refresh tokens, and whatever else this server signs for one purpose, share the secret of access tokens.
  if (payload.type === 'refresh' || (payload.iss === 'insforge' && payload.type !== undefined)) throw invalidToken();
  const role = payload.role ?? 'authenticated';
  if (typeof role !== 'string' || !ROLES.has(role)) {
    throw new AppError('AUTH_UNAUTHORIZED', `Tokens of the role ${JSON.stringify(role)} are not accepted`, {
      status: 403,
      nextActions: 'Use one of the roles anon, authenticated, project_admin.',
    });
  }
  const email = typeof payload.email === 'string' ? payload.email : undefined;
  return {
    claims: {
      sub: payload.sub,
      ...(email === undefined ? {} : { email }),
      role: role as Role,
      ...(isOurs ? moreClaims(payload) : {}),
    },
    expiresAt: payload.exp ?? 0,
  };
}

function moreClaims(payload: JWTPayload): Pick<Claims, 'more'> {
  const more = Object.entries(payload).filter(([name]) => !NOT_PASSED_ON.has(name));
  return more.length > 0 ? { more: Object.fromEntries(more) } : {};
}

function invalidToken(cause?: unknown): AppError {
  return new AppError('AUTH_UNAUTHORIZED', 'The token is not valid or has expired', {
    cause,
    nextActions: 'Get a new one with POST /api/auth/refresh, or sign in with POST /api/auth/sessions.',
  });
}
