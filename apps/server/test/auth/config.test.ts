import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

const PATH = '/api/auth/config';

const DEFAULTS = {
  requireEmailVerification: false,
  passwordMinLength: 6,
  requireNumber: false,
  requireLowercase: false,
  requireUppercase: false,
  requireSpecialChar: false,
  verifyEmailMethod: 'code',
  resetPasswordMethod: 'code',
  disableSignup: false,
};

test('anybody reads what a sign-in form needs, and no more', async () => {
  const { as } = await startApp();
  await as('admin').put(PATH, { allowedRedirectUrls: ['https://private.example.com'] });
  const { status, body } = await as('nobody').get('/api/auth/public-config');
  expect(status).toBe(200);
  expect(body).toEqual({ ...DEFAULTS, oAuthProviders: [], customOAuthProviders: [] });
});

test('the settings are the defaults until the first change makes the row', async () => {
  const { as, sql } = await startApp();
  const before = await as('admin').get(PATH);
  expect(before.body).toEqual({
    ...DEFAULTS,
    id: '00000000-0000-0000-0000-000000000000',
    allowedRedirectUrls: [],
    createdAt: expect.any(String),
    updatedAt: expect.any(String),
  });
  expect(await sql('select from auth.config')).toEqual([]);

  const { body } = await as('admin').put(PATH, { passwordMinLength: 12 });
  expect(body).toMatchObject({ ...DEFAULTS, passwordMinLength: 12 });
  expect((await as('admin').put(PATH, { requireNumber: true })).body).toMatchObject({
    id: body.id,
    createdAt: body.createdAt,
    passwordMinLength: 12,
    requireNumber: true,
  });
  expect(await sql('select from auth.config')).toHaveLength(1);
  expect((await as('nobody').get('/api/auth/public-config')).body).toMatchObject({ passwordMinLength: 12 });
});

test.each([
  { requireEmailVerification: true },
  { passwordMinLength: 4 },
  { passwordMinLength: 128 },
  { requireNumber: true, requireLowercase: true, requireUppercase: true, requireSpecialChar: true },
  { verifyEmailMethod: 'link' },
  { resetPasswordMethod: 'link' },
  { disableSignup: true },
  {
    allowedRedirectUrls: [
      'https://*.example.com/*',
      'http://localhost:3000',
      'http://[::1]:8080/x?y',
      'myapp://callback',
      'com.app:/cb',
    ],
  },
])('%o is kept and on record', async (change) => {
  const { as, sql } = await startApp();
  expect(await as('admin').put(PATH, change)).toMatchObject({ status: 200, body: change });
  expect((await as('admin').get(PATH)).body).toMatchObject({ ...DEFAULTS, ...change });
  expect(await sql('select actor, action, module, details from system.audit_logs')).toEqual([
    { actor: 'api-key', action: 'UPDATE_AUTH_CONFIG', module: 'AUTH', details: { updatedFields: Object.keys(change) } },
  ]);
});

test('an absent list of addresses is an empty one', async () => {
  const { as } = await startApp();
  await as('admin').put(PATH, { allowedRedirectUrls: ['https://example.com'] });
  expect((await as('admin').put(PATH, { allowedRedirectUrls: null })).body).toMatchObject({ allowedRedirectUrls: [] });
});

test.each([
  { body: {}, message: /name at least one setting: requireEmailVerification/ },
  { body: { disableSignups: true }, message: /name at least one setting/ },
  { body: undefined, message: /./ },
  { body: { passwordMinLength: 3 }, message: /^passwordMinLength: / },
  { body: { passwordMinLength: 129 }, message: /^passwordMinLength: / },
  { body: { passwordMinLength: 6.5 }, message: /^passwordMinLength: / },
  { body: { disableSignup: 'yes' }, message: /^disableSignup: / },
  { body: { verifyEmailMethod: 'pigeon' }, message: /^verifyEmailMethod: / },
  { body: { allowedRedirectUrls: ['javascript:alert(1)'] }, message: /^allowedRedirectUrls\.0: / },
  { body: { allowedRedirectUrls: ['https://ok.example', 'data:/x'] }, message: /^allowedRedirectUrls\.1: / },
  { body: { allowedRedirectUrls: ['https://bücher.example/*'] }, message: /punycode/ },
  { body: { allowedRedirectUrls: ['https://app.example.com\\@evil.example/*'] }, message: /0: must be/ },
  { body: { allowedRedirectUrls: ['https://user@app.example.com/*'] }, message: /0: must be/ },
  { body: { allowedRedirectUrls: ['https://app.example.com/#/callback'] }, message: /fragment/ },
  { body: { allowedRedirectUrls: ['/relative'] }, message: /^allowedRedirectUrls\.0: / },
  { body: { allowedRedirectUrls: ['https://'] }, message: /^allowedRedirectUrls\.0: / },
])('$body is refused', async ({ body, message }) => {
  const { as, sql } = await startApp();
  const reply = await as('admin').put(PATH, body);
  expect(reply).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
  expect(reply.body.message).toMatch(message);
  expect(await sql('select from auth.config')).toEqual([]);
  expect(await sql('select from system.audit_logs')).toEqual([]);
});

test('first changes made at once all count', async () => {
  const { as } = await startApp();
  const changes = [
    { requireNumber: true },
    { requireUppercase: true },
    { disableSignup: true },
    { passwordMinLength: 9 },
  ];
  const replies = await Promise.all(changes.map((change) => as('admin').put(PATH, change)));
  expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  expect((await as('admin').get(PATH)).body).toMatchObject(Object.assign({}, ...changes));
});
