import { expect, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';
import { ALICE, BOB, bearer, ownToken, signUp } from './client.ts';

const UNKNOWN = '11111111-1111-1111-1111-111111111111';
const CURRENT = '/api/auth/profiles/current';

test('anybody reads a profile, which has nothing but the profile', async () => {
  const { as } = await startApp();
  const { body } = await as('anon').post('/api/auth/users', { ...ALICE, name: 'Alice' });
  const reply = await as('nobody').get(`/api/auth/profiles/${body.user.id}`);
  expect(reply).toMatchObject({ status: 200 });
  expect(reply.body).toEqual({ id: body.user.id, profile: { name: 'Alice' } });
});

test('a broken credential does not count as none', async () => {
  const app = await startApp();
  const { accessToken, user } = await signUp(app);
  const read = (headers: Record<string, string>) => app.as('nobody').get(`/api/auth/profiles/${user.id}`, headers);
  for (const headers of [bearer(accessToken), bearer(SECRETS.ACCESS_ANON_KEY), { authorization: 'Basic YTpi' }]) {
    expect((await read(headers)).status).toBe(200);
  }
  const expired = await ownToken(app, { sub: user.id, role: 'authenticated', exp: 1 });
  expect(await read(bearer(expired))).toMatchObject({ status: 401, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await read(bearer('anon_wrong'))).toMatchObject({ status: 401, body: { error: 'AUTH_INVALID_CREDENTIALS' } });
  expect(await read({ 'x-api-key': 'ik_wrong' })).toMatchObject({
    status: 401,
    body: { error: 'AUTH_INVALID_API_KEY' },
  });
});

test.each([
  { id: UNKNOWN, status: 404, error: 'AUTH_USER_NOT_FOUND' },
  { id: 'current', status: 400, error: 'INVALID_INPUT' },
])('profile $id: $status', async ({ id, status, error }) => {
  const { as } = await startApp();
  expect(await as('nobody').get(`/api/auth/profiles/${id}`)).toMatchObject({ status, body: { error } });
});

test('a user lays keys over their own profile, and over no other', async () => {
  const app = await startApp();
  const alice = await signUp(app);
  const bob = await signUp(app, BOB);
  const set = (profile: unknown) => app.as('nobody').patch(CURRENT, { profile }, bearer(alice.accessToken));
  expect((await set({ name: 'Alice', theme: { dark: true, size: 1 } })).body).toEqual({
    id: alice.user.id,
    profile: { name: 'Alice', theme: { dark: true, size: 1 } },
  });
  expect((await set({ theme: { dark: false }, avatar_url: null })).body.profile).toEqual({
    name: 'Alice',
    theme: { dark: false },
    avatar_url: null,
  });
  const [row] = await app.sql('select updated_at > created_at as touched from auth.users where id = $1', [
    alice.user.id,
  ]);
  expect(row).toEqual({ touched: true });
  expect((await app.as('nobody').get(`/api/auth/profiles/${bob.user.id}`)).body.profile).toEqual({});
});

test('a profile cannot be grown without end', async () => {
  const app = await startApp();
  const { accessToken, user } = await signUp(app);
  const grow = (key: string) =>
    app.as('nobody').patch(CURRENT, { profile: { [key]: 'x'.repeat(150_000) } }, bearer(accessToken));
  expect((await grow('a')).status).toBe(200);
  expect(await grow('b')).toMatchObject({
    status: 413,
    body: { error: 'PAYLOAD_TOO_LARGE', message: expect.stringContaining('262144'), nextActions: expect.any(String) },
  });
  const { body } = await app.as('nobody').get(`/api/auth/profiles/${user.id}`);
  expect(Object.keys(body.profile)).toEqual(['a']);
});

const BODY = { profile: { name: 'Eve' } };
test.each([
  { what: 'no credential', body: BODY, status: 401, error: 'AUTH_INVALID_CREDENTIALS', credential: undefined },
  {
    what: 'the anon key',
    body: BODY,
    status: 401,
    error: 'AUTH_INVALID_CREDENTIALS',
    credential: SECRETS.ACCESS_ANON_KEY,
  },
  {
    what: 'the API key',
    body: BODY,
    status: 401,
    error: 'AUTH_INVALID_CREDENTIALS',
    credential: SECRETS.ACCESS_API_KEY,
  },
  { what: 'a broken token', body: BODY, status: 401, error: 'AUTH_UNAUTHORIZED', credential: 'broken' },
  { what: 'no profile', body: {}, status: 400, error: 'INVALID_INPUT', credential: 'own' },
  { what: 'a text for a profile', body: { profile: 'Eve' }, status: 400, error: 'INVALID_INPUT', credential: 'own' },
  { what: 'a list for a profile', body: { profile: [] }, status: 400, error: 'INVALID_INPUT', credential: 'own' },
  {
    what: 'a NUL in it',
    body: { profile: { name: '\0' } },
    status: 400,
    error: 'DATABASE_VALIDATION_ERROR',
    credential: 'own',
  },
])('setting a profile is refused with $what: $status', async ({ body, status, error, credential }) => {
  const app = await startApp();
  const { accessToken, user } = await signUp(app);
  const headers = credential === undefined ? {} : bearer(credential === 'own' ? accessToken : credential);
  expect(await app.as('nobody').patch(CURRENT, body, headers)).toMatchObject({ status, body: { error } });
  expect((await app.as('nobody').get(`/api/auth/profiles/${user.id}`)).body.profile).toEqual({});
});

test('the current session is the user of the token', async () => {
  const app = await startApp();
  const { accessToken, user } = await signUp(app);
  const own = await app.as('nobody').get('/api/auth/sessions/current', bearer(accessToken));
  expect(own).toMatchObject({ status: 200, body: { user } });
  const thirdParty = await app.as({ sub: user.id, email: ALICE.email }).get('/api/auth/sessions/current');
  expect(thirdParty).toMatchObject({ status: 200, body: { user } });
});

test.each([
  { what: 'no credential', status: 401, error: 'AUTH_INVALID_CREDENTIALS', credential: undefined },
  { what: 'the anon key', status: 401, error: 'AUTH_INVALID_CREDENTIALS', credential: SECRETS.ACCESS_ANON_KEY },
  { what: 'the API key', status: 401, error: 'AUTH_INVALID_CREDENTIALS', credential: SECRETS.ACCESS_API_KEY },
  { what: 'a broken token', status: 401, error: 'AUTH_UNAUTHORIZED', credential: 'broken' },
  {
    what: 'a token of the admin',
    status: 403,
    error: 'FORBIDDEN',
    credential: { sub: 'local:admin', role: 'project_admin' },
  },
  { what: 'a token of nobody', status: 403, error: 'FORBIDDEN', credential: { sub: UNKNOWN, role: 'anon' } },
  { what: 'a user who is gone', status: 404, error: 'AUTH_USER_NOT_FOUND', credential: { sub: UNKNOWN } },
  { what: 'a user of somebody else', status: 404, error: 'AUTH_USER_NOT_FOUND', credential: { sub: 'auth0|7' } },
])('there is no current session with $what: $status', async ({ status, error, credential }) => {
  const app = await startApp();
  const token =
    typeof credential === 'object' ? await ownToken(app, { ...credential, exp: 9_999_999_999 }) : credential;
  const reply = await app.as('nobody').get('/api/auth/sessions/current', token === undefined ? {} : bearer(token));
  expect(reply).toMatchObject({ status, body: { error } });
});
