import { expect, test } from 'vitest';
import {
  arrive,
  CLIENT,
  configure,
  configureCustom,
  serve,
  signInWith,
  start,
  startReachableApp,
} from './oauth-browser.ts';
import { startGitHub } from './oauth-github.ts';
import { readAll } from './oauth-scripted.ts';

async function startWithGitHub() {
  const github = await startGitHub();
  const app = await startReachableApp({ OAUTH_OWN_HOSTS: `github=${github.url}` });
  await configure(app, 'github');
  return { app, github };
}

test('somebody signs in with GitHub, by the primary address and not by the public one', async () => {
  const { app } = await startWithGitHub();
  const reply = await signInWith(app, { provider: 'github' });
  expect(reply).toMatchObject({
    status: 200,
    body: {
      user: {
        email: 'octocat@example.com',
        emailVerified: true,
        providers: ['github'],
        profile: { name: 'The Octocat', avatar_url: 'https://github.example/images/octocat.gif' },
      },
    },
  });
  const [identity] = await app.sql('select provider_account_id as id, provider_data as data from auth.user_providers');
  expect(identity).toEqual({
    id: '583231',
    data: {
      id: 583231,
      login: 'octocat',
      name: 'The Octocat',
      email: 'public@github.example',
      avatar_url: 'https://github.example/images/octocat.gif',
    },
  });
});

test('an address that GitHub has not verified does not link', async () => {
  const { app, github } = await startWithGitHub();
  await app.as('anon').post('/api/auth/users', { email: 'octocat@example.com', password: 'correct horse battery' });
  github.emails = [{ email: 'octocat@example.com', primary: true, verified: false, visibility: null }];
  const arrived = await arrive(app, { provider: 'github' });
  expect(arrived.searchParams.get('error')).toMatch(/github has not verified that address/);
  expect(await app.sql('select from auth.user_providers')).toEqual([]);
});

test('somebody without an address or a name gets an account all the same', async () => {
  const { app, github } = await startWithGitHub();
  Object.assign(github, { emails: [] });
  Object.assign(github.user, { name: null });
  expect(await signInWith(app, { provider: 'github' })).toMatchObject({
    status: 200,
    body: { user: { emailVerified: false, profile: { name: 'octocat' } } },
  });
});

test.each([
  {
    why: 'a wrong client secret',
    update: { clientSecret: 'wrong' },
    error: 'github refused the sign-in: incorrect_client_credentials',
  },
  {
    why: 'scopes that do not open the addresses',
    update: { scopes: ['read:user'] },
    error: 'The sign-in with github failed',
  },
])('the app learns of $why', async ({ update, error }) => {
  const { app } = await startWithGitHub();
  await app.as('admin').put('/api/auth/oauth/github/config', update);
  expect((await arrive(app, { provider: 'github' })).searchParams.get('error')).toBe(error);
});

test('the issuer that GitHub names is checked', async () => {
  const { app, github } = await startWithGitHub();
  const { body } = await start(app, { provider: 'github' });
  const { headers } = await fetch(body.authUrl, { redirect: 'manual' });
  const answer = new URL(headers.get('location') ?? '');
  expect(answer.searchParams.get('iss')).toBe(`${github.url}/login/oauth`);
  answer.searchParams.set('iss', 'https://github.com.evil.example');
  const reply = await app.as('nobody').get(answer.pathname + answer.search);
  expect(new URL(String(reply.headers.location)).searchParams.get('error')).toBe('The sign-in with github failed');
});

