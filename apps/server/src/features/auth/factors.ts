import type { Factor } from '@insforge/contract/factors.ts';
import type { Db, SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { makeRecoveryCodes, spendRecoveryCode } from './recovery-codes.ts';
import { endUserSessions, requireLiveSession } from './sessions.ts';
import type { Throttle } from './throttle.ts';
import { makeTotpSecret, stepOfTotpCode } from './totp.ts';

/** What second factors stand on. */
export interface FactorParts {
  db: Db;
  cipher: Cipher;
  throttle: Throttle;
}

interface FactorRow {
  id: string;
  name: string;
  verified: boolean;
  createdAt: Date;
  lastUsedAt: Date | null;
}

const FACTOR = sql`
  id, name, verified_at is not null as verified, created_at as "createdAt", last_used_at as "lastUsedAt"`;

const MAX_FACTORS = 5;

/** The second factors of a user, oldest first. */
export async function listFactors(tx: Pick<SystemTx, 'query'>, userId: string): Promise<Factor[]> {
  const rows = await tx.query<FactorRow>(sql`
    select ${FACTOR} from auth.factors where user_id = ${userId} order by created_at, id`);
  return rows.map(({ createdAt, lastUsedAt, ...row }) => ({
    ...row,
    type: 'totp',
    createdAt: createdAt.toISOString(),
    lastUsedAt: lastUsedAt?.toISOString() ?? null,
  }));
}

/** Begins to enrol an authenticator, in place of one that was begun before. It counts for nothing until verified. */
export async function enrolFactor(
  { db, cipher }: FactorParts,
  userId: string,
  name: string,
): Promise<{ id: string; secret: string }> {
  const secret = makeTotpSecret();
  const id = await db.system.tx(async (tx) => {
    await tx.query(sql`select from auth.users where id = ${userId} for update`);
    await tx.query(sql`delete from auth.factors where user_id = ${userId} and verified_at is null`);
    const row = await tx.one<{ id: string }>(sql`
      insert into auth.factors (user_id, name, secret_ciphertext)
      select ${userId}, ${name}, ${cipher.encrypt(secret)}
      where (select count(*) from auth.factors where user_id = ${userId}) < ${MAX_FACTORS}
      returning id`);
    return row?.id;
  });
  if (id !== undefined) return { id, secret };
  throw new AppError('INVALID_INPUT', `An account can have ${MAX_FACTORS} authenticators`, {
    nextActions: 'Remove one with DELETE /api/auth/factors/{id}.',
  });
}

/**
 * Puts an enrolled factor in force, since the user has shown a code of it. The session that did so has shown two
 * factors; the others have not, and end.
 * @returns the recovery codes where this is the first factor
 * @throws AppError INVALID_INPUT, NOT_FOUND, TOO_MANY_REQUESTS
 */
export async function verifyFactor(
  { db, cipher, throttle }: FactorParts,
  { userId, sessionId }: { userId: string; sessionId: string },
  { id, code }: { id: string; code: string },
): Promise<string[] | undefined> {
  const pending = await db.system.one(sql`
    select from auth.factors where id = ${id} and user_id = ${userId} and verified_at is null`);
  if (!pending) throw unknownFactor(id);
  const isRight = await throttle.attempt(throttled(userId), async () =>
    (await acceptCode(db.system, cipher, userId, code, sql`id = ${id}`)) ? true : undefined,
  );
  if (!isRight) throw wrongCode();
  return db.system.tx(async (tx) => {
    await tx.query(sql`select from auth.users where id = ${userId} for update`);
    await requireLiveSession(tx, userId, sessionId);
    const isFirst = !(await hasFactor(tx, userId));
    const verified = await tx.one(sql`update auth.factors set verified_at = now() where id = ${id} returning 1`);
    if (!verified) throw unknownFactor(id);
    await endUserSessions(tx, userId, sessionId);
    await tx.query(sql`update auth.sessions set aal = 'aal2' where id = ${sessionId}`);
    return isFirst ? makeRecoveryCodes(tx, userId) : undefined;
  });
}

/** Checks a code of any of the user's authenticators, or a recovery code. @throws AppError INVALID_INPUT, TOO_MANY_REQUESTS */
export async function checkSecondFactor(
  { db, cipher, throttle }: FactorParts,
  userId: string,
  code: string,
): Promise<void> {
  const isRight = await throttle.attempt(throttled(userId), async () => {
    const accepted =
      (await acceptCode(db.system, cipher, userId, code, sql`verified_at is not null`)) ||
      (await spendRecoveryCode(db.system, userId, code));
    return accepted || undefined;
  });
  if (!isRight) throw wrongCode();
}

/**
 * Removes a factor. Without any left, nobody has shown two: the sessions sink to one factor at once.
 * @throws AppError NOT_FOUND
 */
export async function removeFactor(tx: SystemTx, userId: string, id: string): Promise<void> {
  await tx.query(sql`select from auth.users where id = ${userId} for update`);
  const removed = await tx.one(sql`delete from auth.factors where id = ${id} and user_id = ${userId} returning 1`);
  if (!removed) throw unknownFactor(id);
  await lowerSessions(tx, userId);
}

/** Removes whatever second factor a user has, for somebody who lost all of them. Their sessions end. */
export async function removeAllFactors(tx: SystemTx, userId: string): Promise<number> {
  const removed = await tx.query(sql`delete from auth.factors where user_id = ${userId} returning 1`);
  await lowerSessions(tx, userId);
  await endUserSessions(tx, userId);
  return removed.length;
}

export async function hasFactor(tx: Pick<SystemTx, 'one'>, userId: string): Promise<boolean> {
  const row = await tx.one(sql`
    select from auth.factors where user_id = ${userId} and verified_at is not null limit 1`);
  return row !== undefined;
}

/** True where the factor is one that the user has not put in force. */
export async function isPending(tx: Pick<SystemTx, 'one'>, userId: string, id: string): Promise<boolean> {
  const row = await tx.one(sql`
    select from auth.factors where user_id = ${userId} and id = ${id} and verified_at is null`);
  return row !== undefined;
}

async function lowerSessions(tx: SystemTx, userId: string): Promise<void> {
  if (await hasFactor(tx, userId)) return;
  await tx.query(sql`delete from auth.recovery_codes where user_id = ${userId}`);
  await tx.query(sql`delete from auth.factor_challenges where user_id = ${userId}`);
  await tx.query(sql`update auth.sessions set aal = 'aal1' where user_id = ${userId}`);
}

/** True when the code belongs to one of the factors and to a later time than the last one that was accepted. */
async function acceptCode(
  tx: Pick<SystemTx, 'query' | 'one'>,
  cipher: Cipher,
  userId: string,
  code: string,
  which: ReturnType<typeof sql>,
): Promise<boolean> {
  const factors = await tx.query<{ id: string; secret: string }>(sql`
    select id, secret_ciphertext as secret from auth.factors where user_id = ${userId} and ${which}`);
  for (const { id, secret } of factors) {
    const step = stepOfTotpCode(cipher.decrypt(secret), code, Date.now());
    if (step === undefined) continue;
    const accepted = await tx.one(sql`
      update auth.factors set last_step = ${step}, last_used_at = now()
      where id = ${id} and last_step < ${step} returning 1`);
    if (accepted) return true;
  }
  return false;
}

const throttled = (userId: string) => `factor:${userId}`;

const unknownFactor = (id: string) =>
  new AppError('NOT_FOUND', `There is no such factor ${id}`, { nextActions: 'List them with GET /api/auth/factors.' });

const wrongCode = () =>
  new AppError('INVALID_INPUT', 'code: is wrong, or has been used already', {
    nextActions: 'Wait for the next code of the authenticator, or use a recovery code.',
  });
