import { createHmac, createPublicKey } from 'node:crypto';
import { createLocalJWKSet, exportJWK, generateKeyPair, type JWTPayload, jwtVerify, SignJWT, UnsecuredJWT } from 'jose';
import { expect, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';
import { ALICE, bearer, encodePart, ownToken, signUp } from './client.ts';

const SUB = '11111111-1111-1111-1111-111111111111';
const FUTURE = 9_999_999_999;
const CLAIMS = { sub: SUB, role: 'project_admin', exp: FUTURE };
const secret = new TextEncoder().encode(SECRETS.JWT_SECRET);

const hs256 = (claims: JWTPayload, header = {}, key = secret) =>
  new SignJWT(claims).setProtectedHeader({ alg: 'HS256', ...header }).sign(key);

const publicJwk = async ({ as }: TestApp) => (await as('nobody').get('/.well-known/jwks.json')).body.keys[0];

async function publicPem(app: TestApp): Promise<Uint8Array<ArrayBuffer>> {
  const key = createPublicKey({ key: await publicJwk(app), format: 'jwk' });
  return new TextEncoder().encode(String(key.export({ type: 'spki', format: 'pem' })));
}

/** A token signed with a key of the attacker, which its own header offers for verification. */
async function selfMade(header: Record<string, unknown>) {
  const { privateKey, publicKey } = await generateKeyPair('RS256', { extractable: true });
  const jwk = await exportJWK(publicKey);
  return new SignJWT(CLAIMS)
    .setProtectedHeader({ alg: 'RS256', ...header, ...(header.jwk ? { jwk } : {}) })
    .sign(privateKey);
}

const ATTACKS: [string, (app: TestApp) => string | Promise<string>][] = [
  ['alg none', () => new UnsecuredJWT(CLAIMS).encode()],
  [
    'alg None with our kid',
    async (app) => `${encodePart({ alg: 'None', kid: (await publicJwk(app)).kid })}.${encodePart(CLAIMS)}.`,
  ],
  ['a signature cut off', async (app) => (await ownToken(app, CLAIMS)).replace(/[^.]+$/, '')],
  ['HS256 with the public key as secret', async (app) => hs256(CLAIMS, {}, await publicPem(app))],
  ['the same under our kid', async (app) => hs256(CLAIMS, { kid: (await publicJwk(app)).kid }, await publicPem(app))],
  ['HS256 with the shared secret under our kid', async (app) => hs256(CLAIMS, { kid: (await publicJwk(app)).kid })],
  ['HS512 with the shared secret', () => hs256(CLAIMS, { alg: 'HS512' })],
  ['RS256 of our own without kid', (app) => ownToken(app, CLAIMS, { kid: undefined })],
  ['RS256 of our own under an unknown kid', (app) => ownToken(app, CLAIMS, { kid: 'kid_unknown' })],
  ['PS256 of another key under our kid', async (app) => selfMade({ kid: (await publicJwk(app)).kid })],
  ['an empty secret', () => `${encodePart({ alg: 'HS256' })}.${encodePart(CLAIMS)}.${'A'.repeat(43)}`],
  ['a kid that climbs to an empty file', () => selfMade({ kid: '../../../../dev/null' })],
  ['a kid with SQL', () => selfMade({ kid: "x' union select 'key" })],
  ['a kid that is an object', () => `${encodePart({ alg: 'HS256', kid: {} })}.${encodePart(CLAIMS)}.x`],
  ['an embedded jwk', () => selfMade({ jwk: true })],
  ['a jku', () => selfMade({ jku: 'https://attacker.example/jwks.json' })],
  ['an x5u', () => selfMade({ x5u: 'https://attacker.example/cert.pem' })],
  ['an x5c', () => selfMade({ x5c: ['MIIB'] })],
  ['an unknown crit', (app) => ownToken(app, CLAIMS, { crit: ['https://example.com/x'], 'https://example.com/x': 1 })],
  ['a crit that is no list', (app) => ownToken(app, CLAIMS, { crit: 'b64' })],
  ['an unencoded payload', (app) => ownToken(app, CLAIMS, { crit: ['b64'], b64: false })],
  ['expired', (app) => ownToken(app, { ...CLAIMS, exp: 1 })],
  ['expired, shared secret', () => hs256({ ...CLAIMS, exp: 1 })],
  ['not valid yet', (app) => ownToken(app, { ...CLAIMS, nbf: FUTURE - 1 })],
  ['made in the future', (app) => ownToken(app, { ...CLAIMS, iat: Math.floor(Date.now() / 1000) + 3600 })],
  ['made in the future, shared secret', () => hs256({ ...CLAIMS, iat: Math.floor(Date.now() / 1000) + 3600 })],
  ['made for somebody else', (app) => ownToken(app, { ...CLAIMS, aud: 'another-api' })],
  ['made for us and somebody else', (app) => ownToken(app, { ...CLAIMS, aud: ['insforge-api', 'another-api'] })],
  ['of another issuer under our key', (app) => ownToken(app, { ...CLAIMS, iss: 'https://attacker.example' })],
  [
    'of a program that no grant is known of',
    (app) =>
      ownToken(app, { ...CLAIMS, client_id: 'clf_x', iss: 'insforge', aud: 'insforge-api', jti: 'x', scope: 'api' }),
  ],
  ['no exp', () => hs256({ sub: SUB })],
  ['an exp that is a text', () => hs256({ ...CLAIMS, exp: '9999999999' as never })],
  ['no sub', () => hs256({ exp: FUTURE })],
  ['an empty sub', () => hs256({ sub: '', exp: FUTURE })],
  ['a sub that is a number', () => hs256({ sub: 7 as never, exp: FUTURE })],
  ['a wrong secret', () => hs256(CLAIMS, {}, new TextEncoder().encode('x'.repeat(32)))],
  ['changed claims', async (app) => tampered(await app.token(await app.user('alice')), {}, { role: 'project_admin' })],
  ['a refresh token', async (app) => (await signUp(app)).refreshToken],
  ['whatever else we sign for a purpose', () => hs256({ ...CLAIMS, iss: 'insforge', type: 'oauth-state' })],
  ['an encrypted token', () => `${encodePart({ alg: 'dir', enc: 'A128GCM' })}....`],
  ['no JWT at all', () => 'nonsense'],
  ['too many parts', async (app) => `${await ownToken(app, CLAIMS)}.x`],
];

function tampered(token: string, header: object, claims: object = {}): string {
  const [head = '', body = '', signature = ''] = token.split('.');
  const read = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString());
  return [encodePart({ ...read(head), ...header }), encodePart({ ...read(body), ...claims }), signature].join('.');
}

