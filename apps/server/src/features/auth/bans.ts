import type { Ban } from '@insforge/contract/users.ts';
import type { UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { unknownUser } from './users.ts';

/** Keeps a user out, for a time or for good. A trigger ends their sessions. @throws AppError AUTH_USER_NOT_FOUND */
export async function banUser(tx: UserTx, id: string, { until, reason }: Ban): Promise<void> {
  const banned = await tx.one(sql`
    update auth.users
    set banned_until = coalesce(${until ?? null}::timestamptz, 'infinity'), ban_reason = ${reason ?? null},
      updated_at = now()
    where id = ${id} returning 1`);
  if (!banned) throw unknownUser(id);
}

/** Lets a user in again; one who was not banned is no error. @throws AppError AUTH_USER_NOT_FOUND */
export async function unbanUser(tx: UserTx, id: string): Promise<void> {
  const unbanned = await tx.one(sql`
    update auth.users set banned_until = null, ban_reason = null, updated_at = now() where id = ${id} returning 1`);
  if (!unbanned) throw unknownUser(id);
}
