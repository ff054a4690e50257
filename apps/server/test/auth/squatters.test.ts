import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { totpCode } from '../../src/features/auth/totp.ts';
import type { Reply, TestApp } from '../harness.ts';
import { bearer, refresh, signUp } from './client.ts';
import { ask, codeFor, configure, linkFor, redirectOf } from './email-client.ts';
import { configureCustom, signInWith, startReachableApp } from './oauth-browser.ts';
import { startScriptedOpenId } from './oauth-scripted.ts';

// Somebody signs up with an address that is not theirs, and makes themselves at home: a session, an authenticator,
// recovery codes, a sign-in under way, an identity elsewhere. Then the owner of the address proves that it is theirs.

const OWNER = 'owner@example.com';
const SQUATTERS = { email: OWNER, password: 'known to the squatter' };
const NEW_PASSWORD = 'known to the owner';

async function settle(app: TestApp) {
  const { user, accessToken, refreshToken } = await signUp(app, SQUATTERS);
  const { post } = app.as('nobody');
  const factor = (await post('/api/auth/factors', { name: 'phone' }, bearer(accessToken))).body;
  const code = totpCode(factor.secret, Math.floor(Date.now() / 30_000) - 1);
  const verified = await post(`/api/auth/factors/${factor.id}/verify`, { code }, bearer(accessToken));
  expect(verified.body.recoveryCodes).toHaveLength(10);
  const waiting = await post('/api/auth/sessions', SQUATTERS);
  expect(waiting.body.error).toBe('AUTH_SECOND_FACTOR_REQUIRED');
  await app.sql(
    `insert into auth.user_providers (user_id, provider, provider_account_id) values ($1, 'lax', 'squatter')`,
    [user.id],
  );
  const challenge: string = waiting.body.challenge;
  return { accessToken, refreshToken, challenge, recoveryCode: verified.body.recoveryCodes[0] };
}

const verifyByLink = async (app: TestApp) => {
  await configure(app, { verifyEmailMethod: 'link' });
  await ask(app, 'send-verification', { email: OWNER, redirectTo: 'http://localhost/' });
  const reply = await app.as('nobody').get(await linkFor(app, OWNER));
  expect(redirectOf(reply).query.insforge_status).toBe('success');
  return undefined;
};

const resetBy = async (app: TestApp, method: 'code' | 'link') => {
  await configure(app, { resetPasswordMethod: method });
  await ask(app, 'send-reset-password', { email: OWNER, redirectTo: 'http://localhost/' });
  const { post, get } = app.as('nobody');
  const token =
    method === 'link'
      ? redirectOf(await get(await linkFor(app, OWNER))).query.token
      : (
          await post('/api/auth/email/exchange-reset-password-token', {
            email: OWNER,
            code: await codeFor(app, OWNER),
          })
        ).body.token;
  expect((await post('/api/auth/email/reset-password', { newPassword: NEW_PASSWORD, otp: token })).status).toBe(200);
  return post('/api/auth/sessions', { email: OWNER, password: NEW_PASSWORD });
};

/** How the owner proves the address. Where that signs them in, the answer is returned. */
const PROOFS: Record<string, { keepsPassword: boolean; prove: (app: TestApp) => Promise<Reply | undefined> }> = {
  'the code of a verification mail': {
    keepsPassword: true,
    async prove(app) {
      await ask(app, 'send-verification', { email: OWNER });
      return app.as('nobody').post('/api/auth/email/verify', { email: OWNER, otp: await codeFor(app, OWNER) });
    },
  },
  'the link of a verification mail': { keepsPassword: true, prove: verifyByLink },
  'a code to sign in with': {
    keepsPassword: false,
    async prove(app) {
      await ask(app, 'send-otp', { email: OWNER });
      const otp = await codeFor(app, OWNER);
      return app.as('nobody').post('/api/auth/sessions', { method: 'otp', email: OWNER, otp });
    },
  },
  'a link to sign in with': {
    keepsPassword: false,
    async prove(app) {
      const verifier = randomBytes(32).toString('base64url');
      const challenge = createHash('sha256').update(verifier).digest('base64url');
      await ask(app, 'send-magic-link', { email: OWNER, redirectTo: 'http://localhost/', code_challenge: challenge });
      const { query } = redirectOf(await app.as('nobody').get(await linkFor(app, OWNER)));
      return app.as('nobody').post('/api/auth/oauth/exchange', { code: query.insforge_code, code_verifier: verifier });
    },
  },
  'a code to reset the password': { keepsPassword: false, prove: (app) => resetBy(app, 'code') },
  'a link to reset the password': { keepsPassword: false, prove: (app) => resetBy(app, 'link') },
  'a provider that has verified it': {
    keepsPassword: false,
    async prove(app) {
      const good = await startScriptedOpenId();
      good.script.claims = { sub: 'owner', email: OWNER, email_verified: true, name: 'Owner' };
      await configureCustom(app, 'good', { discoveryEndpoint: good.issuer });
      return signInWith(app, { provider: 'good' });
    },
  },
};

test.each(Object.entries(PROOFS))('nothing of a squatter survives %s', async (_what, { keepsPassword, prove }) => {
  const app = await startReachableApp();
  const squatter = await settle(app);
  const signedIn = await prove(app);
  if (signedIn) expect(signedIn, signedIn.text).toMatchObject({ status: 200 });

  const { post, get } = app.as('nobody');
  expect((await refresh(app, squatter.refreshToken)).status, 'the session').toBe(401);
  expect((await get('/api/auth/factors', bearer(squatter.accessToken))).status, 'the token').toBe(401);
  const answer = { challenge: squatter.challenge, code: squatter.recoveryCode };
  expect((await post('/api/auth/sessions/second-factor', answer)).status, 'the sign-in under way').toBe(400);
  for (const table of ['factors', 'recovery_codes', 'factor_challenges']) {
    expect(await app.sql(`select from auth.${table}`), table).toEqual([]);
  }
  expect(await app.sql(`select from auth.user_providers where provider = 'lax'`), 'the identity').toEqual([]);
  // A verification mail confirms a sign-up, so what was chosen there stays.
  expect((await post('/api/auth/sessions', SQUATTERS)).status, 'the password').toBe(keepsPassword ? 200 : 401);
});

test.each(['a code to sign in with', 'a code to reset the password'])(
  'the second factor of a verified account is asked for after %s',
  async (what) => {
    const app = await startReachableApp();
    await settle(app);
    await app.sql('update auth.users set email_verified = true');
    const reply = await PROOFS[what]?.prove(app);
    expect(reply).toMatchObject({ status: 403, body: { error: 'AUTH_SECOND_FACTOR_REQUIRED' } });
    expect(await app.sql('select from auth.factors')).toHaveLength(1);
    expect(await app.sql('select from auth.recovery_codes')).toHaveLength(10);
  },
);
