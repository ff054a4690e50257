import type { TemplateType } from '@insforge/contract/email.ts';
import type { Outbox } from '#features/email/index.ts';
import type { SystemTx } from '#platform/db/db.ts';
import type { EmailCodes, Purpose } from './email-codes.ts';
import type { Auth } from './sign-in.ts';

/** What sending and redeeming codes and links stands on. */
export interface EmailAuth extends Auth {
  outbox: Outbox;
  codes: EmailCodes;
  /** Links lead here. Never taken from a request, whose Host header anybody can write. */
  apiBaseUrl: string;
}

interface Form {
  template: TemplateType;
  validForSeconds: number;
  /** Where a link leads, with `?token=`. */
  path?: string;
}

const MINUTE = 60;
const DAY = 24 * 3600;

/** Purpose -> which mail tells the code or the link, and how long that counts. */
const FORMS: Record<string, { code?: Form; link?: Form }> = {
  VERIFY_EMAIL: {
    code: { template: 'email-verification-code', validForSeconds: 15 * MINUTE },
    link: { template: 'email-verification-link', validForSeconds: DAY, path: '/api/auth/email/verify-link' },
  },
  RESET_PASSWORD: {
    code: { template: 'reset-password-code', validForSeconds: 15 * MINUTE },
    link: { template: 'reset-password-link', validForSeconds: DAY, path: '/api/auth/email/reset-password-link' },
  },
  SIGN_IN: { code: { template: 'request-otp', validForSeconds: 5 * MINUTE } },
  REAUTHENTICATE: { code: { template: 'request-otp', validForSeconds: 5 * MINUTE } },
  MAGIC_LINK: { link: { template: 'magic-link', validForSeconds: 15 * MINUTE, path: '/api/auth/email/magic-link' } },
  CHANGE_EMAIL: { code: { template: 'email-verification-code', validForSeconds: 15 * MINUTE } },
};

interface CodeMail {
  purpose: Purpose;
  kind: 'code' | 'link';
  /** What the code is bound to. */
  email: string;
  /** Whom it is sent to: the spelling of the account, where there is one. */
  to?: string | undefined;
  redirectTo?: URL | undefined;
  codeChallenge?: string;
  /** Nobody is to get this mail, and whoever asked for it is not to notice. */
  isDecoy?: boolean;
  /** False where nobody asked for the mail, such as at sign-up. */
  isLimited?: boolean;
}

/**
 * Makes a code or a link and accepts the mail that tells it. A decoy takes the same statements with the same
 * amount of data, so neither the answer nor its time tells whether anybody has the address.
 * @throws AppError TOO_MANY_REQUESTS within the cooldown
 */
export async function mailCode(
  { codes, outbox, apiBaseUrl }: Pick<EmailAuth, 'codes' | 'outbox' | 'apiBaseUrl'>,
  tx: SystemTx,
  { purpose, kind, email, to = email, redirectTo, codeChallenge, isDecoy = false, isLimited = true }: CodeMail,
): Promise<void> {
  const form = FORMS[purpose.split(':', 1)[0] ?? '']?.[kind];
  if (!form) throw new Error(`there is no ${kind} for ${purpose}`);
  const { template, validForSeconds, path } = form;
  const secret = await codes.issue(tx, {
    email,
    purpose,
    kind,
    validForSeconds,
    redirectTo: redirectTo?.href,
    codeChallenge,
    isDecoy,
    isLimited,
  });
  const variables: Record<string, string> =
    path === undefined ? { token: secret, email: to } : { link: `${apiBaseUrl}${path}?token=${secret}`, email: to };
  await outbox.queueTemplate(tx, { template, to, variables, validForSeconds, isDecoy });
}
