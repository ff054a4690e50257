import { expect, test } from 'vitest';
import {
  APP_URL,
  arrive,
  CLIENT,
  configure,
  exchange,
  makePkce,
  openBrowser,
  type ReachableApp,
  signInWith,
  startReachableApp,
} from './oauth-browser.ts';
import { startScriptedOpenId } from './oauth-scripted.ts';

const ADA = { sub: 'ada', email: 'ada@example.com', email_verified: true };

async function startWith(provider: string) {
  const openId = await startScriptedOpenId();
  openId.script.claims = ADA;
  const app = await startReachableApp({ OAUTH_OWN_HOSTS: `${provider}=${openId.issuer}` });
  await configure(app, provider);
  return { app, openId };
}

test.each([
  { provider: 'google', scope: 'openid email profile', usesPkce: true, usesNonce: true },
  { provider: 'gitlab', scope: 'openid email profile', usesPkce: true, usesNonce: true },
  // It answers `invalid_client` to PKCE, and its ID tokens have no nonce.
  { provider: 'linkedin', scope: 'openid email profile', usesPkce: false, usesNonce: false },
])('$provider is spoken to as it understands', async ({ provider, scope, usesPkce, usesNonce }) => {
  const { app, openId } = await startWith(provider);
  if (!usesNonce) openId.script.claims = { ...ADA, nonce: undefined };
  const { body } = await signInWith(app, { provider });
  expect(body.user).toMatchObject({ email: ADA.email, emailVerified: true, providers: [provider] });
  expect(openId.authorized.get('scope')).toBe(scope);
  expect(openId.authorized.has('nonce')).toBe(usesNonce);
  expect(openId.authorized.has('code_challenge')).toBe(usesPkce);
  expect(openId.redeemed.has('code_verifier')).toBe(usesPkce);
  expect(openId.redeemed.get('client_secret')).toBe(CLIENT.secret);
});

test('scopes of the configuration replace the usual ones, and openid stays', async () => {
  const { app, openId } = await startWith('google');
  await app.as('admin').put('/api/auth/oauth/google/config', { scopes: ['email'] });
  expect(await signInWith(app, { provider: 'google' })).toMatchObject({ status: 200 });
  expect(openId.authorized.get('scope')).toBe('openid email');
});

test('a known provider answers under both addresses, also to clients that take it for a custom one', async () => {
  const { app } = await startWith('gitlab');
  const query = (pkce: { challenge: string }) =>
    new URLSearchParams({ redirect_uri: APP_URL, code_challenge: pkce.challenge }).toString();
  const users = [];
  for (const path of ['gitlab', 'custom/gitlab', 'GitLab']) {
    const pkce = makePkce();
    const { body } = await app.as('nobody').get(`/api/auth/oauth/${path}?${query(pkce)}`);
    expect(new URL(body.authUrl).searchParams.get('redirect_uri')).toBe(
      `${app.baseUrl}/api/auth/oauth/gitlab/callback`,
    );
    const arrived = new URL(await openBrowser().visit(body.authUrl));
    users.push((await exchange(app, arrived.searchParams.get('insforge_code'), pkce)).body.user.id);
  }
  expect(new Set(users).size).toBe(1);
});

async function arrivedTwice(app: ReachableApp) {
  const { body } = await signInWith(app, { provider: 'google' });
  const pkce = makePkce();
  const arrived = await arrive(app, { provider: 'google', pkce });
  return { userId: body.user.id as string, code: arrived.searchParams.get('insforge_code'), pkce };
}

test('a provider is one factor: whoever has a second one must show it', async () => {
  const { app } = await startWith('google');
  const { userId, code, pkce } = await arrivedTwice(app);
  await app.sql(
    `insert into auth.factors (user_id, name, secret_ciphertext, verified_at) values ($1, 'Phone', 'x', now())`,
    [userId],
  );
  const reply = await exchange(app, code, pkce);
  expect(reply).toMatchObject({
    status: 403,
    body: { error: 'AUTH_SECOND_FACTOR_REQUIRED', challenge: expect.any(String) },
  });
  expect(reply.body.accessToken).toBeUndefined();
});

test('whoever is banned does not come in, with a code from before the ban either', async () => {
  const { app } = await startWith('google');
  const { userId, code, pkce } = await arrivedTwice(app);
  await app.sql(`update auth.users set banned_until = 'infinity' where id = $1`, [userId]);
  expect(await exchange(app, code, pkce)).toMatchObject({ status: 400, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await signInWith(app, { provider: 'google' })).toMatchObject({
    status: 403,
    body: { error: 'AUTH_USER_BANNED' },
  });
  expect(await app.sql('select from auth.sessions')).toEqual([]);
});

test('a user who is deleted while a code waits gets nothing for it', async () => {
  const { app } = await startWith('google');
  const { userId, code, pkce } = await arrivedTwice(app);
  await app.as('admin').delete('/api/auth/users', { userIds: [userId] });
  expect(await exchange(app, code, pkce)).toMatchObject({ status: 400, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await app.sql('select from auth.user_providers')).toEqual([]);
});

test('taking a provider away ends signing in with it, and leaves the accounts', async () => {
  const { app } = await startWith('google');
  const { body } = await signInWith(app, { provider: 'google' });
  await app.as('admin').delete('/api/auth/oauth/google/config');
  const query = new URLSearchParams({ redirect_uri: APP_URL, code_challenge: makePkce().challenge });
  const reply = await app.as('nobody').get(`/api/auth/oauth/google?${query}`);
  expect(reply).toMatchObject({ status: 500, body: { error: 'AUTH_OAUTH_CONFIG_ERROR' } });
  expect(await app.as('admin').get(`/api/auth/users/${body.user.id}`)).toMatchObject({ status: 200 });
});