/** What the known providers answer about somebody, by their documentation, and what becomes of it. */
const PROFILES = [
  {
    provider: 'discord',
    path: '/api/users/@me',
    json: {
      id: '80351110224678912',
      username: 'nelly',
      global_name: 'Nelly',
      email: 'n@example.com',
      verified: true,
      avatar: '8342',
    },
    id: '80351110224678912',
    user: { email: 'n@example.com', emailVerified: true },
    profile: { name: 'Nelly', avatar_url: 'https://cdn.discordapp.com/avatars/80351110224678912/8342.png' },
  },
  {
    provider: 'discord',
    path: '/api/users/@me',
    json: { id: '2', username: 'nelly', global_name: null, email: 'n@example.com', verified: false, avatar: null },
    id: '2',
    user: { email: 'n@example.com', emailVerified: false },
    profile: { name: 'nelly', avatar_url: '' },
  },
  {
    provider: 'facebook',
    path: '/v25.0/me',
    json: { id: '10', name: 'Fay', email: 'f@example.com', picture: { data: { url: 'https://fb.example/f.jpg' } } },
    id: '10',
    user: { email: 'f@example.com', emailVerified: false },
    profile: { name: 'Fay', avatar_url: 'https://fb.example/f.jpg' },
  },
  {
    provider: 'microsoft',
    path: '/v1.0/me',
    json: { id: 'a-b', displayName: 'Mia', mail: null, userPrincipalName: 'mia@example.com', businessPhones: [] },
    id: 'a-b',
    user: { email: 'mia@example.com', emailVerified: false },
    profile: { name: 'Mia', avatar_url: '' },
  },
  {
    provider: 'x',
    path: '/2/users/me',
    json: { data: { id: '2244994945', name: 'Xan', username: 'xan', profile_image_url: 'https://x.example/x.jpg' } },
    id: '2244994945',
    user: { email: expect.stringMatching(/^x\..*@no-address\.invalid$/), emailVerified: false },
    profile: { name: 'Xan', avatar_url: 'https://x.example/x.jpg' },
  },
  {
    provider: 'spotify',
    path: '/v1/me',
    json: { id: 'sp', display_name: 'Sam', email: 's@example.com', images: [{ url: 'https://s.example/s.jpg' }] },
    id: 'sp',
    user: { email: 's@example.com', emailVerified: false },
    profile: { name: 'Sam', avatar_url: 'https://s.example/s.jpg' },
  },
];

test('an admin may answer for the addresses of a known provider', async () => {
  const { url } = await startPlain('/v1.0/me', { id: '1', displayName: 'Mia', mail: 'mia@example.com' });
  const app = await startReachableApp({ OAUTH_OWN_HOSTS: `microsoft=${url}` });
  await configure(app, 'microsoft', { trustEmail: true });
  await app.as('anon').post('/api/auth/users', { email: 'mia@example.com', password: 'correct horse battery' });
  expect(await signInWith(app, { provider: 'microsoft' })).toMatchObject({
    status: 200,
    body: { user: { email: 'mia@example.com', emailVerified: true, providers: ['microsoft'] } },
  });
});

const BEARER = { access_token: 'at', token_type: 'Bearer', expires_in: 60 };

/** A provider that hands out a token for anything and answers `json` at one path; it notes what it is asked. */
async function startPlain(path: string, json: unknown, token: unknown = BEARER) {
  const asked: { path: string; authorization: string | undefined; body: URLSearchParams; query: URLSearchParams }[] =
    [];
  const { url } = await serve(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', 'http://provider.example');
    const body = new URLSearchParams(await readAll(request));
    asked.push({ path: pathname, authorization: request.headers.authorization, body, query: searchParams });
    const redirectUri = searchParams.get('redirect_uri');
    if (redirectUri) {
      const answer = new URLSearchParams({
        code: 'c',
        state: searchParams.get('state') ?? '',
        iss: 'https://not-known.example',
      });
      return response.writeHead(302, { location: `${redirectUri}?${answer}` }).end();
    }
    const answer = pathname === path ? json : token;
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  });
  return { url, asked };
}

