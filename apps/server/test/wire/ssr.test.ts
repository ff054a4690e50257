import {
  type CookieOptions,
  createAuthActions,
  createBrowserClient,
  createRefreshAuthRouter,
  createServerClient,
  updateSession,
} from '@insforge/sdk/ssr';
import { decodeJwt, SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { ADA, codeFor } from '../auth/email-client.ts';
import { configureCustom, openBrowser, startReachableApp } from '../auth/oauth-browser.ts';
import { startOpenId } from '../auth/oauth-openid.ts';
import { startScriptedOpenId } from '../auth/oauth-scripted.ts';
import { SECRETS, startApp } from '../harness.ts';

const ACCESS = 'insforge_access_token';
const REFRESH = 'insforge_refresh_token';

/** The cookies of one visitor, as a framework hands them to the code of an app. */
function openCookies() {
  const jar = new Map<string, { value: string; options?: CookieOptions | undefined }>();
  return {
    get: (name: string) => jar.get(name),
    set: (name: string, value: string, options?: CookieOptions) => {
      if (options?.maxAge === 0) jar.delete(name);
      else jar.set(name, { value, options });
    },
    value: (name: string) => jar.get(name)?.value ?? '',
    names: () => [...jar.keys()].sort(),
    header: () => [...jar].map(([name, { value }]) => `${name}=${value}`).join('; '),
    /** What a browser makes of the answer of a route. */
    take(response: Response) {
      for (const line of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
        if (/Max-Age=0/.test(line)) jar.delete(name);
        else jar.set(name, { value });
      }
    },
  };
}

async function startSite() {
  const app = await startApp();
  const site = { baseUrl: await app.listen(), anonKey: SECRETS.ACCESS_ANON_KEY };
  const cookies = openCookies();
  return { app, site, cookies, actions: createAuthActions({ ...site, cookies }) };
}

const expired = (token: string) =>
  new SignJWT(decodeJwt(token))
    .setProtectedHeader({ alg: 'HS256' })
    .setExpirationTime('-1 minute')
    .sign(new TextEncoder().encode(SECRETS.JWT_SECRET));

test('a site that renders on its server keeps the session in cookies of its own, as long as the tokens count', async () => {
  const { site, cookies, actions } = await startSite();
  const signedUp = await actions.signUp({ ...ADA, name: 'Ada' });
  expect(signedUp).toMatchObject({ error: null, data: { user: { email: ADA.email } } });
  // What reaches the browser as data tells no token.
  expect(JSON.stringify(signedUp)).not.toMatch(/Token"/);
  for (const [name, httpOnly] of [
    [ACCESS, false],
    [REFRESH, true],
  ] as const) {
    const exp = decodeJwt(cookies.value(name)).exp ?? 0;
    expect(cookies.get(name)?.options, name).toMatchObject({ httpOnly, expires: new Date(exp * 1000) });
  }
  const { auth } = createServerClient({ ...site, cookies });
  expect((await auth.getCurrentUser()).data.user?.profile).toEqual({ name: 'Ada' });
  expect((await auth.setProfile({ theme: 'dark' })).data?.profile).toEqual({ name: 'Ada', theme: 'dark' });

  expect((await actions.signInWithPassword({ ...ADA, password: 'wrong' })).error).toMatchObject({ statusCode: 401 });
  const before = cookies.value(REFRESH);
  expect(await actions.signInWithPassword(ADA)).toMatchObject({ error: null, data: { user: { email: ADA.email } } });
  expect(cookies.value(REFRESH)).not.toBe(before);
});

test('signing out ends the session at the server, not only in the cookies', async () => {
  const { site, cookies, actions } = await startSite();
  await actions.signUp(ADA);
  const kept = cookies.header();
  expect((await actions.signOut()).error).toBeNull();
  expect(cookies.names()).toEqual([]);
  expect((await createServerClient({ ...site, cookies }).auth.getCurrentUser()).data.user).toBeNull();

  const route = createRefreshAuthRouter(site);
  const reply = await route.POST(new Request('https://site.example/', { method: 'POST', headers: { cookie: kept } }));
  expect(reply.status).toBe(401);
  expect(await reply.json()).toMatchObject({ error: 'AUTH_UNAUTHORIZED', statusCode: 401 });
});

test('a request with an expired token gets a new session before the page is made, one with a good token does not', async () => {
  const { site, cookies, actions } = await startSite();
  await actions.signUp(ADA);
  const update = () => updateSession({ ...site, requestCookies: cookies, responseCookies: cookies });
  const first = cookies.value(ACCESS);
  expect(await update()).toEqual({ refreshed: false, accessToken: first, error: null });

  const [old, spent] = [await expired(first), cookies.value(REFRESH)];
  cookies.set(ACCESS, old);
  expect(await update()).toEqual({ refreshed: true, accessToken: cookies.value(ACCESS), error: null });
  expect(cookies.value(REFRESH)).not.toBe(spent);
  const { auth } = createServerClient({ ...site, cookies });
  expect((await auth.getCurrentUser()).data.user?.email).toBe(ADA.email);

  await actions.signOut();
  cookies.set(ACCESS, old);
  cookies.set(REFRESH, spent);
  expect(await update()).toMatchObject({ refreshed: false, accessToken: null, error: { statusCode: 401 } });
  expect(cookies.names(), 'nothing is left that would be tried again').toEqual([]);
});

test('the pages of the site refresh through its route, once for requests at the same time', async () => {
  const { app, site, cookies, actions } = await startSite();
  await app.as('admin').post('/api/database/advance/rawsql', {
    query: `create table public.notes (owner uuid default auth.uid(), body text);
      create policy own on public.notes to authenticated using (owner = auth.uid()) with check (owner = auth.uid())`,
  });
  await actions.signUp(ADA);
  const owner = createServerClient({ ...site, cookies });
  expect((await owner.database.from('notes').insert({ body: 'hers' })).error).toBeNull();
  const route = createRefreshAuthRouter(site);
  let refreshes = 0;
  // The browser of the visitor: the route of the site is the only address with their cookies.
  const browse: typeof fetch = async (input, init) => {
    if (input !== '/api/auth/refresh') return fetch(input, init);
    refreshes++;
    const request = new Request('https://site.example/', { method: 'POST', headers: { cookie: cookies.header() } });
    const response = await route.POST(request);
    cookies.take(response);
    return response;
  };
  const page = createBrowserClient({ ...site, fetch: browse });
  const read = () => page.database.from('notes').select('body');
  expect((await Promise.all([read(), read(), read()])).map(({ data }) => data)).toEqual(
    Array(3).fill([{ body: 'hers' }]),
  );
  expect(refreshes).toBe(1);
  expect((await page.auth.getProfile(decodeJwt(cookies.value(ACCESS)).sub ?? '')).error).toBeNull();

  page.setAccessToken(await expired(cookies.value(ACCESS)));
  expect((await read()).data).toEqual([{ body: 'hers' }]);
  expect(refreshes).toBe(2);

  const old = await expired(cookies.value(ACCESS));
  await actions.signOut();
  page.setAccessToken(old);
  expect((await read()).error).toMatchObject({ statusCode: 401, error: 'AUTH_UNAUTHORIZED' });
  expect((await read()).data, 'from then on the page is nobody').toEqual([]);
});

test('codes of mails sign in, and verify', async () => {
  const { app, site, cookies, actions } = await startSite();
  expect(await actions.signInWithOtp({ email: ADA.email })).toMatchObject({ error: null, data: { success: true } });
  expect(await actions.verifyOtp({ email: ADA.email, otp: await codeFor(app, ADA.email), name: 'Ada' })).toMatchObject({
    error: null,
    data: { user: { emailVerified: true, profile: { name: 'Ada' } } },
  });
  expect(cookies.names()).toEqual([ACCESS, REFRESH]);

  await app.as('admin').put('/api/auth/config', { requireEmailVerification: true });
  const bob = openCookies();
  const others = createAuthActions({ ...site, cookies: bob });
  const email = 'bob@example.com';
  expect((await others.signUp({ email, password: ADA.password })).data).toMatchObject({
    requireEmailVerification: true,
  });
  expect(bob.names(), 'no session before the address is proved').toEqual([]);
  expect(await others.verifyEmail({ email, otp: await codeFor(app, email) })).toMatchObject({
    error: null,
    data: { user: { email } },
  });
  expect(bob.names()).toEqual([ACCESS, REFRESH]);
});

test('users of providers come in by redirect, and with an ID token', async () => {
  const google = await startScriptedOpenId();
  const app = await startReachableApp({
    OAUTH_OWN_HOSTS: `google=${google.issuer}`,
    GOOGLE_CLIENT_ID: 'client-of-the-tests',
    GOOGLE_CLIENT_SECRET: 'from the environment',
  });
  const person = { email: ADA.email, email_verified: true, name: 'Ada' };
  const { issuer } = await startOpenId({ ada: person }, [`${app.baseUrl}/api/auth/oauth/custom/sso/callback`]);
  await configureCustom(app, 'sso', { discoveryEndpoint: issuer });
  const cookies = openCookies();
  const actions = createAuthActions({ baseUrl: app.baseUrl, anonKey: SECRETS.ACCESS_ANON_KEY, cookies });

  const arrive = async () => {
    const { data } = await actions.signInWithOAuth('sso', {
      redirectTo: 'http://localhost:4321/signed-in',
      additionalParams: { login_hint: 'ada' },
    });
    const code = new URL(await openBrowser().visit(data.url ?? '')).searchParams.get('insforge_code') ?? '';
    return { code, verifier: data.codeVerifier };
  };
  const { verifier: foreign } = await arrive();
  const stolen = await actions.exchangeOAuthCode((await arrive()).code, foreign);
  expect(stolen.error).toMatchObject({ statusCode: 400, error: 'AUTH_UNAUTHORIZED' });
  expect(cookies.names()).toEqual([]);
  const { code, verifier } = await arrive();
  expect(await actions.exchangeOAuthCode(code, verifier)).toMatchObject({
    error: null,
    data: { user: { email: ADA.email } },
  });
  const subject = decodeJwt(cookies.value(ACCESS)).sub;

  const token = await google.idToken({ sub: '1', ...person });
  expect(await actions.signInWithIdToken({ provider: 'google', token })).toMatchObject({
    error: null,
    data: { user: { id: subject, providers: expect.arrayContaining(['google']) } },
  });
  google.script.forge = () => `${token.slice(0, -4)}AAAA`;
  const forged = await google.idToken({});
  expect((await actions.signInWithIdToken({ provider: 'google', token: forged })).error).toMatchObject({
    statusCode: 401,
    error: 'AUTH_UNAUTHORIZED',
  });
});
