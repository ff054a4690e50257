import { expect, test } from 'vitest';
import { mailsTo } from '../email/smtp.ts';
import { startApp, type TestApp } from '../harness.ts';
import { bearer, ownToken, refresh } from './client.ts';
import { ADA, ask, codeFor, configure, endCooldown, notThe, register } from './email-client.ts';

const NEW_PASSWORD = 'quite another one';
const NEW_EMAIL = 'ada@lovelace.example';
const PASSWORD = '/api/auth/users/current/password';
const EMAIL = '/api/auth/users/current/email';
const PROOF = { currentPassword: ADA.password };

async function startSignedIn(environment = {}) {
  const app = await startApp(environment);
  const { body } = await register(app);
  const headers = bearer(body.accessToken);
  return {
    app,
    session: body,
    put: (path: string, change: unknown) => app.as('nobody').put(path, change, headers),
    post: (path: string, change?: unknown) => app.as('nobody').post(path, change, headers),
  };
}

type SignedIn = Awaited<ReturnType<typeof startSignedIn>>;

const signIn = ({ as }: TestApp, password: string, email = ADA.email) =>
  as('nobody').post('/api/auth/sessions?client_type=mobile', { email, password });

test('a new password ends all sessions but this one, and the owner is told', async () => {
  const { app, session, put } = await startSignedIn();
  const { body: elsewhere } = await signIn(app, ADA.password);
  expect(await put(PASSWORD, { ...PROOF, newPassword: NEW_PASSWORD })).toMatchObject({
    status: 200,
    body: { message: expect.any(String) },
  });
  expect((await refresh(app, elsewhere.refreshToken)).status).toBe(401);
  expect((await refresh(app, session.refreshToken)).status).toBe(200);
  expect((await signIn(app, ADA.password)).status).toBe(401);
  expect((await signIn(app, NEW_PASSWORD)).status).toBe(200);
  expect(await mailsTo(app, ADA.email)).toMatchObject([{ kind: 'password-changed' }]);
});

test('somebody without a password proves who they are with a code', async () => {
  const { app, put, post } = await startSignedIn();
  await app.sql("select set_config('insforge.rehashed', id::text, false) from auth.users");
  await app.sql('update auth.users set password = null');
  expect((await post('/api/auth/email/send-reauthentication')).status).toBe(202);
  const otp = await codeFor(app, ADA.email);
  expect((await put(PASSWORD, { otp: notThe(otp), newPassword: NEW_PASSWORD })).status).toBe(400);
  expect((await put(PASSWORD, { otp, newPassword: NEW_PASSWORD })).status).toBe(200);
  expect((await put(PASSWORD, { otp, newPassword: 'and a third one' })).status).toBe(400);
  expect((await signIn(app, NEW_PASSWORD)).status).toBe(200);
});

test('a new address counts once its code was entered; the old one is told', async () => {
  const { app, session, put, post } = await startSignedIn();
  expect((await put(EMAIL, { ...PROOF, newEmail: NEW_EMAIL })).status).toBe(202);
  expect((await signIn(app, ADA.password, NEW_EMAIL)).status).toBe(401);
  const otp = await codeFor(app, NEW_EMAIL);
  expect((await post(`${EMAIL}/confirm`, { email: NEW_EMAIL, otp: notThe(otp) })).status).toBe(400);
  const confirmed = await post(`${EMAIL}/confirm`, { email: NEW_EMAIL, otp });
  expect(confirmed).toMatchObject({
    status: 200,
    body: { user: { id: session.user.id, email: NEW_EMAIL, emailVerified: true } },
  });
  expect((await post(`${EMAIL}/confirm`, { email: NEW_EMAIL, otp })).status).toBe(400);
  expect((await signIn(app, ADA.password, NEW_EMAIL)).status).toBe(200);
  expect((await signIn(app, ADA.password)).status).toBe(401);
  expect(await mailsTo(app, ADA.email)).toMatchObject([
    { kind: 'email-changed', text: expect.stringContaining(NEW_EMAIL) },
  ]);
  const { body } = await refresh(app, session.refreshToken);
  expect(body.user.email).toBe(NEW_EMAIL);
});

