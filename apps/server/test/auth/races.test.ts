import * as oauth from 'openid-client';
import { expect, test } from 'vitest';
import { totpCode } from '../../src/features/auth/totp.ts';
import { type Reply, startApp, type TestApp } from '../harness.ts';
import {
  CALLBACK,
  discover,
  openBrowser,
  type Provider,
  registerClient,
  startProvider,
  type Visit,
} from '../oauth-server/flow.ts';
import { ALICE, BOB, bearer, signUp } from './client.ts';
import { codeFor } from './email-client.ts';
import { configure, startReachableApp } from './oauth-browser.ts';
import { startScriptedOpenId } from './oauth-scripted.ts';

// Between the check of a proof and what is opened for it, the account changes. The change waits in a transaction until
// somebody waits for it: by then the proof has been checked, and found right.

const CHANGES = {
  'another password': `update auth.users set password = 'another'`,
  'a ban': `update auth.users set banned_until = 'infinity'`,
  'being deleted': 'delete from auth.users',
} as const;

async function whileChanging<Result>(
  app: TestApp,
  change: string,
  work: () => Promise<Result>,
  more = 'select',
): Promise<Result> {
  await app.sql('begin');
  await app.sql(change);
  const working = work();
  await somebodyWaits(app);
  await app.sql(more);
  await app.sql('commit');
  return working;
}

const somebodyWaits = ({ sql }: TestApp) =>
  expect
    .poll(() => sql('select from pg_locks where not granted and pg_backend_pid() = any(pg_blocking_pids(pid))'), {
      interval: 10,
      timeout: 10_000,
    })
    .toHaveLength(1);

const nothingIsOpen = async ({ sql }: TestApp) => {
  expect(await sql('select from auth.sessions')).toEqual([]);
  expect(await sql('select from auth.exchange_codes')).toEqual([]);
  expect(await sql('select from auth.factor_challenges')).toEqual([]);
};

const signIn = ({ as }: TestApp) => as('nobody').post('/api/auth/sessions?client_type=mobile', ALICE);

test.each([
  { change: 'another password', status: 401, error: 'AUTH_UNAUTHORIZED' },
  { change: 'a ban', status: 403, error: 'AUTH_USER_BANNED' },
  { change: 'being deleted', status: 404, error: 'AUTH_USER_NOT_FOUND' },
] as const)(
  'no session is opened for a password that was checked just before $change',
  async ({ change, status, error }) => {
    const app = await startApp();
    await signUp(app);
    await app.sql('delete from auth.sessions');
    const reply = await whileChanging(app, CHANGES[change], () => signIn(app));
    expect(reply).toMatchObject({ status, body: { error } });
    await nothingIsOpen(app);
  },
);

test('a change that takes nothing back keeps nobody out', async () => {
  const app = await startApp();
  await signUp(app);
  const reply = await whileChanging(app, `update auth.users set profile = '{"name":"Al"}'`, () => signIn(app));
  expect(reply.status).toBe(200);
});

test('whoever signs in at the same time as somebody whose account is being changed is not held up', async () => {
  const app = await startApp();
  await signUp(app);
  await signUp(app, BOB);
  await app.sql('begin');
  await app.sql(`update auth.users set password = 'another' where email = '${BOB.email}'`);
  const bob = app.as('nobody').post('/api/auth/sessions?client_type=mobile', BOB);
  expect((await signIn(app)).status).toBe(200);
  await somebodyWaits(app);
  await app.sql('commit');
  expect((await bob).status).toBe(401);
});

test('nor is a challenge for the second factor', async () => {
  const app = await startApp();
  await enrol(app);
  await app.sql('delete from auth.sessions');
  expect((await whileChanging(app, CHANGES['another password'], () => signIn(app))).status).toBe(401);
  await nothingIsOpen(app);
});

test('nor a session for the answer to one', async () => {
  const app = await startApp();
  const secret = await enrol(app);
  await app.sql('delete from auth.sessions');
  const { challenge } = (await signIn(app)).body;
  const code = totpCode(secret, Math.floor(Date.now() / 30_000));
  const reply = await whileChanging(app, CHANGES['another password'], () =>
    app.as('nobody').post('/api/auth/sessions/second-factor', { challenge, code }),
  );
  expect(reply).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
  await nothingIsOpen(app);
});

const verifier = oauth.randomPKCECodeVerifier();

/** On the page to sign in, as an app would have sent somebody there. */
async function onPage(provider: Provider) {
  const browser = openBrowser(provider);
  const query = new URLSearchParams({
    redirect_to: 'http://localhost:5173/',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  });
  const page = await browser.open(`${provider.url}/auth/sign-in?${query}`);
  return { submit: () => browser.submit(page, 'Sign in', ALICE) };
}

test('no code is issued on a page for a password that was checked just before another one', async () => {
  const provider = await startProvider();
  const { submit } = await onPage(provider);
  const visit: Visit = await whileChanging(provider, CHANGES['another password'], submit);
  expect(visit).toMatchObject({ status: 401, text: expect.stringContaining('Wrong email address or password') });
  await nothingIsOpen(provider);
});

