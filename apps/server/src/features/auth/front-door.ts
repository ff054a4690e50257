import type { PublicAuthConfig, SignUp, User } from '@insforge/contract/auth.ts';
import type { CaptchaPurpose } from '@insforge/contract/captcha.ts';
import { createOutbox } from '#features/email/index.ts';
import type { Claims } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import type { Platform } from '#platform/platform.ts';
import { letIn, type Proof } from './admission.ts';
import type { Captcha } from './captcha/captcha.ts';
import { readConfig, readPublicConfig } from './config.ts';
import { createCustomClaims } from './custom-claims.ts';
import { createEmailCodes } from './email-codes.ts';
import { checkExchangeCode } from './email-sign-in.ts';
import { issueExchangeCode } from './exchange-codes.ts';
import { exchangeResetCode, resetPassword, sendReset } from './password-reset.ts';
import { checkPasswordRules } from './passwords.ts';
import { checkRedirect, withParameters } from './redirects.ts';
import { createRefreshTokens } from './refresh-tokens.ts';
import { checkAnswer } from './second-factor.ts';
import { createSessionOpenings } from './session-openings.ts';
import { checkPassword, userClaims } from './sign-in.ts';
import { signUp } from './sign-up.ts';
import { createThrottle } from './throttle.ts';
import { readUser } from './users.ts';
import { sendFirstVerification, sendVerification, verifyByCode } from './verification.ts';

/** Somebody who has shown all that their account asks for, as it stood at that moment. */
export type Proved = Proof;

/** What somebody typed in, and the network address that it comes from. */
type Typed<Fields> = Fields & { address: string | null };

/** The token of the captcha, where the form has one, and who sent it. */
type Solved = Typed<{ captchaToken: string | undefined }>;

/** The same of somebody who asks for a mail. `countMail` throws where their network address has asked for too many. */
type Asked = Solved & { countMail: () => Promise<void> };

/**
 * Proving who one is, for pages that this server shows itself. Nothing here opens a session: that is for whoever
 * the page sends the browser back to. All of it throws what the API would answer.
 */
export interface FrontDoor {
  config(): Promise<PublicAuthConfig>;
  /** @throws AppError AUTH_SECOND_FACTOR_REQUIRED, whose challenge goes to `answer` */
  signIn(given: { email: string; password: string } & Solved): Promise<Proved>;
  answer(given: { challenge: string; code: string }): Promise<Proved>;
  /** @param page where the link of the mail leads back to, here and in the next two: a path of this server */
  signUp(
    given: SignUp,
    page: string,
    solved: Solved,
  ): Promise<{ mustVerify: true } | { mustVerify: false; proved: Proved }>;
  sendVerification(email: string, page: string, asked: Asked | 'already'): Promise<void>;
  /** Verifies the address with the code of a mail. */
  verify(given: Typed<{ email: string; otp: string }>): Promise<Proved>;
  sendReset(email: string, page: string, asked: Asked): Promise<void>;
  /** Sets a new password for the code of a mail. */
  resetByCode(given: Typed<{ email: string; code: string; newPassword: string }>): Promise<void>;
  resetByToken(given: Typed<{ token: string; newPassword: string }>): Promise<void>;
  /** Whoever comes back from another provider with a code that was asked for by a page. @throws AppError AUTH_UNAUTHORIZED */
  arrive(given: { code: string; codeVerifier: string }): Promise<Proved>;
  /** Makes sure that what was proved a moment ago still counts. @throws AppError */
  confirm(proved: Proved): Promise<void>;
  /** The user, unless they are gone or banned. */
  find(id: string): Promise<User | undefined>;
  /** What a token of this server says of a user, with the developer's own claims. */
  claimsOf(user: User, own: Readonly<Record<string, unknown>>): Promise<Claims & { sub: string }>;
  /** An address that a browser may be sent back to. @throws AppError INVALID_INPUT */
  checkRedirect(field: string, written: string): Promise<URL>;
  /** The address of an app with a code in it that is worth a session there, once. @throws what `confirm` throws */
  returnTo(target: URL, proved: Proved, codeChallenge: string): Promise<string>;
}

