import { verify as verifyArgon2 } from '@node-rs/argon2';
import { hash as bcrypt } from '@node-rs/bcrypt';
import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';
import { ALICE, BOB, bearer, browserOf, cookiesOf, headersOf, ownToken, signUp, USER_COOKIE } from './client.ts';

const PATH = '/api/auth/sessions';

test('a browser signs in', async () => {
  const app = await startApp();
  const { user } = await signUp(app);
  const reply = await app.as('nobody').post(PATH, ALICE);
  expect(reply).toMatchObject({ status: 200, headers: { 'cache-control': 'no-store' } });
  expect(reply.body).toEqual({ user, accessToken: expect.any(String), csrfToken: expect.any(String) });
  expect(Object.keys(cookiesOf(reply))).toEqual([USER_COOKIE]);
});

test('whoever planted their own session in a browser does not share the one that is signed in there', async () => {
  const app = await startApp();
  const { user } = await signUp(app);
  const mallory = browserOf(await app.as('anon').post('/api/auth/users', BOB));
  const reply = await app.as('nobody').post(PATH, ALICE, { cookie: mallory.cookie });
  const alice = browserOf(reply);
  const { post } = app.as('nobody');
  expect((await post('/api/auth/refresh', undefined, headersOf(mallory))).body.user.email).toBe(BOB.email);
  expect((await post('/api/auth/refresh', undefined, headersOf(alice))).body.user.id).toBe(user.id);
  const mixed = headersOf({ cookie: alice.cookie, csrf: mallory.csrf });
  expect((await post('/api/auth/refresh', undefined, mixed)).status).toBe(403);
});

test('a token that has expired, which clients send along, keeps nobody out', async () => {
  const app = await startApp();
  const { user } = await signUp(app);
  const expired = bearer(await ownToken(app, { sub: user.id, role: 'authenticated', exp: 1 }));
  const { get, post } = app.as('nobody');
  expect((await get('/api/auth/sessions/current', expired)).status).toBe(401);
  expect((await post('/api/auth/sessions', ALICE, expired)).status).toBe(200);
  expect((await post('/api/auth/email/send-reset-password', { email: ALICE.email }, expired)).status).toBe(202);
  expect((await get('/api/auth/public-config', expired)).status).toBe(200);
});

test.each([
  { what: 'a client that keeps its tokens', query: '?client_type=server', body: ALICE },
  { what: 'the method by name', query: '?client_type=mobile', body: { ...ALICE, method: 'password' } },
  { what: 'no method, as null', query: '?client_type=mobile', body: { ...ALICE, method: null } },
  {
    what: 'another spelling of the address',
    query: '?client_type=mobile',
    body: { ...ALICE, email: ' ALICE@example.com' },
  },
])('accepted: $what', async ({ query, body }) => {
  const app = await startApp();
  await signUp(app);
  const reply = await app.as('nobody').post(PATH + query, body);
  expect(reply).toMatchObject({
    status: 200,
    body: { user: { email: ALICE.email }, refreshToken: expect.any(String) },
  });
  expect(cookiesOf(reply)).toEqual({});
});

test.each([
  {
    what: 'a wrong password',
    body: { ...ALICE, password: 'incorrect horse' },
    status: 401,
    error: 'AUTH_UNAUTHORIZED',
  },
  { what: 'an unknown address', body: { ...ALICE, email: 'eve@example.com' }, status: 401, error: 'AUTH_UNAUTHORIZED' },
  { what: 'an empty password', body: { ...ALICE, password: '' }, status: 401, error: 'AUTH_UNAUTHORIZED' },
  { what: 'a pattern as address', body: { ...ALICE, email: '%@example.com' }, status: 401, error: 'AUTH_UNAUTHORIZED' },
  { what: 'an overlong password', body: { ...ALICE, password: 'x'.repeat(1025) }, status: 400, error: 'INVALID_INPUT' },
  { what: 'no address', body: { password: ALICE.password }, status: 400, error: 'INVALID_INPUT' },
  { what: 'what is no address', body: { ...ALICE, email: 'alice' }, status: 400, error: 'INVALID_INPUT' },
  { what: 'an object for a password', body: { ...ALICE, password: { $ne: '' } }, status: 400, error: 'INVALID_INPUT' },
  { what: 'another method', body: { ...ALICE, method: 'magic' }, status: 400, error: 'INVALID_INPUT' },
  {
    what: 'an oversized body',
    body: { ...ALICE, padding: 'x'.repeat(1024 * 1024) },
    status: 413,
    error: 'PAYLOAD_TOO_LARGE',
  },
])('refused: $what', async ({ body, status, error }) => {
  const app = await startApp();
  await signUp(app);
  const reply = await app.as('nobody').post(PATH, body);
  expect(reply).toMatchObject({ status, body: { error, statusCode: status } });
  expect(cookiesOf(reply)).toEqual({});
});

