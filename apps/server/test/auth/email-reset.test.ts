import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { mailsTo } from '../email/smtp.ts';
import { startApp, type TestApp } from '../harness.ts';
import { refresh } from './client.ts';
import {
  ADA,
  ask,
  codeFor,
  configure,
  endCooldown,
  expireAll,
  linkFor,
  notThe,
  redirectOf,
  register,
} from './email-client.ts';

const NEW_PASSWORD = 'quite another one';
const WRONG_TOKEN = {
  status: 400,
  body: { error: 'INVALID_INPUT', message: 'The token is wrong, has been used, or has expired' },
};

async function startWithAda(settings: Record<string, unknown> = {}) {
  const app = await startApp();
  await configure(app, { requireEmailVerification: false, ...settings });
  const { body } = await register(app);
  return { app, session: body as { accessToken: string; refreshToken: string } };
}

const exchange = ({ as }: TestApp, code: string, email = ADA.email) =>
  as('nobody').post('/api/auth/email/exchange-reset-password-token', { email, code });
const reset = ({ as }: TestApp, otp: string, newPassword = NEW_PASSWORD) =>
  as('nobody').post('/api/auth/email/reset-password', { newPassword, otp });
const signIn = ({ as }: TestApp, password: string) =>
  as('nobody').post('/api/auth/sessions', { email: ADA.email, password });

async function tokenFor(app: TestApp): Promise<string> {
  await ask(app, 'send-reset-password', { email: ADA.email });
  return (await exchange(app, await codeFor(app, ADA.email))).body.token;
}

test('a code is exchanged for a token, and the token sets a new password', async () => {
  const { app } = await startWithAda();
  expect((await ask(app, 'send-reset-password', { email: ADA.email })).status).toBe(202);
  const exchanged = await exchange(app, await codeFor(app, ADA.email));
  expect(exchanged).toMatchObject({ status: 200, body: { token: expect.stringMatching(/^[\da-f]{64}$/) } });
  const minutesLeft = (Date.parse(exchanged.body.expiresAt) - Date.now()) / 60_000;
  expect(minutesLeft).toBeGreaterThan(14);
  expect(minutesLeft).toBeLessThanOrEqual(15);
  expect(await reset(app, exchanged.body.token)).toMatchObject({
    status: 200,
    body: { message: 'Password reset successfully' },
  });
  expect((await signIn(app, ADA.password)).status).toBe(401);
  expect(await signIn(app, NEW_PASSWORD)).toMatchObject({ status: 200, body: { user: { emailVerified: true } } });
});

test('all sessions end, and the owner is told', async () => {
  const { app, session } = await startWithAda();
  await reset(app, await tokenFor(app));
  expect((await refresh(app, session.refreshToken)).status).toBe(401);
  expect(await mailsTo(app, ADA.email)).toMatchObject([{ kind: 'password-changed' }, { kind: 'reset-password-code' }]);
});

test('whoever had tried too often can sign in right away', async () => {
  const { app } = await startWithAda();
  // Where somebody is signed in, their failures are counted apart, and forgotten with the session.
  await app.sql('delete from auth.sessions');
  for (let attempt = 0; attempt < 11; attempt++) await signIn(app, 'wrong password');
  expect((await signIn(app, ADA.password)).status).toBe(429);
  await reset(app, await tokenFor(app));
  expect((await signIn(app, NEW_PASSWORD)).status).toBe(200);
});

test('a code and a token count once', async () => {
  const { app } = await startWithAda();
  await ask(app, 'send-reset-password', { email: ADA.email });
  const code = await codeFor(app, ADA.email);
  const { token } = (await exchange(app, code)).body;
  expect((await exchange(app, code)).status).toBe(400);
  expect((await reset(app, token)).status).toBe(200);
  expect(await reset(app, token, 'and a third one')).toMatchObject(WRONG_TOKEN);
  expect((await signIn(app, NEW_PASSWORD)).status).toBe(200);
});

test('three wrong codes spend the right one', async () => {
  const { app } = await startWithAda();
  await ask(app, 'send-reset-password', { email: ADA.email });
  const code = await codeFor(app, ADA.email);
  for (let attempt = 0; attempt < 3; attempt++) expect((await exchange(app, notThe(code))).status).toBe(400);
  expect((await exchange(app, code)).status).toBe(400);
});

test('codes and tokens expire', async () => {
  const { app } = await startWithAda();
  const token = await tokenFor(app);
  await expireAll(app);
  expect(await reset(app, token)).toMatchObject(WRONG_TOKEN);
  await endCooldown(app);
  await ask(app, 'send-reset-password', { email: ADA.email });
  await expireAll(app);
  expect((await exchange(app, await codeFor(app, ADA.email))).status).toBe(400);
});

