import { createHmac, createSecretKey } from 'node:crypto';
import { jwtVerify } from 'jose';
import { z } from 'zod';
import { AppError } from '#platform/errors.ts';
import { signingInput } from '#platform/tokens/signing-input.ts';
import { isEqual } from './equal.ts';
import { type PresentedSession, type Realm, SESSION_SECONDS, type Session } from './sessions.ts';

const ClaimsSchema = z.object({
  sub: z.string().min(1),
  type: z.literal('refresh'),
  sessionType: z.enum(['user', 'admin']),
  csrfNonce: z.string().min(1),
  /** The session, and how often it had been refreshed when this token was made. */
  sid: z.guid(),
  gen: z.number().int().min(0).max(2_147_483_647),
});

export interface RefreshTokens {
  /** The token of a session as it stands: the same session always gives the same token. */
  sign(session: Session): string;
  /** What a token of this realm that has not expired says of its session; undefined for anything else. */
  read(token: string | undefined, realm: Realm): Promise<PresentedSession | undefined>;
  /** What a web client must send as X-CSRF-Token along with its cookie. It stays the same for a whole session. */
  csrfToken(session: PresentedSession): string;
  /** @throws AppError FORBIDDEN when the header is not the CSRF token of the session */
  checkCsrf(session: PresentedSession, header: string | string[] | undefined): void;
}

/**
 * Refresh tokens are HS256 JWTs that clients can read the expiry of. What they are worth is decided by
 * auth.sessions.
 */
export function createRefreshTokens(jwtSecret: string): RefreshTokens {
  const key = createSecretKey(jwtSecret, 'utf8');

  const csrfToken: RefreshTokens['csrfToken'] = ({ realm, subject, csrfNonce }) =>
    createHmac('sha256', jwtSecret).update(`insforge:csrf:v1:${realm}:${subject}:${csrfNonce}`).digest('hex');

  return {
    csrfToken,
    sign({ id, realm, subject, csrfNonce, generation, rotatedAt }) {
      const session = { sub: subject, type: 'refresh', csrfNonce, sessionType: realm, sid: id, gen: generation };
      const input = signingInput(
        { alg: 'HS256', typ: 'JWT' },
        { ...session, iss: 'insforge', iat: rotatedAt, exp: rotatedAt + SESSION_SECONDS },
      );
      return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`;
    },

    async read(token, realm) {
      if (!token) return undefined;
      const verified = await jwtVerify(token, key, {
        algorithms: ['HS256'],
        issuer: 'insforge',
        requiredClaims: ['exp'],
      }).catch(() => undefined);
      const { data: claims } = ClaimsSchema.safeParse(verified?.payload);
      if (claims?.sessionType !== realm) return undefined;
      const { sid, sub, csrfNonce, gen } = claims;
      return { id: sid, realm, subject: sub, csrfNonce, generation: gen };
    },

    checkCsrf(session, header) {
      if (typeof header === 'string' && isEqual(header, csrfToken(session))) return;
      throw new AppError('FORBIDDEN', 'The CSRF token is missing or wrong', {
        nextActions: 'Send the csrfToken of the last sign-in or refresh as X-CSRF-Token.',
      });
    },
  };
}
