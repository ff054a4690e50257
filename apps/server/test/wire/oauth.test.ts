import type { InsForgeClient } from '@insforge/sdk';
import { createClient } from '@insforge/sdk';
import { decodeJwt, type JWTPayload } from 'jose';
import { expect, test } from 'vitest';
import { ownToken } from '../auth/client.ts';
import { configureCustom, openBrowser, startReachableApp } from '../auth/oauth-browser.ts';
import { startOpenId } from '../auth/oauth-openid.ts';
import { startScriptedOpenId } from '../auth/oauth-scripted.ts';
import { SECRETS } from '../harness.ts';
import { makeBucket } from '../storage/files.ts';
import { hasBrowser, openApp } from './browser.ts';

declare global {
  /** The client inside the page of `openApp`. */
  var insforge: InsForgeClient;
}

const ADA = { email: 'ada@example.com', email_verified: true, name: 'Ada' };

async function startWithOpenId() {
  const app = await startReachableApp();
  const { issuer } = await startOpenId({ ada: ADA }, [`${app.baseUrl}/api/auth/oauth/custom/sso/callback`]);
  await configureCustom(app, 'sso', { discoveryEndpoint: issuer });
  return { app, options: { baseUrl: app.baseUrl, anonKey: SECRETS.ACCESS_ANON_KEY } };
}

test.runIf(hasBrowser)('in a browser the SDK leaves for the provider and comes back with a session', async () => {
  const { options } = await startWithOpenId();
  const page = await openApp(options);
  const back = new URL('/back', page.url()).href;
  await page.evaluate((redirectTo) => {
    const additionalParams = { login_hint: 'ada' };
    void globalThis.insforge.auth.signInWithOAuth('sso', { redirectTo, additionalParams });
  }, back);
  // The SDK takes the code out of the address when it has it.
  await page.waitForURL(back);
  const current = await page.evaluate(() => globalThis.insforge.auth.getCurrentUser());
  expect(current).toMatchObject({
    error: null,
    data: { user: { email: 'ada@example.com', profile: { name: 'Ada' } } },
  });

  // A page that is opened again has nothing in memory: the cookie brings the session back.
  await page.reload();
  const again = await page.evaluate(() => globalThis.insforge.auth.getCurrentUser());
  expect(again.data.user?.email).toBe('ada@example.com');
});

test('without a browser of its own, the SDK exchanges the code that the app brings', async () => {
  const { options } = await startWithOpenId();
  const client = createClient({ ...options, isServerMode: true });
  const { data, error } = await client.auth.signInWithOAuth('sso', {
    redirectTo: 'http://localhost:4321/signed-in',
    additionalParams: { login_hint: 'ada' },
    skipBrowserRedirect: true,
  });
  expect(error).toBeNull();
  const arrived = new URL(await openBrowser().visit(data.url ?? ''));
  const code = arrived.searchParams.get('insforge_code') ?? '';
  const exchanged = await client.auth.exchangeOAuthCode(code, data.codeVerifier);
  expect(exchanged).toMatchObject({ error: null, data: { user: { email: 'ada@example.com' } } });
  expect(exchanged.data?.refreshToken).toEqual(expect.any(String));
  const again = await client.auth.exchangeOAuthCode(code, data.codeVerifier);
  expect(again.error).toMatchObject({ statusCode: 400, error: 'AUTH_UNAUTHORIZED' });
});

async function startWithGoogle() {
  const google = await startScriptedOpenId();
  const app = await startReachableApp({
    OAUTH_OWN_HOSTS: `google=${google.issuer}`,
    GOOGLE_CLIENT_ID: 'client-of-the-tests',
    GOOGLE_CLIENT_SECRET: 'from the environment',
  });
  const client = createClient({ baseUrl: app.baseUrl, anonKey: SECRETS.ACCESS_ANON_KEY });
  return { google, app, client };
}

test('the SDK signs in with an ID token of a native SDK, and goes on with the refresh token that it holds', async () => {
  const { google, app, client } = await startWithGoogle();
  await makeBucket(app, 'private', { preset: 'owner-only' });
  const token = await google.idToken({ sub: '1', ...ADA });
  const { data, error } = await client.auth.signInWithIdToken({ provider: 'google', token });
  expect(error).toBeNull();
  expect(data?.user).toMatchObject({ email: 'ada@example.com', providers: ['google'] });

  const claims: JWTPayload = decodeJwt(data?.accessToken ?? '');
  const expired = () => ownToken(app, { ...claims, exp: 1 });
  client.setAccessToken(await expired());
  // The same file again, after the refresh in between.
  const uploaded = await client.storage.from('private').upload('a.txt', new Blob(['hello'], { type: 'text/plain' }));
  expect(uploaded).toMatchObject({ error: null, data: { key: 'a.txt', size: 5 } });
  expect(await (await client.storage.from('private').download('a.txt')).data?.text()).toBe('hello');

  await app.sql('delete from auth.sessions');
  client.setAccessToken(await expired());
  expect((await client.storage.from('private').list()).error).toMatchObject({ statusCode: 401 });
  expect((await client.auth.getCurrentUser()).data.user, 'the SDK gives up').toBeNull();
});

test.each([
  {
    form: 'as two parameters',
    begin: ({ auth }: InsForgeClient, redirectTo: string) => auth.signInWithOAuth('google', { redirectTo }),
  },
  {
    form: 'as one object, which older apps pass',
    begin: ({ auth }: InsForgeClient, redirectTo: string) => auth.signInWithOAuth({ provider: 'google', redirectTo }),
  },
])('the SDK asks where a known provider is: $form', async ({ begin }) => {
  const { google, app, client } = await startWithGoogle();
  await app.as('admin').put('/api/auth/config', { allowedRedirectUrls: ['http://localhost:4321/in'] });
  const { data, error } = await begin(client, 'http://localhost:4321/in');
  expect(error).toBeNull();
  const url = new URL(data.url ?? '');
  expect(url.origin).toBe(google.issuer);
  expect(url.searchParams.get('redirect_uri')).toBe(`${app.baseUrl}/api/auth/oauth/google/callback`);

  const refused = await begin(client, 'https://evil.example/in');
  expect(refused).toMatchObject({ data: {}, error: { statusCode: 400, error: 'INVALID_INPUT' } });
});

test('the SDK is told of a provider that nobody set up', async () => {
  const { client } = await startWithGoogle();
  for (const provider of ['github', 'nobody']) {
    const { data, error } = await client.auth.signInWithOAuth(provider, { redirectTo: 'http://localhost:4321/in' });
    expect(data).toEqual({});
    expect(error, provider).toMatchObject({
      nextActions: expect.any(String),
      message: expect.stringContaining(provider),
    });
  }
});
