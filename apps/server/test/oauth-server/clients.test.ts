import * as oauth from 'openid-client';
import { expect, test } from 'vitest';
import { bearer } from '../auth/client.ts';
import { startApp } from '../harness.ts';
import {
  ALICE,
  CALLBACK,
  CLIENTS,
  discover,
  openBrowser,
  type RegisteredClient,
  registerClient,
  signInWith,
  startProvider,
} from './flow.ts';

const SETTINGS = '/api/oauth/v1/settings';
const REGISTER = '/api/oauth/v1/register';
const GRANTS = '/api/oauth/v1/grants';

test('the admin registers, reads, changes and deletes a client; its secret is shown once', async () => {
  const { as, sql } = await startApp();
  const { get, post, patch, delete: remove } = as('admin');
  const created = await post(CLIENTS, {
    name: 'Notes',
    redirectUris: [CALLBACK],
    homepageUrl: 'https://notes.example',
  });
  expect(created).toMatchObject({ status: 200, headers: { 'cache-control': 'no-store' } });
  const { clientSecret, ...client } = created.body;
  expect(client).toEqual({
    clientId: expect.stringMatching(/^clf_[\w-]{24}$/),
    name: 'Notes',
    redirectUris: [CALLBACK],
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    homepageUrl: 'https://notes.example',
    isPublic: false,
    isDynamic: false,
    createdAt: expect.any(String),
    updatedAt: expect.any(String),
  });
  expect(clientSecret).toMatch(/^[\w-]{43}$/);
  const path = `${CLIENTS}/${client.clientId}`;
  expect((await get(path)).body).toEqual(client);
  expect((await get(CLIENTS)).body).toEqual({ data: [client] });
  expect(JSON.stringify(await sql('select * from auth.oauth_clients'))).not.toContain(clientSecret);

  const changed = await patch(path, { name: 'Notes 2', scopes: ['openid'], homepageUrl: null });
  expect(changed.body).toMatchObject({ name: 'Notes 2', scopes: ['openid'], homepageUrl: null });
  const rotated = await post(`${path}/rotate-secret`);
  expect(rotated.body).toEqual({ clientId: client.clientId, clientSecret: expect.any(String) });
  expect(rotated.body.clientSecret).not.toBe(clientSecret);
  expect((await remove(path)).status).toBe(200);
  for (const reply of [await get(path), await remove(path), await patch(path, { name: 'X' })]) {
    expect(reply).toMatchObject({ status: 404, body: { error: 'NOT_FOUND' } });
  }
  const audit = JSON.stringify(await sql('select * from system.audit_logs'));
  expect(audit).toContain('ROTATE_OAUTH_CLIENT_SECRET');
  expect(audit).not.toContain(rotated.body.clientSecret);
});

test.each([
  'http://app.example.com/callback',
  'https://app.example.com/#fragment',
  'https://user@app.example.com/',
  'javascript:alert(1)',
  'data:text/html,x',
  'filesystem:/x',
  '/callback',
  'https://app.example.com/\\@evil.example',
  '*',
])('refused as address of a client: %s', async (redirectUri) => {
  const { as } = await startApp();
  const reply = await as('admin').post(CLIENTS, { name: 'X', redirectUris: [redirectUri] });
  expect(reply).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
});

test.each([
  { who: 'nobody', status: 401 },
  { who: 'anon', status: 403 },
  { who: 'user', status: 403 },
] as const)('$who manages no clients: $status', async ({ who, status }) => {
  const app = await startApp();
  const caller = app.as(who === 'user' ? await app.user('alice') : who);
  const path = `${CLIENTS}/clf_unknownunknownunknown`;
  for (const reply of [
    await caller.get(CLIENTS),
    await caller.post(CLIENTS, { name: 'X', redirectUris: [CALLBACK] }),
    await caller.get(path),
    await caller.patch(path, { name: 'X' }),
    await caller.post(`${path}/rotate-secret`),
    await caller.delete(path),
    await caller.get(SETTINGS),
    await caller.put(SETTINGS, { dynamicRegistration: true }),
  ]) {
    expect(reply.status).toBe(status);
  }
});

