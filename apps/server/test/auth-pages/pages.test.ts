import * as oauth from 'openid-client';
import { expect, test } from 'vitest';
import { totpCode } from '../../src/features/auth/totp.ts';
import { bearer } from '../auth/client.ts';
import { codeFor, configure, endCooldown, linkFor } from '../auth/email-client.ts';
import { startApp, type TestApp } from '../harness.ts';
import {
  ALICE,
  CALLBACK,
  discover,
  openBrowser,
  type Provider,
  registerClient,
  startProvider,
  type Visit,
} from '../oauth-server/flow.ts';

const APP = 'http://localhost:5173/welcome?from=pages';
const BOB = { email: 'bob@example.com', password: 'staple of the other' };
const EXCHANGE = '/api/auth/oauth/exchange?client_type=mobile';

const verifier = oauth.randomPKCECodeVerifier();
const challenge = await oauth.calculatePKCECodeChallenge(verifier);

const addressOf = ({ url }: { url: string }, page: string, more: Record<string, string> = {}) =>
  `${url}/auth/${page}?${new URLSearchParams({ redirect_to: APP, code_challenge: challenge, ...more })}`;

/** Where the browser was sent, and the session that the app gets for the code. */
async function exchange({ as }: TestApp, { url }: Visit) {
  const target = new URL(url);
  expect(target.href.startsWith('http://localhost:5173/welcome?from=pages&insforge_code='), url).toBe(true);
  const code = target.searchParams.get('insforge_code');
  return as('nobody').post(EXCHANGE, { code, code_verifier: verifier });
}

test('a user signs in, and the app gets a session for the code, once', async () => {
  const provider = await startProvider();
  const browser = openBrowser(provider);
  const page = await browser.open(addressOf(provider, 'sign-in', { email: ALICE.email }));
  expect(page.text).toContain(`value="${ALICE.email}"`);
  const wrong = await browser.submit(page, 'Sign in', { ...ALICE, password: 'wrong' });
  expect(wrong).toMatchObject({ status: 401, text: expect.stringContaining('Wrong email address or password') });
  const back = await browser.submit(wrong, 'Sign in', ALICE);
  const reply = await exchange(provider, back);
  expect(reply).toMatchObject({ status: 200, body: { user: { email: ALICE.email } } });
  expect((await exchange(provider, back)).status, 'twice').toBe(400);
});

test('the second factor counts for the session of the app', async () => {
  const provider = await startProvider();
  const { post } = provider.as('nobody');
  const session = (await post('/api/auth/sessions?client_type=mobile', ALICE)).body;
  const factor = (await post('/api/auth/factors', undefined, bearer(session.accessToken))).body;
  const codeOf = (steps: number) => totpCode(factor.secret, Math.floor(Date.now() / 30_000) + steps);
  await post(`/api/auth/factors/${factor.id}/verify`, { code: codeOf(-1) }, bearer(session.accessToken));

  const browser = openBrowser(provider);
  const page = await browser.submit(await browser.open(addressOf(provider, 'sign-in')), 'Sign in', ALICE);
  const wrong = await browser.submit(page, 'Continue', { code: '000000' });
  expect(wrong.status).toBe(400);
  const back = await browser.submit(wrong, 'Continue', { code: codeOf(0) });
  const reply = await exchange(provider, back);
  expect(JSON.parse(atob(reply.body.accessToken.split('.')[1])).aal).toBe('aal2');
});

test('whoever tries too often is told how long to wait, here and on the pages of programs', async () => {
  const provider = await startProvider();
  const browser = openBrowser(provider);
  const first = await browser.open(addressOf(provider, 'sign-in'));
  await browser.submit(first, 'Sign in', { ...ALICE, password: 'wrong' });
  await provider.sql(`update auth.login_failures set free_at = now() + interval '10 minutes'`);
  const expectWait = ({ status, headers, text }: Visit) => {
    expect({ status, text }).toEqual({
      status: 429,
      text: expect.stringMatching(/Please wait (9|10) minutes and try again/),
    });
    expect(headers.get('retry-after')).toMatch(/^[1-9]\d\d$/);
  };
  expectWait(await browser.submit(first, 'Sign in', ALICE));

  const client = await registerClient(provider);
  const { href } = oauth.buildAuthorizationUrl(await discover(provider, client), {
    redirect_uri: CALLBACK,
    scope: 'openid',
    code_challenge: challenge,
    code_challenge_method: 'S256',
  });
  expectWait(await browser.submit(await browser.open(href), 'Sign in', ALICE));
});

