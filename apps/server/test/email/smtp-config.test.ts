import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { startApp } from '../harness.ts';
import { LOGIN, NEARBY, settingsFor, startSmtp, useSmtp } from './smtp.ts';

const PATH = '/api/auth/smtp-config';
const OFF = { enabled: false, port: 465 };
const PUBLIC = { ...settingsFor({ host: 'smtp.example.com', port: 587 }) };

test('a fresh server sends nothing', async () => {
  const { as } = await startApp();
  expect((await as('admin').get(PATH)).body).toEqual({
    id: expect.any(String),
    enabled: false,
    host: '',
    port: 465,
    username: '',
    hasPassword: false,
    senderEmail: '',
    senderName: '',
    minIntervalSeconds: 60,
    createdAt: expect.any(String),
    updatedAt: expect.any(String),
  });
});

test.each([
  { who: 'nobody', status: 401 },
  { who: 'anon', status: 403 },
  { who: 'alice', status: 403 },
  { who: 'admin', status: 200 },
] as const)('$who reads and writes settings, templates, mailbox and log: $status', async ({ who, status }) => {
  const app = await startApp();
  const client = app.as(who === 'alice' ? await app.user(who) : who);
  const template = { subject: 'Hi', bodyHtml: '<p>{{ token }}</p>' };
  const replies = await Promise.all([
    client.get(PATH),
    client.put(PATH, OFF),
    client.get('/api/auth/email-templates'),
    client.put('/api/auth/email-templates/request-otp', template),
    client.get('/api/email/outbox'),
    client.delete('/api/email/outbox'),
    client.get('/api/email/deliveries'),
  ]);
  expect(replies.map((reply) => reply.status)).toEqual(replies.map(() => status));
});

test('settings are tried out by logging in, stored, shown without the password, and audited without it', async () => {
  const smtp = await startSmtp();
  const { as, sql } = await startApp(NEARBY);
  const saved = await as('admin').put(PATH, settingsFor(smtp));
  const { password, ...shown } = settingsFor(smtp);
  expect(saved).toMatchObject({ status: 200, body: { ...shown, hasPassword: true } });
  expect((await as('admin').get(PATH)).body).toEqual(saved.body);
  expect((await as('admin').get('/api/metadata')).body.auth.smtpConfig).toEqual({ ...shown, hasPassword: true });
  expect(smtp.logins).toEqual([LOGIN]);
  const everything = JSON.stringify([
    saved.text,
    await sql('select * from email.config'),
    await sql('select * from system.audit_logs'),
  ]);
  expect(everything).not.toContain(password);
  expect(await sql("select actor, module from system.audit_logs where action = 'UPDATE_SMTP_CONFIG'")).toEqual([
    { actor: 'api-key', module: 'EMAIL' },
  ]);
});

test('a password that is left out, or empty, stays', async () => {
  const smtp = await startSmtp();
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp);
  const { password, ...rest } = settingsFor(smtp);
  for (const update of [rest, { ...rest, password: '' }]) {
    expect(await app.as('admin').put(PATH, update)).toMatchObject({ status: 200, body: { hasPassword: true } });
  }
  expect(smtp.logins).toEqual([LOGIN, LOGIN, LOGIN]);
});

test('a stored password is not sent to another host', async () => {
  const [smtp, other] = await Promise.all([startSmtp(), startSmtp()]);
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp);
  const { password, ...elsewhere } = { ...settingsFor(other), host: 'localhost' };
  for (const update of [elsewhere, { ...elsewhere, password: '' }]) {
    expect(await app.as('admin').put(PATH, update)).toMatchObject({
      status: 400,
      body: {
        error: 'INVALID_INPUT',
        message: `password: is required, because the stored one was given for ${smtp.host}`,
      },
    });
  }
  expect(other.logins).toEqual([]);
  expect((await app.as('admin').get(PATH)).body).toMatchObject({ host: smtp.host, hasPassword: true });
  expect((await app.as('admin').put(PATH, { ...elsewhere, password })).status).toBe(200);
  expect((await app.as('admin').put(PATH, { ...elsewhere, host: 'LOCALHOST' })).status).toBe(200);
  expect(other.logins).toEqual([LOGIN, LOGIN]);
});

