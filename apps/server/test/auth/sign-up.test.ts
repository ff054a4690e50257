import { decodeJwt, decodeProtectedHeader } from 'jose';
import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';
import { ALICE, cookiesOf, USER_COOKIE } from './client.ts';

const PATH = '/api/auth/users';
const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

test('a browser gets the user, an access token, a CSRF token, and the refresh token as a cookie', async () => {
  const { as } = await startApp();
  const reply = await as('anon').post(PATH, { ...ALICE, name: ' Alice ' });
  expect(reply.status).toBe(200);
  expect(reply.headers['cache-control']).toBe('no-store');
  expect(reply.body).toEqual({
    user: {
      id: expect.stringMatching(UUID),
      email: 'alice@example.com',
      emailVerified: false,
      providers: ['email'],
      createdAt: expect.stringMatching(ISO),
      updatedAt: expect.stringMatching(ISO),
      profile: { name: 'Alice' },
      metadata: {},
    },
    accessToken: expect.any(String),
    csrfToken: expect.stringMatching(/^[\da-f]{64}$/),
  });
  const claims = decodeJwt(reply.body.accessToken);
  expect(claims).toMatchObject({ sub: reply.body.user.id, email: 'alice@example.com', role: 'authenticated' });
  expect(Number(claims.exp) - Number(claims.iat)).toBe(15 * 60);
  expect(decodeProtectedHeader(reply.body.accessToken)).toMatchObject({
    alg: 'RS256',
    kid: expect.stringMatching(/^kid_[\da-f]{32}$/),
  });
  const { value = '', attributes } = cookiesOf(reply)[USER_COOKIE] ?? {};
  expect(attributes).toEqual(['HttpOnly', 'Max-Age=604800', 'Path=/api/auth', 'SameSite=None', 'Secure']);
  expect(decodeJwt(value)).toMatchObject({
    sub: reply.body.user.id,
    type: 'refresh',
    iss: 'insforge',
    sessionType: 'user',
    csrfNonce: expect.stringMatching(/^[\w-]{43}$/),
  });
});

test.each(['mobile', 'desktop', 'server'])(
  'a %s client gets the refresh token in the body, and no cookie',
  async (type) => {
    const { as } = await startApp();
    const reply = await as('anon').post(`${PATH}?client_type=${type}`, ALICE);
    expect(reply.body).toMatchObject({ accessToken: expect.any(String), refreshToken: expect.any(String) });
    expect(reply.body).not.toHaveProperty('csrfToken');
    expect(cookiesOf(reply)).toEqual({});
  },
);

test('any other client_type counts as web', async () => {
  const { as } = await startApp();
  const reply = await as('anon').post(`${PATH}?client_type=fridge`, ALICE);
  expect(reply.body).toHaveProperty('csrfToken');
});

test.each<{ what: string; who: 'nobody' | 'anon'; body: unknown; status?: number; error?: string; message?: RegExp }>([
  { what: 'no credential', who: 'nobody', body: ALICE, status: 401, error: 'AUTH_INVALID_CREDENTIALS' },
  { what: 'no body', who: 'anon', body: undefined, status: 400, error: 'INVALID_INPUT' },
  { what: 'no address', who: 'anon', body: { password: 'x'.repeat(8) }, message: /^email: / },
  { what: 'no such address', who: 'anon', body: { ...ALICE, email: 'alice' }, message: /^email: Invalid email format/ },
  { what: 'an address with NUL', who: 'anon', body: { ...ALICE, email: 'a\0@example.com' }, message: /^email: / },
  { what: 'an overlong address', who: 'anon', body: { ...ALICE, email: `${'a'.repeat(250)}@example.com` } },
  { what: 'no password', who: 'anon', body: { email: ALICE.email }, message: /^password: / },
  { what: 'a short password', who: 'anon', body: { ...ALICE, password: '12345' }, message: /at least 6 characters/ },
  { what: 'an overlong password', who: 'anon', body: { ...ALICE, password: 'ä'.repeat(513) }, message: /1024 bytes/ },
  { what: 'an empty name', who: 'anon', body: { ...ALICE, name: ' ' }, message: /^name: / },
])('refused: $what', async ({ who, body, status = 400, error = 'INVALID_INPUT', message = /./ }) => {
  const { as, sql } = await startApp();
  const reply = await as(who).post(PATH, body);
  expect(reply).toMatchObject({ status, body: { error, statusCode: status } });
  expect(reply.body.message).toMatch(message);
  expect(cookiesOf(reply)).toEqual({});
  expect(await sql('select from auth.users')).toEqual([]);
});

test.each([
  { rules: { passwordMinLength: 10 }, password: 'ninechars', lacks: 'at least 10 characters' },
  { rules: { requireNumber: true }, password: 'no digits', lacks: 'a number' },
  { rules: { requireLowercase: true }, password: 'LOUD ONE', lacks: 'a lowercase letter' },
  { rules: { requireUppercase: true }, password: 'quiet one', lacks: 'an uppercase letter' },
  { rules: { requireSpecialChar: true }, password: 'plain one', lacks: 'a special character' },
  {
    rules: { passwordMinLength: 8, requireNumber: true, requireUppercase: true },
    password: 'short',
    lacks: 'at least 8 characters and a number and an uppercase letter',
  },
])('a password must have $lacks', async ({ rules, password, lacks }) => {
  const { as } = await startApp();
  await as('admin').put('/api/auth/config', rules);
  const weak = await as('anon').post(PATH, { ...ALICE, password });
  expect(weak).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT', message: `password: must have ${lacks}`, nextActions: expect.any(String) },
  });
  expect((await as('anon').post(PATH, { ...ALICE, password: 'Stronger-Then-9' })).status).toBe(200);
});