test('a new user signs up', async () => {
  const provider = await startProvider();
  const browser = openBrowser(provider);
  const page = await browser.open(addressOf(provider, 'sign-up'));
  const short = await browser.submit(page, 'Create account', { ...BOB, password: 'abc' });
  expect(short).toMatchObject({ status: 400, text: expect.stringContaining('at least 6 characters') });
  const taken = await browser.submit(short, 'Create account', ALICE);
  expect(taken.text).toContain('There is a user alice@example.com already');
  const back = await browser.submit(taken, 'Create account', { ...BOB, name: 'Bob' });
  const reply = await exchange(provider, back);
  expect(reply.body.user).toMatchObject({ email: BOB.email, profile: { name: 'Bob' } });
});

test('where addresses must be verified, the code of the mail signs in', async () => {
  const provider = await startProvider();
  await configure(provider, { requireEmailVerification: true });
  const browser = openBrowser(provider);
  const page = await browser.submit(await browser.open(addressOf(provider, 'sign-up')), 'Create account', BOB);
  expect(page.text).toContain('A mail is on its way.');
  const wrong = await browser.submit(page, 'Verify', { code: '000000' });
  expect(wrong.status).toBe(400);
  const back = await browser.submit(wrong, 'Verify', { code: await codeFor(provider, BOB.email) });
  expect((await exchange(provider, back)).body.user).toMatchObject({ email: BOB.email, emailVerified: true });
});

test('whoever signs in without having verified is sent to verify; the link leads back to the pages', async () => {
  const provider = await startProvider();
  await configure(provider, { requireEmailVerification: true, verifyEmailMethod: 'link' });
  await configure(provider, { allowedRedirectUrls: ['http://localhost:5173/*'] });
  const browser = openBrowser(provider);
  const page = await browser.submit(await browser.open(addressOf(provider, 'sign-in')), 'Sign in', ALICE);
  expect(page.text).toContain('Open the link in the mail');
  await endCooldown(provider);
  expect((await browser.submit(page, 'Send another mail')).text).toContain('A mail is on its way.');
  const verified = await browser.open(provider.url + (await linkFor(provider, ALICE.email)));
  expect(verified.text).toContain('Email verified');
  const next = /href="(\/auth\/sign-in[^"]*)"/.exec(verified.text)?.[1]?.replaceAll('&amp;', '&');
  const back = await browser.submit(await browser.open(provider.url + next), 'Sign in', ALICE);
  expect((await exchange(provider, back)).status).toBe(200);
});

test.each(['code', 'link'])('a forgotten password is replaced by %s', async (resetPasswordMethod) => {
  const provider = await startProvider();
  await configure(provider, { resetPasswordMethod });
  const browser = openBrowser(provider);
  const asked = await browser.submit(await browser.open(addressOf(provider, 'reset')), 'Send a mail', {
    email: ALICE.email,
  });
  expect(asked.text).toContain('If alice@example.com has an account');
  const nobody = openBrowser(provider);
  const unknown = await nobody.submit(await nobody.open(addressOf(provider, 'reset')), 'Send a mail', {
    email: 'no@example.com',
  });
  expect(unknown.text.replaceAll('no@', 'alice@').length).toBe(asked.text.length);

  const form =
    resetPasswordMethod === 'code' ? asked : await browser.open(provider.url + (await linkFor(provider, ALICE.email)));
  const code: Record<string, string> =
    resetPasswordMethod === 'code' ? { code: await codeFor(provider, ALICE.email) } : {};
  const short = await browser.submit(form, 'Set the password', { ...code, password: 'abc' });
  expect(short.status).toBe(400);
  const done = await browser.submit(form, 'Set the password', { ...code, password: 'a new password' });
  expect(done.text).toContain('Password changed');
  const signIn = await browser.open(addressOf(provider, 'sign-in'));
  expect((await browser.submit(signIn, 'Sign in', ALICE)).status).toBe(401);
  const back = await browser.submit(signIn, 'Sign in', { ...ALICE, password: 'a new password' });
  expect((await exchange(provider, back)).status).toBe(200);
});

