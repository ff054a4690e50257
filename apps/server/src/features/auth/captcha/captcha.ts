import type { CaptchaPurpose } from '@insforge/contract/captcha.ts';
import { z } from 'zod';
import type { Db } from '#platform/db/db.ts';
import type { Listener } from '#platform/db/listener.ts';
import { AppError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import { createOutgoingFetch } from '#platform/outgoing/fetch.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { CAPTCHA_CHANNEL, readCaptchaRow } from './config.ts';
import { CAPTCHAS, OUR_FAULT } from './providers.ts';

/** Keeps programs away from what people do: without a token of the widget, where the admin wants one, nothing happens. */
export interface Captcha {
  /**
   * Checks with the provider that somebody has just solved a captcha. Does nothing where the purpose asks for none.
   * @throws AppError AUTH_CAPTCHA_FAILED for whoever has not; UPSTREAM_FAILURE where it cannot be told
   */
  check(purpose: CaptchaPurpose, solved: { token: string | undefined; address: string | null }): Promise<void>;
  /** To be called when the settings have changed. */
  forget(): void;
  close(): Promise<void>;
}

interface CaptchaOptions {
  platform: { db: Db; cipher: Cipher; listener: Listener };
  log: Logger;
  /** Where tokens are checked instead of at the provider. */
  verifyUrl: string | undefined;
}

const TIMEOUT_MS = 5_000;
const MAX_ANSWER_BYTES = 64 * 1024;
/** A token has about two thousand. */
const MAX_TOKEN_LENGTH = 8192;
/** A missed notification must not keep old settings alive for longer than this. */
const MAX_AGE_MS = 60_000;

const AnswerSchema = z.object({ success: z.boolean(), 'error-codes': z.array(z.string()).default([]) });

export function createCaptcha({ platform, log, verifyUrl }: CaptchaOptions): Captcha {
  const { db, cipher, listener } = platform;
  const outgoing = createOutgoingFetch({
    // The operator's own address may be anywhere.
    allowPrivate: verifyUrl === undefined ? false : [new URL(verifyUrl).hostname],
    timeoutMs: TIMEOUT_MS,
    maxBytes: MAX_ANSWER_BYTES,
  });
  let known: { settings: ReturnType<typeof readCaptchaRow>; at: number } | undefined;
  const forget = () => {
    known = undefined;
  };
  listener.on(CAPTCHA_CHANNEL, forget);

  const settings = () => {
    if (known && Date.now() - known.at < MAX_AGE_MS) return known.settings;
    const reading = readCaptchaRow(db.system);
    known = { settings: reading, at: Date.now() };
    reading.catch(forget);
    return reading;
  };

  const ask = async (url: string, form: Record<string, string>) => {
    try {
      const reply = await outgoing.fetch(url, { method: 'POST', body: new URLSearchParams(form), redirect: 'error' });
      // Refusals of either provider may come with a status of their own.
      return AnswerSchema.parse(await reply.json());
    } catch (cause) {
      throw unavailable(cause);
    }
  };

  return {
    forget,
    close: outgoing.close,
    async check(purpose, { token, address }) {
      const found = await settings();
      if (!found?.protects.includes(purpose)) return;
      const { provider, siteKey, secret } = found;
      if (!token) throw notSolved('is missing');
      if (token.length > MAX_TOKEN_LENGTH) throw notSolved('was refused');
      const answer = await ask(verifyUrl ?? CAPTCHAS[provider].verifyUrl, {
        secret: cipher.decrypt(secret),
        response: token,
        ...(provider === 'hcaptcha' ? { sitekey: siteKey } : {}),
        ...(address === null ? {} : { remoteip: address }),
      });
      if (answer.success) return;
      const codes = answer['error-codes'];
      if (codes.some((code) => OUR_FAULT.has(code))) {
        log.error({ provider, codes }, 'captcha.refused');
        throw unavailable();
      }
      throw notSolved(
        codes.some((code) => /duplicate|already-seen/.test(code)) ? 'was used before, or is too old' : 'was refused',
      );
    },
  };
}

const notSolved = (what: string) => new AppError('AUTH_CAPTCHA_FAILED', `The captcha ${what}`);

/** Whoever cannot be checked does not come in. */
const unavailable = (cause?: unknown) =>
  new AppError('UPSTREAM_FAILURE', 'The captcha cannot be checked right now', {
    cause,
    nextActions:
      'Try again in a moment. An admin checks provider and secretKey with GET /api/auth/captcha, or turns it off with DELETE /api/auth/captcha.',
  });
