import { createAdminClient, createClient } from '@insforge/sdk';
import { expect, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';
import { mailsTo, NEARBY, startSmtp, useSmtp } from './smtp.ts';

const PATH = '/api/email/send-raw';
const RAW = {
  to: 'ada@example.net',
  subject: 'Hello',
  html: '<p>Hi <b>Ada</b> &amp; <a href="https://x.example/">all</a></p>',
};

test('a mail leaves with everything in its place, and a text part', async () => {
  const smtp = await startSmtp();
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp);
  const sent = await app.as('admin').post(PATH, {
    ...RAW,
    to: ['ada@example.net', 'bob@example.net'],
    cc: 'cy@example.net',
    bcc: ['dan@example.net', 'ada@example.net'],
    from: 'Grüße, "The" Shop',
    replyTo: 'help@example.net',
    subject: 'Grüße 🎉',
  });
  expect(sent).toMatchObject({ status: 200, body: {} });
  const { from, to, mail, raw } = await smtp.nth(1);
  expect(from).toBe('app@example.com');
  expect(to.sort()).toEqual(['ada', 'bob', 'cy', 'dan'].map((name) => `${name}@example.net`));
  expect(mail).toMatchObject({
    from: { name: 'Grüße, "The" Shop', address: 'app@example.com' },
    to: [{ address: 'ada@example.net' }, { address: 'bob@example.net' }],
    cc: [{ address: 'cy@example.net' }],
    replyTo: [{ address: 'help@example.net' }],
    subject: 'Grüße 🎉',
    messageId: expect.stringMatching(/^<[\da-f-]{36}@example\.com>$/),
    date: expect.any(String),
  });
  expect(mail.html?.trim()).toBe(RAW.html);
  expect(mail.text?.trim()).toBe('Hi Ada & all (https://x.example/)');
  expect(raw).not.toContain('dan@example.net');
  expect(raw).not.toMatch(/nodemailer/i);
});

test.each([
  { who: 'nobody', status: 401, error: 'AUTH_INVALID_CREDENTIALS' },
  { who: 'anon', status: 401, error: 'AUTH_INVALID_CREDENTIALS' },
  { who: 'alice', status: 200 },
  { who: 'admin', status: 200 },
] as const)('$who sends: $status', async ({ who, status, ...refused }) => {
  const app = await startApp();
  const reply = await app.as(who === 'alice' ? await app.user(who) : who).post(PATH, RAW);
  expect(reply.status).toBe(status);
  if ('error' in refused) expect(reply.body.error).toBe(refused.error);
  expect(await mailsTo(app, RAW.to)).toHaveLength(status === 200 ? 1 : 0);
});

const many = (count: number) => Array.from({ length: count }, (_, index) => `user${index}@example.net`);

test.each([
  { what: 'nobody', change: { to: [] }, message: /^to: / },
  { what: 'more than 50', change: { to: many(51) }, message: /^to: .*50/ },
  { what: 'more than 50 copies', change: { cc: many(51) }, message: /^cc: .*50/ },
  { what: 'what is no address', change: { to: 'ada' }, message: /^to: / },
  { what: 'two addresses in one', change: { to: 'a@example.net, b@example.net' }, message: /^to: / },
  { what: 'a header in an address', change: { to: 'a@example.net\r\nBcc: b@example.net' }, message: /^to: / },
  { what: 'a display name in an address', change: { to: 'A <a@example.net>' }, message: /^to: / },
  { what: 'no subject', change: { subject: ' ' }, message: /^subject: Subject is required/ },
  { what: 'an overlong subject', change: { subject: 'x'.repeat(501) }, message: /^subject: Subject too long/ },
  {
    what: 'a header in the subject',
    change: { subject: 'Hi\r\nBcc: b@example.net' },
    message: /^subject: .*line breaks/,
  },
  { what: 'a bare line feed in it', change: { subject: 'Hi\nBcc: b@example.net' }, message: /^subject: / },
  { what: 'a Unicode line separator', change: { subject: 'Hi\u2028Bcc: b@example.net' }, message: /^subject: / },
  { what: 'an overlong html', change: { html: 'x'.repeat(5_000_001) }, message: /^html: / },
  { what: 'no html', change: { html: '' }, message: /^html: HTML content is required/ },
  { what: 'an overlong name', change: { from: 'x'.repeat(101) }, message: /^from: From name too long/ },
  { what: 'a header in the name', change: { from: 'Me\r\nBcc: b@example.net' }, message: /^from: / },
  { what: 'a header in replyTo', change: { replyTo: 'a@example.net\nBcc: b@example.net' }, message: /^replyTo: / },
])('refused: $what', async ({ change, message }) => {
  const app = await startApp();
  const reply = await app.as('admin').post(PATH, { ...RAW, ...change });
  expect(reply).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT', message: expect.stringMatching(message) },
  });
  expect(await app.sql('select from email.messages')).toEqual([]);
});

