import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { mailsTo, NEARBY, type SmtpOptions, startSmtp, useSmtp } from './smtp.ts';

const RAW = { subject: 'Hello', html: '<p>Hi</p>' };

async function startSending(options: SmtpOptions = {}) {
  const smtp = await startSmtp(options);
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp);
  return { app, smtp };
}

const send = ({ as }: TestApp, to: string | string[], more = {}) =>
  as('admin').post('/api/email/send-raw', { ...RAW, to, ...more });

/** The log once it satisfies `isDone`; what happens to mail after the answer can only be waited for. */
async function logWhen({ as }: TestApp, isDone: (log: any[]) => boolean): Promise<any[]> {
  for (;;) {
    const { body } = await as('admin').get('/api/email/deliveries?limit=100');
    if (isDone(body.data)) return body.data;
  }
}
const isSettled = (log: any[]) => log.length > 0 && log.every(({ status }) => status !== 'queued');
const hasTried = (log: any[]) => log.some(({ reason }) => reason !== null);

/** Makes what waits due now, as if the time had passed. */
const hurry = ({ sql }: TestApp) =>
  sql(
    "update email.messages set next_attempt_at = now() where status = 'queued'; select pg_notify('insforge_mail', '')",
  );

const UNTIL_LATER = { code: 451, text: 'greylisted, come back later' };
const NEVER = { code: 550, text: 'no such mailbox' };

test('the log says who got what', async () => {
  const { app, smtp } = await startSending();
  await send(app, ['ada@example.net', 'bob@example.net']);
  await smtp.nth(1);
  const log = await logWhen(app, isSettled);
  expect(log).toEqual(
    ['ada@example.net', 'bob@example.net'].map((recipient) => ({
      messageId: log[0].messageId,
      kind: 'raw',
      recipient,
      status: 'accepted',
      reason: null,
      attempts: 1,
      subject: 'Hello',
      nextAttemptAt: null,
      createdAt: expect.any(String),
      updatedAt: expect.any(String),
    })),
  );
  const filtered = (query: string) => app.as('admin').get(`/api/email/deliveries?${query}`);
  expect((await filtered('to=BOB@example.net')).body.pagination.total).toBe(1);
  expect((await filtered('status=failed')).body.pagination.total).toBe(0);
  expect((await filtered('status=lost')).status).toBe(400);
});

test('content is gone once a mail is out', async () => {
  const { app, smtp } = await startSending();
  await send(app, 'ada@example.net');
  await smtp.nth(1);
  await logWhen(app, isSettled);
  expect(await app.sql('select status, payload_ciphertext from email.messages')).toEqual([
    { status: 'sent', payload_ciphertext: null },
  ]);
});

test('the subject of a code is not in the log', async () => {
  const { app, smtp } = await startSending();
  await app.as('nobody').post('/api/auth/email/send-otp', { email: 'ada@example.net' });
  const { mail } = await smtp.nth(1);
  expect(mail.subject).toMatch(/^\d{6} is your/);
  const [entry] = await logWhen(app, isSettled);
  expect(entry).toMatchObject({ kind: 'request-otp', status: 'accepted', subject: null });
});

test('a refusal for now is tried again, as the same message', async () => {
  const seen: (string | undefined)[] = [];
  const { app, smtp } = await startSending({
    onMessage({ mail }) {
      const attempt = seen.push(mail.messageId);
      return attempt < 3 ? { code: 451, text: `greylisted for the ${attempt}. time` } : undefined;
    },
  });
  await send(app, 'ada@example.net');
  for (const attempts of [1, 2]) {
    const [waiting] = await logWhen(app, (log) => log[0]?.reason?.includes(`greylisted for the ${attempts}.`));
    expect(waiting).toMatchObject({ status: 'queued', attempts });
    expect(Date.parse(waiting.nextAttemptAt)).toBeGreaterThan(Date.parse(waiting.updatedAt));
    await hurry(app);
  }
  await smtp.nth(1);
  expect(await logWhen(app, isSettled)).toMatchObject([{ status: 'accepted', attempts: 3, reason: null }]);
  expect(new Set(seen).size).toBe(1);
});

test('a refusal for good is not', async () => {
  const { app } = await startSending({ onMessage: () => NEVER });
  await send(app, 'ada@example.net');
  const [failed] = await logWhen(app, isSettled);
  expect(failed).toMatchObject({ status: 'failed', attempts: 1, reason: expect.stringContaining('no such mailbox') });
  expect(await app.sql('select payload_ciphertext from email.messages')).toEqual([{ payload_ciphertext: null }]);
});

test('of several recipients, only those are tried again who did not get it', async () => {
  let isLater = false;
  const { app, smtp } = await startSending({
    onRecipient: (address) =>
      address.startsWith('gone') ? NEVER : address.startsWith('late') && !isLater ? UNTIL_LATER : undefined,
  });
  await send(app, 'ada@example.net', { cc: 'late@example.net', bcc: 'gone@example.net' });
  await smtp.nth(1);
  const log = await logWhen(app, hasTried);
  expect(log.map(({ recipient, status }) => [recipient, status])).toEqual([
    ['ada@example.net', 'accepted'],
    ['gone@example.net', 'failed'],
    ['late@example.net', 'queued'],
  ]);
  isLater = true;
  await hurry(app);
  const second = await smtp.nth(2);
  expect(second.to).toEqual(['late@example.net']);
  expect(second.mail.to).toEqual([{ name: '', address: 'ada@example.net' }]);
  expect((await logWhen(app, isSettled)).map(({ status }) => status)).toEqual(['accepted', 'failed', 'accepted']);
});

