import { expect, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';
import { ALICE, bearer, signUp } from './client.ts';

const ID = '11111111-1111-1111-1111-111111111111';

const ADMIN_ROUTES = [
  ['get', '/api/auth/users'],
  ['get', `/api/auth/users/${ID}`],
  ['delete', '/api/auth/users'],
  ['get', '/api/auth/config'],
  ['put', '/api/auth/config'],
  ['post', '/api/auth/tokens/anon'],
] as const;

test.each(ADMIN_ROUTES)('%s %s is for the admin alone', async (method, path) => {
  const app = await startApp();
  const alice = await app.user('alice');
  const body = method === 'delete' ? { userIds: [alice.sub] } : method === 'put' ? { disableSignup: true } : undefined;
  const call = (who: Parameters<TestApp['as']>[0], headers = {}) =>
    method === 'get' ? app.as(who).get(path, headers) : app.as(who)[method](path, body, headers);
  const { body: admin } = await app
    .as('nobody')
    .post('/api/auth/admin/sessions', { username: 'admin', password: SECRETS.ROOT_ADMIN_PASSWORD });

  expect(await call('nobody')).toMatchObject({ status: 401, body: { error: 'AUTH_INVALID_CREDENTIALS' } });
  expect(await call('anon')).toMatchObject({ status: 403, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await call(alice)).toMatchObject({ status: 403, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await call('nobody', bearer('broken'))).toMatchObject({ status: 401, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await call('nobody', bearer('ik_wrong'))).toMatchObject({
    status: 401,
    body: { error: 'AUTH_INVALID_API_KEY' },
  });
  expect(await app.sql('select from auth.users')).toHaveLength(1);
  expect(await app.sql('select from auth.config')).toHaveLength(0);
  expect(await app.sql('select from system.audit_logs')).toHaveLength(0);

  const allowed = path.endsWith(ID) ? 404 : 200;
  expect((await call('admin')).status, 'x-api-key').toBe(allowed);
  expect((await call('nobody', bearer(SECRETS.ACCESS_API_KEY))).status, 'API key as bearer').toBe(allowed);
  expect((await call('nobody', bearer(admin.accessToken))).status, 'token of the admin').toBe(allowed);
});

async function withUsers() {
  const app = await startApp();
  await app.sql(`
    insert into auth.users (id, email, profile, created_at, is_anonymous, is_project_admin) values
    ('aaaaaaaa-0000-0000-0000-000000000001', 'ada@example.com', '{"name":"Ada Lovelace"}', '2026-01-01', false, false),
    ('aaaaaaaa-0000-0000-0000-000000000002', 'b_b@example.com', '{"name":"100% Bob"}', '2026-01-02', false, false),
    ('aaaaaaaa-0000-0000-0000-000000000003', 'bxb@example.com', 'null', '2026-01-03', false, false),
    ('aaaaaaaa-0000-0000-0000-000000000004', 'anonymous@example.com', '{}', '2026-01-04', true, false),
    ('aaaaaaaa-0000-0000-0000-000000000005', 'root@example.com', '{}', '2026-01-05', false, true)`);
  return app;
}

test.each([
  { query: '', emails: ['bxb', 'b_b', 'ada'], total: 3, limit: 10, offset: 0 },
  { query: '?limit=1', emails: ['bxb'], total: 3, limit: 1, offset: 0 },
  { query: '?limit=2&offset=2', emails: ['ada'], total: 3, limit: 2, offset: 2 },
  { query: '?limit=&offset=', emails: ['bxb', 'b_b', 'ada'], total: 3, limit: 10, offset: 0 },
  { query: '?limit=5000', emails: ['bxb', 'b_b', 'ada'], total: 3, limit: 1000, offset: 0 },
  { query: '?limit=0', emails: ['bxb'], total: 3, limit: 1, offset: 0 },
  { query: '?offset=9', emails: [], total: 3, limit: 10, offset: 9 },
  { query: '?search=LOVE', emails: ['ada'], total: 1, limit: 10, offset: 0 },
  { query: '?search=b_b', emails: ['b_b'], total: 1, limit: 10, offset: 0 },
  { query: '?search=%25', emails: ['b_b'], total: 1, limit: 10, offset: 0 },
  { query: `?search=${encodeURIComponent("' or true --")}`, emails: [], total: 0, limit: 10, offset: 0 },
])('the list with $query', async ({ query, emails, total, limit, offset }) => {
  const { as } = await withUsers();
  const { status, body } = await as('admin').get(`/api/auth/users${query}`);
  expect(status).toBe(200);
  expect(body.data.map(({ email }: { email: string }) => email.split('@')[0])).toEqual(emails);
  expect(body.pagination).toEqual({ offset, limit, total });
});

test.each(['?limit=ten', '?limit=0.5', '?offset=-1', '?offset=0.5'])('the list refuses %s', async (query) => {
  const { as } = await startApp();
  expect(await as('admin').get(`/api/auth/users${query}`)).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT' },
  });
});

test('one user is shown with all ways to sign in, and with whatever an import left', async () => {
  const app = await withUsers();
  await app.sql(`
    update auth.users set password = 'x', profile = '["odd"]', metadata = null, email_verified = null, created_at = null
    where email = 'ada@example.com';
    insert into auth.user_providers (user_id, provider, provider_account_id) select id, p, p || '-account'
    from auth.users, unnest(array['github', 'email', 'google']) p where email = 'ada@example.com'`);
  const { body } = await app.as('admin').get('/api/auth/users/aaaaaaaa-0000-0000-0000-000000000001');
  expect(body).toEqual({
    id: 'aaaaaaaa-0000-0000-0000-000000000001',
    email: 'ada@example.com',
    emailVerified: false,
    providers: ['email', 'github', 'google'],
    createdAt: '1970-01-01T00:00:00.000Z',
    updatedAt: expect.any(String),
    profile: null,
    metadata: null,
  });
});

test.each([
  { id: ID, status: 404, error: 'AUTH_USER_NOT_FOUND' },
  { id: 'me', status: 400, error: 'INVALID_INPUT' },
  { id: `${ID}'--`, status: 400, error: 'INVALID_INPUT' },
])('user $id: $status', async ({ id, status, error }) => {
  const { as } = await startApp();
  expect(await as('admin').get(`/api/auth/users/${id}`)).toMatchObject({ status, body: { error } });
});

test('deleting counts those who were there, and is on record', async () => {
  const app = await withUsers();
  const userIds = ['aaaaaaaa-0000-0000-0000-000000000001', ID];
  const reply = await app.as('admin').delete('/api/auth/users', { userIds });
  expect(reply.body).toEqual({ message: expect.any(String), deletedCount: 1 });
  expect(await app.sql('select actor, action, module, details, ip_address from system.audit_logs')).toEqual([
    {
      actor: 'api-key',
      action: 'DELETE_USERS',
      module: 'AUTH',
      details: { userIds, deletedCount: 1 },
      ip_address: '127.0.0.1',
    },
  ]);
});

test.each([
  { what: 'nobody', body: { userIds: [] }, message: /^userIds: / },
  { what: 'what is no id', body: { userIds: ['me'] }, message: /^userIds\.0: Invalid user ID format/ },
  { what: 'no list', body: {}, message: /^userIds: / },
])('deleting $what is refused', async ({ body, message }) => {
  const { as } = await startApp();
  const reply = await as('admin').delete('/api/auth/users', body);
  expect(reply).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
  expect(reply.body.message).toMatch(message);
});

test('a user whom other rows need stays, and the answer says which', async () => {
  const app = await startApp();
  const { user } = await signUp(app);
  await app.sql(
    `create table public.orders (by uuid references auth.users); insert into public.orders select id from auth.users`,
  );
  const reply = await app.as('admin').delete('/api/auth/users', { userIds: [user.id] });
  expect(reply).toMatchObject({
    status: 400,
    body: { error: 'DATABASE_CONSTRAINT_VIOLATION', message: expect.stringContaining('orders') },
  });
  expect(await app.sql('select from system.audit_logs')).toEqual([]);
});

test('a forged address of a proxy does not break the record', async () => {
  const { as, sql } = await startApp();
  const body = { userIds: [ID] };
  expect((await as('admin').delete('/api/auth/users', body, { 'x-forwarded-for': 'unknown' })).status).toBe(200);
  expect((await as('nobody').post('/api/auth/sessions', ALICE, { 'x-forwarded-for': '::1%eth0' })).status).toBe(401);
  expect(await sql('select ip_address from system.audit_logs')).toEqual([{ ip_address: null }]);
});

test('the anon key is handed out under its old name', async () => {
  const { as } = await startApp();
  const { body } = await as('admin').post('/api/auth/tokens/anon');
  expect(body).toEqual({ accessToken: SECRETS.ACCESS_ANON_KEY, message: expect.any(String) });
});
