import type { CaptchaProvider } from '@insforge/contract/captcha.ts';

/** A service that tells people from programs. */
interface ProviderRow {
  /** Where tokens are checked. Both take a form and answer `success` and `error-codes`. */
  verifyUrl: string;
  /** The script that draws the widget into the element of this class, and adds a field of this name to its form. */
  scriptUrl: string;
  widgetClass: string;
  fieldName: string;
  /** What a page must let in: scripts, frames, styles and connections. */
  sources: readonly string[];
}

/**
 * https://developers.cloudflare.com/turnstile/get-started/server-side-validation/
 * https://docs.hcaptcha.com/#verify-the-user-response-server-side
 */
export const CAPTCHAS: Readonly<Record<CaptchaProvider, ProviderRow>> = {
  turnstile: {
    verifyUrl: 'https://challenges.cloudflare.com/turnstile/v0/siteverify',
    scriptUrl: 'https://challenges.cloudflare.com/turnstile/v0/api.js',
    widgetClass: 'cf-turnstile',
    fieldName: 'cf-turnstile-response',
    sources: ['https://challenges.cloudflare.com'],
  },
  hcaptcha: {
    verifyUrl: 'https://api.hcaptcha.com/siteverify',
    scriptUrl: 'https://js.hcaptcha.com/1/api.js',
    widgetClass: 'h-captcha',
    fieldName: 'h-captcha-response',
    sources: ['https://hcaptcha.com', 'https://*.hcaptcha.com'],
  },
};

/** Codes that say something about our secret, and nothing about whoever is asking. */
export const OUR_FAULT = new Set([
  'missing-input-secret',
  'invalid-input-secret',
  'sitekey-secret-mismatch',
  'not-using-dummy-passcode',
  'bad-request',
  'internal-error',
]);
