import * as oauth from 'openid-client';
import { expect, test } from 'vitest';
import { totpCode } from '../../src/features/auth/totp.ts';
import { bearer } from '../auth/client.ts';
import { ALICE, CALLBACK, discover, openBrowser, registerClient, signInWith, startProvider } from './flow.ts';

const TOKEN = '/api/oauth/v1/token';
const CHALLENGE = await oauth.calculatePKCECodeChallenge('v'.repeat(43));

/** A request that would be answered. */
const request = (clientId: string, change: Record<string, string | undefined> = {}) => {
  const parameters = {
    client_id: clientId,
    redirect_uri: CALLBACK,
    response_type: 'code',
    scope: 'openid email',
    state: 'the-state',
    code_challenge: CHALLENGE,
    code_challenge_method: 'S256',
    ...change,
  };
  const present = Object.entries(parameters).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return `/api/oauth/v1/authorize?${new URLSearchParams(present)}`;
};

test.each([
  {
    what: 'no PKCE',
    change: { code_challenge: undefined, code_challenge_method: undefined },
    error: 'invalid_request',
  },
  { what: 'PKCE in the open', change: { code_challenge_method: 'plain' }, error: 'invalid_request' },
  { what: 'a scope that the client may not ask for', change: { scope: 'openid api' }, error: 'invalid_scope' },
  { what: 'the implicit flow', change: { response_type: 'token' }, error: 'unsupported_response_type' },
])('the program is told: $what', async ({ change, error }) => {
  const provider = await startProvider();
  const { clientId } = await registerClient(provider);
  const page = await openBrowser(provider).open(provider.url + request(clientId, change));
  const target = new URL(page.url);
  expect(target.origin + target.pathname).toBe(CALLBACK);
  const parameters = new URLSearchParams(target.search || target.hash.slice(1));
  expect(parameters.get('error')).toBe(error);
  expect(parameters.get('state')).toBe('the-state');
});

test.each([
  { what: 'an unknown client', change: { client_id: 'clf_unknownunknownunknown' }, says: 'invalid_client' },
  { what: 'a client that cannot be', change: { client_id: 'clf_\0' }, says: 'invalid_client' },
  { what: 'no client', change: { client_id: undefined }, says: 'invalid_request' },
  {
    what: 'an address that is not registered',
    change: { redirect_uri: 'https://evil.example/' },
    says: 'redirect_uri',
  },
  { what: 'an address below a registered one', change: { redirect_uri: `${CALLBACK}/more` }, says: 'redirect_uri' },
])('the browser is sent nowhere: $what', async ({ change, says }) => {
  const provider = await startProvider();
  const { clientId } = await registerClient(provider);
  const page = await openBrowser(provider).open(provider.url + request(clientId, change));
  expect(page).toMatchObject({ status: 400, text: expect.stringContaining(says) });
  expect(page.headers.get('content-security-policy')).toContain(`default-src 'none'`);
  expect(page.headers.get('x-content-type-options')).toBe('nosniff');
});

test('a user who does not allow it is sent back with access_denied', async () => {
  const provider = await startProvider();
  const { clientId } = await registerClient(provider);
  const browser = openBrowser(provider);
  const login = await browser.open(provider.url + request(clientId));
  const consent = await browser.submit(login, 'Sign in', ALICE);
  expect(consent.text).toContain('See your email address');
  expect(consent.text).not.toContain('See your profile');
  const back = await browser.submit(consent, 'Do not allow');
  expect(new URL(back.url).searchParams.get('error')).toBe('access_denied');

  const again = openBrowser(provider);
  const cancelled = await again.submit(await again.open(provider.url + request(clientId)), 'Cancel');
  expect(new URL(cancelled.url).searchParams.get('error')).toBe('access_denied');
});

