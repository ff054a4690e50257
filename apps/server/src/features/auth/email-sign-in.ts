import type { OtpSignIn, User } from '@insforge/contract/auth.ts';
import type { SendMagicLink } from '@insforge/contract/auth-email.ts';
import { AppError } from '#platform/errors.ts';
import { accountOf } from './address-proof.ts';
import { holdsForGood, type Proof } from './admission.ts';
import { type EmailAuth, mailCode } from './code-mails.ts';
import { readConfig } from './config.ts';
import { wrongCode } from './email-codes.ts';
import { issueExchangeCode, readExchangeCode, spendExchangeCode, spentCode } from './exchange-codes.ts';
import type { Device } from './sessions.ts';
import { startUserSession, type UserSession } from './sign-in.ts';
import { findAddress, originOf, readUser, USER_WRITER } from './users.ts';
import { attemptsOn, readRedirect } from './verification.ts';

/** Sends a code to sign in with, also to addresses that have no account yet. */
export async function sendOtp(auth: EmailAuth, email: string): Promise<void> {
  await auth.db.system.tx(async (tx) => {
    const found = await findAddress(tx, email);
    await mailCode(auth, tx, { purpose: 'SIGN_IN', kind: 'code', email, to: found?.email });
  });
}

/** Checks a code and opens a session. @throws AppError INVALID_INPUT, AUTH_SIGNUP_DISABLED, TOO_MANY_REQUESTS */
export async function signInWithOtp(
  auth: EmailAuth,
  { email, otp, name }: OtpSignIn,
  device: Device,
): Promise<UserSession> {
  const { disableSignup } = await readConfig(auth.db.system);
  const redeem = () =>
    auth.db.as(USER_WRITER).tx(async (tx) => {
      const isRight = await auth.codes.redeemCode(tx, email, 'SIGN_IN', otp);
      return isRight ? { user: await accountOf(tx, email, { mayCreate: !disableSignup, name }) } : undefined;
    });
  const proved = await auth.throttle.attempt(attemptsOn(email), redeem, originOf(email, device.address));
  if (!proved) throw wrongCode();
  return startUserSession(auth, { user: requireAccount(proved.user), aal: 'aal1', hold: holdsForGood }, device);
}

/** The code is spent all the same: it has done its work. */
function requireAccount(user: User | undefined): User {
  if (user) return user;
  throw new AppError('AUTH_SIGNUP_DISABLED', 'This project does not take new users');
}

/** Sends a link that leads to the app with a code, which only that app can exchange for a session. */
export async function sendMagicLink(
  auth: EmailAuth,
  { email, redirectTo: wanted, code_challenge: codeChallenge }: SendMagicLink,
): Promise<void> {
  const redirectTo = await readRedirect(auth, wanted);
  const { disableSignup } = await readConfig(auth.db.system);
  await auth.db.system.tx(async (tx) => {
    const found = await findAddress(tx, email);
    await mailCode(auth, tx, {
      purpose: 'MAGIC_LINK',
      kind: 'link',
      email,
      to: found?.email,
      redirectTo,
      codeChallenge,
      isDecoy: !found && disableSignup,
    });
  });
}

/**
 * What the app gets for an opened link. The link is spent by the exchange and not by being opened: mail scanners
 * open links before people do.
 */
export async function openMagicLink(
  auth: EmailAuth,
  token: string,
): Promise<{ redirectTo: URL; code?: string } | undefined> {
  const { db, codes } = auth;
  const link = await codes.findLink(db.system, 'MAGIC_LINK', token);
  // The list may have changed since the link was sent.
  const redirectTo = await readRedirect(auth, link?.redirectTo ?? undefined);
  if (!link?.codeChallenge || !redirectTo) return undefined;
  if (!link.isLive) return { redirectTo };
  return { redirectTo, code: await issueExchangeCode(db.system, { emailOtpId: link.id }, link.codeChallenge) };
}

/** Proves with an exchange code who somebody is. @throws AppError AUTH_UNAUTHORIZED, AUTH_SIGNUP_DISABLED */
export async function checkExchangeCode(
  auth: Pick<EmailAuth, 'db' | 'codes'>,
  { code, codeVerifier }: { code: string; codeVerifier: string },
): Promise<Proof> {
  const subject = await readExchangeCode(auth.db.system, { code, codeVerifier });
  const user =
    'userId' in subject ? await readUser(auth.db.system, subject.userId) : await signInByLink(auth, subject.emailOtpId);
  return { user, aal: subject.aal, hold: (tx) => spendExchangeCode(tx, code) };
}

async function signInByLink(auth: Pick<EmailAuth, 'db' | 'codes'>, emailOtpId: string): Promise<User> {
  const { disableSignup } = await readConfig(auth.db.system);
  const proved = await auth.db.as(USER_WRITER).tx(async (tx) => {
    const email = await auth.codes.redeemOpenedLink(tx, emailOtpId);
    return email === undefined ? undefined : { user: await accountOf(tx, email, { mayCreate: !disableSignup }) };
  });
  if (!proved) throw spentCode();
  return requireAccount(proved.user);
}
