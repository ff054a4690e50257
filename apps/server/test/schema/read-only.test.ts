import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';

const read = ({ as }: TestApp, query: string, more: Record<string, unknown> = {}) =>
  as('admin').post('/api/database/advance/rawsql', { query, readOnly: true, ...more });

const SCHEMA = `
  create table notes (id serial primary key, title text);
  insert into notes (title) values ('kept');
  create view titles as select title from notes;
  create function add_note() returns void language sql volatile as $$ insert into public.notes (title) values ('added') $$;
  create function add_note_as_owner() returns void language sql volatile security definer as $$ insert into public.notes (title) values ('added') $$;
  create procedure add_notes() language sql as $$ insert into public.notes (title) values ('added') $$;
  create schema shop; create table shop.orders (id int); insert into shop.orders values (1);
  create extension dblink;`;

async function startFilled(): Promise<TestApp> {
  const app = await startApp();
  const made = await app.as('admin').post('/api/database/advance/rawsql', { query: SCHEMA });
  expect([made.status, made.text]).toEqual([200, made.text]);
  return app;
}

test.each([
  ['select title from notes', [{ title: 'kept' }]],
  ['select title from titles', [{ title: 'kept' }]],
  ['select id from shop.orders', [{ id: 1 }]],
  ['with n as (select 1 as a) select a from n', [{ a: 1 }]],
  ['select current_user::text as role', [{ role: 'project_reader' }]],
  [`select current_setting('request.jwt.claims') as claims`, [{ claims: '{"role":"project_admin"}' }]],
  ['show transaction_read_only', [{ transaction_read_only: 'on' }]],
])('%s is read', async (query, rows) => {
  expect(await read(await startFilled(), query)).toMatchObject({ status: 200, body: { rows } });
});

test('tables that come later, from every surface, are read too', async () => {
  const app = await startFilled();
  const admin = app.as('admin');
  await admin.post('/api/database/advance/rawsql/unrestricted', { query: 'create table rooted (a int)' });
  await admin.post('/api/database/tables', { tableName: 'made', columns: [{ columnName: 'a', type: 'string' }] });
  await admin.post('/api/database/migrations', { version: '1', name: 'm', sql: 'create table shop.later (a int)' });
  expect(
    await read(app, 'select from rooted union all select from made union all select from shop.later'),
  ).toMatchObject({
    status: 200,
  });
});

test('a plan is no change', async () => {
  expect(await read(await startFilled(), 'delete from notes', { explain: true })).toMatchObject({ status: 403 });
  expect(await read(await startFilled(), 'select * from notes', { explain: true })).toMatchObject({ status: 200 });
});

const WRITES: [sql: string, status?: number][] = [
  [`insert into notes (title) values ('new')`],
  [`with gone as (delete from notes returning *) select * from gone`],
  [`with new as (insert into notes (title) values ('new') returning *) select * from new`],
  ['select add_note()'],
  ['select add_note_as_owner()'],
  ['do $$ begin perform public.add_note_as_owner(); end $$'],
  ['select * into copied from notes'],
  ['create table made ()'],
  ['create temp table made ()'],
  ['truncate notes'],
  [`select nextval('notes_id_seq')`],
  [`select setval('notes_id_seq', 99)`],
  ['explain analyze delete from notes'],
  ['select * from notes for update'],
  ['lock table notes in exclusive mode'],
  ['set role project_admin'],
  ['set role postgres'],
  ['set transaction read write'],
  ['set transaction_read_only = off', 400],
  [`select set_config('transaction_read_only', 'off', true)`],
  [`do $$ begin perform set_config('transaction_read_only', 'off', true); end $$`, 400],
  ['commit; delete from notes'],
  [`copy notes to program 'cat > /tmp/owned'`],
  [`copy notes from program 'echo 1'`],
  [`select dblink_exec('dbname=' || current_database(), 'delete from notes')`, 400],
  [`select dblink('host=localhost user=postgres password=guess dbname=template1', 'select 1')`, 400],
  ['create extension citext'],
  ['alter table storage.objects enable row level security'],
  [`select pg_read_file('/etc/passwd')`],
  ['select * from system.secrets'],
  ['select * from auth.users'],
  ['vacuum notes', 400],
  ['prepare p as delete from notes; execute p'],
  ['prepare p as select add_note_as_owner(); execute p'],
  [`do $$ begin execute 'reset role'; delete from public.notes; end $$`],
  [`do $$ begin execute 'set local role project_admin'; delete from public.notes; end $$`],
  [`do $$ begin execute 'set transaction read write'; end $$`, 400],
  ['do $$ begin commit; delete from public.notes; end $$', 400],
  ['call add_notes()'],
  [`select lo_create(0)`],
  [`select lo_from_bytea(0, 'x')`],
  [`select lo_import('/etc/passwd')`],
  ['reset role; delete from notes'],
  ['reset session authorization'],
  ['comment on table notes is $$x$$'],
  ['reindex table notes'],
  ['merge into notes using notes n on false when not matched then insert (title) values ($$x$$)'],
  [`select query_to_xml('delete from public.notes returning 1', true, true, '')`, 400],
];

test.each(WRITES)('%s is refused, by PostgreSQL itself', async (query, status = 403) => {
  const app = await startFilled();
  const reply = await read(app, query);
  expect([query, reply.status, reply.text]).toEqual([query, status, reply.text]);
  expect(await app.sql('select title from notes')).toEqual([{ title: 'kept' }]);
  expect(await app.sql(`select last_value::int as last from notes_id_seq`)).toEqual([{ last: 1 }]);
});

test('locks of a session end with the request', async () => {
  const app = await startFilled();
  expect(await read(app, 'select pg_advisory_lock(77)')).toMatchObject({ status: 200 });
  await expect.poll(() => app.sql(`select from pg_locks where locktype = 'advisory' and objid = 77`)).toEqual([]);
});

test('even where the transaction is not read only, the role cannot write', async () => {
  const app = await startFilled();
  await app.sql('set role project_reader');
  for (const query of [
    `insert into notes (title) values ('new')`,
    'delete from notes',
    'create table made ()',
    'create schema made',
    `select nextval('notes_id_seq')`,
    'select add_note()',
    'truncate notes',
    'drop table notes',
    'alter table notes add column a int',
    'select * from system.secrets',
    'select system.run_owner_statement(gen_random_uuid())',
  ]) {
    await expect(app.sql(query), query).rejects.toMatchObject({ code: '42501' });
  }
  await app.sql('reset role');
});

test('the unrestricted surface has no such mode', async () => {
  const { as } = await startApp();
  const body = { query: 'select 1', readOnly: true };
  expect(await as('admin').post('/api/database/advance/rawsql/unrestricted', body)).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT', nextActions: expect.any(String) },
  });
});
