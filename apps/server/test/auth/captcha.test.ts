import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { openBrowser, startProvider } from '../oauth-server/flow.ts';
import { startVerifier } from './captcha-verifier.ts';
import { ALICE, BOB, signUp } from './client.ts';

const PATH = '/api/auth/captcha';
const PROVIDERS = ['turnstile', 'hcaptcha'] as const;

async function startGuarded(more: Record<string, unknown> = {}) {
  const verifier = await startVerifier();
  const app = await startApp({ CAPTCHA_VERIFY_URL: verifier.url });
  await signUp(app);
  const reply = await app
    .as('admin')
    .put(PATH, { provider: 'turnstile', siteKey: verifier.siteKey, secretKey: verifier.secret, ...more });
  expect(reply.status, reply.text).toBe(200);
  return { app, verifier };
}

let tokens = 0;
const solved = () => `solved-${tokens++}`;

const CODES = { challenge: 'a'.repeat(43) };
/** Every route that asks for a captcha: what it is sent, and what it answers where the captcha was solved. */
const GUARDED = [
  { purpose: 'sign-up', path: '/api/auth/users', body: BOB, status: 200 },
  { purpose: 'sign-in', path: '/api/auth/sessions', body: ALICE, status: 200 },
  { purpose: 'sign-in', path: '/api/auth/sessions', body: { method: 'password', ...ALICE }, status: 200 },
  { purpose: 'mail', path: '/api/auth/email/send-otp', body: { email: BOB.email }, status: 202 },
  { purpose: 'mail', path: '/api/auth/email/send-verification', body: { email: ALICE.email }, status: 202 },
  { purpose: 'mail', path: '/api/auth/email/send-reset-password', body: { email: ALICE.email }, status: 202 },
  {
    purpose: 'mail',
    path: '/api/auth/email/send-magic-link',
    body: { email: ALICE.email, redirectTo: 'http://localhost/', code_challenge: CODES.challenge },
    status: 202,
  },
] as const;

const send = ({ as }: TestApp, { path, body }: (typeof GUARDED)[number], more: object = {}, headers = {}) =>
  as('anon').post(path, { ...body, ...more }, headers);

test.each(PROVIDERS.flatMap((provider) => GUARDED.map((route) => ({ provider, ...route, route }))))(
  '$provider guards $path for $purpose',
  async ({ provider, route, purpose }) => {
    const { app, verifier } = await startGuarded({ provider, protects: [purpose] });
    const before = await app.sql(
      'select (select count(*) from auth.users), (select count(*) from auth.sessions), (select count(*) from email.messages)',
    );
    const refusals = [
      { token: undefined, message: /^The captcha is missing$/ },
      { token: '', message: /^The captcha is missing$/ },
      { token: 7, message: /^The captcha is missing$/ },
      { token: 'guessed', message: /^The captcha was refused$/ },
      { token: 'x'.repeat(9000), message: /^The captcha was refused$/ },
    ];
    for (const { token, message } of refusals) {
      const reply = await send(app, route, { captchaToken: token });
      expect(reply).toMatchObject({ status: 400, body: { error: 'AUTH_CAPTCHA_FAILED' } });
      expect(reply.body.message).toMatch(message);
      expect(reply.body.nextActions).toContain('captcha');
    }
    expect(
      await app.sql(
        'select (select count(*) from auth.users), (select count(*) from auth.sessions), (select count(*) from email.messages)',
      ),
    ).toEqual(before);

    const token = solved();
    expect((await send(app, route, { captchaToken: token })).status).toBe(route.status);
    expect(verifier.asked.at(-1)).toMatchObject({ secret: verifier.secret, response: token, remoteip: '127.0.0.1' });
    expect(verifier.asked.at(-1)?.sitekey).toBe(provider === 'hcaptcha' ? verifier.siteKey : undefined);
    const again = await send(app, route, { captchaToken: token });
    expect(again.status).toBe(400);
    expect(again.body.message).toMatch(/^The captcha was used before/);
  },
);

test('the token may be in a header, and servers of the project need none', async () => {
  const { app } = await startGuarded();
  const [signUpRoute, signInRoute] = GUARDED;
  expect((await send(app, signInRoute, {}, { 'x-captcha-token': solved() })).status).toBe(200);
  expect((await app.as('admin').post(signUpRoute.path, BOB)).status).toBe(200);
  expect((await app.as('admin').post(signInRoute.path, ALICE)).status).toBe(200);
  expect((await app.as('nobody').post(signInRoute.path, ALICE, { 'x-api-key': 'ik_wrong' })).status).toBe(401);
});

