import { Client } from 'pg';
import { expect, test } from 'vitest';
import { describeConnection } from '../../src/features/metadata/connection.ts';
import { startApp } from '../harness.ts';

test('the address and the password together reach the database', async () => {
  const app = await startApp();
  const { status, body } = await app.as('admin').get('/api/metadata/database-connection-string');
  expect(status).toBe(200);
  expect(body.connectionURL).toMatch(/^postgresql:\/\/postgres:\*{8}@localhost:5432\/test_\w+\?host=/);
  expect(body.parameters).toMatchObject({ user: 'postgres', password: '********', port: 5432, sslmode: 'disable' });
  expect(body.psql).toBe(`psql '${body.connectionURL.replace(':********', '')}'`);
  expect(body.pooler).toContain('PgBouncer');
  const reply = await app.as('admin').get('/api/metadata/database-password');
  expect(reply.headers['cache-control']).toBe('no-store');
  const client = new Client(body.connectionURL.replace('********', encodeURIComponent(reply.body.databasePassword)));
  await client.connect();
  const { rows } = await client.query('select current_database() as name');
  await client.end();
  expect(rows).toEqual(await app.sql('select current_database() as name'));
  expect(await app.sql('select action, details from system.audit_logs')).toEqual([
    { action: 'GET_SECRET', details: { key: 'DATABASE_PASSWORD' } },
  ]);
});

test.each(['disable', 'require', 'verify-full'])('a server elsewhere, sslmode %s', (sslmode) => {
  const database = { host: 'db.example.com', port: 6543, name: "it's", user: 'a b', password: 'x', isBundled: false };
  const connection = describeConnection({ ...database, sslmode, binDir: undefined });
  expect(connection).toMatchObject({
    connectionURL: `postgresql://a%20b:********@db.example.com:6543/it%27s?sslmode=${sslmode}`,
    psql: `psql 'postgresql://a%20b@db.example.com:6543/it%27s?sslmode=${sslmode}'`,
  });
  expect(JSON.stringify(connection)).not.toContain('"x"');
});

test.each(['database-connection-string', 'database-password'])('nobody else gets the %s', async (path) => {
  const app = await startApp();
  for (const [who, status] of [
    ['nobody', 401],
    ['anon', 403],
    [await app.user('alice'), 403],
  ] as const) {
    expect((await app.as(who).get(`/api/metadata/${path}`)).status).toBe(status);
  }
});