test('programs register themselves only while the admin lets them', async () => {
  const provider = await startProvider();
  const { post, get } = provider.as('nobody');
  const metadata = {
    client_name: 'Agent',
    redirect_uris: ['http://localhost:1234/cb'],
    application_type: 'native',
    token_endpoint_auth_method: 'none',
  };
  const DISCOVERY = '/.well-known/oauth-authorization-server';
  expect(await post(REGISTER, metadata)).toMatchObject({ status: 403, body: { error: 'access_denied' } });
  expect((await get(DISCOVERY)).body.registration_endpoint).toBeUndefined();
  expect((await provider.as('admin').put(SETTINGS, { dynamicRegistration: true })).status).toBe(200);
  expect((await get(DISCOVERY)).body.registration_endpoint).toBe(provider.url + REGISTER);

  const reply = await post(REGISTER, metadata);
  expect(reply, reply.text).toMatchObject({ status: 201, body: { client_id: expect.stringMatching(/^clf_/) } });
  const config = await discover(provider, { clientId: reply.body.client_id });
  // RFC 8252, section 7.3: the port of this machine is whichever was free.
  const redirectUri = 'http://localhost:4321/cb';
  const { tokens } = await signInWith(provider, config, { redirectUri, scope: 'openid email' });
  expect(tokens.claims()?.aud).toBe(reply.body.client_id);
  expect((await provider.as('admin').get(CLIENTS)).body.data).toMatchObject([{ name: 'Agent', isDynamic: true }]);
  expect((await post(REGISTER, { ...metadata, redirect_uris: ['javascript:alert(1)'] })).status).toBe(400);
});

test('a program on a desktop need not say that it is one', async () => {
  const provider = await startProvider();
  await provider.as('admin').put(SETTINGS, { dynamicRegistration: true });
  const redirect_uris = ['cursor://anysphere.cursor-mcp/callback', 'http://127.0.0.1/'];
  const metadata = { client_name: ' \u202egnp\n', redirect_uris, token_endpoint_auth_method: 'none' };
  const reply = await provider.as('nobody').post(REGISTER, metadata);
  expect(reply, reply.text).toMatchObject({ status: 201, body: { application_type: 'native' } });
  const config = await discover(provider, { clientId: reply.body.client_id });
  await signInWith(provider, config, { redirectUri: 'http://127.0.0.1:33418/', scope: 'openid' });
  expect((await provider.as('admin').get(CLIENTS)).body.data).toMatchObject([{ name: 'gnp' }]);
});

test('a program that names no scope asks for what it was registered with', async () => {
  const provider = await startProvider();
  await provider.as('admin').put(SETTINGS, { dynamicRegistration: true });
  const metadata = { redirect_uris: [CALLBACK], token_endpoint_auth_method: 'none' };
  const { client_id: clientId } = (await provider.as('nobody').post(REGISTER, metadata)).body;
  const narrow = await registerClient(provider, { scopes: ['openid', 'api'] });
  const scopeOf = async (client: RegisteredClient) => {
    const config = await discover(provider, client);
    return (await signInWith(provider, config, { scope: '' })).tokens.scope;
  };
  expect(await scopeOf({ clientId })).toBe('openid profile email');
  expect(await scopeOf(narrow)).toBe('openid api');
});

