import { expect, test } from 'vitest';
import { createCipher } from '../../src/platform/secrets/cipher.ts';
import { SECRETS, startApp, type TestApp } from '../harness.ts';

const GOOGLE = { provider: 'google', clientId: 'id-of-google', clientSecret: 'secret-of-google' };
const ACME = {
  key: 'acme',
  name: 'Acme',
  clientId: 'id-of-acme',
  clientSecret: 'secret-of-acme',
  discoveryEndpoint: 'https://sso.acme.example/.well-known/openid-configuration',
};

const KNOWN = '/api/auth/oauth/configs';
const CUSTOM = '/api/auth/oauth/custom/configs';

async function startConfigured(environment: Record<string, string> = {}) {
  const app = await startApp({ API_BASE_URL: 'https://api.example.com', ...environment });
  const google = await app.as('admin').post(KNOWN, GOOGLE);
  const acme = await app.as('admin').post(CUSTOM, ACME);
  return { app, google, acme };
}

const ROUTES = [
  { method: 'get', path: KNOWN },
  { method: 'post', path: KNOWN, body: { ...GOOGLE, provider: 'github' } },
  { method: 'get', path: '/api/auth/oauth/google/config' },
  { method: 'put', path: '/api/auth/oauth/google/config', body: { clientId: 'x' } },
  { method: 'delete', path: '/api/auth/oauth/google/config' },
  { method: 'get', path: CUSTOM },
  { method: 'post', path: CUSTOM, body: { ...ACME, key: 'other' } },
  { method: 'get', path: '/api/auth/oauth/custom/acme/config' },
  { method: 'put', path: '/api/auth/oauth/custom/acme/config', body: { name: 'x' } },
  { method: 'delete', path: '/api/auth/oauth/custom/acme/config' },
] as const;

test.each(ROUTES.map((route) => ({ ...route, body: 'body' in route ? route.body : undefined })))(
  "$method $path is the admin's alone",
  async ({ method, path, body }) => {
    const { app } = await startConfigured();
    const send = async (who: Parameters<TestApp['as']>[0]) => {
      const client = app.as(who);
      return method === 'get' ? client.get(path) : client[method](path, body);
    };
    expect(await send('nobody')).toMatchObject({ status: 401, body: { error: 'AUTH_INVALID_CREDENTIALS' } });
    expect(await send('anon')).toMatchObject({ status: 403, body: { error: 'AUTH_UNAUTHORIZED' } });
    expect(await send(await app.user('bob'))).toMatchObject({ status: 403, body: { error: 'AUTH_UNAUTHORIZED' } });
    expect(await send('admin')).toMatchObject({ status: 200 });
  },
);

test('a configuration shows its secret to an admin who asks for it alone', async () => {
  const { app, google, acme } = await startConfigured();
  expect(google).toMatchObject({
    status: 200,
    body: {
      id: expect.any(String),
      provider: 'google',
      clientId: 'id-of-google',
      scopes: ['openid', 'email', 'profile'],
      nativeClientIds: [],
      redirectUri: null,
      useSharedKey: false,
      callbackUrl: 'https://api.example.com/api/auth/oauth/google/callback',
    },
  });
  expect(acme).toMatchObject({
    status: 200,
    body: {
      key: 'acme',
      callbackUrl: 'https://api.example.com/api/auth/oauth/custom/acme/callback',
      authorizeUrl: null,
    },
  });
  const admin = app.as('admin');
  const lists = [await admin.get(KNOWN), await admin.get(CUSTOM)];
  expect(lists.map(({ body }) => body.count)).toEqual([1, 1]);
  for (const { text } of [google, acme, ...lists]) expect(text).not.toMatch(/secret-of|clientSecret/);
  expect((await admin.get('/api/auth/oauth/google/config')).body.clientSecret).toBe('secret-of-google');
  expect((await admin.get('/api/auth/oauth/custom/acme/config')).body.clientSecret).toBe('secret-of-acme');
});