test.each(ATTACKS)('refused wherever a credential is asked for: %s', async (_what, make) => {
  const app = await startApp();
  const token = await make(app);
  const refused = { status: 401, body: { error: 'AUTH_UNAUTHORIZED', statusCode: 401 } };
  expect(await app.as('nobody').get('/api/auth/sessions/current', bearer(token)), 'token').toMatchObject(refused);
  expect(await app.as('nobody').get('/api/auth/users', bearer(token)), 'admin').toMatchObject(refused);
  const signUpReply = await app
    .as('nobody')
    .post('/api/auth/users', { ...ALICE, email: 'eve@example.com' }, bearer(token));
  expect(signUpReply, 'never taken for nobody').toMatchObject(refused);
  const { get, post } = app.as('nobody');
  const guarded = [
    '/api/database/records/any',
    '/api/storage/buckets',
    '/api/auth/sessions',
    '/api/auth/admin/sessions/current',
    '/api/oauth/v1/grants',
    '/api/database/migrations',
    '/api/metadata',
    '/api/email/outbox',
  ];
  for (const path of guarded) expect((await get(path, bearer(token))).status, path).toBe(401);
  const query = { query: 'create table public.taken ()' };
  expect(await post('/api/database/advance/rawsql', query, bearer(token)), 'SQL').toMatchObject(refused);
  expect((await get('/api/oauth/v1/userinfo', bearer(token))).status, 'userinfo').toBe(401);
  expect((await get('/auth/v1/profile', bearer(token))).status, 'profile').toBe(401);
  const tus = {
    ...bearer(token),
    'tus-resumable': '1.0.0',
    'upload-length': '3',
    'upload-metadata': 'bucketName Yg==',
  };
  expect((await post('/storage/v1/upload/resumable', undefined, tus)).status, 'tus').toBe(401);
  expect(await app.sql('select from storage.objects')).toEqual([]);
  for (const path of ['/api/storage/buckets/none/objects/f', `/api/auth/profiles/${SUB}`]) {
    expect(await get(path, bearer(token)), path).toMatchObject(refused);
    expect((await get(path)).status, path).toBe(404);
  }
});

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
  const exp = Math.floor(Date.now() / 1000) + 2;
  const token = await hs256({ sub: user.id, exp });
  const ask = () => app.as('nobody').get('/api/auth/sessions/current', bearer(token));
  expect((await ask()).status).toBe(200);
  await expect.poll(async () => (await ask()).status, { timeout: 5000 }).toBe(401);
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
