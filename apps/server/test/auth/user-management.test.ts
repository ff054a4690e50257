import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { ALICE, BOB, bearer, refresh, signUp } from './client.ts';

const USERS = '/api/auth/users';
const SIGN_IN = '/api/auth/sessions?client_type=mobile';

const auditOf = ({ sql }: TestApp) => sql('select actor, action, details from system.audit_logs order by created_at');

test('the admin changes a user', async () => {
  const app = await startApp();
  const { user } = await signUp(app);
  const { patch } = app.as('admin');
  const reply = await patch(`${USERS}/${user.id}`, {
    email: 'Alicia@Example.com',
    emailVerified: true,
    name: 'Alicia',
    profile: { city: 'Rome' },
    metadata: { plan: 'pro' },
  });
  expect(reply).toMatchObject({
    status: 200,
    body: {
      id: user.id,
      email: 'alicia@example.com',
      emailVerified: true,
      profile: { name: 'Alicia', city: 'Rome' },
      metadata: { plan: 'pro' },
    },
  });
  const next = await patch(`${USERS}/${user.id}`, { email: 'other@example.com' });
  expect(next.body, 'another address is another proof').toMatchObject({
    emailVerified: false,
    metadata: { plan: 'pro' },
  });
  expect((await auditOf(app))[1]).toEqual({
    actor: 'api-key',
    action: 'UPDATE_USER',
    details: { userId: user.id, updatedFields: ['email'] },
  });
});

test('a password that the admin sets works, and ends the sessions', async () => {
  const app = await startApp();
  const { user, refreshToken } = await signUp(app);
  expect((await app.as('admin').patch(`${USERS}/${user.id}`, { password: 'chosen by the admin' })).status).toBe(200);
  expect((await refresh(app, refreshToken)).status).toBe(401);
  const { post } = app.as('nobody');
  expect((await post(SIGN_IN, ALICE)).status).toBe(401);
  expect((await post(SIGN_IN, { ...ALICE, password: 'chosen by the admin' })).status).toBe(200);
  expect(JSON.stringify(await auditOf(app))).not.toContain('chosen');
});

test.each([
  { what: 'nothing', update: {}, status: 400, error: 'INVALID_INPUT' },
  { what: 'a field that is none', update: { role: 'admin' }, status: 400, error: 'INVALID_INPUT' },
  { what: 'a short password', update: { password: 'abc' }, status: 400, error: 'INVALID_INPUT' },
  { what: 'a taken address', update: { email: 'BOB@example.com' }, status: 409, error: 'AUTH_EMAIL_EXISTS' },
])('refused as change: $what', async ({ update, status, error }) => {
  const app = await startApp();
  const { user } = await signUp(app);
  await signUp(app, BOB);
  expect(await app.as('admin').patch(`${USERS}/${user.id}`, update)).toMatchObject({ status, body: { error } });
});

test('a banned user is signed out, kept out and told why, until the ban is over', async () => {
  const app = await startApp();
  const { user, refreshToken } = await signUp(app);
  const { post, delete: remove, get } = app.as('admin');
  const until = new Date(Date.now() + 3_600_000).toISOString();
  const banned = await post(`${USERS}/${user.id}/ban`, { until, reason: 'spam' });
  expect(banned).toMatchObject({ status: 200, body: { ban: { until, reason: 'spam' } } });
  expect((await get(`${USERS}?search=alice`)).body.data[0].ban).toEqual({ until, reason: 'spam' });
  expect((await refresh(app, refreshToken)).status).toBe(401);
  const refused = await app.as('nobody').post(SIGN_IN, ALICE);
  expect(refused).toMatchObject({ status: 403, body: { error: 'AUTH_USER_BANNED', bannedUntil: until } });
  expect(refused.body.message).toContain('spam');
  const wrong = await app.as('nobody').post(SIGN_IN, { ...ALICE, password: 'wrong' });
  expect(wrong.status, 'whoever does not know the password learns nothing').toBe(401);

  await app.sql(`update auth.users set banned_until = now() - interval '1 second'`);
  expect((await app.as('nobody').post(SIGN_IN, ALICE)).status, 'over').toBe(200);

  expect((await post(`${USERS}/${user.id}/ban`)).body.ban, 'for good').toEqual({ until: null, reason: null });
  expect((await app.as('nobody').post(SIGN_IN, ALICE)).body.message).toContain('for good');
  expect((await remove(`${USERS}/${user.id}/ban`)).body.ban).toBeUndefined();
  expect((await app.as('nobody').post(SIGN_IN, ALICE)).status).toBe(200);
});