test('secrets are encrypted at rest and leave with their configuration', async () => {
  const { app } = await startConfigured();
  const stored = () =>
    app.sql<{ key: string; value_ciphertext: string; is_reserved: boolean }>(
      `select key, value_ciphertext, is_reserved from system.secrets where key like '%CLIENT_SECRET' order by key`,
    );
  const cipher = createCipher(SECRETS.ENCRYPTION_KEY);
  const before = await stored();
  expect(
    before.map(({ key, value_ciphertext, is_reserved }) => [key, cipher.decrypt(value_ciphertext), is_reserved]),
  ).toEqual([
    ['CUSTOM_OAUTH_acme_CLIENT_SECRET', 'secret-of-acme', true],
    ['GOOGLE_CLIENT_SECRET', 'secret-of-google', true],
  ]);
  expect(await app.as('admin').delete('/api/auth/oauth/google/config')).toMatchObject({ body: { success: true } });
  expect(await app.as('admin').delete('/api/auth/oauth/custom/acme/config')).toMatchObject({ body: { success: true } });
  expect(await stored()).toEqual([]);
  expect(await app.as('admin').delete('/api/auth/oauth/google/config')).toMatchObject({ status: 404 });
});

test('a secret of a developer with the same name is left alone', async () => {
  const app = await startApp();
  const cipher = createCipher(SECRETS.ENCRYPTION_KEY);
  await app.sql(`insert into system.secrets (key, value_ciphertext) values ('GOOGLE_CLIENT_SECRET', $1)`, [
    cipher.encrypt('of the developer'),
  ]);
  await app.as('admin').post(KNOWN, GOOGLE);
  expect((await app.as('admin').get('/api/auth/oauth/google/config')).body.clientSecret).toBe('secret-of-google');
  await app.as('admin').delete('/api/auth/oauth/google/config');
  const [mine] = await app.sql<{ value: string }>(
    `select value_ciphertext as value from system.secrets where key = 'GOOGLE_CLIENT_SECRET'`,
  );
  expect(cipher.decrypt(mine?.value ?? '')).toBe('of the developer');
});

test('no secret of the platform is shown, changed or deleted by pointing a configuration at it', async () => {
  const { app } = await startConfigured();
  const admin = app.as('admin');
  const key = () => app.sql(`select id, value_ciphertext from system.secrets where key = 'JWT_PRIVATE_KEY'`);
  const before = await key();
  // project_admin may write to both tables.
  const point = (table: string) =>
    app.sql(`
      set role project_admin;
      update auth.${table} set secret_id = (select id from system.secrets where key = 'JWT_PRIVATE_KEY');
      reset role`);
  for (const [table, path] of [
    ['oauth_configs', '/api/auth/oauth/google/config'],
    ['custom_oauth_configs', '/api/auth/oauth/custom/acme/config'],
  ] as const) {
    await point(table);
    expect((await admin.get(path)).body.clientSecret).toBeNull();
    expect(await admin.put(path, { clientSecret: 'a new one' })).toMatchObject({ status: 200 });
    expect((await admin.get(path)).body.clientSecret).toBe('a new one');
    await point(table);
    expect(await admin.delete(path)).toMatchObject({ status: 200 });
  }
  expect(await key()).toEqual(before);
});

test('an update changes what it names', async () => {
  const { app } = await startConfigured();
  const admin = app.as('admin');
  const update = { clientSecret: 'new secret', nativeClientIds: ['com.example.app'], scopes: ['email'] };
  expect(await admin.put('/api/auth/oauth/google/config', update)).toMatchObject({
    status: 200,
    body: { clientId: 'id-of-google', nativeClientIds: ['com.example.app'], scopes: ['email'] },
  });
  expect((await admin.get('/api/auth/oauth/GOOGLE/config')).body.clientSecret).toBe('new secret');
  expect(await admin.put('/api/auth/oauth/custom/acme/config', { name: 'Acme Inc.' })).toMatchObject({
    status: 200,
    body: { name: 'Acme Inc.', discoveryEndpoint: ACME.discoveryEndpoint },
  });
  const plain = {
    discoveryEndpoint: null,
    authorizeUrl: 'https://sso.acme.example/a',
    tokenUrl: 'https://sso.acme.example/t',
    userinfoUrl: 'https://sso.acme.example/u',
    profile: { id: 'uid' },
  };
  expect(await admin.put('/api/auth/oauth/custom/acme/config', plain)).toMatchObject({
    status: 200,
    body: { ...plain, profile: { id: 'uid', email: 'email', name: 'name' } },
  });
});

