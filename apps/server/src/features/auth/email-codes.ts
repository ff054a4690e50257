import { createHash, createHmac, randomBytes, randomInt } from 'node:crypto';
import type { SystemTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

const MAX_ATTEMPTS = 3;
/** How long nobody may ask for another mail for the same address and purpose. */
const COOLDOWN_SECONDS = 60;
/** What a code for resetting the password is exchanged for. */
const RESET_TOKEN_SECONDS = 15 * 60;
const SWEPT_AT_A_TIME = 50;

/** What a code or a link is good for. Of each, an address has no more than one. */
export type Purpose =
  | 'VERIFY_EMAIL'
  | 'RESET_PASSWORD'
  | 'SIGN_IN'
  | 'MAGIC_LINK'
  | 'REAUTHENTICATE'
  | `CHANGE_EMAIL:${string}`;

interface NewCode {
  email: string;
  purpose: Purpose;
  /** Six digits to type, or a token in a link. */
  kind: 'code' | 'link';
  validForSeconds: number;
  redirectTo?: string | undefined;
  codeChallenge?: string | undefined;
  /** Costs the same, and nothing will ever match it. */
  isDecoy: boolean;
  /** False: the mail goes out whenever the last one did, and does not delay the next. */
  isLimited: boolean;
}

/** A link as it was sent. */
export interface SentLink {
  id: string;
  email: string;
  redirectTo: string | null;
  codeChallenge: string | null;
  /** False once it was used or has expired. */
  isLive: boolean;
}

/** The one-time codes and links of mails. */
export interface EmailCodes {
  /** Makes a new one in place of the last. @throws AppError TOO_MANY_REQUESTS within the cooldown */
  issue(tx: Tx, code: NewCode): Promise<string>;
  /** Takes a code. Of any number of attempts at once, one succeeds; the third wrong one spends it. */
  redeemCode(tx: Tx, email: string, purpose: Purpose, code: string): Promise<boolean>;
  /** Takes a code for resetting the password and gives a token in its place. */
  exchangeCode(tx: Tx, email: string, code: string): Promise<{ token: string; expiresAt: string } | undefined>;
  /** Finds a link, also one that is spent: whoever opens it is to be sent back to the app all the same. */
  findLink(tx: Tx, purpose: Purpose, token: string): Promise<SentLink | undefined>;
  /** Takes a link. Of any number at once, one gets the address it was sent to. */
  redeemLink(tx: Tx, purpose: Purpose, token: string): Promise<string | undefined>;
  /** The same, for a link that was opened before. */
  redeemOpenedLink(tx: Tx, id: string): Promise<string | undefined>;
}

type Tx = Pick<SystemTx, 'one'>;

/**
 * Codes are kept as HMACs: with six digits, a plain hash would tell the code to whoever reads the table. Tokens
 * have 256 bits, so their SHA-256 tells nothing.
 */
export function createEmailCodes(jwtSecret: string): EmailCodes {
  const hashCode = (email: string, purpose: string, code: string) =>
    createHmac('sha256', jwtSecret).update(`insforge:email-code:v1:${purpose}:${email}:${code}`).digest('hex');

  return {
    async issue(tx, { email, purpose, kind, validForSeconds, redirectTo, codeChallenge, isDecoy, isLimited }) {
      const secret = kind === 'code' ? String(randomInt(1_000_000)).padStart(6, '0') : newToken();
      const hash = kind === 'code' ? hashCode(email, purpose, secret) : hashToken(secret);
      const stored = isDecoy ? hashToken(newToken()) : hash;
      const isFree = isLimited ? sql`o.resend_after is null or o.resend_after <= now()` : sql`true`;
      const issued = await tx.one(sql`
        with expired as (
          select id from auth.email_otps
          where expires_at < now() - interval '1 day' and (email, purpose) <> (${email}, ${purpose})
          limit ${SWEPT_AT_A_TIME} for update skip locked
        ), swept as (
          delete from auth.email_otps using expired where email_otps.id = expired.id
        )
        insert into auth.email_otps as o
          (email, purpose, otp_hash, otp_type, expires_at, redirect_to, code_challenge, resend_after)
        values (${email}, ${purpose}, ${stored}, ${kind === 'code' ? 'NUMERIC_CODE' : 'HASH_TOKEN'},
          now() + make_interval(secs => ${validForSeconds}), ${redirectTo ?? null}, ${codeChallenge ?? null},
          case when ${isLimited}::boolean then now() + make_interval(secs => ${COOLDOWN_SECONDS}) end)
        on conflict (email, purpose) do update set
          otp_hash = excluded.otp_hash, otp_type = excluded.otp_type, expires_at = excluded.expires_at,
          redirect_to = excluded.redirect_to, code_challenge = excluded.code_challenge,
          resend_after = excluded.resend_after, consumed_at = null, attempts_count = 0
        where ${isFree}
        returning id`);
      if (!issued) throw await coolingDown(tx, email, purpose);
      return secret;
    },

    async redeemCode(tx, email, purpose, code) {
      const matches = sql`otp_hash = ${hashCode(email, purpose, code)}`;
      const row = await tx.one<{ matches: boolean }>(sql`
        update auth.email_otps set
          attempts_count = attempts_count + case when ${matches} then 0 else 1 end,
          consumed_at = case when ${matches} or attempts_count + 1 >= ${MAX_ATTEMPTS} then now() end
        where ${liveCode(email, purpose)}
        returning ${matches} as matches`);
      return row?.matches ?? false;
    },

    async exchangeCode(tx, email, code) {
      const matches = sql`otp_hash = ${hashCode(email, 'RESET_PASSWORD', code)}`;
      const token = newToken();
      const row = await tx.one<{ expiresAt: Date; isExchanged: boolean }>(sql`
        update auth.email_otps set
          attempts_count = attempts_count + case when ${matches} then 0 else 1 end,
          consumed_at = case when not ${matches} and attempts_count + 1 >= ${MAX_ATTEMPTS} then now() end,
          otp_type = case when ${matches} then 'HASH_TOKEN' else otp_type end,
          expires_at = case when ${matches} then now() + make_interval(secs => ${RESET_TOKEN_SECONDS})
            else expires_at end,
          otp_hash = case when ${matches} then ${hashToken(token)} else otp_hash end
        where ${liveCode(email, 'RESET_PASSWORD')}
        returning expires_at as "expiresAt", otp_type = 'HASH_TOKEN' as "isExchanged"`);
      return row?.isExchanged ? { token, expiresAt: row.expiresAt.toISOString() } : undefined;
    },

    findLink: (tx, purpose, token) =>
      tx.one<SentLink & Record<string, unknown>>(sql`
        select id, email, redirect_to as "redirectTo", code_challenge as "codeChallenge",
          consumed_at is null and expires_at > now() as "isLive"
        from auth.email_otps
        where otp_hash = ${hashToken(token)} and purpose = ${purpose} and otp_type = 'HASH_TOKEN'`),

    redeemLink: (tx, purpose, token) => spendLink(tx, sql`otp_hash = ${hashToken(token)} and purpose = ${purpose}`),
    redeemOpenedLink: (tx, id) => spendLink(tx, sql`id = ${id}`),
  };
}

const newToken = () => randomBytes(32).toString('hex');
const hashToken = (token: string) => createHash('sha256').update(token).digest('hex');

const liveCode = (email: string, purpose: string) => sql`
  email = ${email} and purpose = ${purpose} and otp_type = 'NUMERIC_CODE' and consumed_at is null
  and expires_at > now() and attempts_count < ${MAX_ATTEMPTS}`;

async function spendLink(tx: Tx, which: Sql): Promise<string | undefined> {
  const row = await tx.one<{ email: string }>(sql`
    update auth.email_otps set consumed_at = now()
    where ${which} and otp_type = 'HASH_TOKEN' and consumed_at is null and expires_at > now()
    returning email`);
  return row?.email;
}

async function coolingDown(tx: Tx, email: string, purpose: string): Promise<AppError> {
  const row = await tx.one<{ seconds: number }>(sql`
    select ceil(extract(epoch from resend_after - now()))::float8 as seconds
    from auth.email_otps where email = ${email} and purpose = ${purpose}`);
  const seconds = Math.max(1, row?.seconds ?? COOLDOWN_SECONDS);
  return new AppError(
    'TOO_MANY_REQUESTS',
    `A mail to this address was asked for less than ${COOLDOWN_SECONDS} seconds ago; the next one can be in ${seconds} seconds`,
    { nextActions: `Wait ${seconds} seconds, then ask again.`, details: { retryAfterSeconds: seconds } },
  );
}

/** The answer to every code, token or link that is no good, whatever the reason. */
export function wrongCode(what: 'code' | 'token' | 'link' = 'code'): AppError {
  return new AppError('INVALID_INPUT', `The ${what} is wrong, has been used, or has expired`, {
    nextActions: 'Ask for a new mail. Each counts once and for a while, and three wrong attempts spend a code.',
  });
}
