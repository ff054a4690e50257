import { hash } from '@node-rs/bcrypt';
import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { ALICE, BOB, bearer, browserOf, cookiesOf, refresh, sessionIdOf, signUp, USER_COOKIE } from './client.ts';

const SESSIONS = '/api/auth/sessions';
const MOBILE = `${SESSIONS}?client_type=mobile`;

const signIn = async ({ as }: TestApp, userAgent: string, who = ALICE) => {
  const { status, body } = await as('nobody').post(MOBILE, who, { 'user-agent': userAgent });
  expect(status).toBe(200);
  return body as { accessToken: string; refreshToken: string };
};

test('a user sees where they are signed in, the last used first', async () => {
  const app = await startApp();
  await signUp(app);
  await signUp(app, BOB);
  const laptop = await signIn(app, 'Laptop/1.0');
  const phone = await signIn(app, 'Phone/1.0');
  const refreshed = await app
    .as('nobody')
    .post(
      '/api/auth/refresh?client_type=mobile',
      { refreshToken: laptop.refreshToken },
      { 'user-agent': 'Laptop/2.0' },
    );
  const reply = await app.as('nobody').get(SESSIONS, bearer(refreshed.body.accessToken));
  expect(reply).toMatchObject({ status: 200, headers: { 'cache-control': 'no-store' } });
  expect(reply.body.data).toHaveLength(3);
  expect(reply.body.data[0]).toEqual({
    id: sessionIdOf(laptop.accessToken),
    aal: 'aal1',
    userAgent: 'Laptop/2.0',
    address: '127.0.0.1',
    createdAt: expect.any(String),
    lastUsedAt: expect.any(String),
    expiresAt: expect.any(String),
    actor: null,
    isCurrent: true,
  });
  expect(reply.body.data[1]).toMatchObject({ id: sessionIdOf(phone.accessToken), isCurrent: false });
});

test('a user ends one session, and its tokens are worth nothing', async () => {
  const app = await startApp();
  const first = await signUp(app);
  const second = await signIn(app, 'Phone');
  const { delete: remove, get } = app.as('nobody');
  const path = `${SESSIONS}/${sessionIdOf(second.accessToken)}`;
  expect(await remove(path, undefined, bearer(first.accessToken))).toMatchObject({
    status: 200,
    body: { endedCount: 1 },
  });
  expect((await refresh(app, second.refreshToken)).status).toBe(401);
  expect(await get(SESSIONS, bearer(second.accessToken))).toMatchObject({
    status: 401,
    body: { error: 'AUTH_UNAUTHORIZED' },
  });
  expect((await remove(path, undefined, bearer(first.accessToken))).status, 'twice').toBe(404);
  expect((await refresh(app, first.refreshToken)).status).toBe(200);
});

test.each([
  { query: '', endedCount: 2, own: 401 },
  { query: '?keepCurrent=true', endedCount: 1, own: 200 },
])('signing out everywhere$query', async ({ query, endedCount, own }) => {
  const app = await startApp();
  const first = await signUp(app);
  const second = await signIn(app, 'Phone');
  const bob = await signUp(app, BOB);
  const reply = await app.as('nobody').delete(`${SESSIONS}${query}`, undefined, bearer(first.accessToken));
  expect(reply).toMatchObject({ status: 200, body: { endedCount } });
  expect((await refresh(app, first.refreshToken)).status).toBe(own);
  expect((await refresh(app, second.refreshToken)).status).toBe(401);
  expect((await refresh(app, bob.refreshToken)).status, 'of somebody else').toBe(200);
});

test('a browser that signs itself out loses its cookie', async () => {
  const { as } = await startApp();
  const reply = await as('anon').post('/api/auth/users', ALICE);
  const { cookie } = browserOf(reply);
  const ended = await as('nobody').delete(SESSIONS, undefined, { ...bearer(reply.body.accessToken), cookie });
  expect(cookiesOf(ended)[USER_COOKIE]?.value).toBe('');
});

test('the admin has sessions of their own', async () => {
  const app = await startApp();
  await signUp(app);
  const { body } = await app
    .as('nobody')
    .post('/api/auth/admin/sessions', { username: 'admin', password: 'test-only-admin-password' });
  const reply = await app.as('nobody').get(SESSIONS, bearer(body.accessToken));
  expect(reply.body.data).toEqual([expect.objectContaining({ id: sessionIdOf(body.accessToken), isCurrent: true })]);
  expect((await app.as('nobody').delete(SESSIONS, undefined, bearer(body.accessToken))).body.endedCount).toBe(1);
});

