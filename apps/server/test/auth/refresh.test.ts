import { decodeJwt, SignJWT, UnsecuredJWT } from 'jose';
import { expect, test } from 'vitest';
import { type Reply, SECRETS, startApp } from '../harness.ts';
import {
  ALICE,
  BOB,
  bearer,
  browserOf,
  cookiesOf,
  headersOf,
  ownToken,
  refresh,
  sessionIdOf,
  signUp,
  USER_COOKIE,
} from './client.ts';

const PATH = '/api/auth/refresh';

const refused = { status: 401, body: { error: 'AUTH_UNAUTHORIZED', statusCode: 401, nextActions: expect.any(String) } };

test('a browser refreshes with its cookie and its CSRF token, which stays the same', async () => {
  const { as } = await startApp();
  const signedUp = await as('anon').post('/api/auth/users', ALICE);
  const before = browserOf(signedUp);
  const reply = await as('nobody').post(PATH, undefined, headersOf(before));
  expect(reply.headers['cache-control']).toBe('no-store');
  expect(reply.body).toEqual({
    user: signedUp.body.user,
    accessToken: expect.any(String),
    csrfToken: before.csrf,
  });
  const after = browserOf(reply);
  expect(after.cookie).not.toBe(before.cookie);
  expect(cookiesOf(reply)[USER_COOKIE]?.attributes).toEqual([
    'HttpOnly',
    'Max-Age=604800',
    'Path=/api/auth',
    'SameSite=None',
    'Secure',
  ]);
  expect((await as('nobody').post(PATH, undefined, headersOf(after))).status).toBe(200);
});

test.each([
  { field: 'refreshToken' },
  { field: 'refresh_token' },
  { field: 'refresh_token', beside: { refreshToken: null } },
])('other clients refresh with $field in the body, beside $beside', async ({ field, beside }) => {
  const app = await startApp();
  const { user, refreshToken } = await signUp(app);
  const reply = await app.as('nobody').post(`${PATH}?client_type=mobile`, { ...beside, [field]: refreshToken });
  expect(reply.body).toEqual({ user, accessToken: expect.any(String), refreshToken: expect.any(String) });
  expect(cookiesOf(reply)).toEqual({});
  const [before, after] = [decodeJwt(refreshToken), decodeJwt(reply.body.refreshToken)];
  expect(after).toMatchObject({
    sub: user.id,
    sid: before.sid,
    csrfNonce: before.csrfNonce,
    gen: Number(before.gen) + 1,
  });
  expect(Number(after.exp) - Number(after.iat)).toBe(7 * 24 * 3600);
});

test('an expired access token in the header does not matter', async () => {
  const app = await startApp();
  const { refreshToken } = await signUp(app);
  for (const header of ['Bearer expired.or.broken', `Bearer ${SECRETS.ACCESS_ANON_KEY}`]) {
    const reply = await app
      .as('nobody')
      .post(`${PATH}?client_type=mobile`, { refreshToken }, { authorization: header });
    expect(reply.status).toBe(200);
  }
});

test.each<{ what: string; headers: Record<string, string> }>([
  { what: 'no CSRF token', headers: {} },
  { what: 'a wrong CSRF token', headers: { 'x-csrf-token': 'f'.repeat(64) } },
  { what: 'an empty CSRF token', headers: { 'x-csrf-token': '' } },
])('a cookie with $what is refused, and the session stays', async ({ headers }) => {
  const { as } = await startApp();
  const browser = browserOf(await as('anon').post('/api/auth/users', ALICE));
  const reply = await as('nobody').post(PATH, undefined, { cookie: browser.cookie, ...headers });
  expect(reply).toMatchObject({ status: 403, body: { error: 'FORBIDDEN', nextActions: expect.any(String) } });
  expect(cookiesOf(reply)).toEqual({});
  expect((await as('nobody').post(PATH, undefined, headersOf(browser))).status).toBe(200);
});

test('the CSRF token of one session does not do for another', async () => {
  const { as } = await startApp();
  const alice = browserOf(await as('anon').post('/api/auth/users', ALICE));
  const again = browserOf(await as('nobody').post('/api/auth/sessions', ALICE));
  const mixed = { cookie: alice.cookie, csrf: again.csrf };
  expect((await as('nobody').post(PATH, undefined, headersOf(mixed))).status).toBe(403);
});

