import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';
import { ADMIN_COOKIE, bearer, browserOf, cookiesOf, headersOf } from './client.ts';

const SESSIONS = '/api/auth/admin/sessions';
const REFRESH = '/api/auth/admin/refresh';
const ADMIN = { username: 'admin', password: SECRETS.ROOT_ADMIN_PASSWORD };

test('the admin signs in and gets an admin cookie and token', async () => {
  const { as } = await startApp();
  const reply = await as('nobody').post(SESSIONS, ADMIN);
  expect(reply).toMatchObject({ status: 200, headers: { 'cache-control': 'no-store' } });
  expect(reply.body).toEqual({
    admin: { sub: 'local:admin' },
    accessToken: expect.any(String),
    csrfToken: expect.stringMatching(/^[\da-f]{64}$/),
  });
  expect(cookiesOf(reply)).toEqual({
    [ADMIN_COOKIE]: {
      value: expect.any(String),
      attributes: ['HttpOnly', 'Max-Age=604800', 'Path=/api/auth/admin', 'SameSite=None', 'Secure'],
    },
  });
  expect(decodeJwt(reply.body.accessToken)).toMatchObject({ sub: 'local:admin', role: 'project_admin' });
  expect((await as('nobody').get('/api/auth/users', bearer(reply.body.accessToken))).status).toBe(200);
  const current = await as('nobody').get(`${SESSIONS}/current`, bearer(reply.body.accessToken));
  expect(current).toMatchObject({ status: 200, body: { admin: { sub: 'local:admin' } } });
});

test.each([
  { what: 'a wrong password', body: { ...ADMIN, password: 'wrong' }, status: 401, error: 'AUTH_UNAUTHORIZED' },
  { what: 'a wrong name', body: { ...ADMIN, username: 'root' }, status: 401, error: 'AUTH_UNAUTHORIZED' },
  { what: 'the name in capitals', body: { ...ADMIN, username: 'ADMIN' }, status: 401, error: 'AUTH_UNAUTHORIZED' },
  { what: 'no password', body: { username: 'admin' }, status: 400, error: 'INVALID_INPUT' },
  { what: 'no body', body: undefined, status: 400, error: 'INVALID_INPUT' },
])('refused: $what', async ({ body, status, error }) => {
  const { as } = await startApp();
  const reply = await as('nobody').post(SESSIONS, body);
  expect(reply).toMatchObject({ status, body: { error, statusCode: status } });
  expect(cookiesOf(reply)).toEqual({});
});

test('the admin session is refreshed by cookie and CSRF token, and ends for good', async () => {
  const { as, sql } = await startApp();
  const post = as('nobody').post;
  const before = browserOf(await post(SESSIONS, ADMIN), ADMIN_COOKIE);
  expect((await post(REFRESH, undefined, { cookie: before.cookie })).status).toBe(403);
  const reply = await post(REFRESH, undefined, headersOf(before));
  expect(reply.body).toEqual({
    admin: { sub: 'local:admin' },
    accessToken: expect.any(String),
    csrfToken: before.csrf,
  });
  const after = browserOf(reply, ADMIN_COOKIE);

  expect((await post('/api/auth/admin/logout', undefined, { cookie: after.cookie })).status).toBe(403);
  const signedOut = await post('/api/auth/admin/logout', undefined, headersOf(after));
  expect(signedOut).toMatchObject({ status: 200, body: { success: true } });
  expect(cookiesOf(signedOut)[ADMIN_COOKIE]?.value).toBe('');
  expect(await sql('select from auth.sessions')).toEqual([]);

  const refused = await post(REFRESH, undefined, headersOf(after));
  expect(refused).toMatchObject({ status: 401, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(cookiesOf(refused)[ADMIN_COOKIE]?.value).toBe('');
  expect((await post('/api/auth/admin/logout')).status, 'signing out twice').toBe(200);
});

test('a used refresh token ends the admin session', async () => {
  const { as, sql } = await startApp();
  const post = as('nobody').post;
  const stolen = browserOf(await post(SESSIONS, ADMIN), ADMIN_COOKIE);
  const current = browserOf(await post(REFRESH, undefined, headersOf(stolen)), ADMIN_COOKIE);
  await sql(`update auth.sessions set rotated_at = rotated_at - interval '11 seconds'`);
  expect((await post(REFRESH, undefined, headersOf(stolen))).status).toBe(401);
  expect((await post(REFRESH, undefined, headersOf(current))).status).toBe(401);
});

test.each<{ what: string; environment: Record<string, string> }>([
  { what: 'password', environment: { ROOT_ADMIN_PASSWORD: 'another-admin-password' } },
  { what: 'name', environment: { ROOT_ADMIN_USERNAME: 'chief' } },
])('a change of the admin $what ends the sessions before it', async ({ environment }) => {
  const first = await startApp();
  const browser = browserOf(await first.as('nobody').post(SESSIONS, ADMIN), ADMIN_COOKIE);
  const restarted = await startApp(environment, { beside: first });
  const reply = await restarted.as('nobody').post(REFRESH, undefined, headersOf(browser));
  expect(reply).toMatchObject({ status: 401, body: { error: 'AUTH_UNAUTHORIZED' } });
});

test.each([
  { who: 'nobody', status: 401, error: 'AUTH_INVALID_CREDENTIALS' },
  { who: 'anon', status: 401, error: 'AUTH_INVALID_CREDENTIALS' },
  { who: 'admin', status: 401, error: 'AUTH_INVALID_CREDENTIALS' },
  { who: 'user', status: 403, error: 'AUTH_UNAUTHORIZED' },
] as const)('$who has no admin session: $status', async ({ who, status, error }) => {
  const app = await startApp();
  const caller = who === 'user' ? await app.user('alice') : who;
  expect(await app.as(caller).get(`${SESSIONS}/current`)).toMatchObject({ status, body: { error } });
});
