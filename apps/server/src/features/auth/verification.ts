import type { User } from '@insforge/contract/auth.ts';
import type { SendCode, VerifyEmail } from '@insforge/contract/auth-email.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { verifyAddress } from './address-proof.ts';
import { holdsForGood, type Proof } from './admission.ts';
import { type EmailAuth, mailCode } from './code-mails.ts';
import { readConfig } from './config.ts';
import { wrongCode } from './email-codes.ts';
import { checkRedirect } from './redirects.ts';
import { findAddress, originOf, USER_WRITER } from './users.ts';

/** Where the app wants people to be sent back to, once it has been checked. */
export async function readRedirect(auth: EmailAuth, redirectTo: string | undefined): Promise<URL | undefined> {
  if (redirectTo === undefined) return undefined;
  const { allowedRedirectUrls: allowed } = await readConfig(auth.db.system);
  return checkRedirect('redirectTo', redirectTo, { allowed, apiBaseUrl: auth.apiBaseUrl });
}

/** Sends a code or a link, as the settings say, to whoever has the address and has not verified it yet. */
export async function sendVerification(auth: EmailAuth, { email, redirectTo: wanted }: SendCode): Promise<void> {
  const redirectTo = await readRedirect(auth, wanted);
  const { verifyEmailMethod: kind } = await readConfig(auth.db.system);
  await auth.db.system.tx(async (tx) => {
    const found = await findAddress(tx, email);
    const isDecoy = !found || found.emailVerified;
    await mailCode(auth, tx, { purpose: 'VERIFY_EMAIL', kind, email, to: found?.email, redirectTo, isDecoy });
  });
}

/** The mail of a sign-up. It does not make the user wait who asks for another one right away. */
export async function sendFirstVerification(
  auth: EmailAuth,
  tx: SystemTx,
  { email }: User,
  redirectTo: URL | undefined,
): Promise<void> {
  const { verifyEmailMethod: kind } = await readConfig(tx);
  await mailCode(auth, tx, { purpose: 'VERIFY_EMAIL', kind, email, redirectTo, isLimited: false });
}

/**
 * Verifies an address with the code of a mail, which proves who somebody is.
 * @param address the network address that the attempt comes from
 * @throws AppError INVALID_INPUT, TOO_MANY_REQUESTS
 */
export async function verifyByCode(
  { db, codes, throttle }: Pick<EmailAuth, 'db' | 'codes' | 'throttle'>,
  { email, otp }: VerifyEmail,
  address: string | null,
): Promise<Proof> {
  const redeem = () =>
    db.as(USER_WRITER).tx(async (tx) => {
      const isRight = await codes.redeemCode(tx, email, 'VERIFY_EMAIL', otp);
      return isRight ? verifyAddress(tx, email) : undefined;
    });
  const user = await throttle.attempt(attemptsOn(email), redeem, originOf(email, address));
  if (!user) throw wrongCode();
  return { user, aal: 'aal1', hold: holdsForGood };
}

/** Wrong codes are counted by address, whatever they were for: a new mail does not give new attempts. */
export const attemptsOn = (email: string) => `code:${email}`;

/** Verifies the address that a link was sent to; false when the link is no good. */
export async function verifyByLink(auth: EmailAuth, token: string): Promise<boolean> {
  return auth.db.as(USER_WRITER).tx(async (tx) => {
    const email = await auth.codes.redeemLink(tx, 'VERIFY_EMAIL', token);
    return email !== undefined && (await verifyAddress(tx, email)) !== undefined;
  });
}
