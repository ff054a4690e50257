import type { SignUp } from '@insforge/contract/auth.ts';
import type { Db } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import type { Proof } from './admission.ts';
import { readConfig } from './config.ts';
import { checkPasswordRules, hashPassword } from './passwords.ts';
import { byPassword } from './sign-in.ts';
import { insertUser, USER_WRITER } from './users.ts';

/**
 * Creates a user. Admins may do so while sign-up is closed, and may declare the address verified.
 * @throws AppError AUTH_SIGNUP_DISABLED, INVALID_INPUT, AUTH_EMAIL_EXISTS
 */
export async function signUp(
  db: Db,
  { email, password, name, autoConfirm = false }: SignUp,
  { isAdmin }: { isAdmin: boolean },
): Promise<{ proof: Proof; mustVerify: boolean }> {
  const config = await readConfig(db.system);
  if (config.disableSignup && !isAdmin)
    throw new AppError('AUTH_SIGNUP_DISABLED', 'This project does not take new users');
  checkPasswordRules(config, password);
  // Before anybody looks whether the address is taken: the answer takes as long either way.
  const hashed = await hashPassword(password);
  const emailVerified = isAdmin && autoConfirm;
  const user = await db
    .as(USER_WRITER)
    .tx((tx) => insertUser(tx, { email, password: hashed, emailVerified, ...(name === undefined ? {} : { name }) }));
  if (!user) throw new AppError('AUTH_EMAIL_EXISTS', `There is a user ${email} already`);
  return { proof: byPassword(user, hashed), mustVerify: config.requireEmailVerification && !emailVerified };
}
