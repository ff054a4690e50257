import { createHmac } from 'node:crypto';
import { createLocalJWKSet, decodeJwt, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';
import { ALICE, bearer, encodePart, ownToken, signUp } from './client.ts';
import { ADMIN_PLACES, FORGED_CLAIMS, FORGED_SIGNATURES, type Forge, show, USER_PLACES } from './forgeries.ts';

const SUB = '11111111-1111-1111-1111-111111111111';
const FUTURE = 9_999_999_999;
const SESSIONS = '/api/auth/sessions';
const secret = new TextEncoder().encode(SECRETS.JWT_SECRET);

const hs256 = (claims: JWTPayload, header = {}, key = secret) =>
  new SignJWT(claims).setProtectedHeader({ alg: 'HS256', ...header }).sign(key);

/** The claims of good tokens: those of a user who is signed in, and of an admin. */
async function startWithClaims() {
  const app = await startApp();
  const { accessToken, refreshToken, user } = await signUp(app);
  const asUser: JWTPayload = { ...decodeJwt(accessToken), exp: FUTURE };
  const asAdmin: JWTPayload = { sub: user.id, role: 'project_admin', exp: FUTURE };
  return { app, refreshToken, asUser, asAdmin };
}

test('good tokens are let in wherever forged ones are tried below', async () => {
  const { app, asUser, asAdmin } = await startWithClaims();
  const tokens = { user: await ownToken(app, asUser), admin: await ownToken(app, asAdmin) };
  for (const place of USER_PLACES) expect((await show(app, tokens.user, place)).status, place.path).toBe(place.good);
  for (const place of ADMIN_PLACES) expect((await show(app, tokens.admin, place)).status, place.path).toBe(place.good);
});

const SPECIAL: [string, Forge][] = [
  [
    'a refresh token',
    async ({ as }) => (await as('nobody').post(`${SESSIONS}?client_type=mobile`, ALICE)).body.refreshToken,
  ],
  ['whatever else we sign for a purpose', (_, claims) => hs256({ ...claims, iss: 'insforge', type: 'oauth-state' })],
  ['an encrypted token', () => `${encodePart({ alg: 'dir', enc: 'A128GCM' })}....`],
  ['no JWT at all', () => 'nonsense'],
  // Whoever else holds the shared secret signs tokens that are good, but not these.
  ['expired, shared secret', (_, claims) => hs256({ ...claims, exp: 1 })],
  ['made in the future, shared secret', (_, claims) => hs256({ ...claims, iat: FUTURE - 1 })],
  ['no exp, shared secret', (_, claims) => hs256({ ...claims, exp: undefined as never })],
  ['no sub, shared secret', (_, claims) => hs256({ ...claims, sub: undefined as never })],
];

test.each([...FORGED_SIGNATURES, ...FORGED_CLAIMS, ...SPECIAL])(
  'refused wherever a credential is asked for: %s',
  async (_what, forge) => {
    const { app, asUser, asAdmin } = await startWithClaims();
    const refused = { status: 401, body: { error: 'AUTH_UNAUTHORIZED', statusCode: 401 } };
    for (const [claims, places] of [[asUser, USER_PLACES] as const, [asAdmin, ADMIN_PLACES] as const]) {
      const token = await forge(app, claims);
      for (const place of places) expect(await show(app, token, place), place.path).toMatchObject(refused);
    }
  },
);

test.each(['/api/storage/buckets/none/objects/f', `/api/auth/profiles/${SUB}`])(
  'a bad token is never taken for none: %s',
  async (path) => {
    const { get } = (await startApp()).as('nobody');
    expect((await get(path)).status).toBe(404);
    expect((await get(path, bearer('nonsense'))).status).toBe(401);
  },
);

test('of a claim that a token states twice, the last one counts, for us as for policies', async () => {
  const app = await startApp();
  const [alice, bob] = [await app.user('alice'), await app.user('bob')];
  const head = encodePart({ alg: 'HS256' });
  const body = Buffer.from(
    `{"sub":"${alice.sub}","sub":"${bob.sub}","role":"project_admin","role":"authenticated","exp":${FUTURE}}`,
  );
  const signed = `${head}.${body.toString('base64url')}`;
  const token = `${signed}.${createHmac('sha256', SECRETS.JWT_SECRET).update(signed).digest('base64url')}`;
  const { get, post } = app.as('nobody');
  expect((await get('/api/auth/sessions/current', bearer(token))).body.user.id).toBe(bob.sub);
  expect((await get('/api/auth/users', bearer(token))).status).toBe(403);
  await app.sql(`create function public.me() returns uuid language sql as 'select auth.uid()'`);
  await expect.poll(async () => (await post('/api/database/rpc/me', {}, bearer(token))).body).toBe(bob.sub);
});

test.each([
  { what: 'our own', make: (app: TestApp, sub: string) => ownToken(app, { sub, role: 'authenticated', exp: FUTURE }) },
  {
    what: 'one of a third party',
    make: (_: TestApp, sub: string) => hs256({ sub, role: 'authenticated', exp: FUTURE }),
  },
  {
    what: 'one with a key id of theirs',
    make: (_: TestApp, sub: string) => hs256({ sub, exp: FUTURE }, { kid: 'theirs' }),
  },
  { what: 'one without a role', make: (_: TestApp, sub: string) => hs256({ sub, exp: FUTURE }) },
  {
    what: 'one with claims of theirs',
    make: (_: TestApp, sub: string) => hs256({ sub, exp: FUTURE, iss: 'x', aud: 'y', type: 'z' }),
  },
])('accepted: $what', async ({ make }) => {
  const app = await startApp();
  const { user } = await signUp(app);
  const token = await make(app, user.id);
  const replies = [0, 1].map(() => app.as('nobody').get('/api/auth/sessions/current', bearer(token)));
  for (const reply of await Promise.all(replies)) expect(reply).toMatchObject({ status: 200, body: { user } });
  expect((await app.as('nobody').get('/api/auth/users', bearer(token))).status).toBe(403);
});

test.each(['postgres', 'service_role', 'authenticator', 7, {}])('the role %j does not exist here', async (role) => {
  const { as } = await startApp();
  const reply = await as('nobody').get('/api/auth/users', bearer(await hs256({ sub: SUB, role, exp: FUTURE })));
  expect(reply).toMatchObject({ status: 403, body: { error: 'AUTH_UNAUTHORIZED' } });
});

test('a token that was accepted once is refused when it expires', async () => {
  const app = await startApp();
  const { user } = await signUp(app);
  const exp = Math.floor(Date.now() / 1000) + 4;
  const token = await hs256({ sub: user.id, exp });
  const ask = () => app.as('nobody').get('/api/auth/sessions/current', bearer(token));
  expect((await ask()).status).toBe(200);
  await expect.poll(async () => (await ask()).status, { timeout: 15_000 }).toBe(401);
  expect(Date.now() / 1000).toBeGreaterThanOrEqual(exp);
});

test.each(['/.well-known/jwks.json', '/api/.well-known/jwks.json'])(
  '%s verifies our tokens and holds nothing private',
  async (path) => {
    const app = await startApp();
    const { accessToken, user } = await signUp(app);
    const { status, headers, body } = await app.as('nobody').get(path);
    expect(status).toBe(200);
    expect(headers['cache-control']).toMatch(/^public, max-age=\d+$/);
    expect(body).toEqual({
      keys: [
        { kty: 'RSA', kid: expect.stringMatching(/^kid_/), alg: 'RS256', use: 'sig', n: expect.any(String), e: 'AQAB' },
      ],
    });
    const { payload } = await jwtVerify(accessToken, createLocalJWKSet(body));
    expect(payload.sub).toBe(user.id);
  },
);
