import { createHash, randomBytes } from 'node:crypto';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { toBase32 } from './totp.ts';

const CODES = 10;
/** 80 bits, which is why a plain hash of them tells nothing. */
const CODE_BYTES = 10;

const hash = (userId: string, code: string) => createHash('sha256').update(`${userId}:${code}`).digest('hex');

/** Replaces the recovery codes of a user. They are shown this once. */
export async function makeRecoveryCodes(tx: Pick<SystemTx, 'query'>, userId: string): Promise<string[]> {
  const codes = Array.from({ length: CODES }, () => toBase32(randomBytes(CODE_BYTES)));
  await tx.query(sql`delete from auth.recovery_codes where user_id = ${userId}`);
  await tx.query(sql`
    insert into auth.recovery_codes (user_id, code_hash)
    select ${userId}, unnest(${codes.map((code) => hash(userId, code))}::text[])`);
  return codes.map((code) => (code.match(/.{4}/g) ?? []).join('-').toLowerCase());
}

/** Uses up a recovery code, however it is spelt. False where there is none such. */
export async function spendRecoveryCode(tx: Pick<SystemTx, 'one'>, userId: string, text: string): Promise<boolean> {
  const code = text.toUpperCase().replace(/[\s-]/g, '');
  const row = await tx.one(sql`
    delete from auth.recovery_codes where user_id = ${userId} and code_hash = ${hash(userId, code)} returning 1`);
  return row !== undefined;
}

export async function countRecoveryCodes(tx: Pick<SystemTx, 'one'>, userId: string): Promise<number> {
  const row = await tx.one<{ left: number }>(sql`
    select count(*)::float8 as left from auth.recovery_codes where user_id = ${userId}`);
  return row?.left ?? 0;
}
