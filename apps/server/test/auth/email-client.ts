import { mailsTo } from '../email/smtp.ts';
import type { TestApp } from '../harness.ts';

export const ADA = { email: 'ada@example.com', password: 'correct horse battery' };

/** Changes settings of sign-in. */
export const configure = ({ as }: TestApp, settings: Record<string, unknown>) =>
  as('admin').put('/api/auth/config', settings);

/** Asks for a mail: `send-otp`, `send-verification` … */
export const ask = ({ as }: TestApp, what: string, body: Record<string, unknown>) =>
  as('nobody').post(`/api/auth/email/${what}`, body);

/** The code of the newest mail to an address. */
export async function codeFor(app: TestApp, email: string): Promise<string> {
  const [mail] = await mailsTo(app, email);
  return mail.variables.token;
}

/** The path of the link in the newest mail to an address. */
export async function linkFor(app: TestApp, email: string): Promise<string> {
  const [mail] = await mailsTo(app, email);
  const { pathname, search } = new URL(mail.variables.link);
  return pathname + search;
}

/** A code that is not the given one. */
export const notThe = (code: string) => String((Number(code) + 1) % 1_000_000).padStart(6, '0');

/** Ends the cooldown of all addresses, as if the time had passed. */
export const endCooldown = ({ sql }: TestApp) => sql('update auth.email_otps set resend_after = null');

/** Lets every code and link expire. */
export const expireAll = ({ sql }: TestApp) =>
  sql("update auth.email_otps set expires_at = now() - interval '1 second'");

/** Signs up, without verifying the address. */
export const register = ({ as }: TestApp, who = ADA, more: Record<string, unknown> = {}) =>
  as('anon').post('/api/auth/users?client_type=mobile', { ...who, ...more });

/** Where a reply redirects to, and with what. */
export function redirectOf({ headers }: { headers: Record<string, unknown> }): {
  to: string;
  query: Record<string, string>;
} {
  const url = new URL(String(headers.location));
  return { to: `${url.protocol}//${url.host}${url.pathname}`, query: Object.fromEntries(url.searchParams) };
}