test.each([
  { who: 'nobody', status: 401, error: 'AUTH_INVALID_CREDENTIALS' },
  { who: 'anon', status: 401, error: 'AUTH_INVALID_CREDENTIALS' },
  { who: 'admin', status: 401, error: 'AUTH_INVALID_CREDENTIALS' },
  { who: 'user', status: 403, error: 'FORBIDDEN' },
] as const)('$who, without a session, has none to list or end: $status', async ({ who, status, error }) => {
  const app = await startApp();
  const caller = app.as(who === 'user' ? await app.user('carol') : who);
  const id = crypto.randomUUID();
  for (const reply of [
    await caller.get(SESSIONS),
    await caller.delete(SESSIONS),
    await caller.delete(`${SESSIONS}/${id}`),
  ]) {
    expect(reply).toMatchObject({ status, body: { error } });
  }
});

test('nobody ends a session of somebody else', async () => {
  const app = await startApp();
  const alice = await signUp(app);
  const bob = await signUp(app, BOB);
  const reply = await app
    .as('nobody')
    .delete(`${SESSIONS}/${sessionIdOf(alice.accessToken)}`, undefined, bearer(bob.accessToken));
  expect(reply).toMatchObject({ status: 404, body: { error: 'NOT_FOUND' } });
  expect((await refresh(app, alice.refreshToken)).status).toBe(200);
});

test('the admin sees and ends the sessions of any user', async () => {
  const app = await startApp();
  const { user, accessToken, refreshToken } = await signUp(app);
  const phone = await signIn(app, 'Phone');
  const admin = app.as('admin');
  const path = `/api/auth/users/${user.id}/sessions`;
  const listed = await admin.get(path);
  expect(listed.body.data.map(({ isCurrent }: { isCurrent: boolean }) => isCurrent)).toEqual([false, false]);
  expect((await admin.delete(`${path}/${sessionIdOf(phone.accessToken)}`)).status).toBe(200);
  expect((await refresh(app, phone.refreshToken)).status).toBe(401);
  expect((await admin.delete(path)).body).toMatchObject({ endedCount: 1 });
  expect((await refresh(app, refreshToken)).status).toBe(401);
  expect(await app.sql('select actor, action from system.audit_logs order by created_at')).toEqual([
    { actor: 'api-key', action: 'END_USER_SESSION' },
    { actor: 'api-key', action: 'END_USER_SESSIONS' },
  ]);
  expect((await admin.get(`/api/auth/users/${crypto.randomUUID()}/sessions`)).status).toBe(404);
  expect((await app.as('nobody').get(path, bearer(accessToken))).status, 'the user').toBe(403);
});

test.each([
  { who: 'nobody', status: 401 },
  { who: 'anon', status: 403 },
  { who: 'user', status: 403 },
] as const)('$who does not reach the sessions of users: $status', async ({ who, status }) => {
  const app = await startApp();
  const alice = await app.user('alice');
  const caller = app.as(who === 'user' ? alice : who);
  const path = `/api/auth/users/${alice.sub}/sessions`;
  expect((await caller.get(path)).status).toBe(status);
  expect((await caller.delete(path)).status).toBe(status);
  expect((await caller.delete(`${path}/${crypto.randomUUID()}`)).status).toBe(status);
});

test.each([
  { what: 'the password', change: `password = 'another'`, ends: true },
  { what: 'the role', change: 'is_project_admin = true', ends: true },
  { what: 'a ban', change: `banned_until = 'infinity'`, ends: true },
  { what: 'a ban that is over', change: `banned_until = now() - interval '1 minute'`, ends: false },
  { what: 'the profile', change: `profile = '{"name":"A"}'`, ends: false },
])('sessions end when SQL changes $what: $ends', async ({ change, ends }) => {
  const app = await startApp();
  const alice = await signUp(app);
  const bob = await signUp(app, BOB);
  await app.sql(`update auth.users set ${change} where id = $1`, [alice.user.id]);
  expect((await refresh(app, alice.refreshToken)).status).toBe(ends ? 401 : 200);
  expect((await refresh(app, bob.refreshToken)).status).toBe(200);
});

test('sessions go on when sign-in hashes the password in a better way', async () => {
  const app = await startApp();
  const { refreshToken } = await signUp(app);
  // bcrypt, cost 4, of the same password; written without the trigger, as an import would have left it.
  await app.sql('alter table auth.users disable trigger end_sessions_of_changed_user');
  await app.sql('update auth.users set password = $1', [await hash(ALICE.password, { cost: 4 })]);
  await app.sql('alter table auth.users enable trigger end_sessions_of_changed_user');
  await signIn(app, 'Phone');
  expect(await app.sql(`select from auth.users where password like '$argon2id$%'`)).toHaveLength(1);
  expect((await refresh(app, refreshToken)).status).toBe(200);
});
