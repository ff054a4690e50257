import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import * as oauth from 'openid-client';
import { expect, test } from 'vitest';
import { bearer } from '../auth/client.ts';
import { codeFor, configure } from '../auth/email-client.ts';
import {
  ALICE,
  CALLBACK,
  discover,
  openBrowser,
  registerClient,
  signInWith,
  startProvider,
  type Visit,
} from './flow.ts';

test('a confidential client signs a user in, reads who it is, refreshes and revokes', async () => {
  const provider = await startProvider();
  const client = await registerClient(provider, { scopes: ['openid', 'profile', 'email', 'offline_access', 'api'] });
  const config = await discover(provider, client);
  const { tokens } = await signInWith(provider, config, { scope: 'openid profile email api' });

  expect(tokens).toMatchObject({ token_type: 'bearer', expires_in: 3600, refresh_token: expect.any(String) });
  const user = (await provider.as('admin').get('/api/auth/users')).body.data[0];
  const claims = decodeJwt(tokens.access_token);
  expect(decodeProtectedHeader(tokens.access_token)).toMatchObject({ alg: 'RS256', typ: 'at+jwt' });
  expect(claims).toMatchObject({
    sub: user.id,
    email: user.email,
    role: 'authenticated',
    client_id: client.clientId,
    scope: 'openid profile email api',
    iss: 'insforge',
    aud: 'insforge-api',
  });
  expect(Number(claims.exp) - Number(claims.iat)).toBe(3600);
  expect(tokens.claims()).toMatchObject({ sub: user.id, aud: client.clientId, iss: provider.url });

  const info = await oauth.fetchUserInfo(config, tokens.access_token, user.id);
  expect(info).toMatchObject({ sub: user.id, email: user.email, email_verified: false });
  const profile = await provider.as('nobody').get('/auth/v1/profile', bearer(tokens.access_token));
  expect(profile.body).toEqual({
    user: {
      id: user.id,
      email: user.email,
      profile: { name: null, avatar_url: null },
      email_verified: false,
      created_at: user.createdAt,
    },
  });
  expect(await oauth.tokenIntrospection(config, tokens.access_token)).toMatchObject({
    active: true,
    client_id: client.clientId,
    sub: user.id,
  });

  const refreshed = await oauth.refreshTokenGrant(config, tokens.refresh_token ?? '');
  expect(refreshed.refresh_token).not.toBe(tokens.refresh_token);
  const current = await provider.as('nobody').get('/api/auth/sessions/current', bearer(refreshed.access_token));
  expect(current.body.user.id).toBe(user.id);

  await oauth.tokenRevocation(config, refreshed.refresh_token ?? '');
  expect((await provider.as('nobody').get('/api/auth/sessions/current', bearer(refreshed.access_token))).status).toBe(
    401,
  );
  expect(await oauth.tokenIntrospection(config, refreshed.access_token)).toEqual({ active: false });
  await expect(oauth.refreshTokenGrant(config, refreshed.refresh_token ?? '')).rejects.toMatchObject({
    error: 'invalid_grant',
  });
});

test('a public client has no secret, and is as good with PKCE', async () => {
  const provider = await startProvider();
  const client = await registerClient(provider, { isPublic: true, redirectUris: ['myapp://callback'] });
  expect(client.clientSecret).toBeUndefined();
  const config = await discover(provider, client);
  const { tokens } = await signInWith(provider, config, { redirectUri: 'myapp://callback' });
  expect(tokens.claims()?.aud).toBe(client.clientId);
});

test('others verify the tokens with the keys that the discovery document names', async () => {
  const provider = await startProvider();
  const client = await registerClient(provider);
  const config = await discover(provider, client);
  const { tokens } = await signInWith(provider, config);
  const keys = createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri ?? ''));
  const idToken = await jwtVerify(tokens.id_token ?? '', keys, { issuer: provider.url, audience: client.clientId });
  const access = { issuer: 'insforge', audience: 'insforge-api', typ: 'at+jwt' };
  const accessToken = await jwtVerify(tokens.access_token, keys, access);
  expect(accessToken.payload.sub).toBe(idToken.payload.sub);

  const unsigned = tokens.access_token.replace(/[^.]+$/, 'A'.repeat(342));
  await expect(jwtVerify(unsigned, keys, access)).rejects.toThrow('signature verification failed');
});

test('what ends the tokens of one device leaves the others of the user alone', async () => {
  const provider = await startProvider();
  const config = await discover(provider, await registerClient(provider));
  const phone = (await signInWith(provider, config)).tokens;
  const desktop = (await signInWith(provider, config)).tokens;
  await oauth.tokenRevocation(config, phone.refresh_token ?? '');
  expect(await oauth.tokenIntrospection(config, phone.access_token)).toEqual({ active: false });
  expect(await oauth.tokenIntrospection(config, desktop.access_token)).toMatchObject({ active: true });
  await oauth.refreshTokenGrant(config, desktop.refresh_token ?? '');
});

