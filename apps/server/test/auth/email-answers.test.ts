import { expect, test } from 'vitest';
import { mailsTo, NEARBY, startSmtp, useSmtp } from '../email/smtp.ts';
import { startApp, type TestApp } from '../harness.ts';
import { ADA, ask, configure, endCooldown, register } from './email-client.ts';

const NOBODY = 'nob@example.com';
const CHALLENGE = { code_challenge: 'x'.repeat(43), redirectTo: 'http://localhost:3000/' };

/** Whoever asks about a known and an unknown address must not be able to tell them apart. */
const REQUESTS = [
  { what: 'send-otp', body: {}, settings: {} },
  { what: 'send-otp', body: {}, settings: { disableSignup: true } },
  { what: 'send-magic-link', body: CHALLENGE, settings: {} },
  { what: 'send-magic-link', body: CHALLENGE, settings: { disableSignup: true } },
  { what: 'send-verification', body: {}, settings: { verifyEmailMethod: 'code' } },
  { what: 'send-verification', body: {}, settings: { verifyEmailMethod: 'link' } },
  { what: 'send-reset-password', body: {}, settings: { resetPasswordMethod: 'code' } },
  { what: 'send-reset-password', body: {}, settings: { resetPasswordMethod: 'link' } },
];

async function startWithAda(environment = {}): Promise<TestApp> {
  const app = await startApp(environment);
  await register(app);
  return app;
}

const VARYING = new Set(['date', 'x-ratelimit-remaining', 'x-ratelimit-reset']);
const comparable = (reply: { status: number; headers: Record<string, unknown>; text: string }) => ({
  status: reply.status,
  text: reply.text,
  headers: Object.entries(reply.headers).filter(([name]) => !VARYING.has(name)),
});

test.each(REQUESTS)(
  '$what $settings: known and unknown are answered alike, twice',
  async ({ what, body, settings }) => {
    const app = await startWithAda();
    await configure(app, settings);
    for (const status of [202, 429]) {
      const known = await ask(app, what, { ...body, email: ADA.email });
      const unknown = await ask(app, what, { ...body, email: NOBODY });
      expect(known.status).toBe(status);
      if (status === 202) expect(comparable(unknown)).toEqual(comparable(known));
      else expect({ ...unknown.body, ...known.body }).toEqual(known.body);
    }
  },
);

test.each(REQUESTS)('$what $settings: known and unknown cost the same rows', async ({ what, body, settings }) => {
  const app = await startWithAda();
  await configure(app, settings);
  const rowsOf = async (email: string) => {
    await ask(app, what, { ...body, email });
    const rows = await app.sql<Record<string, unknown>>(
      `select purpose, otp_type, length(otp_hash) as hash, length(payload_ciphertext) as payload, not_after - m.created_at as life
       from auth.email_otps o, email.messages m
       where o.email = $1 and m.id in (select message_id from email.deliveries where recipient = $1)`,
      [email],
    );
    return rows;
  };
  const known = await rowsOf(ADA.email);
  expect(known).toHaveLength(1);
  expect(await rowsOf(NOBODY)).toEqual(known);
});

test('what nobody is to get is never shown, sent or kept', async () => {
  const smtp = await startSmtp();
  const app = await startWithAda(NEARBY);
  await useSmtp(app, smtp);
  await ask(app, 'send-reset-password', { email: NOBODY });
  await ask(app, 'send-reset-password', { email: ADA.email });
  await smtp.nth(1);
  expect(smtp.received.map(({ to }) => to)).toEqual([[ADA.email]]);
  expect((await app.as('admin').get(`/api/email/deliveries?to=${NOBODY}`)).body.data).toEqual([]);
  expect(await mailsTo(app, NOBODY)).toEqual([]);
  expect(await app.sql("select from email.messages where status = 'decoy'")).toEqual([]);
});

test.each([
  { path: 'verify', body: { otp: '123456' } },
  { path: 'exchange-reset-password-token', body: { code: '123456' } },
])('a wrong code for $path is answered alike, with and without a mail', async ({ path, body }) => {
  const app = await startWithAda();
  await configure(app, { requireEmailVerification: true });
  await ask(app, 'send-verification', { email: ADA.email });
  await ask(app, 'send-reset-password', { email: ADA.email });
  const known = await ask(app, path, { ...body, email: ADA.email });
  const unknown = await ask(app, path, { ...body, email: NOBODY });
  expect(known.status).toBe(400);
  expect(comparable(unknown)).toEqual(comparable(known));
});

test('no code can be guessed for an address that has no account', async () => {
  const app = await startApp();
  await ask(app, 'send-reset-password', { email: NOBODY });
  // A code is an HMAC of six digits under a key of the server; what is stored here is of 32 random bytes.
  const before = await app.sql('select otp_hash from auth.email_otps');
  await endCooldown(app);
  await ask(app, 'send-reset-password', { email: NOBODY });
  expect(await app.sql('select otp_hash from auth.email_otps')).not.toEqual(before);
});