test('a password that breaks the rules leaves the token as it is', async () => {
  const { app } = await startWithAda({ passwordMinLength: 12 });
  const token = await tokenFor(app);
  const refused = await reset(app, token, 'short');
  expect(refused).toMatchObject({ status: 400, body: { message: expect.stringMatching(/at least 12 characters/) } });
  expect((await reset(app, token)).status).toBe(200);
});

test.each([
  { what: 'a made-up token', otp: '0'.repeat(64) },
  { what: 'nonsense', otp: 'x' },
  { what: 'a code', otp: '123456' },
])('refused: $what', async ({ otp }) => {
  const { app } = await startWithAda();
  expect(await reset(app, otp)).toMatchObject(WRONG_TOKEN);
});

test('the token of a verification link resets nothing', async () => {
  const { app } = await startWithAda({ verifyEmailMethod: 'link' });
  await ask(app, 'send-verification', { email: ADA.email });
  const token = new URLSearchParams((await linkFor(app, ADA.email)).split('?')[1]).get('token') ?? '';
  expect(await reset(app, token)).toMatchObject(WRONG_TOKEN);
});

test('somebody who signs in with a provider gets a password in this way', async () => {
  const { app } = await startWithAda();
  await app.sql('update auth.users set password = null');
  expect((await reset(app, await tokenFor(app))).status).toBe(200);
  expect((await signIn(app, NEW_PASSWORD)).status).toBe(200);
});

test('of 100 exchanges, and of 20 resets, at once, one succeeds', async () => {
  const { app } = await startWithAda();
  const other = await startApp({}, { beside: app });
  await ask(app, 'send-reset-password', { email: ADA.email });
  const code = await codeFor(app, ADA.email);
  const exchanges = await Promise.all(
    Array.from({ length: 100 }, (_, index) => exchange(index % 2 ? app : other, code)),
  );
  const [done, ...more] = exchanges.filter(({ status }) => status === 200);
  expect(more).toEqual([]);
  const resets = await Promise.all(
    Array.from({ length: 20 }, (_, index) => reset(index % 2 ? app : other, done?.body.token, `password ${index}`)),
  );
  expect(resets.filter(({ status }) => status === 200)).toHaveLength(1);
});

const LINK = { resetPasswordMethod: 'link' };
const APP = 'myapp://reset';

test('a link brings the token to the app, and can be opened again until it is used', async () => {
  const { app } = await startWithAda(LINK);
  await ask(app, 'send-reset-password', { email: ADA.email, redirectTo: APP });
  const link = await linkFor(app, ADA.email);
  expect(link).toMatch(/^\/api\/auth\/email\/reset-password-link\?token=[\da-f]{64}$/);
  await app.as('nobody').get(link);
  const { to, query } = redirectOf(await app.as('nobody').get(link));
  expect({ to, query }).toEqual({
    to: APP,
    query: { token: expect.stringMatching(/^[\da-f]{64}$/), insforge_status: 'ready', insforge_type: 'reset_password' },
  });
  expect((await reset(app, query.token ?? '')).status).toBe(200);
  expect(redirectOf(await app.as('nobody').get(link)).query).toEqual({
    insforge_status: 'error',
    insforge_type: 'reset_password',
    insforge_error: 'The link has been used or has expired',
  });
});

test('without an app to go to, a page of the server takes the new password', async () => {
  const { app } = await startWithAda(LINK);
  await ask(app, 'send-reset-password', { email: ADA.email });
  const { to, query } = redirectOf(await app.as('nobody').get(await linkFor(app, ADA.email)));
  expect(new URL(to).pathname).toBe('/auth/reset');
  const page = await app.as('nobody').get(`/auth/reset?${new URLSearchParams(query)}`);
  expect(page).toMatchObject({ status: 200, text: expect.stringContaining('Choose a new password') });
  expect((await reset(app, query.token ?? '')).status).toBe(200);
});

test('wrong codes are counted by account, and wrong tokens by network', async () => {
  const { app } = await startWithAda();
  const statuses: number[] = [];
  for (let attempt = 0; attempt < 6; attempt++) statuses.push((await exchange(app, '000000')).status);
  expect(statuses).toEqual([...Array(5).fill(400), 429]);
  const guess = () => reset(app, randomBytes(32).toString('hex'));
  expect((await guess()).status).toBe(400);
  await app.sql(
    "update auth.login_failures set failures = 150, free_at = now() + interval '1 minute' where account is null",
  );
  expect((await guess()).status).toBe(429);
  // A server that resets for its users is not one person.
  const asServer = await app
    .as('admin')
    .post('/api/auth/email/reset-password', { newPassword: 'long enough', otp: 'y' });
  expect(asServer.status).toBe(400);
});
