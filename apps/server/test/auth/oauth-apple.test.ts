import { createHash } from 'node:crypto';
import { decodeProtectedHeader, exportPKCS8, generateKeyPair, type JWTPayload, jwtVerify } from 'jose';
import { expect, test } from 'vitest';
import {
  arrive,
  CLIENT,
  configure,
  exchange,
  makePkce,
  signInWith,
  start,
  startReachableApp,
} from './oauth-browser.ts';
import { FORGED_ID_TOKENS, type Forge, startScriptedOpenId } from './oauth-scripted.ts';

const ADA = {
  sub: '000123.ada',
  email: 'x7@privaterelay.appleid.com',
  email_verified: 'true',
  is_private_email: 'true',
};

async function startWithApple() {
  const apple = await startScriptedOpenId();
  apple.script.claims = ADA;
  const app = await startReachableApp({ OAUTH_OWN_HOSTS: `apple=${apple.issuer}` });
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const clientSecret = JSON.stringify({
    teamId: 'TEAM123456',
    keyId: 'KEY1234567',
    privateKey: await exportPKCS8(privateKey),
  });
  await configure(app, 'apple', { clientSecret, nativeClientIds: ['com.example.app'] });
  return { app, apple, publicKey };
}

test('somebody signs in with Apple, which posts a form, and whose secret is a token', async () => {
  const { app, apple, publicKey } = await startWithApple();
  apple.script.answer = {
    user: JSON.stringify({ name: { firstName: 'Ada', lastName: 'King' }, email: 'ignored@example.com' }),
  };
  const { body } = await signInWith(app, { provider: 'apple' });
  expect(body.user).toMatchObject({
    email: ADA.email,
    emailVerified: true,
    providers: ['apple'],
    profile: { name: 'Ada King' },
  });
  expect(apple.authorized.get('response_mode')).toBe('form_post');
  expect(apple.authorized.get('scope')).toBe('name email');
  const secret = apple.redeemed.get('client_secret') ?? '';
  const { payload } = await jwtVerify(secret, publicKey, {
    audience: 'https://appleid.apple.com',
    issuer: 'TEAM123456',
  });
  expect(payload.sub).toBe(CLIENT.id);
  expect(decodeProtectedHeader(secret)).toMatchObject({ alg: 'ES256', kid: 'KEY1234567' });
});

test('the name, which Apple tells once, stays when it is not told again; nonsense in its place does no harm', async () => {
  const { app, apple } = await startWithApple();
  apple.script.answer = { user: JSON.stringify({ name: { firstName: 'Ada' } }) };
  await signInWith(app, { provider: 'apple' });
  for (const user of ['', '{', '[]', '{"name":7}', '"x"']) {
    apple.script.answer = { user };
    expect((await signInWith(app, { provider: 'apple' })).body.user.profile.name).toBe('Ada');
  }
});

test('a token that was made elsewhere is a secret as well', async () => {
  const { app, apple } = await startWithApple();
  await app.as('admin').put('/api/auth/oauth/apple/config', { clientSecret: 'made.else.where' });
  expect(await signInWith(app, { provider: 'apple' })).toMatchObject({ status: 200 });
  expect(apple.redeemed.get('client_secret')).toBe('made.else.where');
});

test('a secret that is not usable is said to be, with the command that mends it', async () => {
  const { app } = await startWithApple();
  await app.as('admin').put('/api/auth/oauth/apple/config', { clientSecret: '{"teamId":"x"}' });
  expect(await start(app, { provider: 'apple' })).toMatchObject({
    status: 500,
    body: { error: 'AUTH_OAUTH_CONFIG_ERROR', nextActions: expect.stringContaining('/api/auth/oauth/apple/config') },
  });
});

test('a form with a field twice is refused', async () => {
  const { app } = await startWithApple();
  const { body } = await start(app, { provider: 'apple' });
  const state = new URL(body.authUrl).searchParams.get('state') ?? '';
  const form = new URLSearchParams({ state, code: 'a' });
  form.append('code', 'b');
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const reply = await app.as('nobody').post('/api/auth/oauth/apple/callback', form.toString(), headers);
  expect(new URL(String(reply.headers.location)).searchParams.get('error')).toBe('The sign-in with apple failed');
});

