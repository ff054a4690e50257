import { createHash, randomBytes } from 'node:crypto';
import { createClient } from '@insforge/sdk';
import { expect, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';
import { ADA, ask, codeFor, configure, linkFor, notThe, redirectOf } from './email-client.ts';

const NEW_PASSWORD = 'quite another one';

/** An app with the official SDK, in a program without cookies. */
async function startWithSdk(settings: Record<string, unknown> = {}) {
  const app = await startApp();
  if (Object.keys(settings).length > 0) await configure(app, settings);
  const baseUrl = await app.listen();
  const { auth } = createClient({ baseUrl, anonKey: SECRETS.ACCESS_ANON_KEY, isServerMode: true });
  return { app, baseUrl, auth };
}

test('sign-up with verification by code', async () => {
  const { app, auth } = await startWithSdk({ requireEmailVerification: true });
  const signedUp = await auth.signUp({ ...ADA, name: 'Ada', redirectTo: 'http://localhost:3000/welcome' });
  expect(signedUp).toMatchObject({ error: null, data: { accessToken: null, requireEmailVerification: true } });
  expect((await auth.signInWithPassword(ADA)).error).toMatchObject({ statusCode: 403 });

  expect(await auth.resendVerificationEmail({ email: ADA.email })).toMatchObject({
    error: null,
    data: { success: true },
  });
  expect((await auth.resendVerificationEmail({ email: ADA.email })).error).toMatchObject({ statusCode: 429 });

  const wrong = await auth.verifyEmail({ email: ADA.email, otp: '000000' });
  expect(wrong.error).toMatchObject({ statusCode: 400, error: 'INVALID_INPUT' });
  const verified = await auth.verifyEmail({ email: ADA.email, otp: await codeFor(app, ADA.email) });
  expect(verified).toMatchObject({
    error: null,
    data: { user: { emailVerified: true }, refreshToken: expect.any(String) },
  });
  const refreshed = await auth.refreshSession({ refreshToken: verified.data?.refreshToken ?? '' });
  expect(refreshed).toMatchObject({ error: null, data: { user: { email: ADA.email } } });
});

test('resetting the password', async () => {
  const { app, auth } = await startWithSdk();
  await auth.signUp(ADA);
  expect(await auth.sendResetPasswordEmail({ email: ADA.email })).toMatchObject({
    error: null,
    data: { success: true },
  });
  const code = await codeFor(app, ADA.email);
  const wrong = { statusCode: 400, error: 'INVALID_INPUT', nextActions: expect.any(String) };
  expect((await auth.exchangeResetPasswordToken({ email: ADA.email, code: notThe(code) })).error).toMatchObject(wrong);
  expect((await auth.resetPassword({ newPassword: NEW_PASSWORD, otp: code })).error).toMatchObject(wrong);
  const exchanged = await auth.exchangeResetPasswordToken({ email: ADA.email, code });
  expect(exchanged).toMatchObject({ error: null, data: { expiresAt: expect.any(String) } });
  const otp = exchanged.data?.token ?? '';
  expect(await auth.resetPassword({ newPassword: NEW_PASSWORD, otp })).toMatchObject({
    error: null,
    data: { message: expect.any(String) },
  });
  expect((await auth.signInWithPassword({ ...ADA, password: NEW_PASSWORD })).error).toBeNull();
  expect((await auth.signInWithPassword(ADA)).error).toMatchObject({ statusCode: 401 });
});

test('signing in with a one-time code', async () => {
  const { app, auth } = await startWithSdk();
  expect(await auth.signInWithOtp({ email: ADA.email })).toMatchObject({ error: null, data: { success: true } });
  const otp = await codeFor(app, ADA.email);
  const signedIn = await auth.verifyOtp({ email: ADA.email, otp, name: 'Ada' });
  expect(signedIn).toMatchObject({ error: null, data: { user: { profile: { name: 'Ada' } } } });
  expect((await auth.verifyOtp({ email: ADA.email, otp })).error).toMatchObject({ statusCode: 400 });
});

test('signing in with a link, exchanged as the code of a provider is', async () => {
  const { app, auth } = await startWithSdk();
  const verifier = randomBytes(32).toString('base64url');
  const code_challenge = createHash('sha256').update(verifier).digest('base64url');
  await ask(app, 'send-magic-link', { email: ADA.email, redirectTo: 'http://localhost:3000/', code_challenge });
  const { query } = redirectOf(await app.as('nobody').get(await linkFor(app, ADA.email)));
  const exchanged = await auth.exchangeOAuthCode(query.insforge_code ?? '', verifier);
  expect(exchanged).toMatchObject({ error: null, data: { user: { email: ADA.email } } });
});
