import type { SystemDoor, SystemTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { networkOf } from '#platform/http/caller.ts';
import { createTurns } from '#platform/turns.ts';

interface Patience {
  /** So many failures cost nothing. The last of them, and each one after it, costs a wait twice as long as the one before. */
  free: number;
  firstWaitSeconds: number;
  /** After so long, one failure is forgotten. */
  forgetSeconds: number;
}

/** Ten guesses in the first quarter of an hour, and from then on four an hour. */
const ACCOUNT: Patience = { free: 5, firstWaitSeconds: 15, forgetSeconds: 2 * 3600 };
/** Whoever tries one password on many accounts settles at one a minute. Typing errors of a whole office cost nothing. */
const NETWORK: Patience = { free: 100, firstWaitSeconds: 1, forgetSeconds: 60 };
const LONGEST_WAIT_SECONDS = 15 * 60;
/** Of one network, so many attempts are made at a time: no more can go beyond the limit, on each server. */
const AT_A_TIME = 16;
const SWEPT_AT_A_TIME = 50;

/** Where an attempt comes from. */
export interface Origin {
  /** The network address of the client. */
  address: string | null;
  /** The sessions of whoever is meant, as a condition on auth.sessions s. */
  sessions?: Sql;
  /** What the attempt needs to know, read along in the same round trip: a statement of one row. */
  reads?: Sql;
}

/** Limits how often somebody may try a password or a code. Servers on the same database count together. */
export interface Throttle {
  /**
   * Makes an attempt on an account. With each failure, the account and the network that it comes from take longer
   * until they take another one, whether the account exists or not; a success clears those of the account.
   *
   * A network where the account is signed in already is its home. Failures there are counted apart, so that a stranger
   * can neither lock the owner out by failing elsewhere nor, in the same office, by failing on other accounts.
   * @param attempt gives undefined when the password was wrong; what `origin.reads` read is given to it
   * @throws AppError TOO_MANY_REQUESTS
   */
  attempt<Result>(
    account: string,
    attempt: (read: unknown) => Promise<Result | undefined>,
    origin?: Origin,
  ): Promise<Result | undefined>;
  /** Forgets the failures of an account whose owner has proved in another way who they are. */
  clear(account: string): Promise<void>;
}

/**
 * Attempts on one account take turns, so that exactly as many wrong passwords are checked as may be, and many right
 * ones at once are no failures. Each further server may let one more through. A right password writes nothing.
 */
export function createThrottle(db: Pick<SystemDoor, 'query' | 'json'>): Throttle {
  const inTurn = createTurns(1);
  const fewAtATime = createTurns(AT_A_TIME);
  const clear = async (account: string) => {
    await db.query(sql`delete from auth.login_failures where account = ${account}`);
  };

  return {
    clear,
    attempt: (account, attempt, { address, ...origin } = NOWHERE) =>
      inTurn(account, () =>
        fewAtATime(address ?? account, async () => {
          const network = address === null ? null : networkOf(address);
          const { hasFailures, isWaiting, read } = await lookUp(db, account, network, origin.reads);
          // Where nobody has failed of late, which is nearly always, it does not matter whether this is a home.
          if (isWaiting) await checkPatience(db, account, network, await isAtHome(db, network, origin.sessions));
          const result = await attempt(read);
          if (result === undefined) {
            const home = (await isAtHome(db, network, origin.sessions)) ? network : null;
            await countFailure(db, { account, network: home }, ACCOUNT);
            if (network !== null) await countFailure(db, { account: null, network }, NETWORK);
          } else if (hasFailures) await clear(account);
          return result;
        }),
      ),
  };
}

const NOWHERE: Origin = { address: null };

interface Found {
  /** Null where nobody has failed. */
  hasFailures: boolean | null;
  /** True where a wait is on that may be one for this attempt. */
  isWaiting: boolean | null;
  /** Null where there is nothing to read. */
  read: unknown;
}

async function lookUp(
  db: Pick<SystemDoor, 'json'>,
  account: string,
  network: string | null,
  reads = sql`select where false`,
): Promise<Found> {
  const [found] = await db.json<Found>(
    'read',
    sql`
    select f.*, (select to_json(r) from (${reads}) r) as read from (
      select bool_or(account is not null) as "hasFailures",
        -- Not now(), which may be before a failure that this statement sees already.
        bool_or(free_at > clock_timestamp()) as "isWaiting"
      from auth.login_failures where account = ${account} or account is null and network = ${network}) f`,
  );
  if (!found) throw new Error('the failures were not read');
  return found;
}

async function isAtHome(db: Pick<SystemDoor, 'json'>, network: string | null, sessions = sql`false`): Promise<boolean> {
  if (network === null) return false;
  const rows = await db.json(
    'read',
    sql`select from auth.sessions s where s.ip_address <<= ${network}::inet and ${sessions} limit 1`,
  );
  return rows.length > 0;
}

interface Wait {
  freeAt: string;
  seconds: number;
  isAccount: boolean;
}

/** @throws AppError TOO_MANY_REQUESTS */
async function checkPatience(
  db: Pick<SystemDoor, 'json'>,
  account: string,
  network: string | null,
  isHome: boolean,
): Promise<void> {
  const counts = isHome
    ? sql`account = ${account} and network = ${network}`
    : sql`(account = ${account} and network is null or account is null and network = ${network})`;
  const [wait] = await db.json<Wait>(
    'read',
    sql`
    select free_at as "freeAt", account is not null as "isAccount",
      ceil(extract(epoch from free_at - clock_timestamp()))::float8 as seconds
    from auth.login_failures where free_at > clock_timestamp() and ${counts}
    order by free_at desc limit 1`,
  );
  if (wait) throw outOfPatience(new Date(wait.freeAt), wait);
}

function outOfPatience(freeAt: Date, { isAccount, seconds }: Wait): AppError {
  const until = freeAt.toISOString();
  const where = isAccount ? 'for this account' : 'from this network';
  return new AppError('TOO_MANY_REQUESTS', `Too many failed sign-ins ${where}; try again after ${until}`, {
    nextActions: `Wait until ${until}, then try again. Each further failure doubles the wait.`,
    details: { retryAfterSeconds: seconds },
  });
}

async function countFailure(
  tx: Pick<SystemTx, 'query'>,
  { account, network }: { account: string | null; network: string | null },
  { free, firstWaitSeconds, forgetSeconds }: Patience,
): Promise<void> {
  const since = sql`extract(epoch from greatest(now() - f.counted_at, interval '0'))`;
  const failures = sql`(greatest(0, f.failures - ${since} / ${forgetSeconds}::float8) + 1)`;
  // What has been forgotten in the meantime is a fraction.
  const wait = sql`
    case when ${failures} > ${free - 1}::float8 then make_interval(secs => least(${LONGEST_WAIT_SECONDS}::float8,
      ${firstWaitSeconds}::float8 * 2 ^ least(round(${failures} - ${free}::float8), 30))) end`;
  await tx.query(sql`
    with forgotten as (
      select ctid from auth.login_failures where forgotten_at <= now()
      limit ${SWEPT_AT_A_TIME} for update skip locked
    ), swept as (
      delete from auth.login_failures f using forgotten
      where f.ctid = forgotten.ctid and (account, network) is distinct from (${account}::text, ${network}::text)
    )
    insert into auth.login_failures as f (account, network, failures, counted_at, free_at, forgotten_at)
    values (${account}, ${network}, 1, now(), null, now() + make_interval(secs => ${forgetSeconds}::float8))
    on conflict (account, network) do update set
      failures = ${failures}, counted_at = now(), free_at = now() + ${wait},
      forgotten_at = now() + make_interval(secs => ${failures} * ${forgetSeconds}::float8)`);
}