test('the buttons of providers lead to them, with where the app wants people back', async () => {
  const provider = await startProvider();
  await provider
    .as('admin')
    .post('/api/auth/oauth/configs', { provider: 'github', clientId: 'the-id', clientSecret: 's' });
  const browser = openBrowser(provider);
  const page = await browser.open(addressOf(provider, 'sign-in'));
  const href = /href="(\/auth\/with\/github[^"]*)"/.exec(page.text)?.[1]?.replaceAll('&amp;', '&');
  const there = await browser.open(provider.url + href);
  expect(there.url).toContain('https://github.com/login/oauth/authorize?');
  expect(there.url).toContain('client_id=the-id');
  expect((await browser.open(addressOf(provider, 'with/google'))).text).toContain('not configured');
});

test.each([
  { what: 'another site', query: { redirect_to: 'https://evil.example/' } },
  { what: 'a script', query: { redirect_to: 'javascript:alert(1)' } },
  { what: 'a user name before the host', query: { redirect_to: 'http://localhost:5173@evil.example/' } },
  { what: 'half a challenge', query: { redirect_to: APP, code_challenge: 'short' } },
])('refused as place to come back to: $what', async ({ query }) => {
  const app = await startApp();
  await configure(app, { allowedRedirectUrls: ['http://localhost:5173/*'] });
  for (const page of ['sign-in', 'sign-up', 'verify', 'reset']) {
    const reply = await app
      .as('nobody')
      .get(`/auth/${page}?${new URLSearchParams({ code_challenge: challenge, ...query })}`);
    expect(reply.status, page).toBe(400);
    expect(reply.headers['content-type']).toContain('text/html');
    expect(reply.text).not.toContain('<form');
  }
});

test('whoever builds the app reads how an address is allowed, on the page that refuses it', async () => {
  const app = await startApp();
  await configure(app, { allowedRedirectUrls: ['http://localhost:5173/*'] });
  const query = new URLSearchParams({ redirect_to: 'https://app.example.com/?a=b', code_challenge: challenge });
  const { text } = await app.as('nobody').get(`/auth/sign-in?${query}`);
  expect(text.replaceAll('&quot;', '"')).toContain(
    `-d &#39;{"allowedRedirectUrls":["http://localhost:5173/*","https://app.example.com/"]}&#39;`,
  );
});

test.each(['verify', 'reset'])('a dead link is explained on %s, and nobody puts words into its mouth', async (page) => {
  const { as } = await startApp();
  const query = 'insforge_status=error&insforge_error=Call+555-0100+now';
  const { text } = await as('nobody').get(`/auth/${page}?${query}`);
  expect(text).toContain('The link has been used or has expired');
  expect(text).not.toContain('555');
});

test('a callback may lead on to this machine as well', async () => {
  const { as } = await startApp();
  const query = new URLSearchParams({ redirect_to: 'https://app.example.com/', code_challenge: challenge });
  const { headers } = await as('nobody').get(`/auth/sign-in?${query}`);
  expect(headers['content-security-policy']).toContain(`form-action 'self' http: https:;`);
});

test('whoever came from no app is told so, and signs in nowhere', async () => {
  const provider = await startProvider();
  const browser = openBrowser(provider);
  const page = await browser.open(`${provider.url}/auth/sign-in`);
  expect(page).toMatchObject({ status: 400, text: expect.stringContaining('No app sent you here') });
  expect((await browser.submit(page, 'Sign in', ALICE)).text).toContain('No app sent you here');
});

