import type { User } from '@insforge/contract/auth.ts';
import type { ChangeEmail, ChangePassword, ConfirmEmail } from '@insforge/contract/auth-email.ts';
import type { UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { type EmailAuth, mailCode } from './code-mails.ts';
import { readConfig } from './config.ts';
import { wrongCode } from './email-codes.ts';
import { tellPasswordChanged } from './password-reset.ts';
import { checkPasswordRules, hashPassword, isPasswordOf } from './passwords.ts';
import { requireLiveSession } from './sessions.ts';
import { findAddress, originOf, readUser, USER_WRITER } from './users.ts';
import { attemptsOn } from './verification.ts';

/** Who wants to change something, in which session, and from which network address. */
export interface Owner {
  userId: string;
  sessionId: string;
  address: string | null;
}

/** Sends a code to the user's own address, to be used where a password would be asked for. */
export async function sendReauthentication(auth: EmailAuth, userId: string): Promise<void> {
  const { email } = await readUser(auth.db.system, userId);
  await auth.db.system.tx((tx) =>
    mailCode(auth, tx, { purpose: 'REAUTHENTICATE', kind: 'code', email: email.toLowerCase(), to: email }),
  );
}

/**
 * Makes sure that it is the user, and not somebody at their unlocked screen.
 * @returns the user, and the password that they have at that moment
 * @throws AppError
 */
async function reauthenticate(
  { db, codes, throttle }: EmailAuth,
  { userId, address }: Owner,
  { currentPassword, otp }: { currentPassword?: string | undefined; otp?: string | undefined },
): Promise<{ user: User; password: string | null }> {
  const user = await readUser(db.system, userId);
  const email = user.email.toLowerCase();
  const readPassword = async () => {
    const row = await db.system.one<{ password: string | null }>(sql`
      select password from auth.users where id = ${userId}`);
    return row?.password ?? null;
  };
  if (currentPassword !== undefined) {
    const check = async () => {
      const password = await readPassword();
      return (await isPasswordOf(password, currentPassword)) ? { password } : undefined;
    };
    const checked = await throttle.attempt(`user:${email}`, check, originOf(email, address));
    // Not 401: clients would take it for an expired token and try again with a fresh one.
    if (!checked) throw new AppError('FORBIDDEN', 'The current password is wrong', { nextActions: WITHOUT_PASSWORD });
    return { user, ...checked };
  }
  if (otp === undefined) {
    throw new AppError('INVALID_INPUT', 'currentPassword: or otp is required', { nextActions: WITHOUT_PASSWORD });
  }
  const redeem = async () => (await codes.redeemCode(db.system, email, 'REAUTHENTICATE', otp)) || undefined;
  const isRight = await throttle.attempt(attemptsOn(email), redeem, originOf(email, address));
  if (!isRight) throw wrongCode();
  return { user, password: await readPassword() };
}

const WITHOUT_PASSWORD =
  'Send currentPassword; users without one ask for a code with POST /api/auth/email/send-reauthentication and send it as otp.';

/** Sets a new password. All sessions end but the one that asked. @throws AppError */
export async function changePassword(
  auth: EmailAuth,
  owner: Owner,
  { newPassword, ...proof }: ChangePassword,
): Promise<void> {
  const { db } = auth;
  const { userId, sessionId } = owner;
  checkPasswordRules(await readConfig(db.system), newPassword);
  const { user, password } = await reauthenticate(auth, owner, proof);
  const hashed = await hashPassword(newPassword);
  await db.as(USER_WRITER).tx(async (tx) => {
    await tx.query(sql`select set_config('insforge.kept_session', ${sessionId}, true)`);
    // The owner of the address may have taken the account over meanwhile.
    const changed = await tx.one(sql`
      update auth.users set password = ${hashed}, updated_at = now()
      where id = ${userId} and password is not distinct from ${password} returning 1`);
    if (!changed) throw new AppError('FORBIDDEN', 'The password was changed by somebody else at the same moment');
  });
  await db.system.tx((tx) => tellPasswordChanged(auth, tx, user.email));
}

/** Sends a code to the new address. Whether somebody else has it is not told. @throws AppError */
export async function changeEmail(auth: EmailAuth, owner: Owner, { newEmail, ...proof }: ChangeEmail): Promise<void> {
  const { user } = await reauthenticate(auth, owner, proof);
  if (user.email.toLowerCase() === newEmail) {
    throw new AppError('INVALID_INPUT', 'newEmail: is the address of this account already');
  }
  await auth.db.system.tx(async (tx) => {
    const isDecoy = (await findAddress(tx, newEmail)) !== undefined;
    await mailCode(auth, tx, { purpose: `CHANGE_EMAIL:${owner.userId}`, kind: 'code', email: newEmail, isDecoy });
  });
}

/** Gives the account the new address, which counts as verified. @throws AppError */
export async function confirmEmail(
  auth: EmailAuth,
  { userId, sessionId, address }: Owner,
  { email, otp }: ConfirmEmail,
): Promise<User> {
  const { db, codes, throttle, outbox } = auth;
  const before = await readUser(db.system, userId);
  const redeem = () =>
    db.as(USER_WRITER).tx(async (tx) => {
      await tx.one(sql`select from auth.users where id = ${userId} for update`);
      // Whoever writes users may not read sessions.
      await requireLiveSession(db.system, userId, sessionId);
      const isRight = await codes.redeemCode(tx, email, `CHANGE_EMAIL:${userId}`, otp);
      return isRight ? setEmail(tx, userId, email) : undefined;
    });
  const user = await throttle.attempt(attemptsOn(email), redeem, originOf(email, address));
  if (!user) throw wrongCode();
  const variables = { email: before.email, newEmail: email };
  await db.system.tx((tx) =>
    outbox.queueTemplate(tx, { template: 'email-changed', to: before.email, variables, validForSeconds: 24 * 3600 }),
  );
  return user;
}

async function setEmail(tx: UserTx, userId: string, email: string): Promise<User> {
  const changed = await tx.one(sql`
    update auth.users set email = ${email}, email_verified = true, updated_at = now()
    where id = ${userId}
      and not exists (select from auth.users o where lower(o.email) = lower(${email}) and o.id <> ${userId})
    returning id`);
  if (!changed) throw new AppError('AUTH_EMAIL_EXISTS', `Somebody else has taken ${email} meanwhile`);
  await tx.query(sql`
    update auth.user_providers set provider_account_id = ${email}, updated_at = now()
    where user_id = ${userId} and provider = 'email'`);
  return readUser(tx, userId);
}
