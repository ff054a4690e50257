import { createHash, randomBytes } from 'node:crypto';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

const VALID_MINUTES = 10;
const SWEPT_AT_A_TIME = 50;

const hash = (token: string) => createHash('sha256').update(token).digest('hex');

/** What has to be answered with a code of the second factor. */
export interface Challenge {
  challenge: string;
  expiresAt: string;
}

/** Remembers that somebody has shown the first factor of a user, and gives them a token that says so. */
export async function openChallenge(tx: Pick<SystemTx, 'one'>, userId: string): Promise<Challenge> {
  const challenge = randomBytes(32).toString('base64url');
  const row = await tx.one<{ expiresAt: Date }>(sql`
    with expired as (
      select token_hash from auth.factor_challenges where expires_at <= now()
      limit ${SWEPT_AT_A_TIME} for update skip locked
    ), swept as (
      delete from auth.factor_challenges using expired where factor_challenges.token_hash = expired.token_hash
    )
    insert into auth.factor_challenges (token_hash, user_id, expires_at)
    values (${hash(challenge)}, ${userId}, now() + make_interval(mins => ${VALID_MINUTES}))
    returning expires_at as "expiresAt"`);
  if (!row) throw new Error('the challenge was not stored');
  return { challenge, expiresAt: row.expiresAt.toISOString() };
}

/** The user whose challenge this is. @throws AppError INVALID_INPUT */
export async function readChallenge(tx: Pick<SystemTx, 'one'>, challenge: string): Promise<string> {
  const row = await tx.one<{ userId: string }>(sql`
    select user_id as "userId" from auth.factor_challenges
    where token_hash = ${hash(challenge)} and expires_at > now()`);
  if (!row) throw spentChallenge();
  return row.userId;
}

/** Ends a challenge. Of several at once, one succeeds. @throws AppError INVALID_INPUT */
export async function spendChallenge(tx: Pick<SystemTx, 'one'>, challenge: string): Promise<void> {
  const row = await tx.one(sql`
    delete from auth.factor_challenges where token_hash = ${hash(challenge)} and expires_at > now() returning 1`);
  if (!row) throw spentChallenge();
}

const spentChallenge = () =>
  new AppError('INVALID_INPUT', 'challenge: has been used or has expired', {
    nextActions: 'Sign in with the first factor again: POST /api/auth/sessions.',
  });
