import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { mailsTo, NEARBY, startSmtp, useSmtp } from './smtp.ts';

const PATH = '/api/auth/email-templates';
const TYPES = [
  'email-verification-code',
  'email-verification-link',
  'request-otp',
  'reset-password-code',
  'reset-password-link',
];

const change = ({ as }: TestApp, type: string, subject: string, bodyHtml: string) =>
  as('admin').put(`${PATH}/${type}`, { subject, bodyHtml });

test('there are five from the start, each with the variable that it is for', async () => {
  const { as } = await startApp();
  const { body } = await as('admin').get(PATH);
  expect(body.data.map((template: any) => template.templateType)).toEqual(TYPES);
  for (const { templateType, bodyHtml, subject } of body.data) {
    expect(bodyHtml).toContain(templateType.endsWith('-link') ? '{{ link }}' : '{{ token }}');
    expect(subject).not.toBe('');
  }
  expect(body.data[2]).toEqual({
    id: expect.any(String),
    templateType: 'request-otp',
    subject: '{{ token }} is your verification code',
    bodyHtml: expect.stringContaining('5 minutes'),
    createdAt: expect.any(String),
    updatedAt: expect.any(String),
  });
});

test('a changed one is what is sent from then on', async () => {
  const app = await startApp();
  const reply = await change(app, 'request-otp', 'Code {{token}}', '<p>Dear {{ email }}: <b>{{  token  }}</b></p>');
  expect(reply).toMatchObject({ status: 200, body: { templateType: 'request-otp', subject: 'Code {{token}}' } });
  expect(reply.body).not.toHaveProperty('warnings');
  await app.as('nobody').post('/api/auth/email/send-otp', { email: 'ada@example.com' });
  const [{ subject, html, text, variables }] = await mailsTo(app, 'ada@example.com');
  const { token } = variables;
  expect({ subject, html, text }).toEqual({
    subject: `Code ${token}`,
    html: `<p>Dear ada@example.com: <b>${token}</b></p>`,
    text: `Dear ada@example.com: ${token}`,
  });
});

test('values cannot bring markup into a mail', async () => {
  const app = await startApp();
  await change(app, 'request-otp', 'For {{ email }}', '<p title="{{ email }}">{{ token }}</p>');
  const email = `o'hara"<b>&@example.com`;
  await app.sql('insert into auth.users (email) values ($1)', [email]);
  await app.as('nobody').post('/api/auth/email/send-reset-password', { email });
  await change(app, 'reset-password-code', 'For {{ email }}', '<p title="{{ email }}">{{ token }}</p>');
  await app.sql('delete from auth.email_otps');
  await app.as('nobody').post('/api/auth/email/send-reset-password', { email });
  const [{ subject, html }] = await mailsTo(app, email);
  expect(subject).toBe(`For ${email}`);
  expect(html).toMatch(/^<p title="o&#39;hara&quot;&lt;b&gt;&amp;@example\.com">\d{6}<\/p>$/);
});

test.each([
  { what: 'the code missing', bodyHtml: '<p>Hello</p>', warning: /does not contain \{\{ token \}\}/ },
  {
    what: 'an unknown variable',
    bodyHtml: '<p>{{ token }} {{ code }}</p>',
    warning: /\{\{ code \}\} is not a variable/,
  },
])('stored with a warning: $what', async ({ bodyHtml, warning }) => {
  const reply = await change(await startApp(), 'request-otp', 'Hi', bodyHtml);
  expect(reply).toMatchObject({ status: 200, body: { warnings: [expect.stringMatching(warning)] } });
});

test.each([
  {
    what: 'a type that does not exist',
    type: 'welcome',
    subject: 'Hi',
    bodyHtml: '<p></p>',
    message: /^type: .*request-otp/,
  },
  { what: 'no subject', type: 'request-otp', subject: ' ', bodyHtml: '<p></p>', message: /^subject: / },
  {
    what: 'a header in the subject',
    type: 'request-otp',
    subject: 'a\nBcc: x',
    bodyHtml: '<p></p>',
    message: /^subject: /,
  },
  { what: 'no body', type: 'request-otp', subject: 'Hi', bodyHtml: '', message: /^bodyHtml: / },
])('refused: $what', async ({ type, subject, bodyHtml, message }) => {
  const reply = await change(await startApp(), type, subject, bodyHtml);
  expect(reply).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT', message: expect.stringMatching(message) },
  });
});

test('mails go out although an admin has deleted the templates', async () => {
  const app = await startApp();
  await app.sql('delete from email.templates');
  await app.as('nobody').post('/api/auth/email/send-otp', { email: 'ada@example.com' });
  const [{ text, variables }] = await mailsTo(app, 'ada@example.com');
  expect(text).toContain(variables.token);
});

test('an imported address that could be read as two is one', async () => {
  const smtp = await startSmtp();
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp);
  const email = 'ada,eve@example.com';
  await app.as('admin').post('/api/auth/users/import', { users: [{ email }] });
  await app.as('nobody').post('/api/auth/email/send-reset-password', { email });
  const { to, mail } = await smtp.nth(1);
  // As RFC 5321, section 4.1.2, has it.
  expect(to).toEqual(['"ada,eve"@example.com']);
  expect(mail.to).toHaveLength(1);
});

test('a value does not end the line of a subject', async () => {
  const app = await startApp();
  await change(app, 'reset-password-code', 'For {{ email }}', '<p>{{ token }}</p>');
  const email = 'ada\u0085bcc:eve\u0001x@example.com';
  await app.as('admin').post('/api/auth/users/import', { users: [{ email }] });
  await app.as('nobody').post('/api/auth/email/send-reset-password', { email });
  expect((await mailsTo(app, email))[0].subject).toBe('For ada bcc:eve x@example.com');
});