test('what a program says of itself is not believed', async () => {
  const provider = await startProvider();
  await provider.as('admin').put(SETTINGS, { dynamicRegistration: true });
  const accepted: unknown[] = [];
  let host = 0;
  const register = async (metadata: object, error: string) => {
    const from = { 'x-forwarded-for': `198.51.100.${++host}` };
    const reply = await provider.as('nobody').post(REGISTER, { redirect_uris: [CALLBACK], ...metadata }, from);
    if (reply.status !== 400 || reply.body.error !== error) accepted.push(metadata, reply.body);
  };
  for (const application_type of ['web', 'native', undefined]) {
    for (const uri of [
      'http://app.example.com/callback',
      'https://user:password@app.example.com/',
      'https://app.example.com\\@evil.example/',
      'https://app.example.com/\n',
      ' https://app.example.com/',
      'https://аpp.example.com/',
      'view-source:https://app.example.com/',
      'filesystem:https://app.example.com/x',
      `https://app.example.com/${'x'.repeat(2048)}`,
    ]) {
      await register({ application_type, redirect_uris: [CALLBACK, uri] }, 'invalid_redirect_uri');
    }
  }
  const many = Array.from({ length: 21 }, (_, index) => `${CALLBACK}/${index}`);
  await register({ redirect_uris: many }, 'invalid_redirect_uri');
  await register({ client_name: 'a\0b' }, 'invalid_client_metadata');
  await register({ client_uri: 'https://app.example.com/\0' }, 'invalid_client_metadata');
  expect(accepted).toEqual([]);
  expect((await provider.as('admin').get(CLIENTS)).body).toEqual({ data: [] });
});

test('what could not be used is refused at once: https on localhost beside an address of an app', async () => {
  const { as } = await startApp();
  const local = 'https://localhost:3000/callback';
  const create = (redirectUris: string[]) => as('admin').post(CLIENTS, { name: 'X', redirectUris });
  expect((await create([local, CALLBACK])).status).toBe(200);
  for (const other of ['myapp://callback', 'http://localhost:3000/callback']) {
    expect(await create([local, other])).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
  }
});

test('nobody is asked twice for the same, until they withdraw it', async () => {
  const provider = await startProvider();
  const client = await registerClient(provider, { scopes: ['openid', 'email', 'profile', 'api'] });
  const config = await discover(provider, client);
  const { tokens } = await signInWith(provider, config, { scope: 'openid email api' });
  const begin = async (scope: string) => {
    const url = oauth.buildAuthorizationUrl(config, {
      redirect_uri: CALLBACK,
      scope,
      code_challenge: await oauth.calculatePKCECodeChallenge(oauth.randomPKCECodeVerifier()),
      code_challenge_method: 'S256',
    });
    const browser = openBrowser(provider);
    return browser.submit(await browser.open(url.href), 'Sign in', ALICE);
  };
  expect((await begin('openid email')).status, 'straight back').toBe(0);
  const more = await begin('openid email profile');
  expect(more.text).toContain('Let Notes in?');

  const session = (await provider.as('nobody').post('/api/auth/sessions?client_type=mobile', ALICE)).body;
  const mine = bearer(session.accessToken);
  const { get, delete: remove } = provider.as('nobody');
  expect((await get(GRANTS, mine)).body).toEqual({
    data: [{ clientId: client.clientId, clientName: 'Notes', grantedAt: expect.any(String) }],
  });
  expect((await remove(`${GRANTS}/${client.clientId}`, undefined, mine)).status).toBe(200);
  expect((await get('/api/auth/sessions/current', bearer(tokens.access_token))).status, 'at once').toBe(401);
  expect((await get(GRANTS, mine)).body).toEqual({ data: [] });
  expect((await remove(`${GRANTS}/${client.clientId}`, undefined, mine)).status).toBe(404);
  expect((await begin('openid email')).text).toContain('Let Notes in?');
});

test.each([
  { who: 'nobody', status: 401 },
  { who: 'anon', status: 401 },
  { who: 'admin', status: 401 },
  { who: 'user', status: 403 },
] as const)('$who, without a session, has no grants: $status', async ({ who, status }) => {
  const app = await startApp();
  const caller = app.as(who === 'user' ? await app.user('alice') : who);
  expect((await caller.get(GRANTS)).status).toBe(status);
  expect((await caller.delete(`${GRANTS}/clf_unknownunknownunknown`)).status).toBe(status);
});