test('50 are allowed', async () => {
  const app = await startApp();
  expect((await app.as('admin').post(PATH, { ...RAW, to: many(50) })).status).toBe(200);
  expect(await app.sql('select from email.deliveries')).toHaveLength(50);
});

test('a mail that is too large is refused with 413', async () => {
  const { as } = await startApp();
  const reply = await as('admin').post(PATH, { ...RAW, html: 'x'.repeat(13 * 1024 * 1024) });
  expect(reply).toMatchObject({ status: 413, body: { error: 'PAYLOAD_TOO_LARGE' } });
});

test('nobody is written to more often than the settings say, in whatever spelling', async () => {
  const smtp = await startSmtp();
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp, { minIntervalSeconds: 300 });
  const send = (to: string[]) => app.as('admin').post(PATH, { ...RAW, to });
  expect((await send(['ada@example.net', 'bob@example.net'])).status).toBe(200);
  const refused = await send(['cy@example.net', 'ADA@example.net']);
  expect(refused).toMatchObject({
    status: 429,
    body: {
      error: 'TOO_MANY_REQUESTS',
      message: 'ada@example.net may be written to once in 300 seconds; nothing was sent',
      recipients: ['ada@example.net'],
    },
  });
  expect(refused.body.retryAfterSeconds).toBeGreaterThan(290);
  // Nothing was sent to the other one either, so it may be tried again.
  expect((await send(['cy@example.net'])).status).toBe(200);
  await app.sql("update email.recipients set last_mail_at = last_mail_at - interval '301 seconds'");
  expect((await send(['ada@example.net'])).status).toBe(200);
});

test('of many mails to one person at once, one is accepted', async () => {
  const smtp = await startSmtp();
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp, { minIntervalSeconds: 60 });
  const replies = await Promise.all(Array.from({ length: 20 }, () => app.as('admin').post(PATH, RAW)));
  expect(replies.map(({ status }) => status).sort()).toEqual([200, ...Array(19).fill(429)]);
});

test('the code of a sign-in does not count, or the answer would tell that somebody has the address', async () => {
  const smtp = await startSmtp();
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp, { minIntervalSeconds: 300 });
  await app.as('nobody').post('/api/auth/email/send-otp', { email: 'ada@example.net' });
  expect((await app.as('admin').post(PATH, RAW)).status).toBe(200);
});

test('a user may send 100 mails in a quarter of an hour; the API key any number', async () => {
  const app = await startApp();
  const alice = await app.user('alice');
  for (let index = 0; index < 100; index++) expect((await app.as(alice).post(PATH, RAW)).status).toBe(200);
  const refused = await app.as(alice).post(PATH, RAW);
  expect(refused).toMatchObject({ status: 429, body: { message: expect.stringMatching(/100 mails in 15 minutes/) } });
  expect((await app.as(await app.user('bob')).post(PATH, RAW)).status).toBe(200);
  expect((await app.as('admin').post(PATH, RAW)).status).toBe(200);
});

test('the official SDK sends', async () => {
  const app = await startApp();
  const baseUrl = await app.listen();
  const admin = createAdminClient({ baseUrl, apiKey: SECRETS.ACCESS_API_KEY });
  expect(await admin.emails.send({ ...RAW, to: ['ada@example.net'] })).toEqual({ data: {}, error: null });
  const anon = createClient({ baseUrl, anonKey: SECRETS.ACCESS_ANON_KEY });
  expect((await anon.emails.send(RAW)).error?.statusCode).toBe(401);
  expect(await mailsTo(app, 'ada@example.net')).toHaveLength(1);
});