test('the code of one user does not change the address of another', async () => {
  const { app, put } = await startSignedIn();
  await put(EMAIL, { ...PROOF, newEmail: NEW_EMAIL });
  const { body: bob } = await register(app, { email: 'bob@example.com', password: ADA.password });
  const otp = await codeFor(app, NEW_EMAIL);
  const stolen = await app.as('nobody').post(`${EMAIL}/confirm`, { email: NEW_EMAIL, otp }, bearer(bob.accessToken));
  expect(stolen.status).toBe(400);
});

test('an address that somebody has is answered like any other, and gets no mail', async () => {
  const { app, put } = await startSignedIn();
  await register(app, { email: NEW_EMAIL, password: ADA.password });
  const taken = await put(EMAIL, { ...PROOF, newEmail: NEW_EMAIL });
  const free = await put(EMAIL, { ...PROOF, newEmail: 'free@example.com' });
  expect(taken.status).toBe(202);
  expect(taken.body).toEqual(free.body);
  expect(await mailsTo(app, NEW_EMAIL)).toEqual([]);
  // Nor is it told by a second request, or by what is stored.
  const again = [
    await put(EMAIL, { ...PROOF, newEmail: NEW_EMAIL }),
    await put(EMAIL, { ...PROOF, newEmail: 'free@example.com' }),
  ];
  expect(again.map(({ status }) => status)).toEqual([429, 429]);
  expect(await app.sql('select email, otp_type, expires_at > now() as live from auth.email_otps order by 1')).toEqual(
    [NEW_EMAIL, 'free@example.com'].map((email) => ({ email, otp_type: 'NUMERIC_CODE', live: true })),
  );
});

test('an address that was taken meanwhile stays with whoever was first', async () => {
  const { app, put, post } = await startSignedIn();
  await put(EMAIL, { ...PROOF, newEmail: NEW_EMAIL });
  await register(app, { email: NEW_EMAIL, password: NEW_PASSWORD });
  const otp = await codeFor(app, NEW_EMAIL);
  expect(await post(`${EMAIL}/confirm`, { email: NEW_EMAIL, otp })).toMatchObject({
    status: 409,
    body: { error: 'AUTH_EMAIL_EXISTS' },
  });
  expect((await signIn(app, NEW_PASSWORD, NEW_EMAIL)).status).toBe(200);
});

const PASSWORD_CHANGE = { path: PASSWORD, change: { ...PROOF, newPassword: NEW_PASSWORD } };
const EMAIL_CHANGE = { path: EMAIL, change: { ...PROOF, newEmail: NEW_EMAIL } };

test.each([PASSWORD_CHANGE, EMAIL_CHANGE])('who may not: PUT $path', async ({ path, change }) => {
  const { app, session } = await startSignedIn();
  const sub = session.user.id;
  expect((await app.as('nobody').put(path, change)).status).toBe(401);
  expect((await app.as('anon').put(path, change)).status).toBe(401);
  expect((await app.as('admin').put(path, change)).status).toBe(401);
  // Signed by a third party, or without a session of this server.
  expect((await app.as({ sub, email: ADA.email }).put(path, change)).status).toBe(403);
  const sessionless = await ownToken(app, { sub, role: 'authenticated', exp: Math.floor(Date.now() / 1000) + 60 });
  expect((await app.as('nobody').put(path, change, bearer(sessionless))).status).toBe(403);
  await app.sql('delete from auth.sessions');
  expect((await app.as('nobody').put(path, change, bearer(session.accessToken))).status).toBe(401);
  expect(await mailsTo(app, NEW_EMAIL)).toEqual([]);
});

const WITHOUT_PROOF = { newPassword: NEW_PASSWORD, newEmail: NEW_EMAIL };
const WEAK = { ...PROOF, newPassword: 'short' };
const SAME = { ...PROOF, newEmail: 'ADA@example.com' };