test('every change is in the audit log, without secrets', async () => {
  const { app } = await startConfigured();
  const admin = app.as('admin');
  await admin.put('/api/auth/oauth/google/config', { clientSecret: 'secret-of-google-2' });
  await admin.put('/api/auth/oauth/custom/acme/config', { clientSecret: 'secret-of-acme-2', name: 'A' });
  await admin.delete('/api/auth/oauth/google/config');
  await admin.delete('/api/auth/oauth/custom/acme/config');
  const entries = await app.sql('select actor, action, module, details from system.audit_logs order by created_at');
  const entry = (action: string, details: object) => ({ actor: 'api-key', action, module: 'AUTH', details });
  expect(entries).toEqual([
    entry('CREATE_OAUTH_CONFIG', { provider: 'google' }),
    entry('CREATE_CUSTOM_OAUTH_CONFIG', { key: 'acme', name: 'Acme' }),
    entry('UPDATE_OAUTH_CONFIG', { provider: 'google', updatedFields: ['clientSecret'] }),
    entry('UPDATE_CUSTOM_OAUTH_CONFIG', { key: 'acme', updatedFields: ['name', 'clientSecret'] }),
    entry('DELETE_OAUTH_CONFIG', { provider: 'google' }),
    entry('DELETE_CUSTOM_OAUTH_CONFIG', { key: 'acme' }),
  ]);
});

test('apps see which providers there are, under the names that clients ask for', async () => {
  const { app } = await startConfigured();
  await app.as('admin').post(KNOWN, { ...GOOGLE, provider: 'gitlab' });
  const listed = { oAuthProviders: ['google'], customOAuthProviders: ['acme', 'gitlab'] };
  expect((await app.as('nobody').get('/api/auth/public-config')).body).toMatchObject(listed);
  expect((await app.as('admin').get('/api/metadata')).body.auth).toMatchObject(listed);
});

test('a provider that is not configured in full is no way to sign in until it is', async () => {
  const { app } = await startConfigured();
  const admin = app.as('admin');
  expect(await admin.post(KNOWN, { provider: 'github' })).toMatchObject({
    status: 200,
    body: { provider: 'github', clientId: null, scopes: ['user:email'] },
  });
  const query = `redirect_uri=https://api.example.com/&code_challenge=${'a'.repeat(43)}`;
  const signIn = () => app.as('nobody').get(`/api/auth/oauth/github?${query}`);
  const listed = async () => (await app.as('nobody').get('/api/auth/public-config')).body.oAuthProviders;
  expect(await admin.put('/api/auth/oauth/github/config', { clientId: 'x' })).toMatchObject({ status: 200 });
  expect((await admin.get('/api/auth/oauth/github/config')).body).toMatchObject({ clientId: 'x', clientSecret: null });
  expect(await listed()).toEqual(['google']);
  expect(await signIn()).toMatchObject({
    status: 500,
    body: {
      error: 'AUTH_OAUTH_CONFIG_ERROR',
      nextActions: expect.stringContaining('PUT /api/auth/oauth/github/config'),
    },
  });
  await admin.put('/api/auth/oauth/github/config', { clientSecret: 'y' });
  expect(await listed()).toEqual(['github', 'google']);
  expect(await signIn()).toMatchObject({ status: 200 });
});

