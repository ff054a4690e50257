import { randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { expect, inject, onTestFinished, test } from 'vitest';
import { SECRETS } from '../harness.ts';
import { startServer } from '../start/process.ts';
import { NEARBY, settingsFor, startSmtp } from './smtp.ts';

const ADDRESSES = Array.from({ length: 20 }, (_, index) => `user${index}@example.net`);

/** An empty database for servers in processes of their own. */
async function createDatabase(): Promise<{ url: string; client: Client }> {
  const { host, user, password } = inject('postgres');
  const database = `test_${randomUUID().replaceAll('-', '')}`;
  const admin = new Client({ host, user, password, database: 'postgres' });
  await admin.connect();
  await admin.query(`create database ${database} template template`);
  const client = new Client({ host, user, password, database });
  await client.connect();
  onTestFinished(async () => {
    await client.end();
    await admin.query(`drop database ${database} with (force)`);
    await admin.end();
  });
  return { url: `postgresql://${user}:${password}@localhost/${database}?host=${encodeURIComponent(host)}`, client };
}

test('kill -9 while mails are being sent loses none that was accepted', async () => {
  let isDead = false;
  let underWay = () => {};
  const isUnderWay = new Promise<void>((resolve) => (underWay = resolve));
  const smtp = await startSmtp({
    onMessage() {
      if (isDead) return undefined;
      underWay();
      return new Promise(() => {});
    },
  });
  const { url, client } = await createDatabase();
  const environment = { ...SECRETS, ...NEARBY, DATABASE_URL: url };
  const server = await startServer(environment);
  await server.ready();
  const call = (path: string, method: string, body: unknown) =>
    fetch(server.url + path, {
      method,
      headers: { 'x-api-key': SECRETS.ACCESS_API_KEY, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  expect((await call('/api/auth/smtp-config', 'PUT', settingsFor(smtp))).status).toBe(200);
  const answers = ADDRESSES.map((to) => call('/api/email/send-raw', 'POST', { to, subject: 'Hi', html: '<p>Hi</p>' }));
  for (const answer of await Promise.all(answers)) expect(answer.status).toBe(200);
  await isUnderWay;
  server.kill('SIGKILL');
  await server.ended();
  isDead = true;

  // What the dead one had taken on is due again once its lease is over.
  await client.query("update email.messages set next_attempt_at = now() where status = 'queued'");
  const again = await startServer({ ...environment, DATA_DIR: server.dataDir });
  await again.ready();
  await smtp.nth(ADDRESSES.length);
  expect(smtp.received.map(({ to }) => to[0]).sort()).toEqual(ADDRESSES.toSorted());
});
