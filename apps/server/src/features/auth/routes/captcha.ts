import { CaptchaConfigSchema, type CaptchaPurpose, CaptchaUpdateSchema } from '@insforge/contract/captcha.ts';
import type { FastifyRequest, preValidationAsyncHookHandler } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { addressOf, hasApiKey } from '#platform/http/caller.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import type { AccessKeys } from '#platform/tokens/access-keys.ts';
import type { Captcha } from '../captcha/captcha.ts';
import { readCaptchaConfig, removeCaptcha, updateCaptcha } from '../captcha/config.ts';

/** A hook that asks for a captcha where the admin wants one. Servers of the project, with the API key, are no strangers. */
export function requireCaptcha(
  { captcha, keys }: { captcha: Captcha; keys: AccessKeys },
  purpose: (request: FastifyRequest) => CaptchaPurpose | undefined,
): preValidationAsyncHookHandler {
  return async (request) => {
    const asked = purpose(request);
    if (!asked || request.caller?.claims.role === 'project_admin' || (await hasApiKey(keys, request))) return;
    await captcha.check(asked, { token: tokenIn(request), address: addressOf(request) });
  };
}

/** In the body, as the SDK passes it on, or in a header. */
function tokenIn({ body, headers }: FastifyRequest): string | undefined {
  const header = headers['x-captcha-token'];
  const field = typeof body === 'object' && body !== null && 'captchaToken' in body ? body.captchaToken : header;
  return typeof field === 'string' ? field : undefined;
}

/** Which captcha is asked for, and where: for the admin. */
export const captchaRoutes: FastifyPluginAsyncZod<{ db: Db; cipher: Cipher; captcha: Captcha }> = async (
  app,
  { db, cipher, captcha },
) => {
  const response = { 200: CaptchaConfigSchema };

  app.get('/api/auth/captcha', { schema: { response } }, () => readCaptchaConfig(db.system));

  app.put('/api/auth/captcha', { schema: { body: CaptchaUpdateSchema, response } }, async (request) => {
    const { secretKey, ...details } = request.body;
    const config = await db.system.tx(async (tx) => {
      await audit(tx, request, {
        action: 'UPDATE_CAPTCHA',
        module: 'AUTH',
        details: { ...details, isSecretNew: secretKey !== undefined },
      });
      return updateCaptcha(tx, cipher, request.body);
    });
    captcha.forget();
    return config;
  });

  app.delete('/api/auth/captcha', { schema: { response } }, async (request) => {
    await db.system.tx(async (tx) => {
      await audit(tx, request, { action: 'REMOVE_CAPTCHA', module: 'AUTH', details: {} });
      await removeCaptcha(tx);
    });
    captcha.forget();
    return readCaptchaConfig(db.system);
  });
};
