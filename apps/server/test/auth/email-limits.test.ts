import { expect, test } from 'vitest';
import { mailsTo, NEARBY, startSmtp, useSmtp } from '../email/smtp.ts';
import { SECRETS, startApp } from '../harness.ts';
import { bearer } from './client.ts';
import { ADA, ask, register } from './email-client.ts';

test('for the same address and purpose, one mail in 60 seconds', async () => {
  const app = await startApp();
  await register(app);
  expect((await ask(app, 'send-reset-password', { email: ADA.email })).status).toBe(202);
  const refused = await ask(app, 'send-reset-password', { email: ' ADA@example.com' });
  expect(refused).toMatchObject({
    status: 429,
    body: { error: 'TOO_MANY_REQUESTS', nextActions: expect.stringMatching(/^Wait (60|59) seconds/) },
  });
  expect(refused.body.retryAfterSeconds).toBeGreaterThan(50);
  expect((await ask(app, 'send-otp', { email: ADA.email })).status).toBe(202);
  expect((await ask(app, 'send-reset-password', { email: 'bob@example.com' })).status).toBe(202);
  await app.sql("update auth.email_otps set resend_after = resend_after - interval '60 seconds'");
  expect((await ask(app, 'send-reset-password', { email: ADA.email })).status).toBe(202);
  expect(await mailsTo(app, ADA.email)).toHaveLength(3);
});

test('failed attempts do not prolong the wait', async () => {
  const app = await startApp();
  await ask(app, 'send-otp', { email: ADA.email });
  const waits = 'select resend_after from auth.email_otps';
  const before = await app.sql(waits);
  await app.as('nobody').post('/api/auth/sessions', { method: 'otp', email: ADA.email, otp: '000000' });
  expect(await app.sql(waits)).toEqual(before);
});

test('of 50 requests for the same address at once, one sends a mail', async () => {
  const app = await startApp();
  const other = await startApp({}, { beside: app });
  const replies = await Promise.all(
    Array.from({ length: 50 }, (_, index) => ask(index % 2 ? app : other, 'send-otp', { email: ADA.email })),
  );
  expect(replies.map(({ status }) => status).sort()).toEqual([202, ...Array(49).fill(429)]);
  expect(await mailsTo(app, ADA.email)).toHaveLength(1);
});

const KINDS = ['send-otp', 'send-verification', 'send-reset-password'];

test('one network address may ask for so many mails in a quarter of an hour, over all routes', async () => {
  const smtp = await startSmtp();
  const app = await startApp({ ...NEARBY, MAIL_LIMIT_PER_IP: '5' });
  await useSmtp(app, smtp);
  const askFrom = (ip: string, index: number, headers = {}) =>
    app
      .as('nobody')
      .post(
        `/api/auth/email/${KINDS[index % 3]}`,
        { email: `user${index}@example.com` },
        { 'x-forwarded-for': ip, ...headers },
      );
  for (let index = 0; index < 5; index++) expect((await askFrom('198.51.100.7', index)).status).toBe(202);
  expect(await askFrom('198.51.100.7', 5)).toMatchObject({
    status: 429,
    body: {
      error: 'TOO_MANY_REQUESTS',
      message: expect.stringMatching(/may ask for 5 mails in 15 minutes; try again in (900|899) seconds/),
      nextActions: expect.stringMatching(/MAIL_LIMIT_PER_IP/),
    },
  });
  expect((await askFrom('198.51.100.8', 6)).status).toBe(202);
  // A server that signs in its users is one network address, and no crowd of strangers.
  expect((await askFrom('198.51.100.7', 7, { 'x-api-key': SECRETS.ACCESS_API_KEY })).status).toBe(202);
  expect((await askFrom('198.51.100.7', 8, bearer(SECRETS.ACCESS_API_KEY))).status).toBe(202);
  for (const wrong of [{ 'x-api-key': 'ik_wrong' }, bearer('ik_wrong')]) {
    expect(await askFrom('198.51.100.9', 9, wrong)).toMatchObject({
      status: 401,
      body: { error: 'AUTH_INVALID_API_KEY' },
    });
  }
});

test.each([
  { limit: '2', statuses: [202, 202, 429] },
  { limit: '0', statuses: Array(8).fill(202) },
])('MAIL_LIMIT_PER_IP=$limit', async ({ limit, statuses }) => {
  const smtp = await startSmtp();
  const app = await startApp({ ...NEARBY, MAIL_LIMIT_PER_IP: limit });
  await useSmtp(app, smtp);
  const seen: number[] = [];
  for (let index = 0; index < statuses.length; index++) {
    seen.push((await ask(app, 'send-otp', { email: `user${index}@example.com` })).status);
  }
  expect(seen).toEqual(statuses);
});

test('while mails only land in the mailbox, nobody counts', async () => {
  const app = await startApp();
  for (let index = 0; index < 10; index++) {
    expect((await ask(app, 'send-otp', { email: `user${index}@example.com` })).status).toBe(202);
  }
});

test('sign-up is not counted as asking for a mail', async () => {
  const smtp = await startSmtp();
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp);
  await app.as('admin').put('/api/auth/config', { requireEmailVerification: true });
  for (let index = 0; index < 7; index++) {
    expect((await register(app, { ...ADA, email: `user${index}@example.com` })).status).toBe(200);
  }
  await smtp.nth(7);
});

test('codes that have long expired are swept', async () => {
  const app = await startApp();
  await ask(app, 'send-otp', { email: ADA.email });
  await app.sql("update auth.email_otps set expires_at = now() - interval '2 days'");
  await ask(app, 'send-otp', { email: 'bob@example.com' });
  expect(await app.sql('select email from auth.email_otps')).toEqual([{ email: 'bob@example.com' }]);
});