test('no other site sends a form in the name of a browser', async () => {
  const provider = await startProvider();
  const browser = openBrowser(provider);
  const own = await browser.open(addressOf(provider, 'sign-in'));
  const mine = /name="csrf" value="([^"]+)"/.exec(own.text)?.[1] ?? '';
  const send = (csrf: string, cookie: string, site = 'same-origin') =>
    fetch(addressOf(provider, 'sign-in'), {
      method: 'POST',
      redirect: 'manual',
      headers: { cookie, 'sec-fetch-site': site },
      body: new URLSearchParams({ ...ALICE, step: 'password', csrf }),
    });
  const cookie = [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
  expect((await send(mine, '')).status, 'without the cookie').toBe(403);
  expect((await send('', cookie)).status, 'without the token').toBe(403);
  expect((await send(mine, `insforge_pages=${'x'.repeat(43)}`)).status, 'with the cookie of another').toBe(403);
  expect((await send(mine, cookie, 'same-site')).status, 'from a neighbour that planted both').toBe(403);
  expect((await send(mine, cookie)).status).toBe(303);
  const headers = own.headers;
  expect(headers.get('x-frame-options')).toBe('DENY');
  expect(headers.get('cache-control')).toBe('no-store');
  expect(headers.get('content-security-policy')).toMatch(
    /^default-src 'none'; style-src 'sha256-[^']+'; form-action 'self' http: https:;/,
  );
});

const UNSENT: { what: string; typed: Record<string, string> }[] = [
  { what: 'a password of a book', typed: { password: 'x'.repeat(1025) } },
  { what: 'an address that nobody has', typed: { email: `${'x'.repeat(250)}@example.com` } },
  { what: 'a step that there is not', typed: { step: 'jump' } },
];

test.each(UNSENT)('what no form of ours sends is refused, and no fault of the server: $what', async ({ typed }) => {
  const provider = await startProvider();
  const browser = openBrowser(provider);
  const page = await browser.open(addressOf(provider, 'sign-in'));
  const refused = await browser.submit(page, 'Sign in', { ...ALICE, ...typed });
  expect(refused).toMatchObject({ status: 400, text: expect.stringContaining('This did not work') });
});

test('closed sign-up is said, and banned users are told', async () => {
  const provider: Provider = await startProvider();
  await configure(provider, { disableSignup: true });
  const browser = openBrowser(provider);
  expect(await browser.open(addressOf(provider, 'sign-up'))).toMatchObject({ status: 403 });
  const page = await browser.open(addressOf(provider, 'sign-in'));
  expect(page.text).not.toContain('Create an account');
  await provider.sql(`update auth.users set banned_until = 'infinity', ban_reason = '<b>spam</b>'`);
  const banned = await browser.submit(page, 'Sign in', ALICE);
  expect(banned.text).toContain('suspended for good: &lt;b&gt;spam&lt;/b&gt;');
});

test('the admin decides how the pages look', async () => {
  const { as } = await startApp();
  const settings = {
    appName: 'A & B',
    logoUrl: 'https://example.com/logo.svg',
    accentColor: '#ffcc00',
    termsUrl: 'https://example.com/terms',
    privacyUrl: null,
    homeUrl: 'https://example.com/',
  };
  expect((await as('admin').put('/api/auth/pages', settings)).body).toEqual(settings);
  expect((await as('admin').get('/api/auth/pages')).body).toEqual(settings);
  const page = await as('nobody').get('/auth/reset');
  expect(page.text).toContain('alt="A &amp; B"');
  expect(page.text).toContain('--accent: #ffcc00; --ink: #000');
  expect(page.headers['content-security-policy']).toContain('img-src https://example.com/logo.svg');
});

test.each([
  { what: 'a colour with more in it', update: { accentColor: '#fff;}body{display:none' } },
  { what: 'a logo that runs', update: { logoUrl: 'javascript:alert(1)' } },
  { what: 'nothing', update: {} },
  { what: 'a setting that is none', update: { name: 'x' } },
])('refused as look: $what', async ({ update }) => {
  const { as } = await startApp();
  expect((await as('admin').put('/api/auth/pages', update)).status).toBe(400);
});

test.each([
  { who: 'nobody', status: 401 },
  { who: 'anon', status: 403 },
  { who: 'user', status: 403 },
] as const)('$who decides nothing about the pages: $status', async ({ who, status }) => {
  const app = await startApp();
  const caller = app.as(who === 'user' ? await app.user('alice') : who);
  expect((await caller.get('/api/auth/pages')).status).toBe(status);
  expect((await caller.put('/api/auth/pages', { appName: 'X' })).status).toBe(status);
});
