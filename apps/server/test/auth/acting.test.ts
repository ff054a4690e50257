import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { bearer, ownToken, refresh, sessionIdOf, signUp } from './client.ts';

const USERS = '/api/auth/users';

/** A user who is signed in, and the token of the admin who acts for them. */
async function startActing() {
  const app = await startApp();
  const { user, accessToken, refreshToken } = await signUp(app);
  const path = `${USERS}/${user.id}`;
  const { body } = await app.as('admin').post(`${path}/impersonate`, {}, { 'user-agent': 'Support/1.0' });
  return { app, user, path, own: accessToken, refreshToken, acting: String(body.accessToken) };
}

/** What three parts of the server say to a token. */
async function statusesOf({ as }: TestApp, token: string): Promise<number[]> {
  const paths = ['/api/auth/sessions/current', '/auth/v1/profile', '/api/storage/buckets/none/objects'];
  return Promise.all(paths.map(async (path) => (await as('nobody').get(path, bearer(token))).status));
}

const LET_IN = [200, 200, 404];
const REFUSED = [401, 401, 401];

type Acting = Awaited<ReturnType<typeof startActing>>;

test.each<{ what: string; end: (parts: Acting) => Promise<{ status: number }> }>([
  { what: 'a ban', end: ({ app, path }) => app.as('admin').post(`${path}/ban`, {}) },
  { what: 'a new password', end: ({ app, path }) => app.as('admin').patch(path, { password: 'another one 2' }) },
  { what: 'the admin', end: ({ app, path }) => app.as('admin').delete(`${path}/sessions`) },
  {
    what: 'the admin, who ends this session only',
    end: ({ app, path, acting }) => app.as('admin').delete(`${path}/sessions/${sessionIdOf(acting)}`),
  },
  {
    what: 'the user, who signs out everywhere else',
    end: ({ app, own }) => app.as('nobody').delete('/api/auth/sessions?keepCurrent=true', undefined, bearer(own)),
  },
  {
    what: 'whoever acts, by signing out',
    end: ({ app, acting }) => app.as('nobody').post('/api/auth/logout?client_type=mobile', undefined, bearer(acting)),
  },
])('acting for a user is over at once after $what', async ({ end }) => {
  const parts = await startActing();
  const { app, acting } = parts;
  expect(await statusesOf(app, acting)).toEqual(LET_IN);
  expect((await end(parts)).status).toBe(200);
  expect(await statusesOf(app, acting)).toEqual(REFUSED);
});

test('it is over when the user is deleted, and after its hour also at the database', async () => {
  const { app, path, acting } = await startActing();
  const { body } = await app.as('admin').post(`${path}/impersonate`, {});
  await app.sql('update auth.sessions set expires_at = now() where id = $1', [sessionIdOf(acting)]);
  expect(await statusesOf(app, acting)).toEqual(REFUSED);
  expect(await statusesOf(app, body.accessToken), 'another one').toEqual(LET_IN);
  expect((await app.as('admin').delete(path)).status).toBe(200);
  expect(await statusesOf(app, body.accessToken)).toEqual(REFUSED);
});

test('signing out of it leaves the user signed in, and ends nothing else', async () => {
  const { app, own, refreshToken, acting } = await startActing();
  await app.as('nobody').post('/api/auth/logout?client_type=mobile', undefined, bearer(acting));
  expect(await statusesOf(app, own)).toEqual(LET_IN);
  expect((await refresh(app, refreshToken)).status).toBe(200);
});

test('other servers on the same database hear of it', async () => {
  const { app, path, acting } = await startActing();
  const other = await startApp({}, { beside: app });
  expect(await statusesOf(other, acting)).toEqual(LET_IN);
  await app.as('admin').post(`${path}/ban`, {});
  expect(await statusesOf(other, acting)).toEqual(REFUSED);
});

test('the user sees who acts for them', async () => {
  const { app, own, path, acting } = await startActing();
  const sessions = [
    { id: sessionIdOf(acting), actor: 'api-key', userAgent: 'Support/1.0', isCurrent: false },
    { id: sessionIdOf(own), actor: null, isCurrent: true },
  ];
  const { body } = await app.as('nobody').get('/api/auth/sessions', bearer(own));
  expect(body.data).toMatchObject(sessions);
  expect(Date.parse(body.data[0].expiresAt)).toBeLessThanOrEqual(Number(decodeJwt(acting).exp) * 1000 + 1000);
  const listed = await app.as('admin').get(`${path}/sessions`);
  expect(listed.body.data.map(({ actor }: { actor: string | null }) => actor)).toEqual(['api-key', null]);
});

test.each([
  { what: 'no session', sid: undefined },
  { what: 'a session that is unknown', sid: crypto.randomUUID() },
  { what: 'the session of the user', sid: 'own' },
])('a token of somebody who acts in $what is refused', async ({ sid }) => {
  const { app, own, acting } = await startActing();
  const claims = { ...decodeJwt<object>(acting), sid: sid === 'own' ? sessionIdOf(own) : sid };
  expect(await statusesOf(app, await ownToken(app, claims))).toEqual(REFUSED);
  expect(await statusesOf(app, await ownToken(app, { ...claims, sid: sessionIdOf(acting) }))).toEqual(LET_IN);
});

test('the network of the admin does not become one that the user is signed in from', async () => {
  const { app } = await startActing();
  expect(await app.sql('select ip_address, actor from auth.sessions where actor is not null')).toEqual([
    { ip_address: null, actor: 'api-key' },
  ]);
});