test.each(PROFILES)(
  'what $provider says of somebody is understood',
  async ({ provider, path, json, id, user, profile }) => {
    const { url, asked } = await startPlain(path, json);
    const app = await startReachableApp({ OAUTH_OWN_HOSTS: `${provider}=${url}` });
    await configure(app, provider);
    const reply = await signInWith(app, { provider });
    expect(reply).toMatchObject({ status: 200, body: { user: { ...user, profile, providers: [provider] } } });
    expect(await app.sql('select provider_account_id as id from auth.user_providers')).toEqual([{ id }]);
    const [authorization, token, about] = asked;
    expect(authorization?.query.get('code_challenge_method')).toBe('S256');
    expect(authorization?.query.has('nonce')).toBe(false);
    expect(token?.body.get('code_verifier')).toMatch(/^[\w-]{43}$/);
    expect(about).toMatchObject({ path, authorization: 'Bearer at' });
    // X takes the secret in the header only; the others in the body.
    const isBasic = token?.authorization === `Basic ${btoa(`${CLIENT.id}:${CLIENT.secret}`)}`;
    expect(isBasic).toBe(provider === 'x');
    expect(token?.body.get('client_secret')).toBe(provider === 'x' ? null : CLIENT.secret);
  },
);

const WITHOUT_ADDRESS = [
  {
    provider: 'instagram',
    path: '/me',
    token: { access_token: 'at', user_id: 17, permissions: ['instagram_business_basic'] },
    json: { user_id: '178414', username: 'ida', name: 'Ida', profile_picture_url: 'https://i.example/i.jpg', id: '9' },
    clientIdName: 'client_id',
    id: '178414',
    profile: { name: 'Ida', avatar_url: 'https://i.example/i.jpg' },
  },
  {
    // As its documentation has it.
    provider: 'instagram',
    path: '/me',
    token: { data: [{ access_token: 'at', user_id: '17', permissions: 'instagram_business_basic' }] },
    json: { data: [{ user_id: '178414', username: 'ida' }] },
    clientIdName: 'client_id',
    id: '178414',
    profile: { name: 'ida', avatar_url: '' },
  },
  {
    provider: 'tiktok',
    path: '/v2/user/info/',
    token: { ...BEARER, open_id: 'op', scope: 'user.info.basic' },
    json: {
      data: { user: { open_id: 'op', union_id: 'un', display_name: 'Tia', avatar_url: 'https://t.example/t.jpg' } },
      error: { code: 'ok', message: '' },
    },
    clientIdName: 'client_key',
    id: 'op',
    profile: { name: 'Tia', avatar_url: 'https://t.example/t.jpg' },
  },
];

test.each(WITHOUT_ADDRESS)('$provider, which goes its own ways, is understood: $token', async (expected) => {
  const { provider, path, token, json, clientIdName, id, profile } = expected;
  const { url, asked } = await startPlain(path, json, token);
  const app = await startReachableApp({ OAUTH_OWN_HOSTS: `${provider}=${url}` });
  await configure(app, provider, { scopes: ['one', 'two'] });
  const user = { email: expect.stringMatching(/@no-address\.invalid$/), emailVerified: false, providers: [provider] };
  expect(await signInWith(app, { provider })).toMatchObject({ status: 200, body: { user: { ...user, profile } } });
  expect(await app.sql('select provider_account_id as id from auth.user_providers')).toEqual([{ id }]);
  const [authorization, redeemed, about] = asked;
  const names = ['client_id', 'client_key'].filter((name) => authorization?.query.has(name));
  expect(names).toEqual([clientIdName]);
  expect(authorization?.query.get(clientIdName)).toBe(CLIENT.id);
  expect(authorization?.query.get('scope')).toBe('one,two');
  expect(authorization?.query.has('code_challenge')).toBe(false);
  expect(Object.fromEntries(redeemed?.body ?? [])).toEqual({
    grant_type: 'authorization_code',
    code: 'c',
    redirect_uri: `${app.baseUrl}/api/auth/oauth/${provider}/callback`,
    [clientIdName]: CLIENT.id,
    client_secret: CLIENT.secret,
  });
  expect(about).toMatchObject({ path, authorization: 'Bearer at' });
});

test('an answer of Instagram without a token lets nobody in', async () => {
  const { url } = await startPlain('/me', { user_id: '1' }, { error_type: 'OAuthException', code: 400 });
  const app = await startReachableApp({ OAUTH_OWN_HOSTS: `instagram=${url}` });
  await configure(app, 'instagram');
  const arrived = await arrive(app, { provider: 'instagram' });
  expect(arrived.searchParams.get('error')).toBe('The sign-in with instagram failed');
  expect(await app.sql('select from auth.users')).toEqual([]);
});

