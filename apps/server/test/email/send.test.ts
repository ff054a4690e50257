import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';
import { mailsTo, NEARBY, startSmtp, useSmtp } from './smtp.ts';

const RAW = { to: 'ada@example.net', subject: 'Hello', html: '<p>Hi <b>Ada</b> &amp; all</p>' };

test('a mail leaves through the mail server, with a text part', async () => {
  const smtp = await startSmtp();
  const app = await startApp(NEARBY);
  await useSmtp(app, smtp);
  const sent = await app.as('admin').post('/api/email/send-raw', RAW);
  expect(sent).toMatchObject({ status: 200, body: {} });
  const { from, to, mail } = await smtp.nth(1);
  expect({ from, to }).toEqual({ from: 'app@example.com', to: ['ada@example.net'] });
  expect(mail).toMatchObject({ subject: 'Hello', from: { name: 'The App', address: 'app@example.com' } });
  expect(await mailsTo(app, 'ada@example.net')).toEqual([]);
});
