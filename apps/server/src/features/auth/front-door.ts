import type { PublicAuthConfig, SignUp, User } from '@insforge/contract/auth.ts';
import { createOutbox } from '#features/email/index.ts';
import type { Claims } from '#platform/db/db.ts';
import type { Platform } from '#platform/platform.ts';
import { verifyAddress } from './address-proof.ts';
import { admit } from './admission.ts';
import { readConfig, readPublicConfig } from './config.ts';
import { createCustomClaims } from './custom-claims.ts';
import { createEmailCodes, wrongCode } from './email-codes.ts';
import { issueExchangeCode, redeemExchangeCode, spentCode } from './exchange-codes.ts';
import { exchangeResetCode, resetPassword, sendReset } from './password-reset.ts';
import { checkPasswordRules } from './passwords.ts';
import { checkRedirect, withParameters } from './redirects.ts';
import { createRefreshTokens } from './refresh-tokens.ts';
import { checkAnswer } from './second-factor.ts';
import type { Aal } from './sessions.ts';
import { checkPassword, userClaims } from './sign-in.ts';
import { signUp } from './sign-up.ts';
import { createThrottle } from './throttle.ts';
import { readUser, USER_WRITER } from './users.ts';
import { attemptsOn, sendFirstVerification, sendVerification } from './verification.ts';

/** Somebody who has shown all that their account asks for. */
export interface Proved {
  user: User;
  aal: Aal;
}

/**
 * Proving who one is, for pages that this server shows itself. Nothing here opens a session: that is for whoever
 * the page sends the browser back to. All of it throws what the API would answer.
 */
export interface FrontDoor {
  config(): Promise<PublicAuthConfig>;
  /** @throws AppError AUTH_SECOND_FACTOR_REQUIRED, whose challenge goes to `answer` */
  signIn(given: { email: string; password: string }): Promise<Proved>;
  answer(given: { challenge: string; code: string }): Promise<Proved>;
  /** @param page where the link of the mail leads back to, here and in the next two: a path of this server */
  signUp(given: SignUp, page: string): Promise<{ mustVerify: true } | { mustVerify: false; proved: Proved }>;
  sendVerification(email: string, page: string): Promise<void>;
  /** Verifies the address with the code of a mail. */
  verify(given: { email: string; otp: string }): Promise<Proved>;
  sendReset(email: string, page: string): Promise<void>;
  /** Sets a new password for the code of a mail. @param attemptsBy whose wrong ones are counted together */
  resetByCode(given: { email: string; code: string; newPassword: string }): Promise<void>;
  resetByToken(given: { token: string; newPassword: string }, attemptsBy: string): Promise<void>;
  /** Whoever comes back from another provider with a code that was asked for by a page. @throws AppError AUTH_UNAUTHORIZED */
  arrive(given: { code: string; codeVerifier: string }): Promise<Proved>;
  /** The user, unless they are gone or banned. */
  find(id: string): Promise<User | undefined>;
  /** What a token of this server says of a user, with the developer's own claims. */
  claimsOf(user: User, own: Readonly<Record<string, unknown>>): Promise<Claims & { sub: string }>;
  /** An address that a browser may be sent back to. @throws AppError INVALID_INPUT */
  checkRedirect(field: string, written: string): Promise<URL>;
  /** The address of an app with a code in it that is worth a session there, once. */
  returnTo(target: URL, proved: Proved, codeChallenge: string): Promise<string>;
}

/** @param apiBaseUrl the URL under which browsers reach this server */
export function createFrontDoor(
  platform: Pick<Platform, 'db' | 'listener' | 'cipher' | 'tokens' | 'jwtSecret'>,
  apiBaseUrl: string,
): FrontDoor {
  const { db, listener, cipher, tokens, jwtSecret } = platform;
  const throttle = createThrottle(db.system);
  const customClaims = createCustomClaims(db, listener);
  const codes = createEmailCodes(jwtSecret);
  const auth = {
    db,
    tokens,
    cipher,
    throttle,
    customClaims,
    refreshTokens: createRefreshTokens(jwtSecret),
    outbox: createOutbox(cipher),
    codes,
    apiBaseUrl,
  };
  const enter = async (user: User, aal: Aal): Promise<Proved> => {
    await admit(db.system, user.id, aal);
    return { user, aal };
  };

  return {
    config: () => readPublicConfig(db.system),
    signIn: async (given) => enter(await checkPassword(auth, given), 'aal1'),
    answer: async (given) => enter(await checkAnswer(auth, given), 'aal2'),

    async signUp(given, page) {
      const { user, mustVerify } = await signUp(db, given, { isAdmin: false });
      if (!mustVerify) return { mustVerify, proved: await enter(user, 'aal1') };
      await db.system.tx((tx) => sendFirstVerification(auth, tx, user, new URL(apiBaseUrl + page)));
      return { mustVerify };
    },
    sendVerification: (email, page) => sendVerification(auth, { email, redirectTo: apiBaseUrl + page }),
    async verify({ email, otp }) {
      const user = await throttle.attempt(attemptsOn(email), () =>
        db.as(USER_WRITER).tx(async (tx) => {
          const isRight = await codes.redeemCode(tx, email, 'VERIFY_EMAIL', otp);
          return isRight ? verifyAddress(tx, email) : undefined;
        }),
      );
      if (!user) throw wrongCode();
      return enter(user, 'aal1');
    },

    sendReset: (email, page) => sendReset(auth, { email, redirectTo: apiBaseUrl + page }),
    async resetByCode({ email, code, newPassword }) {
      // First: the code is spent by the exchange.
      checkPasswordRules(await readConfig(db.system), newPassword);
      const { token } = await exchangeResetCode(auth, { email, code });
      await resetPassword(auth, { newPassword, otp: token }, undefined);
    },
    resetByToken: ({ token, newPassword }, attemptsBy) => resetPassword(auth, { newPassword, otp: token }, attemptsBy),

    async arrive(given) {
      const subject = await redeemExchangeCode(db.system, given);
      if (!('userId' in subject)) throw spentCode();
      return enter(await readUser(db.system, subject.userId), subject.aal);
    },
    async find(id) {
      const user = await readUser(db.system, id).catch(() => undefined);
      return user?.ban ? undefined : user;
    },
    claimsOf: (user, own) => userClaims(customClaims, user, own),

    async checkRedirect(field, written) {
      const { allowedRedirectUrls: allowed } = await readConfig(db.system);
      return checkRedirect(field, written, { allowed, apiBaseUrl });
    },
    async returnTo(target, { user, aal }, codeChallenge) {
      const code = await issueExchangeCode(db.system, { userId: user.id }, codeChallenge, aal);
      return withParameters(target, { insforge_code: code });
    },
  };
}
