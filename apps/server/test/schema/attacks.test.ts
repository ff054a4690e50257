import { createHmac } from 'node:crypto';
import { Client } from 'pg';
import { expect, inject, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';

/** Statement, what the API answers, and the SQLSTATE with which PostgreSQL refuses it by itself. */
type Attack = [sql: string, api?: number, database?: string];

/** Where PostgreSQL lets a statement pass because it achieves nothing: the login has no power of its own. */
const HARMLESS = 'harmless';

const BECOMING_SOMEBODY_ELSE: Attack[] = [
  ['set role postgres'],
  ['set local role postgres'],
  ['SET /* */ "role" TO postgres'],
  ['set session authorization postgres'],
  [`select set_config('role', 'postgres', false)`],
  [`select pg_catalog . "set_config"('role', 'postgres', true)`],
  [`select U&"set\\005fconfig"('role', 'postgres', true)`],
  [`with a as (select set_config('role', 'postgres', true)) select * from a`],
  [`select * from set_config('role', 'postgres', true)`],
  [`create table evil (a text default set_config('role', 'postgres', true)); insert into evil default values`],
  [`do $$ begin execute 'set role postgres'; end $$`],
  [`do $x$ begin perform set_config('r' || 'ole', 'postgres', false); end $x$`],
  [`do language plpgsql 'begin execute chr(115) || ''et role postgres''; end'`],
  [`update pg_settings set setting = 'postgres' where name = 'role'`, 200, HARMLESS],
  [`update pg_settings set setting = 'replica' where name = 'session_replication_role'`],
  [
    `create function pg_temp.f() returns void language sql set role = postgres as 'select 1'; select pg_temp.f()`,
    403,
    '42501',
  ],
  ['set session_replication_role = replica'],
  ['select 1; commit; set role postgres'],
  ['rollback; set session authorization postgres'],
  ['set role authenticated', 403, HARMLESS],
  ['reset role', 403, HARMLESS],
  ['reset all', 403, HARMLESS],
  ['set search_path = auth, public', 403, HARMLESS],
  ['set statement_timeout = 0', 403, HARMLESS],
  [`do $$ begin perform set_config('statement_timeout', '0', false); end $$`, 200, HARMLESS],
  ['begin; commit', 403, HARMLESS],
  ['abort', 403, HARMLESS],
  ['savepoint a', 403, '25P01'],
  [`prepare transaction 'x'`, 403, HARMLESS],
  ['do $$ begin commit; end $$', 400, HARMLESS],
  ['set transaction isolation level serializable', 403, HARMLESS],
  ['set session characteristics as transaction read write', 403, HARMLESS],
];

const ROLES_AND_SERVER: Attack[] = [
  ['create role evil superuser'],
  ['alter role project_admin superuser'],
  ['alter role authenticator bypassrls'],
  [`alter role postgres password 'x'`],
  ['alter role project_admin rename to admin', 403, '0A000'],
  ['grant postgres to project_admin'],
  ['grant project_admin to anon'],
  ['drop role anon'],
  ['drop owned by project_admin'],
  ['reassign owned by postgres to project_admin'],
  [`do $$ begin execute 'drop owned by project_admin'; end $$`],
  [`do $$ begin execute 'alter role project_admin superuser'; end $$`],
  ['create database other'],
  ['drop database template'],
  ['alter database template rename to other'],
  ['alter database template set search_path = x'],
  ['comment on database template is $$mine$$'],
  [`create tablespace t location '/tmp'`],
  [`alter system set shared_preload_libraries = 'x'`],
  [`load '/tmp/evil.so'`],
  ['checkpoint'],
  [`copy (select 1) to program 'touch /tmp/owned'`],
  [`copy (select 1) to '/tmp/owned'`],
  [`create temp table lines (l text); copy lines from '/etc/passwd'`],
  [`create table evil (a int); copy evil from stdin`, 403, HARMLESS],
  [`select pg_read_file('/etc/passwd')`],
  [`select lo_import('/etc/passwd')`],
  [`select pg_ls_dir('.')`],
  ['select pg_reload_conf()'],
  [`select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres' and pid <> pg_backend_pid()`],
  [`create function evil() returns int language c as '/tmp/evil.so', 'evil'`],
  [`create function evil() returns int language internal as 'pg_backend_pid'`],
  ['create publication everything for all tables'],
  [`create subscription s connection 'host=localhost' publication p with (connect = false)`],
];

const THINGS_OF_THE_PLATFORM: Attack[] = [
  ['drop schema auth cascade'],
  ['drop schema public, system cascade'],
  ['alter schema auth rename to mine'],
  ['alter schema auth owner to project_admin'],
  ['drop table auth.users'],
  ['drop table notes, auth.users'],
  ['alter table auth.users add column evil text'],
  ['alter table auth.users disable row level security'],
  ['alter table only auth.users owner to project_admin'],
  ['alter table auth.users rename to mine'],
  ['alter table auth.users rename column password to open'],
  ['alter table notes set schema auth'],
  ['create table auth.evil (a int)'],
  ['create table system.evil as select 1'],
  ['select 1 as a into storage.evil'],
  [`create or replace function auth.uid() returns uuid language sql as 'select null::uuid'`],
  ['create view auth.evil as select 1'],
  ['create sequence storage.evil'],
  ['create domain system.evil as int'],
  [`create type system.evil as enum ('a')`],
  ['create type auth.evil as (a int)'],
  ['drop function auth.uid() cascade'],
  ['alter function auth.uid() owner to project_admin'],
  ['alter function auth.uid() security definer'],
  ['create index on auth.users (password)'],
  ['create rule evil as on insert to auth.users do nothing'],
  ['create policy evil on auth.users using (true)'],
  ['truncate auth.users'],
  ['truncate notes, auth.users'],
  // PostgreSQL warns that there was nothing to grant, and grants nothing.
  ['grant select on auth.users to anon', 403, HARMLESS],
  ['grant all on all tables in schema auth to anon', 403, '42501'],
  ['grant usage on schema system to anon', 403, HARMLESS],
  ['create extension citext schema auth'],
  ['create event trigger evil on ddl_command_end execute function system.on_ddl_end()'],
  ['drop event trigger insforge_on_ddl_end'],
  ['alter event trigger insforge_on_ddl_end disable'],
  ['alter default privileges for role postgres in schema public grant all on tables to anon'],
  [`update system.custom_migrations set name = 'x'`],
  [`insert into system.custom_migrations (version, name, statements) values ('9', 'forged', '{}')`],
  ['delete from system.audit_logs'],
  ['update system.database_config set auto_enable_rls = false'],
  ['select * from system.keyring'],
  ['select * from auth.sessions'],
  ['select * from system.owner_statements'],
  [
    `insert into system.owner_statements (backend_pid, statement) values (pg_backend_pid(), 'alter role project_admin superuser')`,
  ],
  ['select system.run_owner_statement(gen_random_uuid())'],
  ['select system.reassign_public_objects_to_project_admin()'],
  ['create trigger evil before update on system.secrets for each row execute function system.update_updated_at()'],
  [`do $$ begin execute 'drop table auth.users'; end $$`],
  [`create function evil() returns void language sql security definer as 'drop table auth.users'; select evil()`],
  ['drop extension plpgsql cascade'],
  ['alter table storage.objects disable row level security, add column evil int'],
  ['drop policy a on auth.users', 403, '42704'],
  ['comment on table auth.users is $$mine$$'],
  ['create policy evil on storage.objects using (true); drop table storage.objects'],
  // A setting of the session that makes a lexer see something else than the parser saw.
  [
    `do $$ begin perform set_config('standard_conforming_strings', 'off', false); end $$;
     create policy evil on storage.objects using (key <> 'a\\' or key = '); drop table auth.users --')`,
  ],
  [
    `do $$ begin perform set_config('standard_conforming_strings', 'off', false); end $$;
     create policy evil on storage.objects using (key <> 'a\\' or key = ' or true) --')`,
    200,
  ],
  // What the guard cannot read it does not let pass.
  ['select 1\0; drop table auth.users', 400, '08P01'],
  [`select ${'('.repeat(20_000)}1${')'.repeat(20_000)}`, 400, '42601'],
  [`select 1${'+1'.repeat(50_000)}`, 400, '54001'],
  [`select '`, 400, '42601'],
];

/** All that an attack could be after, as one value. */
async function stateOf({ sql }: TestApp): Promise<unknown> {
  const [state] = await sql(`
    select
      (select jsonb_agg(to_jsonb(r) - 'rolpassword' order by r.rolname) from pg_roles r
        where rolname in ('postgres', 'authenticator', 'project_admin', 'authenticated', 'anon', 'evil', 'admin')) as roles,
      (select count(*) from pg_auth_members where member = 'project_admin'::regrole or roleid = 'postgres'::regrole) as members,
      (select jsonb_agg(jsonb_build_array(nspname, nspowner, nspacl) order by nspname) from pg_namespace where nspname !~ '^pg_') as schemas,
      (select jsonb_agg(jsonb_build_array(c.oid::regclass, c.relowner, c.relacl, c.relnatts, c.relhasrules) order by c.oid)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname in ('auth', 'storage', 'system')) as relations,
      (select jsonb_agg(jsonb_build_array(p.oid::regprocedure, p.proowner, p.prosrc, p.prosecdef, p.proacl) order by p.oid)
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname in ('auth', 'storage', 'system')) as functions,
      (select count(*) from pg_type t join pg_namespace n on n.oid = t.typnamespace where n.nspname in ('auth', 'storage', 'system')) as types,
      (select jsonb_agg(jsonb_build_array(evtname, evtenabled) order by evtname) from pg_event_trigger) as event_triggers,
      (select count(*) from pg_policy where polrelid <> 'storage.objects'::regclass) as policies,
      (select jsonb_agg(defaclacl order by oid) from pg_default_acl) as defaults,
      (select count(*) from auth.users) as users, (select count(*) from system.custom_migrations) as migrations,
      (select auto_enable_rls from system.database_config) as rls,
      obj_description('auth.users'::regclass) as comment`);
  return state;
}

test('a statement for the owner is read with the same eyes twice', async () => {
  const app = await startVictim();
  const query = `do $$ begin perform set_config('standard_conforming_strings', 'off', false); end $$;
    create policy p on storage.objects using (key <> 'a\\' or key = ' or true) --')`;
  expect((await app.as('admin').post('/api/database/advance/rawsql', { query })).status).toBe(200);
  const [policy] = await app.sql(`select pg_get_expr(polqual, polrelid) as qual from pg_policy where polname = 'p'`);
  expect(policy?.qual).toContain(`(key = ' or true) --'::text)`);
});

const CORPUS = { BECOMING_SOMEBODY_ELSE, ROLES_AND_SERVER, THINGS_OF_THE_PLATFORM };

async function startVictim(): Promise<TestApp> {
  const app = await startApp();
  await app.user('alice');
  await app.sql('create table notes (id int); alter table notes owner to project_admin');
  return app;
}

test.each(Object.entries(CORPUS))('the API refuses: %s', async (_, attacks) => {
  const app = await startVictim();
  const before = await stateOf(app);
  for (const [sql, api = 403] of attacks) {
    const reply = await app.as('admin').post('/api/database/advance/rawsql', { query: sql });
    expect([sql, reply.status, reply.text]).toEqual([sql, api, reply.text]);
    if (api >= 400) expect([sql, reply.body.nextActions]).toEqual([sql, expect.any(String)]);
    expect([sql, await stateOf(app)]).toEqual([sql, before]);
    const [version, migration] = ['1', { name: 'attack', sql }];
    const tried = await app.as('admin').post('/api/database/migrations', { version, ...migration, dryRun: true });
    if (api >= 400) expect([sql, tried.status]).toEqual([sql, expect.toBeOneOf([400, 403])]);
    expect([sql, await stateOf(app)]).toEqual([sql, before]);
  }
});

test.each(Object.entries(CORPUS))('the database refuses by itself: %s', async (_, attacks) => {
  const app = await startVictim();
  const before = await stateOf(app);
  const [{ name } = { name: '' }] = await app.sql<{ name: string }>('select current_database() as name');
  for (const [sql, , database = '42501'] of attacks) {
    const outcome = await asProjectAdmin(name, sql);
    expect([sql, outcome]).toEqual([
      sql,
      { code: database === HARMLESS ? undefined : database, canBecomeOwner: false },
    ]);
    expect([sql, await stateOf(app)]).toEqual([sql, before]);
  }
});

/** Sends a text as psql would, on the login that serves requests, with nobody's guard in between. */
async function asProjectAdmin(database: string, sql: string) {
  const password = createHmac('sha256', SECRETS.ENCRYPTION_KEY).update('insforge:authenticator').digest('hex');
  const client = new Client({ ...inject('postgres'), user: 'authenticator', password, database });
  client.on('error', () => {});
  await client.connect();
  try {
    await client.query('set role project_admin');
    const failed = await client.query(sql).then(
      () => undefined,
      (error: { code: string }) => error.code,
    );
    await client.query('rollback');
    const became = await client.query('set role postgres').then(
      () => true,
      () => false,
    );
    // A COPY without data ends in an error of this client, not of the database.
    return { code: failed === '57014' ? undefined : failed, canBecomeOwner: became };
  } finally {
    await client.end();
  }
}
