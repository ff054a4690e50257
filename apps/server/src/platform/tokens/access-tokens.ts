import { createPrivateKey, createPublicKey, createSecretKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { decodeProtectedHeader, exportJWK, type JWK, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import type { Claims, Role } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';

export const ACCESS_TOKEN_SECONDS = 15 * 60;

export interface AccessTokens {
  /** Signs an access token for the claims, valid for 15 minutes. `sessionId` is the session it came from. */
  sign(claims: Claims & { sub: string }, sessionId?: string): Promise<string>;
  /**
   * Checks a token and returns who it speaks for. Verified tokens are remembered until they expire.
   * @throws AppError AUTH_UNAUTHORIZED for anything that is not a valid, unexpired access token
   */
  verify(token: string): VerifiedToken | Promise<VerifiedToken>;
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

/** Generates the RSA key pair of a server, as PEM. */
export async function makeSigningKey(): Promise<{ privateKey: string; publicKey: string }> {
  return promisify(generateKeyPair)('rsa', {
    modulusLength: 2048,
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
}

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

  const check = async (token: string): Promise<VerifiedToken> => {
    let payload: JWTPayload;
    try {
      const [key, algorithm] = keyFor(decodeProtectedHeader(token).kid);
      ({ payload } = await jwtVerify(token, key, { algorithms: [algorithm], requiredClaims: ['sub', 'exp'] }));
    } catch (cause) {
      throw invalidToken(cause);
    }
    const verified = toVerifiedToken(payload);
    if (remembered.size >= MAX_REMEMBERED) remembered.delete(remembered.keys().next().value ?? '');
    remembered.set(token, verified);
    return verified;
  };

  return {
    jwks,
    sign: (claims, sessionId) =>
      new SignJWT({ ...claims, sid: sessionId })
        .setProtectedHeader({ alg: 'RS256', kid: keys.keyId, typ: 'JWT' })
        .setIssuedAt()
        .setExpirationTime(`${ACCESS_TOKEN_SECONDS}s`)
        .sign(privateKey),
    verify(token) {
      const known = remembered.get(token);
      if (!known) return check(token);
      if (known.expiresAt * 1000 > Date.now()) return known;
      remembered.delete(token);
      throw invalidToken();
    },
    async sessionOf(token) {
      const options = { algorithms: ['RS256'], clockTolerance: Number.MAX_SAFE_INTEGER };
      const { payload } = await jwtVerify(token, publicKey, options).catch(() => ({ payload: { sid: undefined } }));
      return typeof payload.sid === 'string' ? payload.sid : undefined;
    },
  };
}

function toVerifiedToken(payload: JWTPayload): VerifiedToken {
  // Refresh tokens, and whatever else this server signs for one purpose, share the secret of access tokens.
  const isSpecial = payload.type === 'refresh' || (payload.iss === 'insforge' && payload.type !== undefined);
  if (isSpecial || typeof payload.sub !== 'string' || payload.sub === '') throw invalidToken();
  const role = payload.role ?? 'authenticated';
  if (typeof role !== 'string' || !ROLES.has(role)) {
    throw new AppError('AUTH_UNAUTHORIZED', `Tokens of the role ${JSON.stringify(role)} are not accepted`, {
      status: 403,
      nextActions: 'Use one of the roles anon, authenticated, project_admin.',
    });
  }
  const email = typeof payload.email === 'string' ? payload.email : undefined;
  return {
    claims: { sub: payload.sub, ...(email === undefined ? {} : { email }), role: role as Role },
    expiresAt: payload.exp ?? 0,
  };
}

function invalidToken(cause?: unknown): AppError {
  return new AppError('AUTH_UNAUTHORIZED', 'The token is not valid or has expired', {
    cause,
    nextActions: 'Get a new one with POST /api/auth/refresh, or sign in with POST /api/auth/sessions.',
  });
}
