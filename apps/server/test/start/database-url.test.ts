import { join } from 'node:path';
import { Client } from 'pg';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { startPostgres } from '../../src/platform/postgres/cluster.ts';
import { scratchFolder, startServer } from './process.ts';

/** A PostgreSQL that has never seen us, with one database and the login that owns it. */
async function createDatabase(rights: string): Promise<{ url: string; client: Client }> {
  const dataDir = await scratchFolder();
  const log = pino({ level: 'silent' });
  const { connection, stop } = await startPostgres({ dataDir, password: 'of-postgres', database: 'scratch', log });
  const superuser = new Client(connection);
  await superuser.connect();
  await superuser.query(`create role owner login password 'of-the-owner' ${rights}`);
  await superuser.query('create database given owner owner');
  await superuser.end();
  const client = new Client({ ...connection, database: 'given' });
  await client.connect();
  onTestFinished(async () => {
    await client.end();
    await stop();
  });
  return {
    url: `postgresql://owner:of-the-owner@localhost/given?host=${encodeURIComponent(connection.host ?? '')}`,
    client,
  };
}

test('an owner with CREATEROLE is enough; what it cannot have is said with its consequence', async () => {
  const database = await createDatabase('createrole');
  const server = await startServer({ DATABASE_URL: database.url });
  await server.ready();
  expect(server.output()).toMatch(
    /Row level security is switched on only for.*Fix: start the server once with a superuser/s,
  );
  expect(server.output()).not.toContain('of-the-owner');

  // What an administrator mends later is noticed at the next start.
  server.kill('SIGTERM');
  await server.ended();
  await database.client.query('alter role owner superuser');
  const again = await startServer({ DATABASE_URL: database.url, DATA_DIR: server.dataDir });
  await again.ready();
  expect(again.output()).not.toContain('Row level security');
});

test('a login that may not create roles is refused with the statement that helps', async () => {
  const database = await createDatabase('');
  const server = await startServer({ DATABASE_URL: database.url });
  expect(await server.ended()).toBe(1);
  expect(server.output()).toMatch(/may not create roles.*CREATEROLE/s);
});

test('two servers that start together on an empty database agree on everything', async () => {
  const database = await createDatabase('superuser');
  const servers = await Promise.all([1, 2].map(() => startServer({ DATABASE_URL: database.url })));
  await Promise.all(servers.map((server) => server.ready()));
  const [first, second] = await Promise.all(servers.map((server) => server.credentials()));
  expect(first?.ACCESS_API_KEY).toBe(second?.ACCESS_API_KEY);
  expect(first?.ROOT_ADMIN_PASSWORD).toBe(second?.ROOT_ADMIN_PASSWORD);
  const { rows } = await database.client.query(
    'select name, count(*)::int from system.migrations group by name having count(*) > 1',
  );
  expect(rows).toEqual([]);
});

test('another encryption key than the one the secrets were stored with is refused', async () => {
  const database = await createDatabase('superuser');
  const server = await startServer({ DATABASE_URL: database.url });
  await server.ready();
  const other = await startServer({ DATABASE_URL: database.url, ENCRYPTION_KEY: 'quite-another-encryption-key' });
  expect(await other.ended()).toBe(1);
  expect(other.output()).toContain('encrypted with another key');
});

test('a database that a newer version migrated is refused', async () => {
  const database = await createDatabase('superuser');
  await database.client.query(`create schema system;
    create table system.migrations (id serial primary key, name varchar(255) not null, run_on timestamp not null);
    insert into system.migrations (name, run_on) values ('9999_from_the_future', now())`);
  const server = await startServer({
    DATABASE_URL: database.url,
    DATA_DIR: join(await scratchFolder(), 'data'),
  });
  expect(await server.ended()).toBe(1);
  expect(server.output()).toContain('9999_from_the_future');
});
