import { expect, test } from 'vitest';
import { mailsTo } from '../email/smtp.ts';
import { type Reply, startApp, type TestApp } from '../harness.ts';
import {
  ADA,
  ask,
  codeFor,
  configure,
  endCooldown,
  expireAll,
  linkFor,
  notThe,
  redirectOf,
  register,
} from './email-client.ts';

const WRONG = {
  status: 400,
  body: { error: 'INVALID_INPUT', message: 'The code is wrong, has been used, or has expired' },
};

async function startWithSignUp(settings: Record<string, unknown> = {}, more = {}): Promise<TestApp> {
  const app = await startApp();
  await configure(app, { requireEmailVerification: true, ...settings });
  const { status, body } = await register(app, ADA, more);
  expect({ status, body }).toMatchObject({
    status: 200,
    body: { user: { email: ADA.email, emailVerified: false }, accessToken: null, requireEmailVerification: true },
  });
  return app;
}

const verify = ({ as }: TestApp, otp: string, query = '?client_type=mobile') =>
  as('nobody').post(`/api/auth/email/verify${query}`, { email: ADA.email, otp });
const signIn = ({ as }: TestApp) => as('nobody').post('/api/auth/sessions', ADA);

test('after sign-up nobody comes in before the code of the mail was entered', async () => {
  const app = await startWithSignUp();
  expect((await signIn(app)).status).toBe(403);
  const verified = await verify(app, await codeFor(app, ADA.email));
  expect(verified).toMatchObject({
    status: 200,
    body: {
      user: { email: ADA.email, emailVerified: true },
      accessToken: expect.any(String),
      refreshToken: expect.any(String),
    },
  });
  expect((await signIn(app)).status).toBe(200);
});

test('a browser gets a cookie and a CSRF token for the code', async () => {
  const app = await startWithSignUp();
  const { body, headers } = await verify(app, await codeFor(app, ADA.email), '');
  expect(body.csrfToken).toMatch(/^[\da-f]{64}$/);
  expect(String(headers['set-cookie'])).toMatch(/^insforge_refresh_token=.*HttpOnly/);
});

test.each([
  { what: 'where verification is not required', settings: { requireEmailVerification: false }, mails: 0 },
  { what: 'where it is', settings: { requireEmailVerification: true }, mails: 1 },
])('sign-up sends $mails mails $what', async ({ settings, mails }) => {
  const app = await startApp();
  await configure(app, settings);
  await register(app);
  expect(await mailsTo(app, ADA.email)).toHaveLength(mails);
});

test('whom an admin declares verified gets no mail', async () => {
  const app = await startApp();
  await configure(app, { requireEmailVerification: true });
  await app.as('admin').post('/api/auth/users', { ...ADA, autoConfirm: true });
  expect(await mailsTo(app, ADA.email)).toEqual([]);
  expect((await signIn(app)).status).toBe(200);
});

test('a code counts once', async () => {
  const app = await startWithSignUp();
  const code = await codeFor(app, ADA.email);
  expect((await verify(app, code)).status).toBe(200);
  expect(await verify(app, code)).toMatchObject(WRONG);
});

test('the third wrong code spends the right one', async () => {
  const app = await startWithSignUp();
  const code = await codeFor(app, ADA.email);
  for (let attempt = 1; attempt <= 2; attempt++) expect(await verify(app, notThe(code))).toMatchObject(WRONG);
  expect(await verify(app, notThe(code))).toMatchObject(WRONG);
  expect(await verify(app, code)).toMatchObject(WRONG);
});

test('after two wrong codes the right one still counts', async () => {
  const app = await startWithSignUp();
  const code = await codeFor(app, ADA.email);
  for (let attempt = 1; attempt <= 2; attempt++) await verify(app, notThe(code));
  expect((await verify(app, code)).status).toBe(200);
});

test('a code expires after 15 minutes, a link after 24 hours', async () => {
  const app = await startWithSignUp();
  const minutes = 'select round(extract(epoch from expires_at - now()) / 60)::int as minutes from auth.email_otps';
  expect(await app.sql(minutes)).toEqual([{ minutes: 15 }]);
  await expireAll(app);
  expect(await verify(app, await codeFor(app, ADA.email))).toMatchObject(WRONG);
  await configure(app, { verifyEmailMethod: 'link' });
  await ask(app, 'send-verification', { email: ADA.email });
  expect(await app.sql(minutes)).toEqual([{ minutes: 24 * 60 }]);
});