test('while the mail server is away or refuses the login, mail waits', async () => {
  const { app, smtp } = await startSending();
  await app.sql("update email.config set username = 'somebody-else'");
  await send(app, 'ada@example.net');
  expect(await logWhen(app, hasTried)).toMatchObject([{ status: 'queued', reason: expect.stringContaining('EAUTH') }]);
  await app.sql("update email.config set username = 'mailer', port = 1");
  await hurry(app);
  expect(await logWhen(app, (log) => log[0].attempts === 2 && log[0].reason.includes('ECONNREFUSED'))).toHaveLength(1);
  await app.sql('update email.config set port = $1', [smtp.port]);
  await hurry(app);
  await smtp.nth(1);
  expect(await logWhen(app, isSettled)).toMatchObject([{ status: 'accepted', attempts: 3 }]);
});

test('a code that has expired is not sent any more', async () => {
  const { app, smtp } = await startSending({ onMessage: () => UNTIL_LATER });
  await app.as('nobody').post('/api/auth/email/send-otp', { email: 'ada@example.net' });
  await logWhen(app, hasTried);
  await app.sql("update email.messages set not_after = now() - interval '1 second'");
  await hurry(app);
  expect(await logWhen(app, isSettled)).toMatchObject([
    { status: 'failed', reason: expect.stringMatching(/lost its use/) },
  ]);
  expect(smtp.received).toEqual([]);
});

test('what waits when mail is switched off lands in the mailbox', async () => {
  const { app, smtp } = await startSending({ onMessage: () => UNTIL_LATER });
  await send(app, 'ada@example.net');
  await logWhen(app, hasTried);
  await useSmtp(app, smtp, { enabled: false });
  await hurry(app);
  expect(await logWhen(app, isSettled)).toMatchObject([{ status: 'captured', reason: null }]);
  expect(await mailsTo(app, 'ada@example.net')).toMatchObject([{ subject: 'Hello' }]);
});

test('one recipient whose server takes its time does not hold up the others', async () => {
  const { app, smtp } = await startSending({
    onMessage: ({ to }) => (to[0] === 'slow@example.net' ? new Promise(() => {}) : undefined),
  });
  await send(app, 'slow@example.net');
  while (smtp.connections() < 2) await app.sql('select 1');
  await send(app, 'ada@example.net');
  expect((await smtp.nth(1)).to).toEqual(['ada@example.net']);
});

test('a server that stops lets go of what it cannot send in time, and the next one sends it', async () => {
  let isFirst = true;
  const { app, smtp } = await startSending({
    onMessage: () => {
      if (!isFirst) return undefined;
      isFirst = false;
      return new Promise(() => {});
    },
  });
  await send(app, 'ada@example.net');
  while (isFirst) await app.sql('select 1');
  await app.app.close();
  await app.sql('update email.messages set next_attempt_at = now()');
  await startApp(NEARBY, { beside: app });
  expect((await smtp.nth(1)).to).toEqual(['ada@example.net']);
});

test('several servers on one database send each mail once', async () => {
  const { app, smtp } = await startSending();
  const others = await Promise.all([1, 2].map(() => startApp(NEARBY, { beside: app })));
  const everybody = [app, ...others];
  const addresses = Array.from({ length: 60 }, (_, index) => `user${index}@example.net`);
  await Promise.all(addresses.map((to, index) => send(everybody[index % 3] ?? app, to)));
  await smtp.nth(60);
  await logWhen(app, (log) => log.length === 60 && isSettled(log));
  expect(smtp.received.map(({ to }) => to[0]).sort()).toEqual(addresses.sort());
});

test('a server that was thought to be dead does not overwrite what the other did', async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  let count = 0;
  const { app, smtp } = await startSending({
    onMessage: async () => {
      if (++count > 1) return undefined;
      await held;
      return NEVER;
    },
  });
  await startApp(NEARBY, { beside: app });
  await send(app, 'ada@example.net');
  while (count === 0) await app.sql('select 1');
  await hurry(app);
  await smtp.nth(1);
  await logWhen(app, isSettled);
  release();
  await app.app.close();
  expect(await app.sql('select status from email.deliveries')).toEqual([{ status: 'accepted' }]);
});

test('nothing of a mail is in the log of the server', async () => {
  const lines: string[] = [];
  const { pino } = await import('pino');
  const smtp = await startSmtp({ onMessage: () => NEVER });
  const app = await startApp(NEARBY, { log: pino({}, { write: (line: string) => void lines.push(line) }) });
  await useSmtp(app, smtp);
  await app.as('nobody').post('/api/auth/email/send-otp', { email: 'ada@example.net' });
  await logWhen(app, isSettled);
  await app.app.close();
  const log = lines.join('');
  expect(log).toContain('email.failed');
  expect(log).not.toMatch(/ada@example\.net|\b\d{6} is your/);
});