test('where Apple cancels, the app hears of it', async () => {
  const { app } = await startWithApple();
  const { body } = await start(app, { provider: 'apple' });
  const state = new URL(body.authUrl).searchParams.get('state') ?? '';
  const form = new URLSearchParams({ state, error: 'user_cancelled_authorize' }).toString();
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const reply = await app.as('nobody').post('/api/auth/oauth/apple/callback', form, headers);
  const error = new URL(String(reply.headers.location)).searchParams.get('error');
  expect(error).toBe('apple refused the sign-in: user_cancelled_authorize');
});

const NONCE = 'raw nonce of the app';
const hashed = createHash('sha256').update(NONCE).digest('hex');

async function startWithGoogle() {
  const google = await startScriptedOpenId();
  const app = await startReachableApp({ OAUTH_OWN_HOSTS: `google=${google.issuer}` });
  await configure(app, 'google', { nativeClientIds: ['ios.apps.googleusercontent.com'] });
  return { app, google };
}

const GIL = { sub: '1', email: 'g@example.com', email_verified: true, name: 'Gil', picture: 'https://g.example/g.png' };

test.each([
  { aud: CLIENT.id },
  { aud: 'ios.apps.googleusercontent.com' },
  // Android asks in the name of the server's client, under a client id of its own.
  { aud: CLIENT.id, azp: 'android.apps.googleusercontent.com' },
  { aud: [CLIENT.id, 'another'], azp: CLIENT.id },
])('a Google ID token made for $aud, asked for by $azp, opens a session', async (audience) => {
  const { app, google } = await startWithGoogle();
  const token = await google.idToken({ ...GIL, ...audience });
  const reply = await app.as('nobody').post('/api/auth/id-token?client_type=mobile', { provider: 'google', token });
  expect(reply).toMatchObject({
    status: 200,
    body: {
      accessToken: expect.any(String),
      refreshToken: expect.any(String),
      user: { email: 'g@example.com', emailVerified: true, providers: ['google'], profile: { name: 'Gil' } },
    },
  });
  // The same person in a browser is the same user.
  google.script.claims = { sub: '1', email: 'g@example.com', email_verified: true };
  expect((await signInWith(app, { provider: 'google' })).body.user.id).toBe(reply.body.user.id);
});

test('an Apple ID token with its nonce opens a session, and the app tells the name', async () => {
  const { app, apple } = await startWithApple();
  const token = await apple.idToken({ ...ADA, aud: 'com.example.app', nonce: hashed });
  const body = { provider: 'apple', token, nonce: NONCE, name: 'Ada' };
  expect(await app.as('nobody').post('/api/auth/id-token', body)).toMatchObject({
    status: 200,
    body: { csrfToken: expect.any(String), user: { email: ADA.email, emailVerified: true, profile: { name: 'Ada' } } },
  });
});