test('long and strange passwords work', async () => {
  const { as } = await startApp();
  for (const [index, password] of ['x'.repeat(1024), '密码密码密码🔑', ' spaces around ', "'; drop --\\"].entries()) {
    const who = { email: `user${index}@example.com`, password };
    expect((await as('anon').post(PATH, who)).status).toBe(200);
    expect((await as('nobody').post('/api/auth/sessions', who)).status).toBe(200);
    const trimmed = { ...who, password: password.trim().slice(0, -1) };
    expect((await as('nobody').post('/api/auth/sessions', trimmed)).status).toBe(401);
  }
});

test('an address is taken in every spelling, also while others take it', async () => {
  const { as, sql } = await startApp();
  const spellings = ['alice@example.com', 'Alice@Example.com', '  ALICE@EXAMPLE.COM '];
  const replies = await Promise.all(spellings.map((email) => as('anon').post(PATH, { ...ALICE, email })));
  expect(replies.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
  const refused = replies.find(({ status }) => status === 409);
  expect(refused?.body).toMatchObject({ error: 'AUTH_EMAIL_EXISTS', nextActions: expect.stringContaining('sessions') });
  expect(await sql('select email from auth.users')).toEqual([{ email: 'alice@example.com' }]);

  await sql(`insert into auth.users (email) values ('Imported@Example.com')`);
  expect((await as('anon').post(PATH, { ...ALICE, email: 'imported@example.com' })).status).toBe(409);
});

test('with sign-up closed only the admin creates users', async () => {
  const app = await startApp();
  await app.as('admin').put('/api/auth/config', { disableSignup: true });
  const bob = await app.user('bob');
  for (const who of ['anon', bob] as const) {
    const reply = await app.as(who).post(PATH, ALICE);
    expect(reply).toMatchObject({
      status: 403,
      body: { error: 'AUTH_SIGNUP_DISABLED', nextActions: expect.stringContaining('/api/auth/config') },
    });
  }
  expect((await app.as('admin').post(PATH, ALICE)).status).toBe(200);
});

test.each([
  { autoConfirm: true, emailVerified: true },
  { autoConfirm: false, emailVerified: false },
  { autoConfirm: undefined, emailVerified: false },
])(
  'the admin creates a user without touching any cookie (autoConfirm: $autoConfirm)',
  async ({ autoConfirm, emailVerified }) => {
    const { as, sql } = await startApp();
    for (const [index, type] of ['web', 'mobile'].entries()) {
      const who = { ...ALICE, email: `alice${index}@example.com`, autoConfirm };
      const reply = await as('admin').post(`${PATH}?client_type=${type}`, who);
      expect(reply).toMatchObject({ status: 200, body: { accessToken: null, user: { emailVerified } } });
      expect(Object.keys(reply.body)).not.toContain('refreshToken');
      expect(cookiesOf(reply)).toEqual({});
    }
    expect(await sql('select from auth.sessions')).toEqual([]);
  },
);

test('autoConfirm of anybody else does not count', async () => {
  const { as } = await startApp();
  const { body } = await as('anon').post(PATH, { ...ALICE, autoConfirm: true });
  expect(body.user.emailVerified).toBe(false);
});

test('where addresses must be verified, sign-up gives no session', async () => {
  const { as, sql } = await startApp();
  await as('admin').put('/api/auth/config', { requireEmailVerification: true });
  const reply = await as('anon').post(PATH, ALICE);
  expect(reply.body).toMatchObject({ accessToken: null, requireEmailVerification: true, user: { email: ALICE.email } });
  expect(cookiesOf(reply)).toEqual({});
  expect(await sql('select from auth.sessions')).toEqual([]);
});

test('a trigger of the admin on new users runs with the rights of the admin, not of the platform', async () => {
  const { as, sql } = await startApp();
  await sql(`
    grant create on schema public to project_admin; set role project_admin;
    create table public.hellos (id uuid, by name);
    create function public.greet() returns trigger language plpgsql as $$ begin
      insert into public.hellos values (new.id, current_user); return new; end $$;
    create trigger greet after insert or update on auth.users for each row execute function public.greet();
    create function public.climb() returns trigger language plpgsql as $$ begin
      perform set_config('role', session_user, true);
      insert into system.mcp_usage (tool_name) values ('climbed'); return new; end $$;
    reset role`);
  const { body } = await as('anon').post(PATH, ALICE);
  expect(await sql('select id, by from public.hellos')).toEqual([{ id: body.user.id, by: 'project_admin' }]);

  await sql(`set role project_admin;
    create trigger climb after insert on auth.users for each row execute function public.climb(); reset role`);
  expect((await as('anon').post(PATH, { ...ALICE, email: 'eve@example.com' })).status).toBe(403);
  expect(await sql('select from system.mcp_usage')).toEqual([]);
});
