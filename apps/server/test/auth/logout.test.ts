import { decodeJwt } from 'jose';
import { expect, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';
import {
  ALICE,
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
import { FORGED_SIGNATURES } from './forgeries.ts';

const PATH = '/api/auth/logout';
const done = { status: 200, body: { success: true, message: expect.any(String) } };

test('a browser signs out: the session ends and the cookie goes', async () => {
  const { as, sql } = await startApp();
  const browser = browserOf(await as('anon').post('/api/auth/users', ALICE));
  const reply = await as('nobody').post(PATH, undefined, headersOf(browser));
  expect(reply).toMatchObject(done);
  expect(cookiesOf(reply)[USER_COOKIE]).toEqual({
    value: '',
    attributes: expect.arrayContaining(['Max-Age=0', 'Path=/api/auth', 'HttpOnly', 'Secure', 'SameSite=None']),
  });
  expect(await sql('select from auth.sessions')).toEqual([]);
  expect((await as('nobody').post('/api/auth/refresh', undefined, headersOf(browser))).status).toBe(401);
});

test('another site cannot sign a browser out', async () => {
  const { as } = await startApp();
  const browser = browserOf(await as('anon').post('/api/auth/users', ALICE));
  for (const csrf of [undefined, 'f'.repeat(64)]) {
    const headers = { cookie: browser.cookie, ...(csrf && { 'x-csrf-token': csrf }) };
    const reply = await as('nobody').post(PATH, undefined, headers);
    expect(reply).toMatchObject({ status: 403, body: { error: 'FORBIDDEN' } });
    expect(cookiesOf(reply)).toEqual({});
  }
  expect((await as('nobody').post('/api/auth/refresh', undefined, headersOf(browser))).status).toBe(200);
});

test.each<{ what: string; headers: Record<string, string> }>([
  { what: 'no cookie', headers: {} },
  { what: 'a broken cookie', headers: { cookie: `${USER_COOKIE}=broken` } },
  { what: 'a broken token', headers: { authorization: 'Bearer broken' } },
  { what: 'the anon key', headers: { authorization: `Bearer ${SECRETS.ACCESS_ANON_KEY}` } },
])('with $what there is nothing to end, and it succeeds', async ({ headers }) => {
  const app = await startApp();
  const { refreshToken } = await signUp(app);
  const reply = await app.as('nobody').post(PATH, undefined, headers);
  expect(reply).toMatchObject(done);
  expect(cookiesOf(reply)[USER_COOKIE]?.value).toBe('');
  expect((await refresh(app, refreshToken)).status).toBe(200);
});

test('other clients sign out with their access token, also when it has expired', async () => {
  const app = await startApp();
  const { accessToken, refreshToken } = await signUp(app);
  const { body: other } = await app.as('nobody').post('/api/auth/sessions?client_type=mobile', ALICE);
  const reply = await app.as('nobody').post(`${PATH}?client_type=mobile`, undefined, bearer(accessToken));
  expect(reply).toMatchObject(done);
  expect(cookiesOf(reply)).toEqual({});
  expect((await refresh(app, refreshToken)).status).toBe(401);
  expect((await refresh(app, other.refreshToken)).status, 'another device').toBe(200);

  const expired = await ownToken(app, { sub: 'x', sid: sessionIdOf(other.accessToken), exp: 1 });
  expect((await app.as('nobody').get('/api/auth/sessions/current', bearer(expired))).status).toBe(401);
  expect(await app.as('nobody').post(`${PATH}?client_type=mobile`, undefined, bearer(expired))).toMatchObject(done);
  expect((await refresh(app, other.refreshToken)).status).toBe(401);
});

test('other clients sign out with their refresh token', async () => {
  const app = await startApp();
  const { refreshToken } = await signUp(app);
  expect(await app.as('nobody').post(`${PATH}?client_type=server`, { refresh_token: refreshToken })).toMatchObject(
    done,
  );
  expect((await refresh(app, refreshToken)).status).toBe(401);
});

test('a session id in a token that is not ours ends nothing', async () => {
  const app = await startApp();
  const { accessToken } = await signUp(app);
  // The key id does not matter here, as the expiry does not: our key has signed it.
  const forgeries = FORGED_SIGNATURES.filter(([what]) => !what.startsWith('RS256 of our own'));
  for (const [what, forge] of forgeries) {
    const forged = await forge(app, decodeJwt(accessToken));
    expect(await app.as('nobody').post(`${PATH}?client_type=mobile`, undefined, bearer(forged))).toMatchObject(done);
    expect(await app.sql('select from auth.sessions'), what).toHaveLength(1);
  }
});