test('without a valid cookie a browser is refused and loses the cookie', async () => {
  const { as } = await startApp();
  const { body } = await as('anon').post('/api/auth/users?client_type=mobile', ALICE);
  for (const value of ['', 'nonsense', body.accessToken]) {
    const reply = await as('nobody').post(PATH, undefined, value ? { cookie: `${USER_COOKIE}=${value}` } : {});
    expect(reply).toMatchObject(refused);
    expect(cookiesOf(reply)[USER_COOKIE]).toEqual({
      value: '',
      attributes: expect.arrayContaining(['Max-Age=0', 'Path=/api/auth', 'HttpOnly', 'Secure', 'SameSite=None']),
    });
  }
});

test.each([
  { what: 'no body', body: undefined, status: 400, error: 'INVALID_INPUT' },
  { what: 'no token', body: {}, status: 400, error: 'INVALID_INPUT' },
  { what: 'an empty token', body: { refreshToken: '' }, status: 400, error: 'INVALID_INPUT' },
  { what: 'a number', body: { refreshToken: 7 }, status: 400, error: 'INVALID_INPUT' },
  { what: 'nonsense', body: { refreshToken: 'nonsense' }, status: 401, error: 'AUTH_UNAUTHORIZED' },
])('other clients are refused with $what', async ({ body, status, error }) => {
  const { as } = await startApp();
  expect(await as('nobody').post(`${PATH}?client_type=mobile`, body)).toMatchObject({ status, body: { error } });
});

test('tokens that were not made for this are refused', async () => {
  const app = await startApp();
  const { user, accessToken, refreshToken } = await signUp(app);
  const claims = decodeJwt(refreshToken);
  const key = new TextEncoder().encode(SECRETS.JWT_SECRET);
  const forge = (changes: Record<string, unknown>, secret = key) =>
    new SignJWT({ ...claims, ...changes }).setProtectedHeader({ alg: 'HS256' }).sign(secret);
  const forged = {
    'no signature': new UnsecuredJWT(claims).encode(),
    'another algorithm under the same secret': await new SignJWT(claims).setProtectedHeader({ alg: 'HS512' }).sign(key),
    'a signature with our private key': await ownToken(app, claims),
    'an extension that nobody knows': await new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256', crit: ['x'], x: 1 })
      .sign(key, { crit: { x: true } }),
    'a time that has not come': await forge({ nbf: 9_999_999_999 }),
    'an access token': accessToken,
    'a third-party access token': await app.token({ sub: user.id, email: ALICE.email }),
    'another key': await forge({}, new TextEncoder().encode('x'.repeat(32))),
    'another type': await forge({ type: 'access' }),
    'another issuer': await forge({ iss: 'elsewhere' }),
    'the other realm': await forge({ sessionType: 'admin' }),
    'no expiry': await forge({ exp: undefined }),
    'an expiry in the past': await forge({ exp: 1 }),
    'another user': await forge({ sub: '11111111-1111-1111-1111-111111111111' }),
    'another session': await forge({ sid: '11111111-1111-1111-1111-111111111111' }),
    'no session': await forge({ sid: undefined }),
    'a later generation': await forge({ gen: 1 }),
    'a negative generation': await forge({ gen: -1 }),
    'an enormous generation': await forge({ gen: 2 ** 31 }),
  };
  for (const [what, token] of Object.entries(forged)) {
    expect(await refresh(app, token), what).toMatchObject(refused);
  }
  expect((await refresh(app, refreshToken)).status, 'none of them ended the session').toBe(200);
});

test('a hundred refreshes of one token at once give one successor', async () => {
  const app = await startApp();
  const { refreshToken } = await signUp(app);
  const replies = await Promise.all(Array.from({ length: 100 }, () => refresh(app, refreshToken)));
  expect(replies.map(({ status }) => status)).toEqual(Array(100).fill(200));
  expect(new Set(replies.map(({ body }) => body.refreshToken)).size).toBe(1);
  expect(await app.sql('select generation from auth.sessions')).toEqual([{ generation: 1 }]);
  expect((await refresh(app, replies[0]?.body.refreshToken)).status).toBe(200);
});