test.each(PROFILES.filter(({ user, provider }) => !user.emailVerified && provider !== 'x'))(
  'the word of $provider alone opens no account that there is',
  async ({ provider, path, json, user: { email } }) => {
    const { url } = await startPlain(path, json);
    const app = await startReachableApp({ OAUTH_OWN_HOSTS: `${provider}=${url}` });
    await configure(app, provider);
    await app.as('anon').post('/api/auth/users', { email, password: 'correct horse battery' });
    for (const verified of [false, true]) {
      await app.sql('update auth.users set email_verified = $1', [verified]);
      const arrived = await arrive(app, { provider });
      expect(arrived.searchParams.get('error')).toContain(`${provider} has not verified that address`);
    }
    expect(await app.sql('select from auth.user_providers')).toEqual([]);
  },
);

test('any OAuth 2.0 provider is a configuration', async () => {
  const answer = {
    account: { uid: 42, mail: 'c@example.com', confirmed: true, title: 'Cleo', face: 'https://c.example/c.jpg' },
  };
  const { url, asked } = await startPlain('/me', answer);
  const app = await startReachableApp();
  await configureCustom(app, 'intranet', {
    authorizeUrl: `${url}/authorize?tenant=1`,
    tokenUrl: `${url}/token`,
    userinfoUrl: `${url}/me`,
    scopes: ['openid', 'me'],
    profile: {
      id: 'account.uid',
      email: 'account.mail',
      emailVerified: 'account.confirmed',
      name: 'account.title',
      avatarUrl: 'account.face',
    },
  });
  expect(await signInWith(app, { provider: 'intranet' })).toMatchObject({
    status: 200,
    body: {
      user: {
        email: 'c@example.com',
        emailVerified: true,
        providers: ['intranet'],
        profile: { name: 'Cleo', avatar_url: 'https://c.example/c.jpg' },
      },
    },
  });
  // Its ID token could not be checked, so it is not asked for.
  expect(asked[0]?.query.get('scope')).toBe('me');
  expect(asked[0]?.query.get('tenant')).toBe('1');
});

test('a change of the configuration counts at once', async () => {
  const [before, after] = [await startPlain('/me', { id: 1 }), await startPlain('/me', { id: 2 })];
  const app = await startReachableApp();
  const addresses = (url: string) => ({
    authorizeUrl: `${url}/authorize`,
    tokenUrl: `${url}/token`,
    userinfoUrl: `${url}/me`,
  });
  await configureCustom(app, 'intranet', { ...addresses(before.url), scopes: ['me'] });
  await signInWith(app, { provider: 'intranet' });
  const update = { authorizeUrl: `${after.url}/authorize`, userinfoUrl: `${after.url}/me` };
  await app.as('admin').put('/api/auth/oauth/custom/intranet/config', update);
  await signInWith(app, { provider: 'intranet' });
  expect(before.asked.map(({ path }) => path)).toEqual(['/authorize', '/token', '/me', '/token']);
  expect(after.asked.map(({ path }) => path)).toEqual(['/authorize', '/me']);
});

test.each([
  { why: 'no identifier', json: { email: 'a@example.com', email_verified: true } },
  { why: 'an identifier that is an object', json: { id: {}, email: 'a@example.com' } },
  { why: 'a list', json: null },
  { why: 'a name from the prototype', json: { id: null, __proto__: { id: 'inherited' } } },
])('an answer about nobody makes no account: $why', async ({ json }) => {
  const { url } = await startPlain('/me', json);
  const app = await startReachableApp();
  const urls = { authorizeUrl: `${url}/authorize`, tokenUrl: `${url}/token`, userinfoUrl: `${url}/me` };
  await configureCustom(app, 'intranet', { ...urls, scopes: ['me'] });
  const arrived = await arrive(app, { provider: 'intranet' });
  expect(arrived.searchParams.get('error')).toBe('The sign-in with intranet failed');
  expect(await app.sql('select from auth.users')).toEqual([]);
});
