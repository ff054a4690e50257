import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';

const drift = async ({ as }: TestApp) => (await as('admin').get('/api/database/migrations/drift')).body;
const raw = ({ as }: TestApp, query: string, path = '') =>
  as('admin').post(`/api/database/advance/rawsql${path}`, { query });
const migrate = ({ as }: TestApp, version: string, sql: string) =>
  as('admin').post('/api/database/migrations', { version, name: 'm', sql });

test('what no migration has done is shown, as a migration', async () => {
  const app = await startApp();
  await raw(app, 'create table early ()');
  expect(await drift(app)).toMatchObject({ latestMigration: null, changes: [{ source: 'raw-sql' }] });
  await migrate(app, '7', 'create table if not exists early (); create table notes (id serial primary key)');
  expect(await drift(app)).toEqual({ latestMigration: { version: '7', name: 'm' }, changes: [] });

  await raw(app, 'alter table notes add column title text; insert into notes (title) values ($$a$$)');
  await raw(
    app,
    'create function f() returns int language sql as $$ select 1 $$; create extension citext',
    '/unrestricted',
  );
  await raw(app, `create extension "uuid-ossp"; do $$ begin execute 'create view v as select 1 as a'; end $$`);
  await raw(app, 'create index concurrently on notes (title)');
  await app.as('admin').delete('/api/database/tables/early');
  await app.sql('set role project_admin; create schema shop; reset role');
  await raw(app, 'select * from notes; update notes set title = $$b$$');
  await raw(app, 'create table undone (); select 1/0');

  const { changes, sql, nextActions } = await drift(app);
  expect(changes.map(({ source, statement }: { source: string; statement: string }) => [source, statement])).toEqual([
    ['raw-sql', 'alter table notes add column title text'],
    ['raw-sql', 'create function f() returns int language sql as $$ select 1 $$'],
    ['raw-sql', 'create extension citext'],
    ['raw-sql', 'create extension "uuid-ossp"'],
    ['raw-sql', `do $$ begin execute 'create view v as select 1 as a'; end $$`],
    ['raw-sql', 'create index concurrently on notes (title)'],
    ['tables-api', 'drop table "public"."early"'],
    ['elsewhere', expect.stringContaining('create schema shop')],
  ]);
  expect(changes[0]).toMatchObject({ commands: ['ALTER TABLE'], objects: ['public.notes'] });
  expect(sql).toContain('alter table notes add column title text;\n\ncreate function f()');
  expect(nextActions).toContain('IF NOT EXISTS');
});

test('the same where the database cannot watch by itself', async () => {
  const app = await startApp();
  await app.sql('drop event trigger insforge_on_ddl_end; drop event trigger insforge_on_drop');
  await migrate(app, '1', 'create table notes (id int)');
  await raw(app, 'alter table notes add column title text; select 1; create policy p on notes using (false)');
  await app
    .as('admin')
    .post('/api/database/tables', { tableName: 't', columns: [{ columnName: 'a', type: 'string' }] });
  const { changes } = await drift(app);
  expect(changes.map(({ statement }: { statement: string }) => statement)).toEqual([
    'alter table notes add column title text',
    'create policy p on notes using (false)',
    expect.stringContaining('create table "public"."t"'),
    expect.stringContaining('row level security'),
    expect.stringContaining('create trigger'),
  ]);
});

test('what carries passwords is not kept', async () => {
  const app = await startApp();
  await raw(
    app,
    `create extension postgres_fdw; create server other foreign data wrapper postgres_fdw options (host 'x');
     create user mapping for project_admin server other options (user 'u', password 'hunter2')`,
    '/unrestricted',
  );
  const changes = await app.sql('select object_type, statement from system.schema_changes');
  expect(changes).toContainEqual({ object_type: 'user mapping', statement: null });
  expect(JSON.stringify(changes)).not.toContain('hunter2');
});

test('nobody else sees it', async () => {
  const app = await startApp();
  for (const [who, status] of [
    ['nobody', 401],
    ['anon', 403],
    [await app.user('alice'), 403],
  ] as const) {
    expect((await app.as(who).get('/api/database/migrations/drift')).status).toBe(status);
  }
});
