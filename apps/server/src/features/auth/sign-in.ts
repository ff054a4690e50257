import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { SignIn, User } from '@insforge/contract/auth.ts';
import type { Claims, Db } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import type { AccessTokens } from '#platform/tokens/access-tokens.ts';
import { letIn, type Proof, type Standing } from './admission.ts';
import type { CustomClaims } from './custom-claims.ts';
import { hashPassword, isOutdated, isPasswordOf, refusalMs } from './passwords.ts';
import type { RefreshTokens } from './refresh-tokens.ts';
import type { OpenSessionAtOnce } from './session-openings.ts';
import { type Device, openSession, type PresentedSession, rotateSession, type Session } from './sessions.ts';
import type { Throttle } from './throttle.ts';
import { byEmail, originOf, readUser, replacePassword, toFound, USER_WRITER } from './users.ts';

/** What the functions that deal in sessions stand on. */
export interface Auth {
  db: Db;
  tokens: AccessTokens;
  refreshTokens: RefreshTokens;
  throttle: Throttle;
  customClaims: CustomClaims;
  openSessionAtOnce: OpenSessionAtOnce;
}

/** What a client holds of its session. Web clients get the refresh token as a cookie. */
export interface SessionTokens {
  accessToken: string;
  refreshToken: string;
  csrfToken: string;
}

export type UserSession = SessionTokens & { user: User };

/** Checks address and password and opens a session. @throws AppError AUTH_UNAUTHORIZED, FORBIDDEN, TOO_MANY_REQUESTS */
export async function signIn(auth: Auth, given: SignIn, device: Device): Promise<UserSession> {
  return startUserSession(auth, await checkPassword(auth, given, device.address), device);
}

/**
 * Proves with address and password who somebody is.
 * @param address the network address that the attempt comes from
 * @throws AppError AUTH_UNAUTHORIZED, FORBIDDEN, TOO_MANY_REQUESTS
 */
export async function checkPassword(
  auth: Pick<Auth, 'db' | 'throttle'>,
  { email, password }: Pick<SignIn, 'email' | 'password'>,
  address: string | null,
): Promise<Proof> {
  const { db } = auth;
  const startedAt = performance.now();
  const check = async (row: unknown) => {
    const { user, password: hashed = null, mustVerify } = toFound(row) ?? {};
    return (await isPasswordOf(hashed, password)) && user && hashed ? { user, hashed, mustVerify } : undefined;
  };
  const found = await auth.throttle.attempt(`user:${email}`, check, {
    ...originOf(email, address),
    reads: byEmail(email),
  });
  if (!found) {
    await delay(Math.max(0, startedAt + refusalMs() - performance.now()));
    throw wrongPassword();
  }
  const { user, hashed, mustVerify } = found;
  if (mustVerify) {
    throw new AppError('FORBIDDEN', 'The address must be verified before signing in', {
      nextActions:
        'Open the verification mail. An admin can create verified users, or turn requireEmailVerification off.',
    });
  }
  if (!isOutdated(hashed)) return byPassword(user, hashed);
  const better = await hashPassword(password);
  await db.as(USER_WRITER).tx((tx) => replacePassword(tx, user.id, hashed, better));
  return byPassword(user, better);
}

/** That somebody knows the password with this hash, which must still be that of the account when they come in. */
export function byPassword(user: User, password: string): Proof {
  const hold = (_tx: unknown, standing: Standing) => {
    if (standing.password !== password) throw wrongPassword();
  };
  return { user, aal: 'aal1', hold, password };
}

const wrongPassword = () =>
  new AppError('AUTH_UNAUTHORIZED', 'Wrong email address or password', {
    nextActions: 'Check both. New users register with POST /api/auth/users.',
  });

/** Opens a session for a user who has proved who they are. @throws what `letIn` throws */
export async function startUserSession(auth: Auth, proof: Proof, device: Device): Promise<UserSession> {
  const { user, aal, password } = proof;
  const id = randomUUID();
  // Signed while the session is stored, and handed out only then.
  const accessToken = signAccessToken(auth, { id, aal, subject: user.id }, user);
  accessToken.catch(() => {});
  const session =
    (password === undefined ? undefined : await auth.openSessionAtOnce({ id, userId: user.id, password }, device)) ??
    (await letIn(auth.db, proof, (tx) => openSession(tx, { id, realm: 'user', subject: user.id, aal }, device)));
  return { user, ...tokensOf(auth, session, await accessToken) };
}

/** Exchanges a refresh token of a user for new tokens. @throws AppError AUTH_UNAUTHORIZED */
export async function refreshUserSession(
  auth: Auth,
  presented: PresentedSession,
  device: Device,
): Promise<UserSession> {
  const session = await rotateSession(auth.db.system, presented, device);
  const user = await readUser(auth.db.system, session.subject);
  return { user, ...(await issueTokens(auth, session, user)) };
}

/** Signs the tokens of a session as it stands; for users, with what `auth.custom_claims` adds. */
export async function issueTokens(auth: Auth, session: Session, user?: User): Promise<SessionTokens> {
  return tokensOf(auth, session, await signAccessToken(auth, session, user));
}

async function signAccessToken(
  { tokens, customClaims }: Auth,
  { id, aal, subject: sub }: Pick<Session, 'id' | 'aal' | 'subject'>,
  user: User | undefined,
): Promise<string> {
  const claims = user ? await userClaims(customClaims, user, { aal }) : ({ sub, role: 'project_admin' } as const);
  return tokens.sign(claims, id);
}

const tokensOf = ({ refreshTokens }: Auth, session: Session, accessToken: string): SessionTokens => ({
  accessToken,
  refreshToken: refreshTokens.sign(session),
  csrfToken: refreshTokens.csrfToken(session),
});

/** What a token says of a user: who it is, what the developer's hook adds, and above it what only we may say. */
export async function userClaims(
  customClaims: CustomClaims,
  user: User,
  own: Readonly<Record<string, unknown>>,
): Promise<Claims & { sub: string }> {
  const { id: sub, email } = user;
  return { sub, email, role: 'authenticated', more: { ...(await customClaims.of(user)), ...own } };
}
