import { decodeJwt, SignJWT } from 'jose';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';
import { ALICE, bearer, refresh, signUp } from './client.ts';

const PATH = '/api/auth/custom-claims';
const SIGN_UP = '/api/auth/users?client_type=mobile';

/** What policies see of the caller. */
const makeWhoAmI = ({ as }: TestApp) =>
  as('admin').post('/api/database/advance/rawsql', {
    query: 'create function public.whoami() returns jsonb language sql stable as $$ select auth.jwt() $$',
  });

const useFunction = async ({ as, sql }: TestApp, body: string, options = 'language sql stable') => {
  await sql(`create function public.token_claims("user" jsonb) returns jsonb ${options} as $$ ${body} $$`);
  const reply = await as('admin').put(PATH, { function: 'public.token_claims' });
  expect(reply).toMatchObject({ status: 200, body: { function: 'public.token_claims' } });
};

test('claims of the function are in tokens, new ones after each refresh, and reach policies', async () => {
  const app = await startApp();
  await app.sql(`create table public.plans (email text primary key, plan text); alter table plans enable row level security;
    create policy own on plans for select to authenticated using (email = auth.email());
    insert into plans values ('alice@example.com', 'pro'), ('bob@example.com', 'free')`);
  expect((await makeWhoAmI(app)).status).toBe(200);
  await useFunction(
    app,
    `select jsonb_build_object('plan', (select min(plan) from public.plans), 'verified', "user" -> 'emailVerified')`,
  );
  const { user, accessToken, refreshToken } = await signUp(app);
  expect(decodeJwt(accessToken)).toMatchObject({ sub: user.id, role: 'authenticated', plan: 'pro', verified: false });
  const seen = await app.as('nobody').post('/api/database/rpc/whoami', {}, bearer(accessToken));
  expect(seen.body).toEqual({
    sub: user.id,
    email: 'alice@example.com',
    role: 'authenticated',
    aal: 'aal1',
    sid: expect.any(String),
    plan: 'pro',
    verified: false,
  });

  await app.sql(`update plans set plan = 'team' where email = 'alice@example.com'`);
  const refreshed = await refresh(app, refreshToken);
  expect(decodeJwt(refreshed.body.accessToken)).toMatchObject({ plan: 'team' });

  expect(await app.as('admin').delete(PATH)).toMatchObject({ status: 200, body: { function: null } });
  const after = await refresh(app, refreshed.body.refreshToken);
  expect(decodeJwt(after.body.accessToken).plan).toBeUndefined();
});

test('a token that somebody else signed says who, and nothing more', async () => {
  const app = await startApp();
  expect((await makeWhoAmI(app)).status).toBe(200);
  const token = await new SignJWT({ sub: 'them', email: 'a@b.c', role: 'authenticated', aal: 'aal2', plan: 'pro' })
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('5m')
    .sign(new TextEncoder().encode(SECRETS.JWT_SECRET));
  const seen = await app.as('nobody').post('/api/database/rpc/whoami', {}, bearer(token));
  expect(seen.body).toEqual({ sub: 'them', email: 'a@b.c', role: 'authenticated' });
});