test.each([
  {
    why: 'an unknown provider',
    path: KNOWN,
    body: { ...GOOGLE, provider: 'myspace' },
    status: 400,
    error: 'INVALID_INPUT',
  },
  {
    why: 'a provider that is there',
    path: KNOWN,
    body: GOOGLE,
    status: 409,
    error: 'AUTH_OAUTH_CONFIG_ALREADY_EXISTS',
  },
  {
    why: 'a shared key',
    path: KNOWN,
    body: { ...GOOGLE, provider: 'github', useSharedKey: true },
    status: 400,
    error: 'INVALID_INPUT',
  },
  {
    why: 'an empty secret',
    path: KNOWN,
    body: { provider: 'github', clientId: 'x', clientSecret: '' },
    status: 400,
    error: 'INVALID_INPUT',
  },
  {
    why: 'too many native clients',
    path: KNOWN,
    body: { ...GOOGLE, provider: 'apple', nativeClientIds: Array(21).fill('x') },
    status: 400,
    error: 'INVALID_INPUT',
  },
  { why: 'a key that is there', path: CUSTOM, body: ACME, status: 409, error: 'AUTH_OAUTH_CONFIG_ALREADY_EXISTS' },
  {
    why: 'the key of a known provider',
    path: CUSTOM,
    body: { ...ACME, key: 'Google' },
    status: 400,
    error: 'INVALID_INPUT',
  },
  {
    why: 'the key that passwords go by',
    path: CUSTOM,
    body: { ...ACME, key: 'email' },
    status: 400,
    error: 'INVALID_INPUT',
  },
  { why: 'a malformed key', path: CUSTOM, body: { ...ACME, key: 'a/b' }, status: 400, error: 'INVALID_INPUT' },
  {
    why: 'neither discovery nor addresses',
    path: CUSTOM,
    body: { ...ACME, key: 'b', discoveryEndpoint: undefined },
    status: 400,
    error: 'INVALID_INPUT',
  },
  {
    why: 'half of the addresses',
    path: CUSTOM,
    body: { ...ACME, key: 'b', discoveryEndpoint: null, tokenUrl: 'https://a.example' },
    status: 400,
    error: 'INVALID_INPUT',
  },
  {
    why: 'both kinds at once',
    path: CUSTOM,
    body: { ...ACME, key: 'b', tokenUrl: 'https://a.example' },
    status: 400,
    error: 'INVALID_INPUT',
  },
  ...[
    'http://sso.example',
    'https://127.0.0.1',
    'https://0x7f.1',
    'https://[::1]',
    'https://[::ffff:10.0.0.1]',
    'https://localhost',
    'https://169.254.169.254/latest',
    'https://user:pw@sso.example',
    'file:///etc/passwd',
    'nonsense',
  ].map((discoveryEndpoint) => ({
    why: discoveryEndpoint,
    path: CUSTOM,
    body: { ...ACME, key: 'b', discoveryEndpoint },
    status: 400,
    error: 'INVALID_INPUT',
  })),
])('nothing is configured with $why', async ({ path, body, status, error }) => {
  const { app } = await startConfigured();
  expect(await app.as('admin').post(path, body)).toMatchObject({ status, body: { error } });
  expect((await app.as('admin').get(path)).body.count).toBe(1);
  expect(await app.sql(`select from system.secrets where key like '%CLIENT_SECRET'`)).toHaveLength(2);
});

test.each([
  { path: '/api/auth/oauth/github/config', status: 404, error: 'AUTH_OAUTH_CONFIG_NOT_FOUND' },
  { path: '/api/auth/oauth/custom/none/config', status: 404, error: 'AUTH_OAUTH_CONFIG_NOT_FOUND' },
  { path: '/api/auth/oauth/google/config', update: {}, status: 400, error: 'INVALID_INPUT' },
  {
    path: '/api/auth/oauth/custom/acme/config',
    update: { discoveryEndpoint: null },
    status: 400,
    error: 'INVALID_INPUT',
  },
  {
    path: '/api/auth/oauth/custom/acme/config',
    update: { discoveryEndpoint: 'https://10.0.0.1' },
    status: 400,
    error: 'INVALID_INPUT',
  },
])('$path is not changed: $error', async ({ path, update = { clientId: 'x' }, status, error }) => {
  const { app } = await startConfigured();
  expect(await app.as('admin').put(path, update)).toMatchObject({ status, body: { error } });
});

test('the environment configures providers that nobody has configured yet', async () => {
  const environment = {
    GOOGLE_CLIENT_ID: 'from the environment',
    GOOGLE_CLIENT_SECRET: 's1',
    GITHUB_CLIENT_ID: 'from the environment',
    GITHUB_CLIENT_SECRET: 's2',
    // Half a configuration is none.
    X_CLIENT_ID: 'from the environment',
  };
  const { app } = await startConfigured();
  const later = await startApp(environment, { beside: app });
  const { body } = await later.as('admin').get(KNOWN);
  expect(body.data).toMatchObject([
    { provider: 'github', clientId: 'from the environment' },
    { provider: 'google', clientId: 'id-of-google' },
  ]);
  expect((await later.as('admin').get('/api/auth/oauth/github/config')).body.clientSecret).toBe('s2');
});

test.each(['myspace=https://a.example', 'gitlab', 'gitlab=ftp://a.example'])(
  'the server does not start with OAUTH_OWN_HOSTS=%s',
  async (OAUTH_OWN_HOSTS) => {
    await expect(startApp({ OAUTH_OWN_HOSTS })).rejects.toThrow(/OAUTH_OWN_HOSTS must be a list of provider=URL/);
  },
);
