import type { Db } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { wasUndone } from '#platform/errors.ts';
import { type Device, LIFETIME, makeCsrfNonce, SESSION, type Session, shorten } from './sessions.ts';

/** Of so many sign-ins, one removes so many sessions that have expired. */
const SWEEP_EVERY = 20;
const SWEPT_AT_A_TIME = 100;

/** Somebody who knows the password with this hash, and the id that their session is to have. */
interface Proved {
  id: string;
  userId: string;
  password: string;
}

interface Opening {
  proved: Proved;
  device: Device;
  resolve: (session: Session | undefined) => void;
  reject: (error: unknown) => void;
}

/**
 * Does in one round trip what `letIn` and `openSession` do for nearly everybody who signs in with a password, and in one
 * transaction for all who come at the same time.
 * @returns undefined where there is more to say: another password by now, a ban, a second factor, or somebody who is
 * changing an account at this moment
 */
export type OpenSessionAtOnce = (proved: Proved, device: Device) => Promise<Session | undefined>;

export function createSessionOpenings({ system }: Pick<Db, 'system'>): OpenSessionAtOnce {
  let waiting: Opening[] = [];
  let untilSweep = SWEEP_EVERY;

  const open = async (openings: readonly Opening[]): Promise<Map<string, Session>> => {
    untilSweep -= openings.length;
    const isSweeping = untilSweep <= 0;
    if (isSweeping) untilSweep = SWEEP_EVERY;
    const userIds = `{${openings.map(({ proved }) => proved.userId).join()}}`;
    const sessions = await system.json<Session>(
      'write',
      // First, so that the next statement sees what has happened to them. Nobody waits for the account of another.
      sql`select from auth.users where id = any(${userIds}::uuid[]) for share nowait`,
      ...(isSweeping ? [sweptSessions] : []),
      insertSessions(openings),
    );
    return new Map(sessions.map((session) => [session.id, session]));
  };
  const openAll = async () => {
    const openings = waiting;
    waiting = [];
    try {
      const sessions = await open(openings);
      for (const { proved, resolve } of openings) resolve(sessions.get(proved.id));
    } catch (error) {
      // All of it was undone because of one of them; or else nobody knows, and nothing may be sent again.
      for (const { resolve, reject } of openings) wasUndone(error) ? resolve(undefined) : reject(error);
    }
  };

  return (proved, device) =>
    new Promise((resolve, reject) => {
      // What comes in the same turn of the event loop goes along.
      if (waiting.length === 0) setImmediate(openAll);
      waiting.push({ proved, device, resolve, reject });
    });
}

const sweptSessions = sql`
  delete from auth.sessions where id in (
    select id from auth.sessions where expires_at <= now() limit ${SWEPT_AT_A_TIME} for update skip locked)`;

function insertSessions(openings: readonly Opening[]) {
  const given = openings.map(({ proved: { id, userId, password }, device: { userAgent, address } }) => ({
    id,
    user_id: userId,
    password,
    csrf_nonce: makeCsrfNonce(),
    user_agent: shorten(userAgent),
    ip_address: address,
  }));
  return sql`
    insert into auth.sessions (id, kind, subject, user_id, csrf_nonce, expires_at, user_agent, ip_address, aal)
    select g.id, 'user', user_id::text, user_id, csrf_nonce, now() + ${LIFETIME}, user_agent, ip_address, 'aal1'
    from json_to_recordset(${JSON.stringify(given)}::json) as g (
      id uuid, user_id uuid, password text, csrf_nonce text, user_agent text, ip_address inet)
    where exists (
      select from auth.users u where u.id = g.user_id and u.password = g.password
        and (banned_until > now()) is not true
        and not exists (select from auth.factors f where f.user_id = u.id and f.verified_at is not null))
    returning ${SESSION}`;
}