test('two replicas agree on the successor', async () => {
  const first = await startApp();
  const second = await startApp({}, { beside: first });
  const { refreshToken } = await signUp(first);
  const replies: Reply[] = await Promise.all(
    [0, 1, 2, 3].flatMap(() => [refresh(first, refreshToken), refresh(second, refreshToken)]),
  );
  expect(new Set(replies.map(({ body }) => body.refreshToken)).size).toBe(1);
  const { body } = await refresh(second, replies[0]?.body.refreshToken);
  expect((await refresh(first, body.refreshToken)).status).toBe(200);
});

test('within the grace the token before gives the same successor again, and keeps nothing alive', async () => {
  const app = await startApp();
  const { refreshToken } = await signUp(app);
  const { body: first } = await refresh(app, refreshToken);
  const [{ expires_at: before }] = (await app.sql('select expires_at from auth.sessions')) as [{ expires_at: Date }];
  await app.sql(`update auth.sessions set rotated_at = rotated_at - interval '9 seconds'`);
  const moved = decodeJwt(first.refreshToken);

  const { status, body: again } = await refresh(app, refreshToken);
  expect(status).toBe(200);
  expect(decodeJwt(again.refreshToken)).toEqual({ ...moved, iat: Number(moved.iat) - 9, exp: Number(moved.exp) - 9 });
  const [{ expires_at: after }] = (await app.sql('select expires_at from auth.sessions')) as [{ expires_at: Date }];
  expect(after).toEqual(before);
});

test('after the grace a used token ends the session for whoever holds it', async () => {
  const app = await startApp();
  const { refreshToken } = await signUp(app);
  const { body: next } = await refresh(app, refreshToken);
  await app.sql(`update auth.sessions set rotated_at = rotated_at - interval '11 seconds'`);
  expect(await refresh(app, refreshToken)).toMatchObject(refused);
  expect(await app.sql('select from auth.sessions')).toEqual([]);
  expect(await refresh(app, next.refreshToken)).toMatchObject(refused);
});

test('a token two generations old ends the session at once, and no other session', async () => {
  const app = await startApp();
  const { refreshToken } = await signUp(app);
  const { body: elsewhere } = await app.as('nobody').post('/api/auth/sessions?client_type=mobile', ALICE);
  const { body: second } = await refresh(app, refreshToken);
  const { body: third } = await refresh(app, second.refreshToken);
  expect(await refresh(app, refreshToken)).toMatchObject(refused);
  expect(await refresh(app, third.refreshToken)).toMatchObject(refused);
  expect((await refresh(app, elsewhere.refreshToken)).status).toBe(200);
});

test('a browser that presents a used token loses its cookie', async () => {
  const app = await startApp();
  const browser = browserOf(await app.as('anon').post('/api/auth/users', ALICE));
  await app.as('nobody').post(PATH, undefined, headersOf(browser));
  await app.sql(`update auth.sessions set rotated_at = rotated_at - interval '11 seconds'`);
  const reply = await app.as('nobody').post(PATH, undefined, headersOf(browser));
  expect(reply).toMatchObject(refused);
  expect(cookiesOf(reply)[USER_COOKIE]?.value).toBe('');
});

test('a session that nobody refreshed for its lifetime is over', async () => {
  const app = await startApp();
  const { refreshToken } = await signUp(app);
  await app.sql(`update auth.sessions set expires_at = now()`);
  expect(await refresh(app, refreshToken)).toMatchObject(refused);
});

test('deleting a user ends all sessions of that user and of nobody else', async () => {
  const app = await startApp();
  const alice = await signUp(app);
  const bob = await signUp(app, BOB);
  await app.as('admin').delete('/api/auth/users', { userIds: [alice.user.id] });
  expect(await refresh(app, alice.refreshToken)).toMatchObject(refused);
  expect((await refresh(app, bob.refreshToken)).status).toBe(200);
});

test('the new tokens tell the current address', async () => {
  const app = await startApp();
  const { accessToken, refreshToken } = await signUp(app);
  await app.sql(`update auth.users set email = 'new@example.com'`);
  const { body } = await refresh(app, refreshToken);
  expect(decodeJwt(body.accessToken)).toMatchObject({ email: 'new@example.com', sid: sessionIdOf(accessToken) });
  const current = await app.as('nobody').get('/api/auth/sessions/current', bearer(body.accessToken));
  expect(current).toMatchObject({ status: 200, body: { user: { email: 'new@example.com' } } });
});
