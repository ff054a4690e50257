import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

const MAX_FAILURES = 10;
const WINDOW_MINUTES = 15;
const SWEPT_AT_A_TIME = 50;

/** Limits how often somebody may try a password for an account. */
export interface Throttle {
  /**
   * Makes an attempt on an account. Ten failures within the window close the account to further attempts
   * until the window ends, whether it exists or not; a success clears them.
   * @param attempt gives undefined when the password was wrong
   * @throws AppError TOO_MANY_REQUESTS
   */
  attempt<Result>(account: string, attempt: () => Promise<Result | undefined>): Promise<Result | undefined>;
  /** Forgets the failures of an account whose owner has proved in another way who they are. */
  clear(account: string): Promise<void>;
}

/**
 * An attempt is counted before it is made and the count dropped when it succeeds: however many run at once,
 * on however many replicas, no more than ten wrong passwords are ever checked. So that many right ones at
 * once are no failures, attempts on one account take turns.
 */
export function createThrottle(db: Pick<SystemTx, 'one' | 'query'>): Throttle {
  const last = new Map<string, Promise<unknown>>();
  const clear = async (account: string) => {
    await db.query(sql`delete from auth.login_failures where account = ${account}`);
  };
  return {
    clear,
    async attempt(account, attempt) {
      const turn = (last.get(account) ?? Promise.resolve()).then(async () => {
        await countAttempt(db, account);
        const result = await attempt();
        if (result !== undefined) await clear(account);
        return result;
      });
      const settled = turn.catch(() => {});
      last.set(account, settled);
      await settled;
      if (last.get(account) === settled) last.delete(account);
      return turn;
    },
  };
}

async function countAttempt(tx: Pick<SystemTx, 'one'>, account: string): Promise<void> {
  const isOver = sql`f.window_ends_at <= now()`;
  const counted = await tx.one<{ failures: number; endsAt: Date; seconds: number }>(sql`
    with expired as (
      select account from auth.login_failures where window_ends_at <= now() and account <> ${account}
      limit ${SWEPT_AT_A_TIME} for update skip locked
    ), swept as (
      delete from auth.login_failures using expired where login_failures.account = expired.account
    )
    insert into auth.login_failures as f (account, failures, window_ends_at)
    values (${account}, 1, now() + make_interval(mins => ${WINDOW_MINUTES}))
    on conflict (account) do update set
      failures = case when ${isOver} then 1 else least(f.failures, ${MAX_FAILURES}) + 1 end,
      window_ends_at = case when ${isOver} then excluded.window_ends_at else f.window_ends_at end
    returning failures, window_ends_at as "endsAt",
      ceil(extract(epoch from window_ends_at - now()))::float8 as seconds`);
  if (!counted || counted.failures <= MAX_FAILURES) return;
  const endsAt = counted.endsAt.toISOString();
  throw new AppError('TOO_MANY_REQUESTS', `Too many failed sign-ins for this account; try again after ${endsAt}`, {
    nextActions: `Wait until ${endsAt}, then try again.`,
    details: { retryAfterSeconds: counted.seconds },
  });
}