test('what is not protected asks for nothing, nor does the code of a mail', async () => {
  const { app, verifier } = await startGuarded({ protects: ['sign-up'] });
  expect((await app.as('nobody').post('/api/auth/sessions', ALICE)).status).toBe(200);
  expect((await app.as('nobody').post('/api/auth/email/send-otp', { email: BOB.email })).status).toBe(202);
  await app.as('admin').put(PATH, { provider: 'turnstile', siteKey: 'a' });
  const otp = { method: 'otp', email: BOB.email, otp: '000000' };
  expect((await app.as('nobody').post('/api/auth/sessions', otp)).body.error).toBe('INVALID_INPUT');
  expect(verifier.asked).toEqual([]);
});

test.each([
  { what: 'breaks off', outage: 'silent' as const },
  { what: 'answers an error', outage: { status: 500, body: 'oops' } },
  { what: 'answers nonsense', outage: { status: 200, body: '{"success":"true"}' } },
  { what: 'answers at length', outage: { status: 200, body: `{"success":true,"x":"${'x'.repeat(70_000)}"}` } },
  { what: 'is gone', outage: 'gone' as const },
])('a verifier that $what lets nobody in', async ({ outage }) => {
  const { app, verifier } = await startGuarded();
  if (outage === 'gone') await verifier.close();
  else verifier.outage = outage;
  const reply = await app.as('nobody').post('/api/auth/sessions', { ...ALICE, captchaToken: solved() });
  expect(reply).toMatchObject({
    status: 503,
    body: { error: 'UPSTREAM_FAILURE', message: 'The captcha cannot be checked right now' },
  });
  expect(reply.body.nextActions).toContain('DELETE /api/auth/captcha');
});

test('a wrong secret is the fault of the server, and lets nobody in', async () => {
  const { app } = await startGuarded({ secretKey: 'another' });
  const reply = await app.as('nobody').post('/api/auth/sessions', { ...ALICE, captchaToken: solved() });
  expect(reply).toMatchObject({ status: 503, body: { error: 'UPSTREAM_FAILURE' } });
});

test('settings: the secret is encrypted, never shown, kept for its provider only, and audited without it', async () => {
  const { app, verifier } = await startGuarded();
  const { as, sql } = app;
  const shown = { enabled: true, provider: 'turnstile', siteKey: verifier.siteKey, hasSecret: true };
  expect((await as('admin').get(PATH)).body).toEqual({ ...shown, protects: ['sign-up', 'sign-in', 'mail'] });
  const stored = JSON.stringify([
    await sql('select * from auth.captcha'),
    await sql('select * from system.audit_logs'),
  ]);
  expect(stored).toContain('UPDATE_CAPTCHA');
  expect(stored).not.toContain(verifier.secret);

  const kept = await as('admin').put(PATH, { provider: 'turnstile', siteKey: 'new', protects: ['mail'] });
  expect(kept.body).toEqual({ ...shown, siteKey: 'new', protects: ['mail'] });
  const other = await as('admin').put(PATH, { provider: 'hcaptcha', siteKey: 'new' });
  expect(other).toMatchObject({ status: 400, body: { message: /^secretKey: is required/ } } as never);
  expect((await as('admin').get(PATH)).body.provider).toBe('turnstile');

  const config = (await as('nobody').get('/api/auth/public-config')).body;
  expect(config.captcha).toEqual({ provider: 'turnstile', siteKey: 'new', protects: ['mail'] });
  expect((await as('admin').delete(PATH)).body).toEqual({
    enabled: false,
    provider: null,
    siteKey: null,
    hasSecret: false,
    protects: [],
  });
  expect((await as('nobody').get('/api/auth/public-config')).body.captcha).toBeUndefined();
  expect((await as('nobody').post('/api/auth/sessions', ALICE)).status).toBe(200);
});

test('a change counts on all servers', async () => {
  const { app } = await startGuarded();
  const other = await startApp({}, { beside: app });
  const signIn = async () => (await other.as('nobody').post('/api/auth/sessions', ALICE)).status;
  expect(await signIn()).toBe(400);
  await app.as('admin').delete(PATH);
  await expect.poll(signIn).toBe(200);
});

test.each([
  { what: 'an unknown provider', change: { provider: 'recaptcha' } },
  { what: 'no secret at first', change: { secretKey: undefined } },
  { what: 'a site key that would leave its attribute', change: { siteKey: '"><script>' } },
  { what: 'nothing to protect', change: { protects: [] } },
  { what: 'an unknown purpose', change: { protects: ['everything'] } },
  { what: 'a misspelt name', change: { sitekey: 'x' } },
])('refused: $what', async ({ change }) => {
  const { as, sql } = await startApp();
  const reply = await as('admin').put(PATH, { provider: 'turnstile', siteKey: 'a', secretKey: 'b', ...change });
  expect(reply).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
  expect(await sql('select from auth.captcha')).toEqual([]);
});

