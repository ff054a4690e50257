import { createHash } from 'node:crypto';
import type { ResetPassword, SendCode } from '@insforge/contract/auth-email.ts';
import type { SystemTx, UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { expel } from './address-proof.ts';
import { type EmailAuth, mailCode } from './code-mails.ts';
import { readConfig } from './config.ts';
import { wrongCode } from './email-codes.ts';
import { checkPasswordRules, hashPassword } from './passwords.ts';
import { findAddress, findByEmail, originOf, USER_WRITER } from './users.ts';
import { attemptsOn, readRedirect } from './verification.ts';

/** Sends a code or a link, as the settings say, to whoever has the address. */
export async function sendReset(auth: EmailAuth, { email, redirectTo: wanted }: SendCode): Promise<void> {
  const redirectTo = await readRedirect(auth, wanted);
  const { resetPasswordMethod: kind } = await readConfig(auth.db.system);
  await auth.db.system.tx(async (tx) => {
    const found = await findAddress(tx, email);
    const isDecoy = !found;
    await mailCode(auth, tx, { purpose: 'RESET_PASSWORD', kind, email, to: found?.email, redirectTo, isDecoy });
  });
}

/**
 * Gives a token for a code.
 * @param address the network address that the attempt comes from
 * @throws AppError INVALID_INPUT, TOO_MANY_REQUESTS
 */
export async function exchangeResetCode(
  auth: EmailAuth,
  { email, code }: { email: string; code: string },
  address: string | null,
): Promise<{ token: string; expiresAt: string }> {
  const exchange = () => auth.codes.exchangeCode(auth.db.system, email, code);
  const exchanged = await auth.throttle.attempt(attemptsOn(email), exchange, originOf(email, address));
  if (!exchanged) throw wrongCode();
  return exchanged;
}

/**
 * Sets a new password for whoever holds the token of a link or of an exchange. All sessions of the user end,
 * failed sign-ins are forgotten, and the address counts as verified: the token came through it.
 * @param address the network address that the attempt comes from; null where none is to be counted
 * @throws AppError INVALID_INPUT, TOO_MANY_REQUESTS
 */
export async function resetPassword(
  auth: EmailAuth,
  { newPassword, otp: token }: ResetPassword,
  address: string | null,
): Promise<void> {
  const { db, codes, throttle } = auth;
  checkPasswordRules(await readConfig(db.system), newPassword);
  const look = async () => {
    const link = await codes.findLink(db.system, 'RESET_PASSWORD', token);
    return link?.isLive || undefined;
  };
  // Looked at first: hashing takes long, and nobody is to make the server do it for nothing.
  const isLive = await throttle.attempt(`reset:${createHash('sha256').update(token).digest('hex')}`, look, { address });
  if (!isLive) throw wrongCode('token');
  const hashed = await hashPassword(newPassword);
  const email = await db.as(USER_WRITER).tx(async (tx) => {
    const address = await codes.redeemLink(tx, 'RESET_PASSWORD', token);
    return address === undefined ? undefined : setPassword(tx, address, hashed);
  });
  if (email === undefined) throw wrongCode('token');
  await throttle.clear(`user:${email.toLowerCase()}`);
  await db.system.tx((tx) => tellPasswordChanged(auth, tx, email));
}

/** The address as the user has it; undefined where the user is gone. */
async function setPassword(tx: UserTx, address: string, hashed: string): Promise<string | undefined> {
  const found = await findByEmail(tx, address);
  if (!found) return undefined;
  const { id, email, emailVerified } = found.user;
  // A trigger ends the sessions.
  await tx.query(sql`
    update auth.users set password = ${hashed}, email_verified = true, updated_at = now() where id = ${id}`);
  if (!emailVerified) await expel(tx, id);
  return email;
}

/** Whoever did not do it themselves should know. */
export async function tellPasswordChanged({ outbox }: EmailAuth, tx: SystemTx, email: string): Promise<void> {
  const mail = { template: 'password-changed', to: email, variables: { email }, validForSeconds: 24 * 3600 } as const;
  await outbox.queueTemplate(tx, mail);
}
