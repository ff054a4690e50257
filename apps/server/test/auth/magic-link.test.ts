import { createHash, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { mailsTo } from '../email/smtp.ts';
import { startApp, type TestApp } from '../harness.ts';
import { ADA, ask, configure, endCooldown, expireAll, linkFor, redirectOf, register } from './email-client.ts';

const APP = 'https://app.example.com/welcome';
const SPENT = { status: 400, body: { error: 'AUTH_UNAUTHORIZED' } };

function makePkce() {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

const askForLink = (app: TestApp, challenge: string, more = {}) =>
  ask(app, 'send-magic-link', { email: ADA.email, redirectTo: APP, code_challenge: challenge, ...more });

const exchange = ({ as }: TestApp, code: string | undefined, verifier: string) =>
  as('nobody').post('/api/auth/oauth/exchange?client_type=mobile', { code, code_verifier: verifier });

/** Asks for a link and opens it; gives what the app gets. */
async function start(app: TestApp) {
  const pkce = makePkce();
  expect((await askForLink(app, pkce.challenge)).status).toBe(202);
  const link = await linkFor(app, ADA.email);
  const { to, query } = redirectOf(await app.as('nobody').get(link));
  expect(to).toBe(APP);
  return { ...pkce, link, code: query.insforge_code };
}

test('a link brings a code to the app, which exchanges it for a session', async () => {
  const app = await startApp();
  const { link, code, verifier } = await start(app);
  expect(link).toMatch(/^\/api\/auth\/email\/magic-link\?token=[\da-f]{64}$/);
  expect(code).toMatch(/^[\da-f]{64}$/);
  expect(await exchange(app, code, verifier)).toMatchObject({
    status: 200,
    body: {
      user: { email: ADA.email, emailVerified: true },
      accessToken: expect.any(String),
      refreshToken: expect.any(String),
    },
  });
});

test('a browser gets its session as after any sign-in', async () => {
  const app = await startApp();
  const { code, verifier } = await start(app);
  const reply = await app.as('nobody').post('/api/auth/oauth/exchange', { code, code_verifier: verifier });
  expect(reply.body.csrfToken).toMatch(/^[\da-f]{64}$/);
  expect(String(reply.headers['set-cookie'])).toMatch(/^insforge_refresh_token=/);
});

test('neither code nor token is stored in clear text', async () => {
  const app = await startApp();
  const { code, link } = await start(app);
  const stored = JSON.stringify([
    await app.sql('select * from auth.email_otps'),
    await app.sql('select * from auth.exchange_codes'),
    await app.sql('select * from email.messages'),
  ]);
  expect(stored).not.toContain(code);
  expect(stored).not.toContain(link.split('=')[1]);
});

test('a mail scanner that opens the link first does not spend it, one session does', async () => {
  const app = await startApp();
  const first = await start(app);
  const second = redirectOf(await app.as('nobody').get(first.link)).query.insforge_code;
  expect(second).not.toBe(first.code);
  expect((await exchange(app, second, first.verifier)).status).toBe(200);
  expect(await exchange(app, first.code, first.verifier)).toMatchObject(SPENT);
  expect(redirectOf(await app.as('nobody').get(first.link)).query).toEqual({
    error: 'The link has been used or has expired',
  });
});

test('a code counts once, for five minutes, and only with its verifier', async () => {
  const app = await startApp();
  const used = await start(app);
  expect((await exchange(app, used.code, used.verifier)).status).toBe(200);
  expect(await exchange(app, used.code, used.verifier)).toMatchObject(SPENT);

  await endCooldown(app);
  const stolen = await start(app);
  expect(await exchange(app, stolen.code, makePkce().verifier)).toMatchObject(SPENT);
  // Somebody else has seen it.
  expect(await exchange(app, stolen.code, stolen.verifier)).toMatchObject(SPENT);

  await endCooldown(app);
  const late = await start(app);
  expect(
    await app.sql('select round(extract(epoch from expires_at - now()) / 60)::int as minutes from auth.exchange_codes'),
  ).toEqual([{ minutes: 5 }]);
  await app.sql("update auth.exchange_codes set expires_at = now() - interval '1 second'");
  expect(await exchange(app, late.code, late.verifier)).toMatchObject(SPENT);
});

test('the verifier itself as the challenge (method plain) does not work', async () => {
  const app = await startApp();
  const { verifier } = makePkce();
  await askForLink(app, verifier);
  const { query } = redirectOf(await app.as('nobody').get(await linkFor(app, ADA.email)));
  expect(await exchange(app, query.insforge_code, verifier)).toMatchObject(SPENT);
});

test('of 100 exchanges at once, of one code and of several of one link, one opens a session', async () => {
  const app = await startApp();
  const other = await startApp({}, { beside: app });
  const { link, code, verifier } = await start(app);
  const more = await Promise.all(
    Array.from({ length: 9 }, async () => redirectOf(await app.as('nobody').get(link)).query.insforge_code),
  );
  const codes = [code, ...more];
  const replies = await Promise.all(
    Array.from({ length: 100 }, (_, index) => exchange(index % 2 ? app : other, codes[index % codes.length], verifier)),
  );
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(await app.sql('select from auth.sessions')).toHaveLength(1);
});

test('an expired link leads back with an error', async () => {
  const app = await startApp();
  await askForLink(app, makePkce().challenge);
  await expireAll(app);
  expect(redirectOf(await app.as('nobody').get(await linkFor(app, ADA.email))).query).toEqual({
    error: 'The link has been used or has expired',
  });
});

test('an account that nobody has verified goes to the owner of the address', async () => {
  const app = await startApp();
  const { body: intruder } = await register(app);
  const { code, verifier } = await start(app);
  expect((await exchange(app, code, verifier)).body.user.id).toBe(intruder.user.id);
  expect((await app.as('nobody').post('/api/auth/sessions', ADA)).status).toBe(401);
});

test('while sign-up is closed, strangers get no mail and the same answer', async () => {
  const app = await startApp();
  await configure(app, { disableSignup: true });
  await register(app, ADA);
  expect((await askForLink(app, makePkce().challenge)).status).toBe(202);
  expect(await mailsTo(app, ADA.email)).toEqual([]);
});

test.each([
  { what: 'no challenge', change: { code_challenge: undefined }, message: /^code_challenge: / },
  { what: 'a short challenge', change: { code_challenge: 'abc' }, message: /^code_challenge: / },
  { what: 'no redirect', change: { redirectTo: undefined }, message: /^redirectTo: / },
  {
    what: 'a redirect elsewhere',
    change: { redirectTo: 'https://evil.example/' },
    message: /^redirectTo: .*not on the list/,
  },
])('refused: $what', async ({ change, message }) => {
  const app = await startApp();
  await configure(app, { allowedRedirectUrls: ['https://app.example.com/*'] });
  const reply = await askForLink(app, makePkce().challenge, change);
  expect(reply).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT', message: expect.stringMatching(message) },
  });
});

test('a made-up code is refused', async () => {
  const app = await startApp();
  const { verifier } = makePkce();
  expect(await exchange(app, '0'.repeat(64), verifier)).toMatchObject(SPENT);
  expect((await app.as('nobody').get(`/api/auth/email/magic-link?token=${'0'.repeat(64)}`)).status).toBe(400);
});
