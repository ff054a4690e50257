import type { User } from '@insforge/contract/auth.ts';
import type { Db, SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { type Challenge, openChallenge } from './challenges.ts';
import type { Aal } from './sessions.ts';

/** An account as it stands while somebody is let in. */
export interface Standing {
  password: string | null;
  emailVerified: boolean;
}

/** That somebody is the user. */
export interface Proof {
  user: User;
  /** `aal2` only where the second factor has just been checked. */
  aal: Aal;
  /**
   * Makes sure that the proof still counts, and takes what counts once. It runs in the transaction that lets the user
   * in: what was checked a moment before may have changed, or been taken from whoever presented it.
   * @throws AppError
   */
  hold(tx: SystemTx, standing: Standing): Promise<void> | void;
  /** The hash of the password, where that alone is the proof. */
  password?: string;
}

/** For what nobody can take back any more, such as a code of a mail that has been redeemed. */
export const holdsForGood = () => {};

interface AccountRow extends Standing {
  banned: boolean;
  /** Null for good. */
  until: Date | null;
  reason: string | null;
  hasFactor: boolean;
}

/**
 * Lets a user in who has proved who they are: does the work in one transaction, during which the account cannot
 * change. Every way in ends here, so that nobody who is banned, and nobody with one factor of two, comes in by any.
 * @throws AppError AUTH_USER_BANNED; AUTH_SECOND_FACTOR_REQUIRED with the challenge to answer; what `hold` throws
 */
export async function letIn<Result>(
  { system }: Pick<Db, 'system'>,
  { user, aal, hold }: Proof,
  work: (tx: SystemTx, standing: Standing) => Promise<Result>,
): Promise<Result> {
  const outcome = await system.tx(async (tx): Promise<{ result: Result } | { challenge: Challenge }> => {
    const account = await lockAccount(tx, user.id);
    if (account.banned) throw bannedUser(account);
    await hold(tx, account);
    if (account.hasFactor && aal !== 'aal2') return { challenge: await openChallenge(tx, user.id) };
    return { result: await work(tx, account) };
  });
  if ('result' in outcome) return outcome.result;
  throw new AppError('AUTH_SECOND_FACTOR_REQUIRED', 'This account is protected by a second factor', {
    details: { ...outcome.challenge },
  });
}

/** Whoever changes the account meanwhile waits, and then finds the session and ends it. */
async function lockAccount(tx: SystemTx, userId: string): Promise<AccountRow> {
  const account = await tx.one<AccountRow & Record<string, unknown>>(sql`
    select password, coalesce(email_verified, false) as "emailVerified",
      coalesce(banned_until > now(), false) as banned, ban_reason as reason,
      case when isfinite(banned_until) then banned_until end as until,
      exists (select from auth.factors f where f.user_id = u.id and f.verified_at is not null) as "hasFactor"
    from auth.users u where id = ${userId} for share of u`);
  if (!account) throw new AppError('AUTH_USER_NOT_FOUND', `There is no user ${userId}`);
  return account;
}

function bannedUser({ until, reason }: AccountRow): AppError {
  const forHowLong = until ? `until ${until.toISOString()}` : 'for good';
  return new AppError('AUTH_USER_BANNED', `This account is suspended ${forHowLong}${reason ? `: ${reason}` : ''}`, {
    details: { bannedUntil: until?.toISOString() ?? null },
  });
}
