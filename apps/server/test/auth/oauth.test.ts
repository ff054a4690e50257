import { expect, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';
import {
  APP_URL,
  arrive,
  configureCustom,
  exchange,
  makePkce,
  openBrowser,
  signInWith,
  start,
  startReachableApp,
} from './oauth-browser.ts';
import { startOpenId } from './oauth-openid.ts';

const ADA = { email: 'Ada@Example.com', email_verified: true, name: 'Ada', picture: 'https://example.com/ada.png' };

/** A server and a real OpenID Connect provider that it knows as `sso`. */
async function startWithOpenId(environment: Record<string, string> = {}) {
  const app = await startReachableApp(environment);
  const { issuer } = await startOpenId({ ada: ADA }, [`${app.baseUrl}/api/auth/oauth/custom/sso/callback`]);
  await configureCustom(app, 'sso', { discoveryEndpoint: `${issuer}/.well-known/openid-configuration` });
  return { app, issuer };
}

const ada = { provider: 'sso', extra: { login_hint: 'ada' } };

test('somebody signs in through an OpenID Connect provider, and comes back as the same user', async () => {
  const { app } = await startWithOpenId();
  const first = await signInWith(app, ada);
  expect(first).toMatchObject({
    status: 200,
    body: {
      accessToken: expect.any(String),
      refreshToken: expect.any(String),
      user: {
        email: 'ada@example.com',
        emailVerified: true,
        providers: ['sso'],
        profile: { name: 'Ada', avatar_url: 'https://example.com/ada.png' },
      },
    },
  });
  const again = await signInWith(app, ada);
  expect(again.body.user.id).toBe(first.body.user.id);
  expect(await app.sql('select provider, provider_account_id, provider_data from auth.user_providers')).toEqual([
    {
      provider: 'sso',
      provider_account_id: 'ada',
      provider_data: { sub: 'ada', name: 'Ada', email: 'Ada@Example.com', picture: ADA.picture, email_verified: true },
    },
  ]);
});

test('the issuer itself serves as discovery endpoint', async () => {
  const { app, issuer } = await startWithOpenId();
  await app.as('admin').put('/api/auth/oauth/custom/sso/config', { discoveryEndpoint: issuer });
  expect(await signInWith(app, ada)).toMatchObject({ status: 200 });
});

test('a web client gets its session as a cookie', async () => {
  const { app } = await startWithOpenId();
  const pkce = makePkce();
  const code = (await arrive(app, { ...ada, pkce })).searchParams.get('insforge_code');
  expect(code).toMatch(/^[0-9a-f]{64}$/);
  const reply = await app.as('nobody').post('/api/auth/oauth/exchange', { code, code_verifier: pkce.verifier });
  expect(reply).toMatchObject({ status: 200, body: { csrfToken: expect.any(String) } });
  expect(reply.body.refreshToken).toBeUndefined();
  expect(String(reply.headers['set-cookie'])).toContain('insforge_refresh_token=');
});

test('the request to the provider is bound by state, nonce and PKCE, and carries what the app adds', async () => {
  const { app, issuer } = await startWithOpenId();
  const forged = {
    scope: 'admin',
    client_id: 'evil',
    state: 'mine',
    nonce: 'mine',
    request_uri: 'https://evil.example',
  };
  const { body } = await start(app, { provider: 'sso', extra: { prompt: 'login', login_hint: 'ada', ...forged } });
  const url = new URL(body.authUrl);
  expect(url.origin).toBe(issuer);
  const { state, nonce, code_challenge: challenge, ...rest } = Object.fromEntries(url.searchParams);
  expect(rest).toEqual({
    client_id: 'client-of-the-tests',
    response_type: 'code',
    redirect_uri: `${app.baseUrl}/api/auth/oauth/custom/sso/callback`,
    scope: 'openid email profile',
    code_challenge_method: 'S256',
    prompt: 'login',
    login_hint: 'ada',
  });
  expect(state?.split('.')).toHaveLength(3);
  expect(state?.length).toBeLessThan(500);
  expect(nonce).toMatch(/^[\w-]{43}$/);
  expect(challenge).toMatch(/^[\w-]{43}$/);
});

test('parameters of the redirect address stay, and nobody can put a code of their own among them', async () => {
  const { app } = await startWithOpenId();
  const arrived = await arrive(app, { ...ada, redirectUri: `${APP_URL}?tab=2&insforge_code=forged&error=forged` });
  expect(arrived.searchParams.get('tab')).toBe('2');
  expect(arrived.searchParams.getAll('insforge_code')).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
  expect(arrived.searchParams.get('error')).toBeNull();
});

test('whoever changes their mind at the provider comes back with the reason', async () => {
  const { app } = await startWithOpenId();
  const arrived = await arrive(app, { provider: 'sso' });
  expect(Object.fromEntries(arrived.searchParams)).toEqual({ error: 'access_denied' });
});

test.each([
  { why: 'an unknown provider', path: '/api/auth/oauth/myspace', status: 400, error: 'INVALID_INPUT' },
  {
    why: 'a provider without configuration',
    path: '/api/auth/oauth/google',
    status: 500,
    error: 'AUTH_OAUTH_CONFIG_ERROR',
  },
  {
    why: 'an unknown custom provider',
    path: '/api/auth/oauth/custom/none',
    status: 404,
    error: 'AUTH_OAUTH_CONFIG_NOT_FOUND',
  },
  { why: 'a malformed key', path: '/api/auth/oauth/custom/a%2Fb', status: 400, error: 'INVALID_INPUT' },
  { why: 'no challenge', query: { code_challenge: '' }, status: 400, error: 'INVALID_INPUT' },
  {
    why: 'a challenge that is too short',
    query: { code_challenge: 'a'.repeat(42) },
    status: 400,
    error: 'INVALID_INPUT',
  },
  {
    why: 'a challenge that is too long',
    query: { code_challenge: 'a'.repeat(129) },
    status: 400,
    error: 'INVALID_INPUT',
  },
  { why: 'no redirect address', query: { redirect_uri: '' }, status: 400, error: 'INVALID_INPUT' },
  { why: 'an address that runs', query: { redirect_uri: 'javascript:alert(1)' }, status: 400, error: 'INVALID_INPUT' },
  {
    why: 'an address that is not allowed',
    query: { redirect_uri: 'https://evil.example/' },
    status: 400,
    error: 'INVALID_INPUT',
  },
])('no sign-in starts with $why', async ({ path = '/api/auth/oauth/custom/sso', query = {}, status, error }) => {
  const { app } = await startWithOpenId();
  await app.as('admin').put('/api/auth/config', { allowedRedirectUrls: [APP_URL] });
  const search = new URLSearchParams({ redirect_uri: APP_URL, code_challenge: makePkce().challenge, ...query });
  expect(await app.as('nobody').get(`${path}?${search}`)).toMatchObject({ status, body: { error } });
  expect(await app.sql('select from auth.oauth_states')).toEqual([]);
});

test('an address that is taken off the list while the user is away is not led to', async () => {
  const { app } = await startWithOpenId();
  const { body } = await start(app, ada);
  await app.as('admin').put('/api/auth/config', { allowedRedirectUrls: ['https://elsewhere.example/*'] });
  await expect(openBrowser().visit(body.authUrl)).rejects.toThrow(/stuck at .*: 400 .*redirect_uri/);
  expect(await app.sql('select from auth.users')).toEqual([]);
});

test('a provider that cannot be reached is named', async () => {
  const app = await startReachableApp();
  await configureCustom(app, 'gone', { discoveryEndpoint: 'http://127.0.0.1:9/' });
  expect(await start(app, { provider: 'gone' })).toMatchObject({
    status: 503,
    body: { error: 'UPSTREAM_FAILURE', message: expect.stringContaining('gone') },
  });
});

test('a provider on the private network is not called unless the configuration allows it', async () => {
  const { app } = await startWithOpenId();
  // As if the switch had been turned off, or a name had begun to lead here, after the configuration was saved.
  await app.sql(`update auth.custom_oauth_configs set discovery_endpoint = 'https://localhost:8443/'`);
  const closed = await startApp({ API_BASE_URL: app.baseUrl }, { beside: app });
  expect(await start(closed, ada)).toMatchObject({
    status: 500,
    body: { error: 'AUTH_OAUTH_CONFIG_ERROR', nextActions: expect.stringContaining('ALLOW_PRIVATE_NETWORK') },
  });
});

test('of 100 exchanges of one code at once, one gets a session', async () => {
  const { app } = await startWithOpenId();
  const pkce = makePkce();
  const code = (await arrive(app, { ...ada, pkce })).searchParams.get('insforge_code');
  const replies = await Promise.all(Array.from({ length: 100 }, () => exchange(app, code, pkce)));
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
  for (const { status, body } of replies)
    if (status !== 200) expect([status, body.error]).toEqual([400, 'AUTH_UNAUTHORIZED']);
  expect(await app.sql('select from auth.sessions')).toHaveLength(1);
});

test.each([
  { why: 'another verifier', verifier: makePkce().verifier },
  { why: 'the challenge in place of the verifier', useChallenge: true },
  { why: 'a code that nobody issued', code: 'f'.repeat(64) },
  { why: 'a code that has expired', sql: `update auth.exchange_codes set expires_at = now()` },
])('nobody gets a session with $why', async ({ verifier, useChallenge, code, sql = 'select 1' }) => {
  const { app } = await startWithOpenId();
  const pkce = makePkce();
  const issued = (await arrive(app, { ...ada, pkce })).searchParams.get('insforge_code');
  await app.sql(sql);
  const presented = useChallenge ? pkce.challenge : (verifier ?? pkce.verifier);
  const reply = await exchange(app, code ?? issued, { verifier: presented, challenge: '' });
  expect(reply).toMatchObject({ status: 400, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await app.sql('select from auth.sessions')).toEqual([]);
});

test('sign-in works although replicas share the work', async () => {
  const { app } = await startWithOpenId();
  const other = await startApp({ API_BASE_URL: app.baseUrl, ALLOW_PRIVATE_NETWORK: 'true' }, { beside: app });
  const pkce = makePkce();
  const { body } = await start(other, { ...ada, pkce });
  const arrived = new URL(await openBrowser().visit(body.authUrl));
  expect(await exchange(other, arrived.searchParams.get('insforge_code'), pkce)).toMatchObject({ status: 200 });
});

test('nothing that is stored while somebody signs in is worth anything to who reads it', async () => {
  const { app } = await startWithOpenId();
  const { body } = await start(app, ada);
  const { nonce, code_challenge: challenge } = Object.fromEntries(new URL(body.authUrl).searchParams);
  const rows = JSON.stringify(await app.sql('select * from auth.oauth_states'));
  expect(rows).not.toContain(nonce);
  expect(rows).not.toContain(challenge);
  expect(rows).not.toContain(SECRETS.JWT_SECRET);
  const denied = app.sql('set role project_admin; select * from auth.oauth_states');
  await expect(denied).rejects.toThrow(/permission denied/);
});