test('an unknown address, a wrong password and a user without a password are refused in the same words', async () => {
  const app = await startApp();
  await signUp(app);
  await app.sql(`insert into auth.users (email) values ('oauth@example.com')`);
  const replies = await Promise.all(
    ['alice@example.com', 'eve@example.com', 'oauth@example.com'].map((email) =>
      app.as('nobody').post(PATH, { email, password: 'wrong' }),
    ),
  );
  expect(new Set(replies.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
  expect(replies[0]?.body.nextActions).toEqual(expect.any(String));
});

test('no refusal is faster than the slowest check of a password', async () => {
  const app = await startApp();
  const imported = await bcrypt(ALICE.password, { cost: 10 });
  await app.sql('insert into auth.users (email, password) values ($1, $2)', ['imported@example.com', imported]);
  await signUp(app);
  for (const email of ['alice@example.com', 'eve@example.com', 'imported@example.com']) {
    const startedAt = performance.now();
    await app.as('nobody').post(PATH, { email, password: 'wrong' });
    expect(performance.now() - startedAt).toBeGreaterThan(245);
  }
});

test('an unknown address is refused as late as an imported hash that takes longer than ours', async () => {
  const app = await startApp();
  const imported = await bcrypt(ALICE.password, { cost: 13 });
  await app.sql('insert into auth.users (email, password) values ($1, $2)', ['imported@example.com', imported]);
  const refuse = async (email: string) => {
    const startedAt = performance.now();
    expect((await app.as('nobody').post(PATH, { email, password: 'wrong' })).status).toBe(401);
    return performance.now() - startedAt;
  };
  const known = await refuse('imported@example.com');
  expect(await refuse('eve@example.com')).toBeGreaterThan(Math.min(known, 2_000) * 0.75);
});

test.each(['2a', '2b', '2y'] as const)('an imported $%s$ hash works and becomes argon2id', async (version) => {
  const { as, sql } = await startApp();
  const imported = await bcrypt(ALICE.password, { cost: 4, version });
  expect(imported.startsWith(`$${version}$`)).toBe(true);
  await sql('insert into auth.users (email, password) values ($1, $2)', [ALICE.email, imported]);

  expect((await as('nobody').post(PATH, { ...ALICE, password: 'wrong' })).status).toBe(401);
  expect(await sql('select password from auth.users')).toEqual([{ password: imported }]);

  expect((await as('nobody').post(PATH, ALICE)).status).toBe(200);
  const [{ password }] = (await sql<{ password: string }>('select password from auth.users')) as [{ password: string }];
  expect(password).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
  expect(await verifyArgon2(password, ALICE.password)).toBe(true);
  expect((await as('nobody').post(PATH, ALICE)).status).toBe(200);
});

test.each([
  { what: 'plain text', password: ALICE.password },
  {
    what: 'an unknown scheme',
    password: '$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E',
  },
  { what: 'a bcrypt cost that would take hours', password: `$2b$31$${'a'.repeat(53)}` },
  { what: 'an empty text', password: '' },
  { what: 'half an argon2 hash', password: '$argon2id$v=19$m=19456,t=2,p=1$' },
])('a stored password that is $what lets nobody in', async ({ password }) => {
  const { as, sql } = await startApp();
  await sql('insert into auth.users (email, password) values ($1, $2)', [ALICE.email, password]);
  for (const attempt of [ALICE.password, password]) {
    expect(await as('nobody').post(PATH, { ...ALICE, password: attempt })).toMatchObject({ status: 401 });
  }
});

test('of two imported spellings of an address, the oldest signs in', async () => {
  const { as, sql } = await startApp();
  const hashed = await bcrypt(ALICE.password, { cost: 4 });
  await sql(
    `insert into auth.users (email, password, created_at) values
     ('alice@example.com', $1, '2026-02-02'), ('Alice@Example.com', $1, '2026-01-01')`,
    [hashed],
  );
  const { body } = await as('nobody').post(PATH, ALICE);
  expect(body.user.email).toBe('Alice@Example.com');
});

test('where addresses must be verified, only verified users sign in', async () => {
  const app = await startApp();
  await signUp(app);
  await app.as('admin').put('/api/auth/config', { requireEmailVerification: true });
  const refused = await app.as('nobody').post(PATH, ALICE);
  expect(refused).toMatchObject({ status: 403, body: { error: 'FORBIDDEN', nextActions: expect.any(String) } });
  expect(cookiesOf(refused)).toEqual({});
  expect((await app.as('nobody').post(PATH, { ...ALICE, password: 'wrong' })).status).toBe(401);

  await app.sql('update auth.users set email_verified = true');
  expect((await app.as('nobody').post(PATH, ALICE)).status).toBe(200);
});

test('one sign-in of twenty sweeps some of the sessions that have expired', async () => {
  const app = await startApp();
  const { user } = await signUp(app);
  await app.sql(
    `insert into auth.sessions (kind, subject, user_id, csrf_nonce, expires_at)
     select 'user', $1::text, $1::uuid, 'n', now() - interval '1 day' from generate_series(1, 110)`,
    [user.id],
  );
  for (let attempt = 0; attempt < 20; attempt++) await app.as('nobody').post(PATH, ALICE);
  const [left] = await app.sql<{ expired: number; alive: number }>(`
    select count(*) filter (where expires_at < now())::int as expired,
           count(*) filter (where expires_at > now())::int as alive from auth.sessions`);
  expect(left).toEqual({ expired: 10, alive: 21 });
});