test('grants of browsers that hold no token any more do not pile up', async () => {
  const provider = await startProvider();
  const config = await discover(provider, await registerClient(provider));
  const grants = async () => (await provider.sql(`select from auth.oauth_records where model = 'Grant'`)).length;
  const { tokens } = await signInWith(provider, config);
  await provider.sql(`create table public.kept as
    select grant_id from auth.oauth_records where model = 'RefreshToken'`);
  for (const _ of [1, 2, 3]) await signInWith(provider, config);
  expect(await grants()).toBe(4);
  await provider.sql(`update auth.oauth_records set created_at = created_at - interval '2 hours'`);
  await provider.sql('delete from auth.oauth_records where grant_id not in (select grant_id from kept)');
  await signInWith(provider, config);
  expect(await grants(), 'of the first, the last and the new one').toBe(3);
  await oauth.refreshTokenGrant(config, tokens.refresh_token ?? '');
});

test('a request may come as a form', async () => {
  const provider = await startProvider();
  const config = await discover(provider, await registerClient(provider));
  const url = oauth.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK,
    scope: 'openid',
    code_challenge: await oauth.calculatePKCECodeChallenge(oauth.randomPKCECodeVerifier()),
    code_challenge_method: 'S256',
  });
  const page = await fetch(url.origin + url.pathname, { method: 'POST', body: url.searchParams, redirect: 'manual' });
  const next = new URL(page.headers.get('location') ?? '', url);
  expect({ status: page.status, next: next.href }).toEqual({ status: 303, next: url.href });
});

test('whoever has no account, or forgot the password, finds a way on to the program', async () => {
  const provider = await startProvider();
  const client = await registerClient(provider);
  const begin = async () => {
    const url = oauth.buildAuthorizationUrl(await discover(provider, client), {
      redirect_uri: CALLBACK,
      scope: 'openid',
      code_challenge: await oauth.calculatePKCECodeChallenge(oauth.randomPKCECodeVerifier()),
      code_challenge_method: 'S256',
    });
    const browser = openBrowser(provider);
    return { browser, login: await browser.open(url.href) };
  };
  const follow = ({ text }: Visit, label: string) =>
    provider.url +
    new RegExp(`href="([^"]+)">${label}`).exec(text)?.[1]?.replaceAll('&amp;', '&').replace(provider.url, '');

  const newcomer = await begin();
  const signUp = await newcomer.browser.open(follow(newcomer.login, 'Create an account'));
  const bob = { email: 'bob@example.com', password: 'staple of the other' };
  const consent = await newcomer.browser.submit(signUp, 'Create account', bob);
  expect(consent.text).toMatch(/signed in as <strong>bob@example.com.*>Allow</s);

  const { browser, login } = await begin();
  const sent = await browser.submit(await browser.open(follow(login, 'Forgot')), 'Send a mail', { email: ALICE.email });
  const code = await codeFor(provider, ALICE.email);
  const password = 'a new password';
  const done = await browser.submit(sent, 'Set the password', { code, password });
  const again = await browser.open(follow(done, 'Sign in'));
  expect(again.url).toBe(login.url);
  expect((await browser.submit(again, 'Sign in', { ...ALICE, password })).text).toContain('>Allow</button>');

  await configure(provider, { disableSignup: true });
  expect((await begin()).login.text).not.toContain('Create an account');
});

test('in a browser in which somebody is signed in, somebody else may sign in', async () => {
  const provider = await startProvider();
  const bob = { email: 'bob@example.com', password: 'staple of the other' };
  expect((await provider.as('anon').post('/api/auth/users', bob)).status).toBe(200);
  const config = await discover(provider, await registerClient(provider));
  const { browser } = await signInWith(provider, config, { scope: 'openid' });
  const url = oauth.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK,
    scope: 'openid email',
    code_challenge: await oauth.calculatePKCECodeChallenge(oauth.randomPKCECodeVerifier()),
    code_challenge_method: 'S256',
  });
  const asAlice = await browser.open(url.href);
  expect(asAlice.text).toContain('signed in as <strong>alice@example.com');
  const login = await browser.submit(asAlice, 'Use another account');
  const asBob = await browser.submit(login, 'Sign in', bob);
  expect(asBob.text).toContain('signed in as <strong>bob@example.com');
  expect((await browser.submit(asBob, 'Allow')).url).toContain(`${CALLBACK}?code=`);
  expect((await browser.open(url.href)).url, 'Bob is signed in now').toContain(`${CALLBACK}?code=`);
});
