import { expect, test } from 'vitest';
import { bearer, refresh, signUp } from './client.ts';
import {
  arrive,
  configureCustom,
  exchange,
  makePkce,
  type ReachableApp,
  signInWith,
  startReachableApp,
} from './oauth-browser.ts';
import { startScriptedOpenId } from './oauth-scripted.ts';

const OWNER = 'owner@example.com';
const PASSWORD = 'known to whoever registered';

/** `good` verifies addresses, `lax` does not; both say of the one who signs in that this is their address. */
async function startWithTwo(environment: Record<string, string> = {}) {
  const app = await startReachableApp(environment);
  const [good, lax] = await Promise.all([startScriptedOpenId(), startScriptedOpenId()]);
  good.script.claims = { sub: 'owner-at-good', email: OWNER, email_verified: true, name: 'Owner' };
  lax.script.claims = { sub: 'somebody-at-lax', email: OWNER, email_verified: false, name: 'Somebody' };
  await configureCustom(app, 'good', { discoveryEndpoint: good.issuer });
  await configureCustom(app, 'lax', { discoveryEndpoint: lax.issuer });
  return { app, good, lax };
}

const register = (app: ReachableApp, email = OWNER) => signUp(app, { email, password: PASSWORD });
const signInByPassword = ({ as }: ReachableApp) =>
  as('nobody').post('/api/auth/sessions?client_type=mobile', { email: OWNER, password: PASSWORD });
const verify = ({ sql }: ReachableApp) => sql('update auth.users set email_verified = true');

const identities = ({ sql }: ReachableApp) =>
  sql<{ provider: string; email: string; verified: boolean; hasPassword: boolean }>(`
    select p.provider, u.email, u.email_verified as verified, u.password is not null as "hasPassword"
    from auth.users u left join auth.user_providers p on p.user_id = u.id order by u.created_at, p.created_at`);

async function errorOf(app: ReachableApp, provider: string): Promise<string | null> {
  const { searchParams } = await arrive(app, { provider });
  expect(searchParams.get('insforge_code') === null).toBe(searchParams.get('error') !== null);
  return searchParams.get('error');
}

const EXISTS = /There is a user owner@example\.com already, and (good|lax) has not verified that address/;

test.each([
  { account: 'no account', claim: true, emailVerified: true, created: true },
  { account: 'no account', claim: 'true', emailVerified: true, created: true },
  { account: 'no account', claim: false, emailVerified: false, created: true },
  { account: 'no account', claim: 'false', emailVerified: false, created: true },
  { account: 'no account', claim: undefined, emailVerified: false, created: true },
  { account: 'no account', claim: 1, emailVerified: false, created: true },
  { account: 'a verified account', claim: true, emailVerified: true, hasPassword: true },
  { account: 'a verified account', claim: false, refused: true },
  { account: 'a verified account', claim: undefined, refused: true },
  { account: 'a verified account', claim: 'yes', refused: true },
  { account: 'an unverified account', claim: true, emailVerified: true, hasPassword: false },
  { account: 'an unverified account', claim: false, refused: true },
  { account: 'an unverified account', claim: undefined, refused: true },
])(
  '$account, the provider says verified=$claim',
  async ({ account, claim, refused, created, emailVerified, hasPassword = false }) => {
    const { app, good } = await startWithTwo();
    const before = account === 'no account' ? undefined : await register(app);
    if (account === 'a verified account') await verify(app);
    good.script.claims = { sub: 'x', email: 'OWNER@Example.com ', email_verified: claim };

    if (refused) {
      expect(await errorOf(app, 'good')).toMatch(EXISTS);
      expect(await identities(app)).toMatchObject([{ provider: null, hasPassword: true }]);
      return;
    }
    const { status, body } = await signInWith(app, { provider: 'good' });
    expect(status).toBe(200);
    expect(body.user.id === before?.user.id).toBe(!created);
    expect(await identities(app)).toEqual([{ provider: 'good', email: OWNER, verified: emailVerified, hasPassword }]);
  },
);