test('no session is opened for a code that was checked just before another password', async () => {
  const provider = await startProvider();
  const { submit } = await onPage(provider);
  const code = new URL((await submit()).url).searchParams.get('insforge_code');
  await provider.sql('delete from auth.sessions');
  const exchange = (): Promise<Reply> =>
    provider.as('nobody').post('/api/auth/oauth/exchange', { code, code_verifier: verifier });
  expect(await whileChanging(provider, CHANGES['another password'], exchange)).toMatchObject({
    status: 400,
    body: { error: 'AUTH_UNAUTHORIZED' },
  });
  await nothingIsOpen(provider);
});

test.each([
  // Waits for the account, so the proof has not been admitted yet.
  { when: 'before it is admitted', lock: '' },
  // Waits for the stored sign-in, so it has.
  { when: 'after it is admitted', lock: `select from auth.oauth_records where model = 'Interaction' for update;` },
])('no program is let in for a password that is changed $when', async ({ lock }) => {
  const provider = await startProvider();
  const config = await discover(provider, await registerClient(provider));
  const url = oauth.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK,
    scope: 'openid',
    state: 'a',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  const browser = openBrowser(provider);
  const page = await browser.open(url.href);
  await provider.sql('begin');
  await provider.sql(lock || CHANGES['another password']);
  const submitted = browser.submit(page, 'Sign in', ALICE);
  await somebodyWaits(provider);
  if (lock) await provider.sql(CHANGES['another password']);
  await provider.sql('commit');
  const visit = await submitted;
  expect(visit.status).toBe(401);
  expect(visit.text).not.toContain('>Allow</button>');
  // Nor by going on without having been sent there.
  const again = await browser.open(url.href);
  expect(again.text).toContain('name="password"');
});

test('a password that was changed meanwhile is not changed by whoever knew the one before', async () => {
  const app = await startApp();
  const { accessToken } = await signUp(app);
  const reply = await whileChanging(app, CHANGES['another password'], () =>
    app
      .as('nobody')
      .put(
        '/api/auth/users/current/password',
        { currentPassword: ALICE.password, newPassword: 'my own one' },
        bearer(accessToken),
      ),
  );
  expect(reply).toMatchObject({ status: 403, body: { error: 'FORBIDDEN' } });
  expect(await app.sql('select password from auth.users')).toEqual([{ password: 'another' }]);
});

/** What somebody who is signed in wants to change, and the proof they have in hand. */
const OWN_CHANGES = {
  'an address': async (app: TestApp, headers: { authorization: string }) => {
    const { put, post } = app.as('nobody');
    const path = '/api/auth/users/current/email';
    const newEmail = 'mine@example.com';
    expect((await put(path, { currentPassword: ALICE.password, newEmail }, headers)).status).toBe(202);
    const otp = await codeFor(app, newEmail);
    return () => post(`${path}/confirm`, { email: newEmail, otp }, headers);
  },
  'a second factor': async ({ as }: TestApp, headers: { authorization: string }) => {
    const { post } = as('nobody');
    const { body } = await post('/api/auth/factors', { name: 'phone' }, headers);
    const code = totpCode(body.secret, Math.floor(Date.now() / 30_000));
    return () => post(`/api/auth/factors/${body.id}/verify`, { code }, headers);
  },
};

const ownChanges = [{ what: 'an address' }, { what: 'a second factor' }] as const;

test.each(ownChanges)('$what is not changed by whoever loses the account at this moment', async ({ what }) => {
  const app = await startApp();
  const { accessToken } = await signUp(app);
  const change = await OWN_CHANGES[what](app, bearer(accessToken));
  const reply = await whileChanging(app, CHANGES['another password'], change);
  expect(reply).toMatchObject({ status: 401, body: { error: 'AUTH_UNAUTHORIZED' } });
  expect(await app.sql('select email from auth.users')).toEqual([{ email: ALICE.email }]);
  expect(await app.sql('select from auth.factors where verified_at is not null')).toEqual([]);
});

test.each(ownChanges)('$what is changed by whoever stays signed in', async ({ what }) => {
  const app = await startApp();
  const { accessToken } = await signUp(app);
  const change = await OWN_CHANGES[what](app, bearer(accessToken));
  const harmless = `update auth.users set profile = '{"name":"Alice"}'`;
  expect((await whileChanging(app, harmless, change)).status).toBe(200);
});

async function enrol(app: TestApp): Promise<string> {
  const { accessToken } = await signUp(app);
  const { post } = app.as('nobody');
  const factor = (await post('/api/auth/factors', { name: 'phone' }, bearer(accessToken))).body;
  const code = totpCode(factor.secret, Math.floor(Date.now() / 30_000) - 1);
  const verified = await post(`/api/auth/factors/${factor.id}/verify`, { code }, bearer(accessToken));
  expect(verified.status).toBe(200);
  return factor.secret;
}

test('no session is opened for the ID token of an identity that the owner has just taken off the account', async () => {
  const google = await startScriptedOpenId();
  const app = await startReachableApp({ OAUTH_OWN_HOSTS: `google=${google.issuer}` });
  await configure(app, 'google');
  const token = await google.idToken({ sub: '1', email: ALICE.email, email_verified: false });
  const enter = () => app.as('nobody').post('/api/auth/id-token?client_type=mobile', { provider: 'google', token });
  expect((await enter()).status).toBe(200);
  await app.sql('delete from auth.sessions');
  const lock = `update auth.users set profile = '{"name":"Al"}'`;
  const reply = await whileChanging(app, lock, enter, 'delete from auth.user_providers');
  expect(reply).toMatchObject({ status: 401, body: { error: 'AUTH_UNAUTHORIZED' } });
  await nothingIsOpen(app);
});
