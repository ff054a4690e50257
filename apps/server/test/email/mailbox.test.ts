import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { mailsTo } from './smtp.ts';

const PATH = '/api/email/outbox';
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

const send = ({ as }: TestApp, mail: Record<string, unknown>) =>
  as('admin').post('/api/email/send-raw', { to: 'ada@example.net', subject: 'Hello', html: '<p>Hi</p>', ...mail });
const subjects = (reply: { body: any }) => reply.body.data.map(({ subject }: any) => subject);

test('without a mail server, a mail can be read as it would have been sent', async () => {
  const app = await startApp();
  await send(app, { cc: 'cy@example.net', bcc: 'dan@example.net', from: 'Shop', replyTo: 'help@example.net' });
  const { body } = await app.as('admin').get(PATH);
  expect(body).toEqual({
    data: [
      {
        id: expect.any(String),
        kind: 'raw',
        from: 'Shop <no-reply@localhost>',
        to: ['ada@example.net'],
        cc: ['cy@example.net'],
        bcc: ['dan@example.net'],
        replyTo: 'help@example.net',
        subject: 'Hello',
        text: 'Hi',
        html: '<p>Hi</p>',
        variables: {},
        createdAt: expect.stringMatching(ISO),
      },
    ],
    pagination: { offset: 0, limit: 10, total: 1 },
  });
  expect((await app.as('admin').get(`${PATH}/${body.data[0].id}`)).body).toEqual(body.data[0]);
});

test('a code or a link is there for programs', async () => {
  const app = await startApp();
  await app.as('nobody').post('/api/auth/email/send-otp', { email: 'ada@example.net' });
  const [mail] = await mailsTo(app, 'ada@example.net');
  expect(mail).toMatchObject({
    kind: 'request-otp',
    variables: { token: expect.stringMatching(/^\d{6}$/), email: 'ada@example.net' },
    subject: `${mail.variables.token} is your verification code`,
  });
});

test('newest first, by page, and by recipient in whatever field and spelling', async () => {
  const app = await startApp();
  await send(app, { subject: 'one' });
  await send(app, { subject: 'two', to: 'bob@example.net', bcc: 'Ada@example.net' });
  await send(app, { subject: 'three', to: 'bob@example.net' });
  const admin = app.as('admin');
  expect(subjects(await admin.get(PATH))).toEqual(['three', 'two', 'one']);
  expect(subjects(await admin.get(`${PATH}?to=ADA@example.net`))).toEqual(['two', 'one']);
  const page = await admin.get(`${PATH}?limit=1&offset=1`);
  expect(subjects(page)).toEqual(['two']);
  expect(page.body.pagination).toEqual({ offset: 1, limit: 1, total: 3 });
  expect(subjects(await admin.get(`${PATH}?to=nobody@example.net`))).toEqual([]);
});

test('it can be emptied, as a whole or of one recipient', async () => {
  const app = await startApp();
  await send(app, {});
  await send(app, { to: 'bob@example.net' });
  await send(app, { to: 'bob@example.net' });
  const admin = app.as('admin');
  expect((await admin.delete(`${PATH}?to=ada@example.net`)).body).toEqual({ deletedCount: 1 });
  expect((await admin.get(PATH)).body.pagination.total).toBe(2);
  expect((await admin.delete(PATH)).body).toEqual({ deletedCount: 2 });
  expect((await admin.get(PATH)).body).toEqual({ data: [], pagination: { offset: 0, limit: 10, total: 0 } });
  expect(await app.sql('select from email.deliveries')).toEqual([]);
});

test('a long mail is cut in the list, and whole by itself', async () => {
  const app = await startApp();
  const html = `<p>${'x'.repeat(30_000)}</p>`;
  await send(app, { html });
  const [listed] = await mailsTo(app, 'ada@example.net');
  expect(listed.isCut).toBe(true);
  expect(listed.html).toHaveLength(20_000);
  const whole = await app.as('admin').get(`${PATH}/${listed.id}`);
  expect(whole.body.html).toBe(html);
  expect(whole.body).not.toHaveProperty('isCut');
});

test('it holds the last 500 mails, of the last seven days', async () => {
  const app = await startApp();
  await send(app, {});
  // 509 more, the first two older than a week.
  await app.sql(`
    insert into email.messages (status, kind, subject, payload_ciphertext, not_after, created_at)
    select 'captured', 'raw', n::text, payload_ciphertext, not_after,
      now() - case when n <= 2 then interval '8 days' else interval '1 minute' * (520 - n) end
    from email.messages, generate_series(1, 509) n`);
  const { body } = await app.as('admin').get(`${PATH}?limit=1`);
  expect(body.pagination.total).toBe(500);
  expect(await app.sql('select from email.messages')).toHaveLength(500);
  expect(await app.sql('select subject from email.messages order by created_at limit 1')).toEqual([{ subject: '11' }]);
});

test.each([
  { path: `${PATH}?limit=0`, status: 400 },
  { path: `${PATH}?limit=101`, status: 400 },
  { path: `${PATH}/no-id`, status: 400 },
  { path: `${PATH}/00000000-0000-4000-8000-000000000000`, status: 404 },
])('$path: $status', async ({ path, status }) => {
  const { as } = await startApp();
  expect((await as('admin').get(path)).status).toBe(status);
});

test('what is stored of a mail is encrypted, and out of reach of the API key', async () => {
  const app = await startApp();
  await app.as('nobody').post('/api/auth/email/send-otp', { email: 'ada@example.net' });
  const [{ variables }] = await mailsTo(app, 'ada@example.net');
  const rows = JSON.stringify(await app.sql('select m.*, o.* from email.messages m, auth.email_otps o'));
  expect(rows).not.toContain(variables.token);
  const grants = await app.sql(
    "select grantee from information_schema.role_table_grants where table_schema = 'email' and table_name = 'messages' and grantee <> current_user",
  );
  expect(grants).toEqual([]);
});