test('whoever registered an address that is not theirs has nothing left when its owner comes', async () => {
  const { app } = await startWithTwo();
  const squatter = await register(app);
  await app.sql(
    `insert into auth.factors (user_id, name, secret_ciphertext, verified_at) values ($1, 'trap', 'x', now())`,
    [squatter.user.id],
  );
  await app.sql(`update auth.users set profile = '{"name":"Squatter","theme":"dark"}'`);

  const owner = await signInWith(app, { provider: 'good' });
  expect(owner).toMatchObject({
    status: 200,
    body: {
      user: {
        id: squatter.user.id,
        emailVerified: true,
        providers: ['good'],
        profile: { name: 'Owner', theme: 'dark' },
      },
    },
  });
  expect(await signInByPassword(app)).toMatchObject({ status: 401 });
  expect(await refresh(app, squatter.refreshToken)).toMatchObject({ status: 401 });
  expect(await refresh(app, owner.body.refreshToken)).toMatchObject({ status: 200 });
  expect(await app.sql('select from auth.factors')).toEqual([]);
});

test('an account that was squatted through a lax provider is lost to its owner too, codes under way included', async () => {
  const { app } = await startWithTwo();
  const first = await signInWith(app, { provider: 'lax' });
  const pkce = makePkce();
  const waiting = (await arrive(app, { provider: 'lax', pkce })).searchParams.get('insforge_code');

  expect(await signInWith(app, { provider: 'good' })).toMatchObject({
    status: 200,
    body: { user: { providers: ['good'] } },
  });
  expect(await exchange(app, waiting, pkce)).toMatchObject({ status: 400, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await refresh(app, first.body.refreshToken)).toMatchObject({ status: 401 });
  expect(await errorOf(app, 'lax')).toMatch(EXISTS);
});

test('whoever is on the way in while the owner takes the account over does not arrive', async () => {
  const { app } = await startWithTwo();
  await signInWith(app, { provider: 'lax' });
  const squatters = Array.from({ length: 12 }, async () => {
    const pkce = makePkce();
    const code = (await arrive(app, { provider: 'lax', pkce })).searchParams.get('insforge_code');
    return code === null ? undefined : { code, pkce, early: await exchange(app, code, pkce) };
  });
  const [owner, ...arrived] = await Promise.all([signInWith(app, { provider: 'good' }), ...squatters]);
  for (const squatter of arrived) {
    if (!squatter) continue;
    const { code, pkce, early } = squatter;
    if (early.status === 200) expect(await refresh(app, early.body.refreshToken)).toMatchObject({ status: 401 });
    else expect(await exchange(app, code, pkce)).toMatchObject({ status: 400 });
  }
  expect(await refresh(app, owner.body.refreshToken)).toMatchObject({ status: 200 });
  expect(await app.sql('select from auth.sessions')).toHaveLength(1);
});

test('nobody who verifies an address by mail inherits the identity of whoever named it without proof', async () => {
  const { app } = await startWithTwo();
  await signInWith(app, { provider: 'lax' });
  await verify(app);
  expect(await identities(app)).toMatchObject([{ provider: null, verified: true }]);
  expect(await errorOf(app, 'lax')).toMatch(EXISTS);
});

test('an identity whose provider verifies the address later makes its own account verified, and stays', async () => {
  const { app, lax } = await startWithTwo();
  const first = await signInWith(app, { provider: 'lax' });
  lax.script.claims = { ...lax.script.claims, email_verified: true };
  const again = await signInWith(app, { provider: 'lax' });
  expect(again).toMatchObject({ status: 200, body: { user: { id: first.body.user.id, emailVerified: true } } });
  expect(await identities(app)).toMatchObject([{ provider: 'lax' }]);
});

test('an identity keeps its account when the address at the provider changes', async () => {
  const { app, good } = await startWithTwo();
  const first = await signInWith(app, { provider: 'good' });
  await signUp(app, { email: 'other@example.com', password: PASSWORD });
  good.script.claims = { ...good.script.claims, email: 'other@example.com' };
  const again = await signInWith(app, { provider: 'good' });
  expect(again.body.user).toMatchObject({ id: first.body.user.id, email: OWNER });
});

test('two providers that have verified the address lead to one account', async () => {
  const { app, lax } = await startWithTwo();
  lax.script.claims = { ...lax.script.claims, email_verified: true };
  const [first, second] = await Promise.all([
    signInWith(app, { provider: 'good' }),
    signInWith(app, { provider: 'lax' }),
  ]);
  expect(first.body.user.id).toBe(second.body.user.id);
  expect((await identities(app)).map(({ provider }) => provider).sort()).toEqual(['good', 'lax']);
});

test('ten first sign-ins at once make one account', async () => {
  const { app } = await startWithTwo();
  const replies = await Promise.all(Array.from({ length: 10 }, () => signInWith(app, { provider: 'good' })));
  expect(new Set(replies.map(({ body }) => body.user.id)).size).toBe(1);
  expect(await identities(app)).toHaveLength(1);
});

test.each([
  { email: undefined, why: 'no address' },
  { email: 'not an address', why: 'a malformed one' },
  { email: `${'a'.repeat(250)}@example.com`, why: 'one that is too long' },
])('with $why, an account is made under one that nobody can prove', async ({ email }) => {
  const { app, good } = await startWithTwo();
  good.script.claims = { sub: 'x', email, email_verified: true };
  const { body } = await signInWith(app, { provider: 'good' });
  expect(body.user).toMatchObject({
    emailVerified: false,
    email: expect.stringMatching(/^good\.[0-9a-f]{32}@no-address\.invalid$/),
  });
  expect((await signInWith(app, { provider: 'good' })).body.user.id).toBe(body.user.id);
});

test('while sign-up is closed, known users come in and new ones do not', async () => {
  const { app, good } = await startWithTwo();
  await signInWith(app, { provider: 'good' });
  await app.as('admin').put('/api/auth/config', { disableSignup: true });
  expect(await signInWith(app, { provider: 'good' })).toMatchObject({ status: 200 });
  good.script.claims = { sub: 'new', email: 'new@example.com', email_verified: true };
  expect(await errorOf(app, 'good')).toBe('This project does not take new users');
  expect(await identities(app)).toHaveLength(1);
});

test('where addresses must be verified, a provider that does not verify them does not replace it', async () => {
  const { app } = await startWithTwo();
  await app.as('admin').put('/api/auth/config', { requireEmailVerification: true });
  expect(await errorOf(app, 'lax')).toBe('The address must be verified before signing in');
  expect(await app.sql('select from auth.sessions')).toEqual([]);
  expect(await signInWith(app, { provider: 'good' })).toMatchObject({ status: 200 });
});

test.each([
  { claim: undefined, refused: false },
  { claim: true, refused: false },
  { claim: false, refused: true },
  { claim: 'false', refused: true },
])(
  'where an admin answers for a provider, its word counts only against: verified=$claim',
  async ({ claim, refused }) => {
    const { app, lax } = await startWithTwo();
    await register(app);
    lax.script.claims = { ...lax.script.claims, email_verified: claim };
    const update = { trustEmail: true };
    expect(await app.as('admin').put('/api/auth/oauth/custom/lax/config', update)).toMatchObject({ body: update });
    if (refused) expect(await errorOf(app, 'lax')).toMatch(EXISTS);
    else expect(await signInWith(app, { provider: 'lax' })).toMatchObject({ status: 200 });
  },
);

test('a picture that could run is not handed on', async () => {
  const { app, good } = await startWithTwo();
  good.script.claims = { ...good.script.claims, picture: 'javascript:alert(1)' };
  expect((await signInWith(app, { provider: 'good' })).body.user.profile).toEqual({ name: 'Owner', avatar_url: '' });
});

test('the rows of a user who came in with a provider are theirs', async () => {
  const { app } = await startWithTwo();
  const { body } = await signInWith(app, { provider: 'good' });
  expect(await app.as('nobody').get('/api/auth/sessions/current', bearer(body.accessToken))).toMatchObject({
    status: 200,
    body: { user: { email: OWNER } },
  });
});
