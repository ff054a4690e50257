import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { CAPTCHAS } from '#features/auth/index.ts';
import { AppError } from '#platform/errors.ts';

/** Makes a scope accept forms, as objects of text; of a name that occurs twice, the last counts. */
export function acceptForms(app: FastifyInstance): void {
  const options = { parseAs: 'string', bodyLimit: 64 * 1024 } as const;
  app.addContentTypeParser('application/x-www-form-urlencoded', options, (_request, body, done) =>
    done(null, Object.fromEntries(new URLSearchParams(String(body)))),
  );
}

/** The token of a captcha in a form, under whichever name its widget gave it. */
export function captchaTokenIn(form: Readonly<Record<string, unknown>>): string | undefined {
  const token = Object.values(CAPTCHAS)
    .map(({ fieldName }) => form[fieldName])
    .find((value) => typeof value === 'string' && value !== '');
  return typeof token === 'string' ? token : undefined;
}

const COOKIE = 'insforge_pages';

/** Binds forms to the browser that they were shown in, so that no other site can send them in its name. */
export interface FormGuard {
  /** The value of the hidden field `csrf`, for the browser of the request; new ones are told apart by a cookie. */
  token(request: FastifyRequest, reply: FastifyReply): string;
  /** @throws AppError FORBIDDEN */
  check(request: FastifyRequest, token: string | undefined): void;
}

/** @param secure whether browsers reach this server over TLS */
export function createFormGuard(secret: string, secure: boolean): FormGuard {
  const sign = (browser: string) => createHmac('sha256', secret).update(`insforge:page:v1:${browser}`).digest('hex');
  return {
    token(request, reply) {
      let browser = request.cookies[COOKIE];
      if (!browser || !/^[\w-]{43}$/.test(browser)) {
        browser = randomBytes(32).toString('base64url');
        // Lax: it is sent when a link of an app leads here, and not with the forms of other sites.
        reply.setCookie(COOKIE, browser, { path: '/auth', httpOnly: true, sameSite: 'lax', secure });
      }
      return sign(browser);
    },
    check(request, token) {
      const browser = request.cookies[COOKIE];
      const [expected, given] = [sign(browser ?? ''), token ?? ''];
      // Of a neighbouring host, which can plant a cookie of its own here (RFC 6265, section 8.6).
      const isForeign = /^(cross-site|same-site)$/.test(String(request.headers['sec-fetch-site']));
      const isRight = given.length === expected.length && timingSafeEqual(Buffer.from(given), Buffer.from(expected));
      if (browser && isRight && !isForeign) return;
      throw new AppError('FORBIDDEN', 'This form was shown in another browser, or cookies are switched off', {
        nextActions: 'Open the page again and send the form from there.',
      });
    },
  };
}
