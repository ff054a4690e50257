import { createHash } from 'node:crypto';
import type { IdTokenSignIn } from '@insforge/contract/oauth.ts';
import { createRemoteJWKSet, customFetch, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { AppError } from '#platform/errors.ts';
import type { OutgoingFetch } from '#platform/outgoing/fetch.ts';
import { isEqual } from '../equal.ts';
import type { Identity, OAuthClient, Provider } from './client.ts';

export interface IdTokens {
  /**
   * Checks an ID token that a native SDK gave to the app: the provider's signature, that it was made for this
   * project, that it has not expired, and, for Apple, the nonce.
   * @param audience the client ids that it may have been made for
   * @throws AppError AUTH_UNAUTHORIZED, UPSTREAM_FAILURE
   */
  verify(provider: Provider, given: IdTokenSignIn, audience: string[]): Promise<Identity>;
}

const CLOCK_TOLERANCE_SECONDS = 30;

export function createIdTokens(options: { client: OAuthClient; fetch: OutgoingFetch }): IdTokens {
  const keySets = new Map<string, JWTVerifyGetKey>();
  const keySetAt = (uri: URL) => {
    const known = keySets.get(uri.href);
    if (known) return known;
    const keySet = createRemoteJWKSet(uri, { [customFetch]: options.fetch });
    keySets.set(uri.href, keySet);
    return keySet;
  };

  return {
    async verify(provider, given, audience) {
      const { issuers, jwksUri } = await options.client.keysOf(provider);
      let claims: JWTPayload;
      try {
        ({ payload: claims } = await jwtVerify(given.token, keySetAt(jwksUri), {
          // Both providers sign with RSA. What the token says of itself decides nothing.
          algorithms: ['RS256'],
          issuer: issuers,
          audience,
          requiredClaims: ['sub', 'exp', 'iat'],
          // As long as those of Apple count. It also refuses what claims to have been made in the future.
          maxTokenAge: '1 day',
          clockTolerance: CLOCK_TOLERANCE_SECONDS,
        }));
      } catch (cause) {
        throw isOfToken(cause) ? refused(provider.name, cause) : unreachableKeys(provider.name, cause);
      }
      if (!isMeantForUs(claims, audience)) throw refused(provider.name);
      if (given.provider === 'apple' && !isNonce(claims.nonce, given.nonce)) throw refused(provider.name);
      const profile = provider.row.profile({ ...claims }, undefined);
      const name = (given.provider === 'apple' && given.name) || profile.name;
      const data = Object.fromEntries(Object.entries(claims).filter(([key]) => provider.row.kept.includes(key)));
      return { ...profile, name, isEmailVerified: profile.isEmailVerified === true, data };
    },
  };
}

/** Of several audiences, the one that the token was made for must be ours too (OpenID Connect Core 1.0, 3.1.3.7). */
function isMeantForUs({ aud, azp }: JWTPayload, audience: readonly string[]): boolean {
  return !Array.isArray(aud) || aud.length === 1 || (typeof azp === 'string' && audience.includes(azp));
}

function isNonce(claimed: unknown, nonce: string): boolean {
  return typeof claimed === 'string' && isEqual(createHash('sha256').update(nonce).digest('hex'), claimed);
}

/** The codes of jose that say something about the token; the others are about getting the keys. */
const TOKEN_ERRORS = new Set([
  'ERR_JWS_INVALID',
  'ERR_JWT_INVALID',
  'ERR_JWT_EXPIRED',
  'ERR_JWT_CLAIM_VALIDATION_FAILED',
  'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  'ERR_JOSE_ALG_NOT_ALLOWED',
  'ERR_JOSE_NOT_SUPPORTED',
  'ERR_JWKS_NO_MATCHING_KEY',
  'ERR_JWKS_MULTIPLE_MATCHING_KEYS',
]);

const isOfToken = (error: unknown) =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' && TOKEN_ERRORS.has(error.code);

function refused(provider: string, cause?: unknown): AppError {
  return new AppError('AUTH_UNAUTHORIZED', `The ID token is not a valid one of ${provider} for this project`, {
    cause,
    nextActions:
      'Get a new token from the SDK of the provider. Its audience must be clientId or one of nativeClientIds of the configuration.',
  });
}

function unreachableKeys(provider: string, cause: unknown): AppError {
  return new AppError('UPSTREAM_FAILURE', `The keys of ${provider} cannot be read right now`, { cause });
}