test.each([
  { who: 'nobody', status: 401 },
  { who: 'anon', status: 403 },
  { who: 'user', status: 403 },
] as const)('$who does not reach the settings', async ({ who, status }) => {
  const app = await startApp();
  const client = app.as(who === 'user' ? await app.user('alice') : who);
  expect((await client.get(PATH)).status).toBe(status);
  expect((await client.put(PATH, { provider: 'turnstile', siteKey: 'a', secretKey: 'b' })).status).toBe(status);
  expect((await client.delete(PATH)).status).toBe(status);
});

test.each([
  {
    provider: 'turnstile',
    widget: 'cf-turnstile',
    field: 'cf-turnstile-response',
    host: 'https://challenges.cloudflare.com',
  },
  { provider: 'hcaptcha', widget: 'h-captcha', field: 'h-captcha-response', host: 'https://js.hcaptcha.com' },
])('the pages show the widget of $provider and want its token', async ({ provider, widget, field, host }) => {
  const verifier = await startVerifier();
  const server = await startProvider({ CAPTCHA_VERIFY_URL: verifier.url });
  const { siteKey, secret: secretKey } = verifier;
  await server.as('admin').put(PATH, { provider, siteKey, secretKey });
  const query = new URLSearchParams({ redirect_to: 'http://localhost:5173/', code_challenge: CODES.challenge });
  const browser = openBrowser(server);
  for (const page of ['sign-in', 'sign-up', 'verify', 'reset']) {
    const { text, headers } = await browser.open(`${server.url}/auth/${page}?${query}`);
    expect(text, page).toContain(`class="captcha ${widget}" data-sitekey="${siteKey}"`);
    expect(text, page).toContain(`<script src="${host}/`);
    const policy = String(headers.get('content-security-policy'));
    expect(policy).toMatch(/script-src https:\/\/(challenges\.cloudflare\.com|hcaptcha\.com)/);
    expect(policy).not.toContain('unsafe');
  }
  const page = await browser.open(`${server.url}/auth/sign-in?${query}`);
  const without = await browser.submit(page, 'Sign in', ALICE);
  expect(without.text).toContain('The captcha is missing');
  const back = await browser.submit(without, 'Sign in', { ...ALICE, [field]: solved() });
  expect(back.url).toMatch(/^http:\/\/localhost:5173\/\?insforge_code=/);

  // The same for programs that sign people in with this server.
  const client = await server.as('admin').post('/api/oauth/v1/clients', {
    name: 'Notes',
    redirectUris: ['https://app.example.com/callback'],
  });
  const authorize = new URLSearchParams({
    client_id: client.body.clientId,
    redirect_uri: 'https://app.example.com/callback',
    response_type: 'code',
    scope: 'openid',
    code_challenge: CODES.challenge,
    code_challenge_method: 'S256',
  });
  const login = await browser.open(`${server.url}/api/oauth/v1/authorize?${authorize}`);
  expect(login.text).toContain(widget);
  const refused = await browser.submit(login, 'Sign in', ALICE);
  expect(refused.status).toBe(400);
  const consent = await browser.submit(refused, 'Sign in', { ...ALICE, [field]: solved() });
  expect(consent.text).toContain('>Allow</button>');
});

test.each([
  { page: 'sign-up', button: 'Create account', typed: BOB, done: /insforge_code=/ },
  { page: 'reset', button: 'Send a mail', typed: { email: ALICE.email }, done: /notice=sent/ },
  { page: 'verify', button: 'Send another mail', typed: { email: ALICE.email }, done: /notice=sent/ },
])('a form of the page $page does nothing without a captcha', async ({ page, button, typed, done }) => {
  const verifier = await startVerifier();
  const server = await startProvider({ CAPTCHA_VERIFY_URL: verifier.url });
  await server.as('admin').put(PATH, { provider: 'turnstile', siteKey: verifier.siteKey, secretKey: verifier.secret });
  const query = new URLSearchParams({ redirect_to: 'http://localhost:5173/', code_challenge: CODES.challenge });
  const browser = openBrowser(server);
  const opened = await browser.open(`${server.url}/auth/${page}?${query}&email=${ALICE.email}`);
  const count = () =>
    server.sql('select (select count(*) from auth.users) as users, (select count(*) from email.messages) as mails');
  const before = await count();
  for (const token of ['', 'guessed']) {
    const refused = await browser.submit(opened, button, { ...typed, 'cf-turnstile-response': token });
    expect(refused).toMatchObject({ status: 400, text: expect.stringMatching(/The captcha (is missing|was refused)/) });
  }
  expect(await count()).toEqual(before);
  const gone = await browser.submit(opened, button, { ...typed, 'cf-turnstile-response': solved() });
  expect(gone.url).toMatch(done);
  expect(await count()).not.toEqual(before);
});

test('without a captcha nothing may run on the pages', async () => {
  const server = await startProvider();
  const { text, headers } = await openBrowser(server).open(`${server.url}/auth/sign-in`);
  expect(text).not.toContain('<script');
  expect(headers.get('content-security-policy')).not.toContain('script-src');
});
