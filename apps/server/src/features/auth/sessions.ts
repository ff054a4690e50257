import { randomBytes, randomUUID } from 'node:crypto';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

/** Users of the apps and admins of the server have sessions of their own that never stand in for each other. */
export type Realm = 'user' | 'admin';

export const SESSION_SECONDS = 7 * 24 * 3600;
/** How long the token before the current one still works, for clients that refresh twice at a time. */
const GRACE_SECONDS = 10;

/** How a session was proved: by one factor, or by two. */
export type Aal = 'aal1' | 'aal2';

/** One signed-in device. */
export interface Session {
  id: string;
  aal: Aal;
  realm: Realm;
  subject: string;
  csrfNonce: string;
  /** How often it was refreshed. */
  generation: number;
  /** When that was, in seconds since the epoch. */
  rotatedAt: number;
}

/** What a refresh token says of its session: the state in which the token was made. */
export type PresentedSession = Omit<Session, 'rotatedAt' | 'aal'>;

/** Where a session is opened from. */
export interface Device {
  userAgent: string | undefined;
  address: string | null;
}

export const SESSION = sql`
  id, aal, kind as realm, subject, csrf_nonce as "csrfNonce", generation,
  floor(extract(epoch from rotated_at))::float8 as "rotatedAt"`;

const lasting = (seconds: number) => sql`make_interval(secs => ${seconds})`;
export const LIFETIME = lasting(SESSION_SECONDS);

interface SessionOwner {
  id?: string;
  realm: Realm;
  subject: string;
  passwordMark?: string;
  aal?: Aal;
  /** Who acts for the user, where it is not they themselves; and for how long. */
  acting?: { actor: string; seconds: number };
}

/** Opens a session. */
export async function openSession(
  tx: Pick<SystemTx, 'one'>,
  { id = randomUUID(), realm, subject, passwordMark, aal = 'aal1', acting }: SessionOwner,
  { userAgent, address }: Device,
): Promise<Session> {
  const session = await tx.one<Session & Record<string, unknown>>(sql`
    insert into auth.sessions
      (id, kind, subject, user_id, csrf_nonce, expires_at, user_agent, ip_address, password_mark, aal, actor)
    values (${id}, ${realm}, ${subject}, ${realm === 'user' ? subject : null}::uuid, ${makeCsrfNonce()},
      now() + ${lasting(acting?.seconds ?? SESSION_SECONDS)}, ${shorten(userAgent)}, ${address}::inet,
      ${passwordMark}, ${aal}, ${acting?.actor})
    returning ${SESSION}`);
  if (!session) throw new Error('the session was not stored');
  return session;
}

export const makeCsrfNonce = () => randomBytes(32).toString('base64url');

/** A user agent as long as it is stored. */
export const shorten = (userAgent: string | undefined) => userAgent?.slice(0, 500);

/**
 * Exchanges a refresh token for the next state of its session. A token works once; within the grace its
 * second use leads to the same state, so that nobody loses who refreshes in two tabs. A later use means
 * that the token is in two hands, and ends the session for both.
 * @throws AppError AUTH_UNAUTHORIZED
 */
export async function rotateSession(
  tx: Pick<SystemTx, 'one' | 'query'>,
  { id, realm, subject, generation }: PresentedSession,
  { userAgent, address }: Device,
  passwordMark: string | null = null,
): Promise<Session> {
  const alive = sql`
    id = ${id} and kind = ${realm} and subject = ${subject} and expires_at > now()
    and password_mark is not distinct from ${passwordMark}
    and not exists (select from auth.users u where u.id = user_id and u.banned_until > now())`;
  // Of several at once, one finds the generation; the others wait for its row and then do not.
  const rotated = await tx.one<Session>(sql`
    update auth.sessions
    set generation = generation + 1, rotated_at = now(), expires_at = now() + ${LIFETIME},
      user_agent = coalesce(${shorten(userAgent)}, user_agent), ip_address = coalesce(${address}, ip_address)
    where ${alive} and generation = ${generation} returning ${SESSION}`);
  if (rotated) return rotated;
  const successor = await tx.one<Session>(sql`
    select ${SESSION} from auth.sessions
    where ${alive} and generation = ${generation}::bigint + 1
      and rotated_at > now() - make_interval(secs => ${GRACE_SECONDS})`);
  if (successor) return successor;
  await tx.query(sql`delete from auth.sessions where id = ${id} and generation > ${generation}`);
  throw endedSession();
}

/** Ends a session of the realm; one that has ended already is no error. */
export async function endSession(tx: Pick<SystemTx, 'query'>, realm: Realm, id: string): Promise<void> {
  await tx.query(sql`delete from auth.sessions where id = ${id} and kind = ${realm}`);
}

/** Ends the sessions of a user, but for `keptId`, and with them whatever else lets somebody in, such as programs. */
export async function endUserSessions(tx: SystemTx, userId: string, keptId?: string): Promise<number> {
  const ended = await tx.query(sql`
    delete from auth.sessions
    where user_id = ${userId} and id::text is distinct from ${keptId ?? null} returning 1`);
  await tx.query(sql`select auth.end_other_ways_in(${userId})`);
  return ended.length;
}

/**
 * Makes sure that the session of a request has not ended meanwhile, because its holder lost the account to the owner.
 * Call it while the account is locked: only then does it stay so.
 * @throws AppError AUTH_UNAUTHORIZED
 */
export async function requireLiveSession(tx: Pick<SystemTx, 'one'>, userId: string, id: string): Promise<void> {
  const live = await tx.one(sql`
    select from auth.sessions where id = ${id} and user_id = ${userId} and expires_at > now()`);
  if (!live) throw endedSession();
}

/** The answer to every refresh token that is no good, whatever the reason. */
export function endedSession(): AppError {
  return new AppError('AUTH_UNAUTHORIZED', 'The session has ended', {
    nextActions: 'Sign in again with POST /api/auth/sessions (admins: POST /api/auth/admin/sessions).',
  });
}