test('the login page takes neither wrong passwords, nor banned users, nor forms of other sites', async () => {
  const provider = await startProvider();
  const { clientId } = await registerClient(provider);
  const browser = openBrowser(provider);
  const login = await browser.open(provider.url + request(clientId));
  const wrong = await browser.submit(login, 'Sign in', { ...ALICE, password: '<script>alert(1)</script>' });
  expect(wrong).toMatchObject({ status: 401, text: expect.stringContaining('Wrong email address or password') });
  expect(wrong.text).toContain('value="alice@example.com"');
  expect(wrong.text).not.toContain('<script>');

  const forged = await fetch(login.url, {
    method: 'POST',
    headers: { cookie: [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
    body: new URLSearchParams({ step: 'password', ...ALICE, csrf: '0'.repeat(64) }),
  });
  expect(forged.status).toBe(403);
  const stranger = await fetch(login.url);
  expect(stranger.status, 'another browser').toBe(404);

  await provider.sql(`update auth.users set banned_until = 'infinity'`);
  const banned = await browser.submit(login, 'Sign in', ALICE);
  expect(banned).toMatchObject({ status: 403, text: expect.stringContaining('suspended') });
});

test('a second factor is asked for', async () => {
  const provider = await startProvider();
  const { clientId } = await registerClient(provider);
  const { post } = provider.as('nobody');
  const session = (await post('/api/auth/sessions?client_type=mobile', ALICE)).body;
  const factor = (await post('/api/auth/factors', undefined, bearer(session.accessToken))).body;
  const codeOf = (steps: number) => totpCode(factor.secret, Math.floor(Date.now() / 30_000) + steps);
  await post(`/api/auth/factors/${factor.id}/verify`, { code: codeOf(-1) }, bearer(session.accessToken));

  const browser = openBrowser(provider);
  const code = await browser.submit(await browser.open(provider.url + request(clientId)), 'Sign in', ALICE);
  expect(code.text).toContain('Second factor');
  const wrong = await browser.submit(code, 'Continue', { code: '000000' });
  expect(wrong).toMatchObject({ status: 400, text: expect.stringContaining('is wrong') });
  const consent = await browser.submit(wrong, 'Continue', { code: codeOf(0) });
  expect(consent.text).toContain('Let Notes in?');
});

test('what the protocol has no use for is passed over, and nothing may be said twice', async () => {
  const provider = await startProvider();
  const client = await registerClient(provider);
  // MCP clients name the resource that they want a token for (RFC 8707).
  const change = { resource: 'https://mcp.example.com/', nonsense: 'x' };
  const page = await openBrowser(provider).open(provider.url + request(client.clientId, change));
  expect(page.text).toContain('name="password"');
  const twice = await fetch(provider.url + TOKEN, {
    method: 'POST',
    body: new URLSearchParams([
      ...Object.entries({ grant_type: 'refresh_token', refresh_token: 'x' }),
      ['refresh_token', 'y'],
    ]),
  });
  expect({ status: twice.status, body: await twice.json() }).toMatchObject({
    status: 400,
    body: { error: 'invalid_request', error_description: expect.stringContaining('twice') },
  });
});

test('a code counts once; its second use ends what came of the first', async () => {
  const provider = await startProvider();
  const client = await registerClient(provider);
  const config = await discover(provider, client);
  const { tokens, callback, verifier } = await signInWith(provider, config);
  const replay = await provider.as('nobody').post(TOKEN, {
    grant_type: 'authorization_code',
    code: callback.searchParams.get('code'),
    redirect_uri: CALLBACK,
    code_verifier: verifier,
    client_id: client.clientId,
    client_secret: client.clientSecret,
  });
  expect(replay).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
  expect(await oauth.tokenIntrospection(config, tokens.access_token)).toEqual({ active: false });
});

test('a refresh token counts once; its second use ends the grant', async () => {
  const provider = await startProvider();
  const config = await discover(provider, await registerClient(provider));
  const { tokens } = await signInWith(provider, config);
  const stolen = tokens.refresh_token ?? '';
  const next = await oauth.refreshTokenGrant(config, stolen);
  await expect(oauth.refreshTokenGrant(config, stolen)).rejects.toMatchObject({ error: 'invalid_grant' });
  await expect(oauth.refreshTokenGrant(config, next.refresh_token ?? '')).rejects.toMatchObject({
    error: 'invalid_grant',
  });
});

test.each([
  { what: 'another verifier', change: { code_verifier: 'w'.repeat(43) }, status: 400, error: 'invalid_grant' },
  { what: 'no verifier', change: { code_verifier: undefined }, status: 400, error: 'invalid_grant' },
  { what: 'another secret', change: { client_secret: 'guessed' }, status: 401, error: 'invalid_client' },
  { what: 'no secret', change: { client_secret: undefined }, status: 401, error: 'invalid_client' },
  { what: 'another address', change: { redirect_uri: 'https://other.example/' }, status: 400, error: 'invalid_grant' },
  { what: 'another kind of grant', change: { grant_type: 'password' }, status: 400, error: 'unsupported_grant_type' },
])('no token for $what', async ({ change, status, error }) => {
  const provider = await startProvider();
  const { clientId, clientSecret } = await registerClient(provider);
  const browser = openBrowser(provider);
  const login = await browser.open(provider.url + request(clientId));
  const back = await browser.submit(await browser.submit(login, 'Sign in', ALICE), 'Allow');
  const body = {
    grant_type: 'authorization_code',
    code: new URL(back.url).searchParams.get('code'),
    redirect_uri: CALLBACK,
    code_verifier: 'v'.repeat(43),
    client_id: clientId,
    client_secret: clientSecret,
  };
  expect(await provider.as('nobody').post(TOKEN, { ...body, ...change })).toMatchObject({ status, body: { error } });
  const right = await provider.as('nobody').post(TOKEN, body);
  expect(right.status, 'JSON is as good as a form').toBe(200);
  expect(right.headers['cache-control']).toBe('no-store');
});

test('without the scope api, a token opens nothing here, and an ID token never does', async () => {
  const provider = await startProvider();
  const client = await registerClient(provider);
  const { tokens } = await signInWith(provider, await discover(provider, client));
  const { get, patch } = provider.as('nobody');
  const current = '/api/auth/sessions/current';
  expect((await get(current, bearer(tokens.access_token))).status).toBe(403);
  expect((await get('/api/database/records/anything', bearer(tokens.access_token))).status).toBe(403);
  expect((await patch('/api/auth/profiles/current', { profile: {} }, bearer(tokens.access_token))).status).toBe(403);
  expect((await get(current, bearer(tokens.id_token ?? ''))).status).toBe(401);
  expect((await get('/auth/v1/profile', bearer(tokens.id_token ?? ''))).status).toBe(401);
  expect((await get('/auth/v1/profile')).status).toBe(401);
});

test('a program with the scope api acts in the database, and not on the account', async () => {
  const provider = await startProvider();
  await provider.sql(`create table public.notes (id int); insert into notes values (1), (2);
    alter table notes enable row level security;
    create policy p on notes to authenticated using (id = 1 or auth.jwt() ->> 'client_id' is null)`);
  const client = await registerClient(provider, { scopes: ['openid', 'api'] });
  const { tokens } = await signInWith(provider, await discover(provider, client), { scope: 'openid api' });
  const { get, delete: remove, post } = provider.as('nobody');
  expect((await get('/api/database/records/notes', bearer(tokens.access_token))).body).toEqual([{ id: 1 }]);
  for (const reply of [
    await get('/api/auth/sessions', bearer(tokens.access_token)),
    await remove('/api/auth/sessions', undefined, bearer(tokens.access_token)),
    await post('/api/auth/factors', undefined, bearer(tokens.access_token)),
    await get('/api/oauth/v1/grants', bearer(tokens.access_token)),
  ]) {
    expect(reply).toMatchObject({ status: 403, body: { error: 'FORBIDDEN' } });
  }
});

test.each([
  { what: 'the password changes', change: `update auth.users set password = 'x'` },
  { what: 'the user is banned', change: `update auth.users set banned_until = 'infinity'` },
  { what: 'the user is deleted', change: 'delete from auth.users' },
  { what: 'the program is deleted', change: 'delete from auth.oauth_clients' },
])('tokens of programs end when $what', async ({ change }) => {
  const provider = await startProvider();
  const config = await discover(provider, await registerClient(provider, { scopes: ['openid', 'api'] }));
  const { tokens } = await signInWith(provider, config, { scope: 'openid api' });
  const current = () => provider.as('nobody').get('/api/auth/sessions/current', bearer(tokens.access_token));
  expect((await current()).status).toBe(200);
  await provider.sql(change);
  expect((await current()).status).toBe(401);
  await expect(oauth.refreshTokenGrant(config, tokens.refresh_token ?? '')).rejects.toThrow();
});

test('clients learn nothing of the tokens of others, and revoke none', async () => {
  const provider = await startProvider();
  const config = await discover(provider, await registerClient(provider));
  const other = await discover(provider, await registerClient(provider, { name: 'Other' }));
  const { tokens } = await signInWith(provider, config);
  expect(await oauth.tokenIntrospection(other, tokens.access_token)).toEqual({ active: false });
  await oauth.tokenRevocation(other, tokens.refresh_token ?? '').catch(() => {});
  expect(await oauth.tokenIntrospection(config, tokens.access_token)).toMatchObject({ active: true });
});

test('a client asks for tokens fifty times a minute', async () => {
  const provider = await startProvider();
  const { clientId } = await registerClient(provider);
  const { post } = provider.as('nobody');
  const body = { grant_type: 'refresh_token', refresh_token: 'x', client_id: clientId, client_secret: 'wrong' };
  for (let count = 0; count < 50; count++) expect((await post(TOKEN, body)).status).toBe(401);
  expect(await post(TOKEN, body)).toMatchObject({ status: 429, body: { error: 'temporarily_unavailable' } });
  expect((await post(TOKEN, { ...body, client_id: 'clf_anotheranotheranother' })).status, 'another client').toBe(401);
});

test('an address opens the authorization page a hundred times a minute', async () => {
  const provider = await startProvider();
  const { clientId } = await registerClient(provider);
  const from = (address: string) =>
    fetch(provider.url + request(clientId, { scope: 'nonsense' }), {
      redirect: 'manual',
      headers: { 'x-forwarded-for': address },
    });
  for (let count = 0; count < 100; count++) expect((await from('198.51.100.7')).status).toBe(303);
  const refused = await from('198.51.100.7');
  expect({ status: refused.status, text: await refused.text() }).toEqual({
    status: 429,
    text: expect.stringContaining('Too many requests from this address'),
  });
  expect(refused.headers.get('content-type')).toBe('text/html; charset=utf-8');
  expect((await from('198.51.100.8')).status, 'another address').toBe(303);
});

test('a token reads its profile a hundred times a minute', async () => {
  const provider = await startProvider();
  const { post, get } = provider.as('nobody');
  const tokenOf = async () => (await post('/api/auth/sessions?client_type=mobile', ALICE)).body.accessToken;
  const [token, other] = [await tokenOf(), await tokenOf()];
  for (let count = 0; count < 100; count++) expect((await get('/auth/v1/profile', bearer(token))).status).toBe(200);
  expect((await get('/auth/v1/profile', bearer(token))).status).toBe(429);
  expect((await get('/auth/v1/profile', bearer(other))).status, 'another token').toBe(200);
});

test('a client uses no kind of grant that it was not registered for', async () => {
  const provider = await startProvider();
  await provider.as('admin').put('/api/oauth/v1/settings', { dynamicRegistration: true });
  const { post } = provider.as('nobody');
  const register = async (grant_types: string[]) => {
    const metadata = { redirect_uris: [CALLBACK], token_endpoint_auth_method: 'none', grant_types };
    const reply = await post('/api/oauth/v1/register', metadata);
    expect(reply.status, reply.text).toBe(201);
    return reply.body.client_id;
  };
  const refreshAs = (client_id: string) => post(TOKEN, { grant_type: 'refresh_token', refresh_token: 'x', client_id });
  expect(await refreshAs(await register(['authorization_code']))).toMatchObject({
    status: 400,
    body: { error: 'unauthorized_client' },
  });
  expect(await refreshAs(await register(['authorization_code', 'refresh_token']))).toMatchObject({
    status: 400,
    body: { error: 'invalid_grant' },
  });
});

test('whoever planted their own cookies in a browser is not signed in by its sign-in', async () => {
  const provider = await startProvider();
  const { clientId } = await registerClient(provider);
  const url = provider.url + request(clientId);
  const [attacker, victim] = [openBrowser(provider), openBrowser(provider)];
  const begun = await attacker.open(url);
  for (const [name, value] of attacker.cookies) victim.cookies.set(name, value);

  const consent = await victim.submit(begun, 'Sign in', ALICE);
  expect(consent.text).toContain('>Allow</button>');
  const resumed = await attacker.open(begun.url.replace('/auth/oauth/', '/api/oauth/v1/authorize/'));
  expect(resumed).toMatchObject({ status: 400, text: expect.stringContaining('interaction session not found') });
  expect((await attacker.open(url)).text).toContain('name="password"');
  expect((await victim.open(url)).text, 'the victim is signed in').toContain('>Allow</button>');
});
