import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { openChallenge } from './challenges.ts';
import type { Aal } from './sessions.ts';

interface Standing {
  banned: boolean;
  /** Null for good. */
  until: Date | null;
  reason: string | null;
  hasFactor: boolean;
}

/**
 * Lets a user who has proved who they are come in.
 * @throws AppError AUTH_USER_BANNED; AUTH_SECOND_FACTOR_REQUIRED where they have a second factor and `aal` says that
 * it was not asked for
 */
export async function admit(tx: Pick<SystemTx, 'one'>, userId: string, aal: Aal): Promise<void> {
  const standing = await tx.one<Standing>(sql`
    select coalesce(banned_until > now(), false) as banned, ban_reason as reason,
      case when isfinite(banned_until) then banned_until end as until,
      exists (select from auth.factors f where f.user_id = u.id and f.verified_at is not null) as "hasFactor"
    from auth.users u where id = ${userId}`);
  if (!standing) throw new AppError('AUTH_USER_NOT_FOUND', `There is no user ${userId}`);
  if (standing.banned) throw bannedUser(standing);
  if (!standing.hasFactor || aal === 'aal2') return;
  const challenge = await openChallenge(tx, userId);
  throw new AppError('AUTH_SECOND_FACTOR_REQUIRED', 'This account is protected by a second factor', {
    details: { ...challenge },
  });
}

function bannedUser({ until, reason }: Standing): AppError {
  const forHowLong = until ? `until ${until.toISOString()}` : 'for good';
  return new AppError('AUTH_USER_BANNED', `This account is suspended ${forHowLong}${reason ? `: ${reason}` : ''}`, {
    details: { bannedUntil: until?.toISOString() ?? null },
  });
}