test.each([
  { what: 'no proof', path: PASSWORD, body: WITHOUT_PROOF, status: 400, message: /^currentPassword: or otp/ },
  { what: 'no proof', path: EMAIL, body: WITHOUT_PROOF, status: 400, message: /^currentPassword: or otp/ },
  { what: 'a wrong password', path: PASSWORD, body: { ...WITHOUT_PROOF, currentPassword: 'wrong' }, status: 403 },
  { what: 'a wrong password', path: EMAIL, body: { ...WITHOUT_PROOF, currentPassword: 'wrong' }, status: 403 },
  { what: 'a wrong code', path: PASSWORD, body: { ...WITHOUT_PROOF, otp: '000000' }, status: 400 },
  { what: 'a weak password', path: PASSWORD, body: WEAK, status: 400, message: /at least 12/ },
  { what: 'what is no address', path: EMAIL, body: { ...PROOF, newEmail: 'ada' }, status: 400, message: /^newEmail: / },
  { what: 'the same address', path: EMAIL, body: SAME, status: 400, message: /already/ },
])('refused: $what, PUT $path', async ({ path, body, status, message = /./ }) => {
  const { app, put } = await startSignedIn();
  await configure(app, { passwordMinLength: 12 });
  const reply = await put(path, body);
  expect(reply).toMatchObject({ status, body: { message: expect.stringMatching(message) } });
  expect((await signIn(app, ADA.password)).status).toBe(200);
});

test('wrong passwords are counted together with failed sign-ins', async () => {
  const { app, put } = await startSignedIn();
  for (let attempt = 0; attempt < 10; attempt++)
    await put(PASSWORD, { currentPassword: 'wrong', newPassword: NEW_PASSWORD });
  expect((await put(PASSWORD, { ...PROOF, newPassword: NEW_PASSWORD })).status).toBe(429);
  expect((await signIn(app, ADA.password)).status).toBe(429);
});

test.each([
  {
    what: 'for a proof',
    to: ADA.email,
    ask: ({ post }: SignedIn) => post('/api/auth/email/send-reauthentication'),
    use: ({ put }: SignedIn, otp: string) => put(PASSWORD, { otp, newPassword: NEW_PASSWORD }),
  },
  {
    what: 'for a new address',
    to: NEW_EMAIL,
    ask: ({ put }: SignedIn) => put(EMAIL, { ...PROOF, newEmail: NEW_EMAIL }),
    use: ({ post }: SignedIn, otp: string) => post(`${EMAIL}/confirm`, { email: NEW_EMAIL, otp }),
  },
])('wrong codes $what are counted, and a new mail gives no new attempts', async ({ to, ask: send, use }) => {
  const parts = await startSignedIn();
  const { app } = parts;
  const newCode = async () => {
    await endCooldown(app);
    expect((await send(parts)).status).toBe(202);
    return codeFor(app, to);
  };
  const statuses: number[] = [];
  for (let attempt = 0; attempt < 6; attempt++) statuses.push((await use(parts, notThe(await newCode()))).status);
  expect(statuses).toEqual([...Array(5).fill(400), 429]);
  const otp = await newCode();
  expect((await use(parts, otp)).status).toBe(429);
  await app.sql('update auth.login_failures set free_at = null');
  expect((await use(parts, otp)).status).toBe(200);
});

test('of twenty uses of one code at once, one changes the password', async () => {
  const { app, put, post } = await startSignedIn();
  await post('/api/auth/email/send-reauthentication');
  const otp = await codeFor(app, ADA.email);
  const replies = await Promise.all(
    Array.from({ length: 20 }, (_, n) => put(PASSWORD, { otp, newPassword: `${NEW_PASSWORD} ${n}` })),
  );
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
});

test('a code to sign in with is no proof for a change', async () => {
  const { app, put } = await startSignedIn();
  await ask(app, 'send-otp', { email: ADA.email });
  const reply = await put(PASSWORD, { otp: await codeFor(app, ADA.email), newPassword: NEW_PASSWORD });
  expect(reply.status).toBe(400);
});

test('the admin has no account of this kind', async () => {
  const app = await startApp();
  const { body } = await app
    .as('nobody')
    .post('/api/auth/admin/sessions', { username: 'admin', password: 'test-only-admin-password' });
  const reply = await app.as('nobody').put(PASSWORD, PASSWORD_CHANGE.change, bearer(body.accessToken));
  expect(reply).toMatchObject({ status: 403, body: { error: 'FORBIDDEN' } });
});
