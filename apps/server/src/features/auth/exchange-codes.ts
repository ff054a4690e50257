import { createHash, randomBytes } from 'node:crypto';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { isEqual } from './equal.ts';
import type { Aal } from './sessions.ts';

const LIFETIME_SECONDS = 5 * 60;
const SWEPT_AT_A_TIME = 50;

/** Whom a code stands for: a user, or an address that was proved by the link with this row of auth.email_otps. */
export type ExchangeSubject = { userId: string } | { emailOtpId: string };

const hash = (code: string) => createHash('sha256').update(code).digest('hex');

/**
 * Makes the code that a browser brings back to the app as `insforge_code`. It is worth a session, once, within
 * five minutes, to whoever knows the verifier behind the challenge (RFC 7636, S256).
 */
export async function issueExchangeCode(
  tx: Pick<SystemTx, 'query'>,
  subject: ExchangeSubject,
  codeChallenge: string,
  aal: Aal = 'aal1',
): Promise<string> {
  const code = randomBytes(32).toString('hex');
  const userId = 'userId' in subject ? subject.userId : null;
  const emailOtpId = 'emailOtpId' in subject ? subject.emailOtpId : null;
  await tx.query(sql`
    with expired as (
      select code_hash from auth.exchange_codes where expires_at <= now()
      limit ${SWEPT_AT_A_TIME} for update skip locked
    ), swept as (
      delete from auth.exchange_codes using expired where exchange_codes.code_hash = expired.code_hash
    )
    insert into auth.exchange_codes (code_hash, code_challenge, user_id, email_otp_id, aal, expires_at)
    values (${hash(code)}, ${codeChallenge}, ${userId}, ${emailOtpId}, ${aal},
      now() + make_interval(secs => ${LIFETIME_SECONDS}))`);
  return code;
}

/**
 * Reads what a code stands for. Coming in spends it. A wrong verifier spends it too: somebody else has seen it.
 * @throws AppError AUTH_UNAUTHORIZED
 */
export async function readExchangeCode(
  tx: Pick<SystemTx, 'one'>,
  { code, codeVerifier }: { code: string; codeVerifier: string },
): Promise<ExchangeSubject & { aal: Aal }> {
  const row = await tx.one<{ codeChallenge: string; userId: string | null; emailOtpId: string | null; aal: Aal }>(sql`
    select code_challenge as "codeChallenge", user_id as "userId", email_otp_id as "emailOtpId", aal
    from auth.exchange_codes where code_hash = ${hash(code)} and expires_at > now()`);
  const challenge = createHash('sha256').update(codeVerifier).digest('base64url');
  if (!row || !isEqual(challenge, row.codeChallenge)) {
    if (row) await spendExchangeCode(tx, code);
    throw spentCode();
  }
  const { userId, emailOtpId, aal } = row;
  return userId === null ? { emailOtpId: emailOtpId ?? '', aal } : { userId, aal };
}

/** Takes a code. Of several at once, one succeeds; none does once the account was taken over. @throws AppError AUTH_UNAUTHORIZED */
export async function spendExchangeCode(tx: Pick<SystemTx, 'one'>, code: string): Promise<void> {
  const spent = await tx.one(sql`
    delete from auth.exchange_codes where code_hash = ${hash(code)} and expires_at > now() returning 1`);
  if (!spent) throw spentCode();
}

/** The answer to every exchange that fails, whatever the reason. */
export function spentCode(): AppError {
  return new AppError('AUTH_UNAUTHORIZED', 'The code has been used, has expired, or belongs to another sign-in', {
    status: 400,
    nextActions:
      'Begin the sign-in again. A code works once, for five minutes, with the verifier it was asked for with.',
  });
}
