import { createHmac } from 'node:crypto';
import type { AdminSignIn } from '@insforge/contract/auth.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { isEqual } from './equal.ts';
import { type Device, endedSession, openSession, type PresentedSession, rotateSession } from './sessions.ts';
import { type Auth, issueTokens, type SessionTokens } from './sign-in.ts';

/** The admin whom the configuration names. */
export interface RootAdmin {
  username: string;
  password: string;
  subject: string;
  /** Stored with sessions: those of an older password do not go on. */
  passwordMark: string;
}

export type AdminSession = SessionTokens & { admin: { sub: string } };

/** @param given the admin's name and password; the mark of the password is keyed with `jwtSecret` */
export function createRootAdmin(given: { username: string; password: string; jwtSecret: string }): RootAdmin {
  const { username, password, jwtSecret } = given;
  return {
    username,
    password,
    subject: `local:${username}`,
    passwordMark: createHmac('sha256', jwtSecret).update(`insforge:admin-password:${password}`).digest('hex'),
  };
}

/** Checks name and password and opens a session. @throws AppError AUTH_UNAUTHORIZED, TOO_MANY_REQUESTS */
export async function signInAdmin(
  auth: Auth,
  { username, password, subject, passwordMark }: RootAdmin,
  given: AdminSignIn,
  device: Device,
): Promise<AdminSession> {
  const check = async () => {
    const [isName, isPassword] = [isEqual(given.username, username), isEqual(given.password, password)];
    return (isName && isPassword) || undefined;
  };
  const sessions = sql`s.kind = 'admin' and s.subject = ${`local:${given.username}`}`;
  const isAdmin = await auth.throttle.attempt(`admin:${given.username}`, check, { address: device.address, sessions });
  if (!isAdmin) {
    throw new AppError('AUTH_UNAUTHORIZED', 'Wrong username or password', {
      nextActions: 'Both are in credentials.env in the data folder of the server.',
    });
  }
  const session = await openSession(auth.db.system, { realm: 'admin', subject, passwordMark }, device);
  return { admin: { sub: subject }, ...(await issueTokens(auth, session)) };
}

/** Exchanges a refresh token of the admin for new tokens. @throws AppError AUTH_UNAUTHORIZED */
export async function refreshAdminSession(
  auth: Auth,
  { subject, passwordMark }: RootAdmin,
  presented: PresentedSession,
  device: Device,
): Promise<AdminSession> {
  if (presented.subject !== subject) throw endedSession();
  const session = await rotateSession(auth.db.system, presented, device, passwordMark);
  return { admin: { sub: subject }, ...(await issueTokens(auth, session)) };
}