test('nor by way of switching mail off', async () => {
  const [smtp, other] = await Promise.all([startSmtp(), startSmtp()]);
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp);
  const { password, ...elsewhere } = { ...settingsFor(other), host: 'localhost' };
  const off = await app.as('admin').put(PATH, { ...elsewhere, enabled: false });
  expect(off).toMatchObject({ status: 200, body: { hasPassword: false } });
  await app.as('admin').put(PATH, elsewhere);
  expect(other.logins).toEqual([]);
});

test('switched off, the fields may be empty, and nothing is connected to', async () => {
  const { as } = await startApp();
  expect(await as('admin').put(PATH, OFF)).toMatchObject({ status: 200, body: { enabled: false, host: '' } });
});

test.each([
  { what: 'no host', change: { host: '' }, message: /^host: is required/ },
  { what: 'no username', change: { username: '' }, message: /^username: is required/ },
  { what: 'no sender', change: { senderEmail: '' }, message: /^senderEmail: is required/ },
  { what: 'no sender name', change: { senderName: ' ' }, message: /^senderName: is required/ },
  { what: 'a sender that is no address', change: { senderEmail: 'me' }, message: /^senderEmail: Invalid/ },
  { what: 'a header in the name', change: { senderName: 'a\r\nBcc: x@y.z' }, message: /^senderName: .*line breaks/ },
  { what: 'a host with a path', change: { host: 'smtp.example.com/x' }, message: /^host: must be/ },
  { what: 'a host with a user', change: { host: 'a@b' }, message: /^host: must be/ },
  { what: 'a port of another service', change: { port: 5432 }, message: /^port: must be one of 25, 465, 587, 2525/ },
  { what: 'no port', change: { port: undefined }, message: /^port: / },
  { what: 'an interval below zero', change: { minIntervalSeconds: -1 }, message: /^minIntervalSeconds: / },
  { what: 'the loopback address', change: { host: '127.0.0.1' }, message: /^host: 127\.0\.0\.1 is not a public/ },
  { what: 'localhost', change: { host: 'localhost' }, message: /^host: localhost has the address .*not a public/ },
  { what: 'a short form of it', change: { host: '127.1' }, message: /not a public/ },
  { what: 'a private network', change: { host: '10.1.2.3' }, message: /not a public/ },
  { what: 'the metadata of a cloud', change: { host: '169.254.169.254' }, message: /not a public/ },
  { what: 'the same in IPv6', change: { host: 'fd00:ec2::254' }, message: /not a public/ },
  { what: 'an IPv4 address in IPv6', change: { host: '::ffff:127.0.0.1' }, message: /not a public/ },
])('refused: $what', async ({ change, message }) => {
  const { as } = await startApp();
  const before = await as('admin').get(PATH);
  const reply = await as('admin').put(PATH, { ...PUBLIC, ...change });
  expect(reply).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT', message: expect.stringMatching(message) },
  });
  expect((await as('admin').get(PATH)).body).toEqual(before.body);
});

test('a private host says how it can be used for development', async () => {
  const { as } = await startApp();
  const reply = await as('admin').put(PATH, { ...PUBLIC, host: 'localhost' });
  expect(reply.body.nextActions).toContain('ALLOW_PRIVATE_NETWORK=true');
});

test('settings that do not work are not stored', async () => {
  const smtp = await startSmtp();
  const { as, sql } = await startApp(NEARBY);
  const before = await sql('select * from email.config');
  const refused = await as('admin').put(PATH, { ...settingsFor(smtp), password: 'wrong' });
  expect(refused).toMatchObject({
    status: 400,
    body: {
      error: 'EMAIL_SMTP_CONNECTION_FAILED',
      message: expect.stringMatching(/refuses the username or the password/),
    },
  });
  await smtp.close();
  const gone = await as('admin').put(PATH, settingsFor(smtp));
  expect(gone).toMatchObject({
    status: 400,
    body: { error: 'EMAIL_SMTP_CONNECTION_FAILED', message: expect.stringMatching(/ECONNREFUSED/) },
  });
  expect(await sql('select * from email.config')).toEqual(before);
});

test('what listens there but is no mail server is not waited for forever', async () => {
  const server = createServer((socket) => void socket.on('error', () => {}).end('HTTP/1.1 400 Bad Request\r\n\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  const port = typeof address === 'object' && address ? address.port : 0;
  const { as } = await startApp(NEARBY);
  const reply = await as('admin').put(PATH, settingsFor({ host: '127.0.0.1', port }));
  expect(reply).toMatchObject({ status: 400, body: { error: 'EMAIL_SMTP_CONNECTION_FAILED' } });
});