test.each([
  { what: 'raises', body: `begin raise exception 'the reason'; end`, options: 'language plpgsql', log: 'the reason' },
  { what: 'returns an array', body: `select '[1]'::jsonb`, log: 'something else than an object' },
  { what: 'returns reserved claims', body: `select '{"role":"project_admin","aal":"aal2"}'::jsonb`, log: 'aal, role' },
  { what: 'returns too much', body: `select jsonb_build_object('a', repeat('x', 5000))`, log: '4096 are allowed' },
  {
    what: 'writes',
    body: `begin update auth.users set is_project_admin = true; return '{}'; end`,
    options: 'language plpgsql security definer',
    log: 'read-only transaction',
  },
  { what: 'reads what users may not', body: `select to_jsonb(u) from auth.users u`, log: 'permission denied' },
  {
    what: 'takes too long',
    body: `begin perform pg_sleep(60); return '{}'; end`,
    options: 'language plpgsql',
    log: 'statement timeout',
  },
])('a function that $what fails the sign-in, and the log says why', async ({ body, options, log }) => {
  const lines: string[] = [];
  const app = await startApp({}, { log: pino({ level: 'error' }, { write: (line) => void lines.push(line) }) });
  await useFunction(app, body, options);
  const reply = await app.as('anon').post(SIGN_UP, { email: 'alice@example.com', password: 'correct horse' });
  expect(reply).toMatchObject({ status: 500, body: { error: 'AUTH_CUSTOM_CLAIMS_FAILED' } });
  expect(reply.text).not.toContain(log);
  expect(lines.join()).toContain(log);
  expect(await app.sql('select from auth.users where is_project_admin')).toEqual([]);
});

test.each(['sub', 'role', 'exp', 'iss', 'aud', 'aal', 'sid', 'email', 'client_id', 'jti'])(
  'a function cannot say %s, neither at sign-in nor at a refresh',
  async (name) => {
    const app = await startApp();
    const { refreshToken } = await signUp(app);
    await useFunction(app, `select '{"${name}":"x"}'::jsonb`);
    const refused = { status: 500, body: { error: 'AUTH_CUSTOM_CLAIMS_FAILED' } };
    const signIn = await app.as('nobody').post('/api/auth/sessions?client_type=mobile', ALICE);
    for (const reply of [signIn, await refresh(app, refreshToken)]) {
      expect(reply).toMatchObject(refused);
      expect(reply.body.accessToken).toBeUndefined();
    }
  },
);

test('nothing returned means no claims', async () => {
  const app = await startApp();
  await useFunction(app, 'select null::jsonb');
  const { accessToken } = await signUp(app);
  expect(Object.keys(decodeJwt(accessToken)).sort()).toEqual(['aal', 'email', 'exp', 'iat', 'role', 'sid', 'sub']);
});

test('a function made by the owner in the schema auth counts too', async () => {
  const app = await startApp();
  await app.sql(`create function auth.custom_claims("user" jsonb) returns jsonb language sql stable
    as $$ select '{"by":"owner"}'::jsonb $$`);
  const { accessToken } = await signUp(app);
  expect(decodeJwt(accessToken)).toMatchObject({ by: 'owner' });
  expect((await app.as('admin').get(PATH)).body).toEqual({ function: 'auth.custom_claims' });
});

test.each([
  { what: 'one that does not exist', name: 'public.missing', message: 'no function public.missing(jsonb)' },
  { what: 'a name without a schema', name: 'missing', message: 'must be schema.name' },
  { what: 'SQL', name: `public.x(jsonb); drop table auth.users; --`, message: 'must be schema.name' },
  { what: 'one of another type', name: 'public.wrong_type', message: 'that returns jsonb' },
  { what: 'one that users may not call', name: 'public.private', message: 'may not call' },
])('refused as function: $what', async ({ name, message }) => {
  const app = await startApp();
  await app.sql(`create function wrong_type(jsonb) returns text language sql as $$ select '' $$;
    create function private(jsonb) returns jsonb language sql as $$ select '{}'::jsonb $$;
    revoke execute on function private(jsonb) from public`);
  const reply = await app.as('admin').put(PATH, { function: name });
  expect(reply).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
  expect(reply.body.message).toContain(message);
});

test.each([
  { who: 'nobody', status: 401 },
  { who: 'anon', status: 403 },
  { who: 'user', status: 403 },
] as const)('$who decides nothing about claims: $status', async ({ who, status }) => {
  const app = await startApp();
  const caller = app.as(who === 'user' ? await app.user('alice') : who);
  expect((await caller.get(PATH)).status).toBe(status);
  expect((await caller.put(PATH, { function: 'public.x' })).status).toBe(status);
  expect((await caller.delete(PATH)).status).toBe(status);
});
