import { expect, test } from 'vitest';
import { mailsTo } from '../email/smtp.ts';
import { startApp, type TestApp } from '../harness.ts';
import { bearer, refresh } from './client.ts';
import { ADA, ask, codeFor, configure, endCooldown, expireAll, notThe, register } from './email-client.ts';

const signIn = ({ as }: TestApp, otp: string, more = {}) =>
  as('nobody').post('/api/auth/sessions?client_type=mobile', { method: 'otp', email: ADA.email, otp, ...more });

async function codeOf(app: TestApp): Promise<string> {
  expect((await ask(app, 'send-otp', { email: ADA.email })).status).toBe(202);
  return codeFor(app, ADA.email);
}

test('a code signs a stranger up, verified and without a password', async () => {
  const app = await startApp();
  const reply = await signIn(app, await codeOf(app), { name: 'Ada' });
  expect(reply).toMatchObject({
    status: 200,
    body: {
      user: { email: ADA.email, emailVerified: true, providers: ['email'], profile: { name: 'Ada' } },
      accessToken: expect.any(String),
      refreshToken: expect.any(String),
    },
  });
  expect(await app.sql('select provider, provider_account_id, provider_data from auth.user_providers')).toEqual([
    { provider: 'email', provider_account_id: ADA.email, provider_data: { method: 'otp' } },
  ]);
  const current = await app.as('nobody').get('/api/auth/sessions/current', bearer(reply.body.accessToken));
  expect(current.body.user.id).toBe(reply.body.user.id);
});

test('it signs a known user in, who keeps everything', async () => {
  const app = await startApp();
  const { body } = await register(app, ADA, { name: 'Ada' });
  await app.sql('update auth.users set email_verified = true');
  const reply = await signIn(app, await codeOf(app), { name: 'Somebody else' });
  expect(reply.body.user).toMatchObject({ id: body.user.id, profile: { name: 'Ada' }, providers: ['email'] });
  expect((await app.as('nobody').post('/api/auth/sessions', ADA)).status).toBe(200);
});

test('the address is found in whatever spelling', async () => {
  const app = await startApp();
  await app.sql("insert into auth.users (email, email_verified) values ('Ada@Example.com', true)");
  await ask(app, 'send-otp', { email: 'ADA@example.com' });
  const code = await codeFor(app, ADA.email);
  expect(await mailsTo(app, ADA.email)).toMatchObject([{ to: ['Ada@Example.com'] }]);
  expect((await signIn(app, code)).body.user.email).toBe('Ada@Example.com');
});

test('whoever registered the address without verifying it loses the account to its owner', async () => {
  const app = await startApp();
  const { body: intruder } = await register(app);
  const reply = await signIn(app, await codeOf(app));
  expect(reply).toMatchObject({ status: 200, body: { user: { id: intruder.user.id, emailVerified: true } } });
  expect((await app.as('nobody').post('/api/auth/sessions', ADA)).status).toBe(401);
  expect((await refresh(app, intruder.refreshToken)).status).toBe(401);
  expect((await refresh(app, reply.body.refreshToken)).status).toBe(200);
});

test('while sign-up is closed, a code of a stranger is spent and refused', async () => {
  const app = await startApp();
  await configure(app, { disableSignup: true });
  const code = await codeOf(app);
  expect(await signIn(app, code)).toMatchObject({ status: 403, body: { error: 'AUTH_SIGNUP_DISABLED' } });
  await configure(app, { disableSignup: false });
  expect((await signIn(app, code)).status).toBe(400);
  expect(await app.sql('select from auth.users')).toEqual([]);
});

test('a code counts once, for five minutes, and for three attempts', async () => {
  const app = await startApp();
  const code = await codeOf(app);
  expect(
    await app.sql('select round(extract(epoch from expires_at - now()) / 60)::int as minutes from auth.email_otps'),
  ).toEqual([{ minutes: 5 }]);
  expect((await signIn(app, code)).status).toBe(200);
  expect(await signIn(app, code)).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });

  await endCooldown(app);
  const second = await codeOf(app);
  await expireAll(app);
  expect((await signIn(app, second)).status).toBe(400);

  await endCooldown(app);
  await app.sql('delete from auth.login_failures');
  const third = await codeOf(app);
  for (let attempt = 0; attempt < 3; attempt++) expect((await signIn(app, notThe(third))).status).toBe(400);
  expect((await signIn(app, third)).status).toBe(400);
});

test('a new mail gives no new attempts', async () => {
  const app = await startApp();
  const statuses: number[] = [];
  for (let attempt = 0; attempt < 6; attempt++) {
    await endCooldown(app);
    statuses.push((await signIn(app, notThe(await codeOf(app)))).status);
  }
  expect(statuses).toEqual([...Array(5).fill(400), 429]);
  await endCooldown(app);
  expect((await signIn(app, await codeOf(app))).status).toBe(429);
  await app.sql('update auth.login_failures set free_at = null');
  expect((await signIn(app, await codeFor(app, ADA.email))).status).toBe(200);
});

test('of 100 redemptions at once, over two servers, one opens a session and makes the user', async () => {
  const app = await startApp();
  const other = await startApp({}, { beside: app });
  const code = await codeOf(app);
  const replies = await Promise.all(Array.from({ length: 100 }, (_, index) => signIn(index % 2 ? app : other, code)));
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(await app.sql('select from auth.sessions')).toHaveLength(1);
  expect(await app.sql('select from auth.users')).toHaveLength(1);
});

test.each([
  { what: 'a code of another purpose', purpose: 'send-verification' },
  { what: 'a code for the password', purpose: 'send-reset-password' },
])('refused: $what', async ({ purpose }) => {
  const app = await startApp();
  await register(app);
  await ask(app, purpose, { email: ADA.email });
  expect((await signIn(app, await codeFor(app, ADA.email))).status).toBe(400);
});

test.each([
  { what: 'five digits', body: { method: 'otp', email: ADA.email, otp: '12345' } },
  { what: 'no code', body: { method: 'otp', email: ADA.email } },
  { what: 'an unknown method', body: { method: 'telepathy', email: ADA.email } },
  { what: 'an overlong name', body: { method: 'otp', email: ADA.email, otp: '123456', name: 'x'.repeat(101) } },
  { what: 'a password where a code belongs', body: { method: 'otp', ...ADA } },
  { what: 'no body', body: undefined },
])('refused: $what', async ({ body }) => {
  const { as } = await startApp();
  expect(await as('nobody').post('/api/auth/sessions', body)).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT' },
  });
});

test('a mail cannot be asked for at what is no address', async () => {
  const app = await startApp();
  for (const email of ['ada', 'a b@example.com', 'a@b', 'a@example.com\nBcc: b@example.com', '']) {
    expect((await ask(app, 'send-otp', { email })).status).toBe(400);
  }
});