/** @param apiBaseUrl the URL under which browsers reach this server */
export function createFrontDoor(
  platform: Pick<Platform, 'db' | 'listener' | 'cipher' | 'tokens' | 'jwtSecret'>,
  captcha: Captcha,
  apiBaseUrl: string,
): FrontDoor {
  const { db, listener, cipher, tokens, jwtSecret } = platform;
  const customClaims = createCustomClaims(db, listener);
  const auth = {
    db,
    tokens,
    cipher,
    throttle: createThrottle(db.system),
    customClaims,
    openSessionAtOnce: createSessionOpenings(db),
    refreshTokens: createRefreshTokens(jwtSecret),
    outbox: createOutbox(cipher),
    codes: createEmailCodes(jwtSecret),
    apiBaseUrl,
  };
  const checkCaptcha = (purpose: CaptchaPurpose, { captchaToken: token, address }: Solved) =>
    captcha.check(purpose, { token, address });
  const checkAsked = async (asked: Asked) => {
    await asked.countMail();
    await checkCaptcha('mail', asked);
  };
  const enter = async (proof: Proof): Promise<Proved> => {
    const { password, emailVerified } = await letIn(auth.db, proof, async (_tx, standing) => standing);
    // Another password, or an owner who has proved their address since, and it is somebody else's account.
    const hold: Proof['hold'] = (_tx, now) => {
      if (now.password !== password || now.emailVerified !== emailVerified) throw changedAccount();
    };
    return { ...proof, hold };
  };

  return {
    config: () => readPublicConfig(db.system),
    async signIn(given) {
      await checkCaptcha('sign-in', given);
      return enter(await checkPassword(auth, given, given.address));
    },
    answer: async (given) => enter(await checkAnswer(auth, given)),

    async signUp(given, page, solved) {
      await checkCaptcha('sign-up', solved);
      const { proof, mustVerify } = await signUp(db, given, { isAdmin: false });
      if (!mustVerify) return { mustVerify, proved: await enter(proof) };
      await db.system.tx((tx) => sendFirstVerification(auth, tx, proof.user, new URL(apiBaseUrl + page)));
      return { mustVerify };
    },
    async sendVerification(email, page, asked) {
      if (asked !== 'already') await checkAsked(asked);
      await sendVerification(auth, { email, redirectTo: apiBaseUrl + page });
    },
    verify: async ({ address, ...given }) => enter(await verifyByCode(auth, given, address)),

    async sendReset(email, page, asked) {
      await checkAsked(asked);
      await sendReset(auth, { email, redirectTo: apiBaseUrl + page });
    },
    async resetByCode({ email, code, newPassword, address }) {
      // First: the code is spent by the exchange.
      checkPasswordRules(await readConfig(db.system), newPassword);
      const { token } = await exchangeResetCode(auth, { email, code }, address);
      await resetPassword(auth, { newPassword, otp: token }, address);
    },
    resetByToken: ({ token, newPassword, address }) => resetPassword(auth, { newPassword, otp: token }, address),

    arrive: async (given) => enter(await checkExchangeCode(auth, given)),
    confirm: (proved) => letIn(db, proved, async () => {}),
    async find(id) {
      const user = await readUser(db.system, id).catch(() => undefined);
      return user?.ban ? undefined : user;
    },
    claimsOf: (user, own) => userClaims(customClaims, user, own),

    async checkRedirect(field, written) {
      const { allowedRedirectUrls: allowed } = await readConfig(db.system);
      return checkRedirect(field, written, { allowed, apiBaseUrl });
    },
    async returnTo(target, proved, codeChallenge) {
      const { user, aal } = proved;
      const code = await letIn(db, proved, (tx) => issueExchangeCode(tx, { userId: user.id }, codeChallenge, aal));
      return withParameters(target, { insforge_code: code });
    },
  };
}

const changedAccount = () =>
  new AppError('AUTH_UNAUTHORIZED', 'The account was changed at this moment', { nextActions: 'Sign in again.' });