test('a session that came to be beside a ban is not refreshed', async () => {
  const app = await startApp();
  const { user, refreshToken } = await signUp(app);
  await app.sql('alter table auth.users disable trigger end_sessions_of_changed_user');
  await app.as('admin').post(`${USERS}/${user.id}/ban`);
  expect((await refresh(app, refreshToken)).status).toBe(401);
});

test.each([
  { what: 'a time that is past', body: { until: '2020-01-01T00:00:00Z' } },
  { what: 'a time that is none', body: { until: 'tomorrow' } },
  { what: 'a field that is none', body: { untill: '2099-01-01T00:00:00Z' } },
])('refused as ban: $what', async ({ body }) => {
  const app = await startApp();
  const { user } = await signUp(app);
  expect((await app.as('admin').post(`${USERS}/${user.id}/ban`, body)).status).toBe(400);
});

test('the admin acts as a user for an hour, and it is written down', async () => {
  const app = await startApp();
  const { user } = await signUp(app);
  const reply = await app.as('admin').post(`${USERS}/${user.id}/impersonate`, { reason: 'ticket 7' });
  expect(reply).toMatchObject({
    status: 200,
    headers: { 'cache-control': 'no-store' },
    body: { user: { id: user.id } },
  });
  const { accessToken } = reply.body;
  const claims = decodeJwt(accessToken);
  expect(claims).toMatchObject({ sub: user.id, role: 'authenticated', aal: 'aal1', act: { sub: 'api-key' } });
  expect(Number(claims.exp) - Number(claims.iat)).toBe(3600);
  const { get, delete: remove } = app.as('nobody');
  expect((await get('/api/auth/sessions/current', bearer(accessToken))).body.user.id).toBe(user.id);
  expect((await get('/api/auth/sessions', bearer(accessToken))).status, 'not the account itself').toBe(403);
  expect((await remove('/api/auth/sessions', undefined, bearer(accessToken))).status).toBe(403);
  expect((await get(USERS, bearer(accessToken))).status).toBe(403);
  expect(await auditOf(app)).toEqual([
    { actor: 'api-key', action: 'IMPERSONATE_USER', details: { userId: user.id, reason: 'ticket 7' } },
  ]);
});

test('a deleted user is gone with their sessions', async () => {
  const app = await startApp();
  const { user, refreshToken } = await signUp(app);
  expect((await app.as('admin').delete(`${USERS}/${user.id}`)).status).toBe(200);
  expect((await refresh(app, refreshToken)).status).toBe(401);
  expect((await app.as('admin').delete(`${USERS}/${user.id}`)).status, 'twice').toBe(404);
});

const CALLS = [
  { method: 'patch', path: '', body: { name: 'X' } },
  { method: 'delete', path: '', body: undefined },
  { method: 'post', path: '/ban', body: {} },
  { method: 'delete', path: '/ban', body: undefined },
  { method: 'post', path: '/impersonate', body: {} },
] as const;

test.each([
  { who: 'nobody', status: 401 },
  { who: 'anon', status: 403 },
  { who: 'user', status: 403 },
] as const)('$who manages no users, not even themselves: $status', async ({ who, status }) => {
  const app = await startApp();
  const alice = await app.user('alice');
  const caller = app.as(who === 'user' ? alice : who);
  for (const { method, path, body } of CALLS) {
    expect((await caller[method](`${USERS}/${alice.sub}${path}`, body)).status, `${method} ${path}`).toBe(status);
  }
  expect((await caller.post(`${USERS}/import`, { users: [{}] })).status).toBe(status);
});

test('an unknown user is not found', async () => {
  const app = await startApp();
  for (const { method, path, body } of CALLS) {
    const reply = await app.as('admin')[method](`${USERS}/${crypto.randomUUID()}${path}`, body);
    expect(reply, `${method} ${path}`).toMatchObject({ status: 404, body: { error: 'AUTH_USER_NOT_FOUND' } });
  }
});
