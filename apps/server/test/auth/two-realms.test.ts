import { expect, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';
import { ADMIN_COOKIE, ALICE, BOB, bearer, browserOf, cookiesOf, headersOf, refresh, USER_COOKIE } from './client.ts';

const ADMIN = { username: 'admin', password: SECRETS.ROOT_ADMIN_PASSWORD };

/** One browser with both sessions, as a developer has it who tries their own app. */
async function bothSessions({ as }: TestApp) {
  const admin = await as('nobody').post('/api/auth/admin/sessions', ADMIN);
  const user = await as('anon').post('/api/auth/users', ALICE);
  return { admin: browserOf(admin, ADMIN_COOKIE), user: browserOf(user), adminToken: String(admin.body.accessToken) };
}

test('user and admin in one browser refresh and sign out on their own', async () => {
  const app = await startApp();
  const post = app.as('nobody').post;
  const { admin, user } = await bothSessions(app);
  const cookie = `${user.cookie}; ${admin.cookie}`;

  const userReply = await post('/api/auth/refresh', undefined, { cookie, 'x-csrf-token': user.csrf });
  expect(Object.keys(cookiesOf(userReply))).toEqual([USER_COOKIE]);
  expect(userReply.body.user.email).toBe(ALICE.email);
  const adminReply = await post('/api/auth/admin/refresh', undefined, { cookie, 'x-csrf-token': admin.csrf });
  expect(Object.keys(cookiesOf(adminReply))).toEqual([ADMIN_COOKIE]);
  expect(adminReply.body.admin).toEqual({ sub: 'local:admin' });

  const signedOut = await post('/api/auth/logout', undefined, { cookie, 'x-csrf-token': user.csrf });
  expect(Object.keys(cookiesOf(signedOut))).toEqual([USER_COOKIE]);
  const still = browserOf(adminReply, ADMIN_COOKIE);
  expect((await post('/api/auth/admin/refresh', undefined, headersOf(still))).status).toBe(200);
});

test('a token of one realm does nothing in the other', async () => {
  const app = await startApp();
  const post = app.as('nobody').post;
  const { admin, user, adminToken } = await bothSessions(app);
  const [adminRefresh = '', userRefresh = ''] = [admin, user].map(({ cookie }) => cookie.split('=')[1]);

  expect((await refresh(app, adminRefresh)).status).toBe(401);
  for (const [path, cookie, csrf] of [
    ['/api/auth/refresh', `${USER_COOKIE}=${adminRefresh}`, admin.csrf],
    ['/api/auth/admin/refresh', `${ADMIN_COOKIE}=${userRefresh}`, user.csrf],
    ['/api/auth/admin/refresh', user.cookie, user.csrf],
    ['/api/auth/refresh', admin.cookie, admin.csrf],
  ] as const) {
    expect((await post(path, undefined, { cookie, 'x-csrf-token': csrf })).status).toBe(401);
  }
  expect((await post('/api/auth/refresh', undefined, { cookie: user.cookie, 'x-csrf-token': admin.csrf })).status).toBe(
    403,
  );

  await post('/api/auth/logout', undefined, { cookie: `${USER_COOKIE}=${adminRefresh}`, 'x-csrf-token': admin.csrf });
  await post('/api/auth/logout?client_type=mobile', { refreshToken: adminRefresh }, bearer(adminToken));
  expect((await post('/api/auth/admin/refresh', undefined, headersOf(admin))).status).toBe(200);
});

test('creating a user as the admin leaves all cookies alone', async () => {
  const app = await startApp();
  const { admin, user, adminToken } = await bothSessions(app);
  const headers = { ...bearer(adminToken), cookie: `${user.cookie}; ${admin.cookie}` };
  const reply = await app.as('nobody').post('/api/auth/users', BOB, headers);
  expect(reply).toMatchObject({ status: 200, body: { accessToken: null } });
  expect(cookiesOf(reply)).toEqual({});
  expect(await app.sql('select from auth.sessions')).toHaveLength(2);
});