test('a new mail takes the place of the old one, and needs no wait after sign-up', async () => {
  const app = await startWithSignUp();
  const old = await codeFor(app, ADA.email);
  expect((await ask(app, 'send-verification', { email: ADA.email })).status).toBe(202);
  const code = await codeFor(app, ADA.email);
  if (old !== code) expect(await verify(app, old)).toMatchObject(WRONG);
  expect((await verify(app, code)).status).toBe(200);
});

test.each([
  { what: 'letters', body: { email: ADA.email, otp: 'abcdef' } },
  { what: 'five digits', body: { email: ADA.email, otp: '12345' } },
  { what: 'no code', body: { email: ADA.email } },
  { what: 'no address', body: { otp: '123456' } },
  { what: 'nothing', body: undefined },
])('refused: $what', async ({ body }) => {
  const { as } = await startApp();
  expect(await as('nobody').post('/api/auth/email/verify', body)).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT' },
  });
});

test('a code for something else does not verify', async () => {
  const app = await startWithSignUp();
  await ask(app, 'send-reset-password', { email: ADA.email });
  expect(await verify(app, await codeFor(app, ADA.email))).toMatchObject(WRONG);
});

const LINK = { verifyEmailMethod: 'link' };
const APP = 'https://app.example.com/sign-in?from=mail';

test('a link verifies and leads back to the app', async () => {
  const app = await startWithSignUp(LINK, { redirectTo: APP });
  const link = await linkFor(app, ADA.email);
  expect(link).toMatch(/^\/api\/auth\/email\/verify-link\?token=[\da-f]{64}$/);
  const opened = await app.as('nobody').get(link);
  expect(opened.status).toBe(302);
  expect(redirectOf(opened)).toEqual({
    to: 'https://app.example.com/sign-in',
    query: { from: 'mail', insforge_status: 'success', insforge_type: 'verify_email' },
  });
  expect(opened.headers).toMatchObject({ 'referrer-policy': 'no-referrer', 'cache-control': 'no-store' });
  expect(opened.headers['set-cookie']).toBeUndefined();
  expect((await signIn(app)).status).toBe(200);

  const again = await app.as('nobody').get(link);
  expect(redirectOf(again).query).toEqual({
    from: 'mail',
    insforge_status: 'error',
    insforge_type: 'verify_email',
    insforge_error: 'The link has been used or has expired',
  });
});

test('an expired link leads back with an error', async () => {
  const app = await startWithSignUp(LINK, { redirectTo: APP });
  await expireAll(app);
  const { query } = redirectOf(await app.as('nobody').get(await linkFor(app, ADA.email)));
  expect(query).toMatchObject({ insforge_status: 'error' });
  expect((await signIn(app)).status).toBe(403);
});

test('what the app had in the query under our names is replaced', async () => {
  const forged = 'https://app.example.com/?insforge_status=success&insforge_status=x&token=t&insforge_error=e&keep=1';
  const app = await startWithSignUp(LINK, { redirectTo: forged });
  await expireAll(app);
  const opened = await app.as('nobody').get(await linkFor(app, ADA.email));
  expect([...new URL(String(opened.headers.location)).searchParams].sort()).toEqual([
    ['insforge_error', 'The link has been used or has expired'],
    ['insforge_status', 'error'],
    ['insforge_type', 'verify_email'],
    ['keep', '1'],
  ]);
});

test('without an app to go back to, a page of the server says how it went', async () => {
  const app = await startWithSignUp(LINK);
  const link = await linkFor(app, ADA.email);
  const shown = async (reply: Reply) => {
    const { pathname, search } = new URL(String(reply.headers.location));
    return (await app.as('nobody').get(pathname + search)).text;
  };
  expect(await shown(await app.as('nobody').get(link))).toContain('Email verified');
  expect(await shown(await app.as('nobody').get(link))).toContain('The link has been used or has expired');
  const cut = await app.as('nobody').get(link.slice(0, -1), { accept: 'text/html,*/*' });
  expect(await shown(cut)).toContain('The link has been used or has expired');
  expect(await app.as('nobody').get(link.slice(0, -1))).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT' },
  });
});

