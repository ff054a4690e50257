import type { SessionInfo } from '@insforge/contract/factors.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { type Aal, endUserSessions, type Realm } from './sessions.ts';

/** Whose sessions: those of a user, or those of the admin. */
export interface SessionOwner {
  realm: Realm;
  subject: string;
}

interface SessionRow {
  id: string;
  aal: Aal;
  userAgent: string | null;
  address: string | null;
  createdAt: Date;
  lastUsedAt: Date;
  expiresAt: Date;
  actor: string | null;
}

/** The signed-in devices of somebody, the last used first. `currentId` marks the one that asks. */
export async function listSessions(
  tx: Pick<SystemTx, 'query'>,
  { realm, subject }: SessionOwner,
  currentId?: string,
): Promise<SessionInfo[]> {
  const rows = await tx.query<SessionRow>(sql`
    select id, aal, user_agent as "userAgent", host(ip_address) as address, created_at as "createdAt",
      rotated_at as "lastUsedAt", expires_at as "expiresAt", actor
    from auth.sessions where kind = ${realm} and subject = ${subject} and expires_at > now()
    order by rotated_at desc, id limit 1000`);
  return rows.map(({ createdAt, lastUsedAt, expiresAt, ...row }) => ({
    ...row,
    createdAt: createdAt.toISOString(),
    lastUsedAt: lastUsedAt.toISOString(),
    expiresAt: expiresAt.toISOString(),
    isCurrent: row.id === currentId,
  }));
}

/** Ends one session of somebody. @throws AppError NOT_FOUND, also for those of others */
export async function endOneSession(
  tx: Pick<SystemTx, 'one'>,
  { realm, subject }: SessionOwner,
  id: string,
): Promise<void> {
  const ended = await tx.one(sql`
    delete from auth.sessions where id = ${id} and kind = ${realm} and subject = ${subject} returning 1`);
  if (!ended) throw new AppError('NOT_FOUND', `There is no session ${id}`, { nextActions: 'List the sessions first.' });
}

/** Ends all sessions of somebody, but for `keptId`. */
export async function endSessions(tx: SystemTx, { realm, subject }: SessionOwner, keptId?: string): Promise<number> {
  if (realm === 'user') return endUserSessions(tx, subject, keptId);
  const ended = await tx.query(sql`
    delete from auth.sessions
    where kind = ${realm} and subject = ${subject} and id::text is distinct from ${keptId ?? null} returning 1`);
  return ended.length;
}