test.each([
  { provider: 'apple', config: { clientId: 'com.example.app' } },
  { provider: 'apple', config: { nativeClientIds: ['com.example.app'] } },
  { provider: 'google', config: { nativeClientIds: ['com.example.app'] } },
])('a native app needs no secret: $provider with $config', async ({ provider, config }) => {
  const openId = await startScriptedOpenId();
  const app = await startReachableApp({ OAUTH_OWN_HOSTS: `${provider}=${openId.issuer}` });
  expect(await app.as('admin').post('/api/auth/oauth/configs', { provider, ...config })).toMatchObject({ status: 200 });
  const signIn = async (aud: string) => {
    const token = await openId.idToken({ ...ADA, aud, nonce: hashed });
    return app.as('nobody').post('/api/auth/id-token', { provider, token, nonce: NONCE });
  };
  expect(await signIn('com.example.app')).toMatchObject({ status: 200, body: { user: { email: ADA.email } } });
  expect(await signIn('com.evil.app')).toMatchObject({ status: 401, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await start(app, { provider })).toMatchObject({ status: 500, body: { error: 'AUTH_OAUTH_CONFIG_ERROR' } });
});

interface BadToken {
  why: string;
  claims?: JWTPayload;
  header?: Record<string, unknown>;
  forge?: Forge;
}

test.each<BadToken>([
  { why: 'another audience', claims: { aud: 'com.evil.app' } },
  { why: 'no audience', claims: { aud: undefined } },
  {
    why: 'several audiences, made for another one',
    claims: { aud: ['com.example.app', 'com.evil.app'], azp: 'com.evil.app' },
  },
  { why: 'several audiences and no word for whom', claims: { aud: ['com.example.app', 'com.evil.app'] } },
  { why: 'another issuer', claims: { iss: 'https://evil.example' } },
  { why: 'an expired token', claims: { iat: 1_000_000_000, exp: 1_000_003_600 } },
  { why: 'a token that is not valid yet', claims: { nbf: 9_000_000_000 } },
  { why: 'a token made in the future', claims: { iat: 9_000_000_000, exp: 9_000_003_600 } },
  { why: 'no subject', claims: { sub: undefined } },
  { why: 'no nonce', claims: { nonce: undefined } },
  { why: 'the raw nonce', claims: { nonce: NONCE } },
  { why: 'another nonce', claims: { nonce: createHash('sha256').update('other').digest('hex') } },
  { why: 'an unknown key', header: { kid: 'key-2' } },
  { why: 'a key that it brings along', header: { kid: 'key-2', jku: 'https://evil.example/keys' } },
  { why: 'an extension that nobody knows', header: { crit: ['exp'], exp: 1 } },
  ...FORGED_ID_TOKENS,
])('an Apple ID token is refused with $why', async ({ claims = {}, header = {}, forge }) => {
  const { app, apple } = await startWithApple();
  if (forge) apple.script.forge = forge;
  const token = await apple
    .idToken({ ...ADA, aud: 'com.example.app', nonce: hashed, ...claims }, header)
    .catch(() => 'x.y.z');
  const reply = await app.as('nobody').post('/api/auth/id-token', { provider: 'apple', token, nonce: NONCE });
  expect(reply).toMatchObject({ status: 401, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await app.sql('select from auth.users')).toEqual([]);
});

test.each<BadToken>([
  { why: 'several audiences, made for another one', claims: { aud: [CLIENT.id, 'another'], azp: 'another' } },
  { why: 'several audiences and no word for whom', claims: { aud: [CLIENT.id, 'another'] } },
  ...FORGED_ID_TOKENS,
  { why: 'nothing of a token', forge: () => 'x' },
])('a Google ID token is refused with $why', async ({ claims = {}, forge }) => {
  const { app, google } = await startWithGoogle();
  if (forge) google.script.forge = forge;
  const token = await google.idToken({ ...GIL, ...claims });
  expect(await app.as('nobody').post('/api/auth/id-token', { provider: 'google', token })).toMatchObject({
    status: 401,
    body: { error: 'AUTH_UNAUTHORIZED' },
  });
  expect(await app.sql('select from auth.users')).toEqual([]);
});

test.each([
  { body: { provider: 'github', token: 'x' }, status: 400, error: 'INVALID_INPUT' },
  { body: { provider: 'google' }, status: 400, error: 'INVALID_INPUT' },
  { body: { provider: 'apple', token: 'x' }, status: 400, error: 'INVALID_INPUT' },
  { body: { provider: 'apple', token: 'x', nonce: 'n' }, status: 500, error: 'AUTH_OAUTH_CONFIG_ERROR' },
])('the request $body is answered with $error', async ({ body, status, error }) => {
  const { app } = await startWithGoogle();
  expect(await app.as('nobody').post('/api/auth/id-token', body)).toMatchObject({ status, body: { error } });
});

test('an ID token does not take over a verified account of the address unless the provider has verified it', async () => {
  const { app, google } = await startWithGoogle();
  await app
    .as('admin')
    .post('/api/auth/users', { email: 'g@example.com', password: 'correct horse battery', autoConfirm: true });
  const token = await google.idToken({ sub: '1', email: 'g@example.com', email_verified: false });
  expect(await app.as('nobody').post('/api/auth/id-token', { provider: 'google', token })).toMatchObject({
    status: 409,
    body: { error: 'AUTH_EMAIL_EXISTS' },
  });
});

test('a code of Apple exchanges as every other', async () => {
  const { app } = await startWithApple();
  const pkce = makePkce();
  const arrived = await arrive(app, { provider: 'apple', pkce });
  expect(await exchange(app, arrived.searchParams.get('insforge_code'), pkce)).toMatchObject({ status: 200 });
});
