import * as oauth from 'openid-client';
import { expect, test } from 'vitest';
import { totpCode } from '../../src/features/auth/totp.ts';
import { bearer, sessionIdOf } from '../auth/client.ts';
import { ask, codeFor, configure, linkFor } from '../auth/email-client.ts';
import type { Reply } from '../harness.ts';
import { ALICE, CALLBACK, discover, type Provider, registerClient, signInWith, startProvider } from './flow.ts';

// A program that a user let in holds tokens, and the browser in which they did stays signed in at this server's pages.
// Both are ways into the account, so what ends all sessions ends them.

/** A user on a device of their own, and somebody who signed in through a program in another browser. */
async function startWithProgram() {
  const provider = await startProvider();
  const config = await discover(provider, await registerClient(provider));
  const { tokens, browser } = await signInWith(provider, config);
  const { body } = await provider.as('nobody').post('/api/auth/sessions?client_type=mobile', ALICE);
  return { provider, config, tokens, browser, own: body as { user: { id: string }; accessToken: string } };
}

type Parts = Awaited<ReturnType<typeof startWithProgram>>;

/** Whether the program reads the profile and gets new tokens, and whether the browser is still signed in. */
async function whatGoesOn({ provider, config, tokens, browser }: Parts) {
  const profile = await provider.as('nobody').get('/auth/v1/profile', bearer(tokens.access_token));
  const refreshed = await oauth.refreshTokenGrant(config, tokens.refresh_token ?? '').then(
    () => true,
    () => false,
  );
  const url = oauth.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK,
    scope: 'openid profile email',
    code_challenge: 'x'.repeat(43),
    code_challenge_method: 'S256',
  });
  const page = await browser.open(url.href);
  return { profile: profile.status, isRefreshed: refreshed, isSignedIn: !page.text.includes('name="password"') };
}

const enrol = async ({ provider, own }: Parts): Promise<Reply> => {
  const { post } = provider.as('nobody');
  const factor = (await post('/api/auth/factors', {}, bearer(own.accessToken))).body;
  const code = totpCode(factor.secret, Math.floor(Date.now() / 30_000));
  return post(`/api/auth/factors/${factor.id}/verify`, { code }, bearer(own.accessToken));
};

const verifyByCode = async ({ provider }: Parts): Promise<Reply> => {
  await ask(provider, 'send-verification', { email: ALICE.email });
  const otp = await codeFor(provider, ALICE.email);
  return provider.as('nobody').post('/api/auth/email/verify', { email: ALICE.email, otp });
};

const verifyByLink = async ({ provider }: Parts): Promise<Reply> => {
  await configure(provider, { verifyEmailMethod: 'link' });
  await ask(provider, 'send-verification', { email: ALICE.email });
  return provider.as('nobody').get(await linkFor(provider, ALICE.email));
};

/** The account never had a password, as those that providers brought. */
const signInByCode = async ({ provider, own }: Parts): Promise<Reply> => {
  await provider.sql(`set insforge.rehashed = '${own.user.id}'`);
  await provider.sql('update auth.users set password = null');
  await ask(provider, 'send-otp', { email: ALICE.email });
  const otp = await codeFor(provider, ALICE.email);
  return provider.as('nobody').post('/api/auth/sessions', { method: 'otp', email: ALICE.email, otp });
};

const pathOf = ({ own }: Parts) => `/api/auth/users/${own.user.id}`;

test.each<{ what: string; end: (parts: Parts) => Promise<Reply> }>([
  { what: 'the owner of the address verifies it with a code', end: verifyByCode },
  { what: 'the owner of the address verifies it with a link', end: verifyByLink },
  { what: 'the user puts a second factor in force', end: enrol },
  {
    what: 'the user signs out everywhere',
    end: ({ provider, own }) => provider.as('nobody').delete('/api/auth/sessions', undefined, bearer(own.accessToken)),
  },
  {
    what: 'the user signs out on all other devices',
    end: ({ provider, own }) =>
      provider.as('nobody').delete('/api/auth/sessions?keepCurrent=true', undefined, bearer(own.accessToken)),
  },
  {
    what: 'the admin ends the sessions',
    end: (parts) => parts.provider.as('admin').delete(`${pathOf(parts)}/sessions`),
  },
  {
    what: 'the admin removes the second factors',
    end: (parts) => parts.provider.as('admin').delete(`${pathOf(parts)}/factors`),
  },
  {
    what: 'the admin sets another password',
    end: (parts) => parts.provider.as('admin').patch(pathOf(parts), { password: 'another one 2' }),
  },
  { what: 'the admin bans the user', end: (parts) => parts.provider.as('admin').post(`${pathOf(parts)}/ban`, {}) },
  { what: 'the user is deleted', end: (parts) => parts.provider.as('admin').delete(pathOf(parts)) },
])('programs and pages are signed out when $what', async ({ end }) => {
  const parts = await startWithProgram();
  expect((await end(parts)).status).toBeLessThan(400);
  expect(await whatGoesOn(parts)).toEqual({ profile: 401, isRefreshed: false, isSignedIn: false });
});

test.each<{ what: string; change: (parts: Parts) => Promise<Reply> }>([
  { what: 'another name', change: (parts) => parts.provider.as('admin').patch(pathOf(parts), { name: 'Al' }) },
  {
    what: 'signing out on one device',
    change: ({ provider, own }) =>
      provider
        .as('nobody')
        .delete(`/api/auth/sessions/${sessionIdOf(own.accessToken)}`, undefined, bearer(own.accessToken)),
  },
])('programs and pages go on after $what', async ({ change }) => {
  const parts = await startWithProgram();
  expect((await change(parts)).status).toBe(200);
  expect(await whatGoesOn(parts)).toEqual({ profile: 200, isRefreshed: true, isSignedIn: true });
});

test('what a squatter let a program do is not let by the owner, who comes by a code', async () => {
  const parts = await startWithProgram();
  expect((await signInByCode(parts)).status).toBe(200);
  expect(await whatGoesOn(parts)).toEqual({ profile: 401, isRefreshed: false, isSignedIn: false });
  expect(await grantsOf(parts)).toEqual([]);
});

test('what a user let a program do stays let after signing out everywhere', async () => {
  const parts = await startWithProgram();
  await parts.provider.as('admin').delete(`${pathOf(parts)}/sessions`);
  expect(await grantsOf(parts)).toHaveLength(1);
});

const grantsOf = async ({ provider }: { provider: Provider }) =>
  provider.sql(`select from auth.oauth_records where model = 'Grant'`);