test('asking only for the headers does not spend a link', async () => {
  const app = await startWithSignUp(LINK, { redirectTo: APP });
  const link = await linkFor(app, ADA.email);
  expect((await app.as('nobody').head(link)).status).toBe(404);
  expect(redirectOf(await app.as('nobody').get(link)).query.insforge_status).toBe('success');
});

test('a link leads nowhere that has been taken off the list meanwhile, and is not spent by trying', async () => {
  const app = await startWithSignUp(LINK, { redirectTo: APP });
  const link = await linkFor(app, ADA.email);
  await configure(app, { allowedRedirectUrls: ['https://other.example.com/*'] });
  expect(await app.as('nobody').get(link)).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
  await configure(app, { allowedRedirectUrls: ['https://app.example.com/*'] });
  expect(redirectOf(await app.as('nobody').get(link)).query.insforge_status).toBe('success');
});

test.each(['', '?token=', '?token=abc', `?token=${'0'.repeat(64)}`])('no link: %s', async (query) => {
  const { as } = await startApp();
  expect((await as('nobody').get(`/api/auth/email/verify-link${query}`)).status).toBe(400);
});

test('a code cannot be used as a link, nor the token of a link as a code', async () => {
  const app = await startWithSignUp();
  const code = await codeFor(app, ADA.email);
  expect((await app.as('nobody').get(`/api/auth/email/verify-link?token=${code}`)).status).toBe(400);
  await configure(app, LINK);
  await ask(app, 'send-verification', { email: ADA.email });
  expect(await verify(app, code)).toMatchObject(WRONG);
});

test('links lead to the configured address, whatever Host the request had', async () => {
  const app = await startApp({ API_BASE_URL: 'https://api.example.com' });
  await configure(app, { requireEmailVerification: true, ...LINK });
  await app.as('anon').post('/api/auth/users', ADA, { host: 'evil.example', 'x-forwarded-host': 'evil.example' });
  const [{ variables, text }] = await mailsTo(app, ADA.email);
  expect(variables.link).toMatch(/^https:\/\/api\.example\.com\/api\/auth\/email\/verify-link\?token=/);
  expect(text).not.toContain('evil.example');
});

test('a redirect that is not allowed creates no user', async () => {
  const app = await startApp();
  await configure(app, { requireEmailVerification: true, allowedRedirectUrls: ['https://app.example.com/*'] });
  expect(await register(app, ADA, { redirectTo: 'https://evil.example/' })).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT' },
  });
  expect(await app.sql('select from auth.users')).toEqual([]);
});

test('of 100 redemptions at once, over two servers, one opens a session', async () => {
  const app = await startWithSignUp();
  const other = await startApp({}, { beside: app });
  const code = await codeFor(app, ADA.email);
  const replies = await Promise.all(Array.from({ length: 100 }, (_, index) => verify(index % 2 ? app : other, code)));
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200, 400, 429]));
  expect(await app.sql('select from auth.sessions')).toHaveLength(1);
});

test('of 100 openings of a link at once, one succeeds', async () => {
  const app = await startWithSignUp(LINK, { redirectTo: APP });
  const link = await linkFor(app, ADA.email);
  const replies = await Promise.all(Array.from({ length: 100 }, () => app.as('nobody').get(link)));
  const outcomes = replies.map((reply) => redirectOf(reply).query.insforge_status);
  expect(outcomes.filter((outcome) => outcome === 'success')).toHaveLength(1);
});

test('whoever is verified already gets no mail, and the answer does not tell', async () => {
  const app = await startWithSignUp();
  await verify(app, await codeFor(app, ADA.email));
  await app.as('admin').delete('/api/email/outbox');
  await endCooldown(app);
  expect((await ask(app, 'send-verification', { email: ADA.email })).status).toBe(202);
  expect(await mailsTo(app, ADA.email)).toEqual([]);
});
