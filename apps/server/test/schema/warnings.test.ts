import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

interface Row {
  what: string;
  sql: string;
  /** What is to be said, in any order; a rule that is not here must be silent. */
  rules: Record<string, string>;
}

const OWNED = `create table notes (id int primary key, user_id uuid not null);
  create policy own on notes to authenticated using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));`;

const ROWS: Row[] = [
  { what: 'a table with a policy', sql: OWNED, rules: {} },
  { what: 'a table without one', sql: 'create table notes ()', rules: { 'rls-no-policy': 'public.notes' } },
  {
    what: 'a table without row level security',
    sql: 'create table notes (); alter table notes disable row level security',
    rules: { 'rls-disabled': 'public.notes' },
  },
  {
    what: 'the same in a schema that users cannot enter or read',
    sql: 'create schema shop; create table shop.notes ()',
    rules: {},
  },
  {
    what: 'the same after a grant',
    sql: 'create schema shop; create table shop.notes (); grant select on shop.notes to anon',
    rules: { 'rls-disabled': 'shop.notes' },
  },
  {
    what: 'a policy that lets everybody write',
    sql: `${OWNED} create policy open on notes for insert with check (true)`,
    rules: { 'rls-permissive': 'policy open on public.notes' },
  },
  {
    what: 'a policy that lets everybody read',
    sql: `${OWNED} create policy open on notes for select to anon using (true)`,
    rules: { 'rls-permissive': 'policy open on public.notes' },
  },
  {
    what: 'a policy that lets the signed in read, or that restricts',
    sql: `${OWNED} create policy open on notes for select to authenticated using (true);
      create policy narrow on notes as restrictive using (true)`,
    rules: {},
  },
  {
    what: 'a view',
    sql: `${OWNED} create view all_notes as select * from notes`,
    rules: { 'view-bypasses-rls': 'public.all_notes' },
  },
  {
    what: 'a view with the rights of whoever asks',
    sql: `${OWNED} create view all_notes with (security_invoker = on) as select * from notes`,
    rules: {},
  },
  {
    what: 'a view that users cannot read',
    sql: `${OWNED} create view all_notes as select * from notes; revoke all on all_notes from anon, authenticated`,
    rules: {},
  },
  {
    what: 'a view of the platform’s tables',
    sql: 'create view people as select email from auth.users',
    rules: { 'view-bypasses-rls': 'public.people' },
  },
  {
    what: 'a materialized view',
    sql: `${OWNED} create materialized view all_notes as select * from notes`,
    rules: { 'view-bypasses-rls': 'public.all_notes' },
  },
  {
    what: 'a function with the rights of its owner that writes',
    sql: `${OWNED} create function add_note(n int) returns void language sql security definer as 'insert into notes values (n, null)'`,
    rules: { 'definer-search-path': 'public.add_note(n integer)', 'dangerous-function': 'public.add_note(n integer)' },
  },
  {
    what: 'the same with a path and without anon',
    sql: `${OWNED} create function add_note(n int) returns void language sql security definer set search_path = ''
      as 'insert into public.notes values (n, null)'; revoke execute on function add_note from public`,
    rules: {},
  },
  {
    what: 'a trigger function, which nobody can call',
    sql: `${OWNED} create function log_note() returns trigger language plpgsql security definer set search_path = ''
      as 'begin insert into public.notes values (1, null); return new; end'`,
    rules: {},
  },
  {
    what: 'a foreign key without an index',
    sql: `${OWNED} alter table notes add constraint by_user foreign key (user_id) references auth.users (id)`,
    rules: { 'missing-fk-index': 'foreign key by_user on public.notes' },
  },
  {
    what: 'a foreign key with one',
    sql: `${OWNED} create index on notes (user_id, id);
      alter table notes add constraint by_user foreign key (user_id) references auth.users (id)`,
    rules: {},
  },
  {
    what: 'a policy that asks for every row',
    sql: `create table notes (user_id uuid); create policy own on notes using (user_id = auth.uid() and auth.role() = 'x')`,
    rules: { 'rls-policy-perf': 'policy own on public.notes' },
  },
];

const said = (warnings: { rule: string; object: string }[] = []) =>
  Object.fromEntries(warnings.map(({ rule, object }) => [rule, object]));

test.each(ROWS)('$what', async ({ sql, rules }) => {
  const app = await startApp();
  const reply = await app.as('admin').post('/api/database/advance/rawsql', { query: sql });
  expect([reply.status, said(reply.body.warnings)]).toEqual([200, rules]);
});

test.each(ROWS.filter(({ rules }) => Object.keys(rules).length > 0))('the fix helps: $what', async ({ sql, rules }) => {
  const app = await startApp();
  const admin = app.as('admin');
  const { body } = await admin.post('/api/database/advance/rawsql', { query: sql });
  const fixes = body.warnings.map(({ fix }: { fix: string }) => fix).join('\n');
  // A table whose rows belong to nobody known can only be opened to all who are signed in.
  const fixed = await admin.post('/api/database/advance/rawsql', { query: fixes });
  expect([fixes, fixed.status, fixed.text]).toEqual([fixes, 200, fixed.text]);
  const rest = Object.keys(said(fixed.body.warnings)).filter((rule) => rule in rules);
  expect([fixes, rest]).toEqual([fixes, []]);
});

test('only what a change has touched is spoken of, by every surface', async () => {
  const app = await startApp();
  const admin = app.as('admin');
  const raw = (query: string, path = '') => admin.post(`/api/database/advance/rawsql${path}`, { query });
  await raw('create table before ()');
  expect((await raw('insert into before default values; select 1')).body).not.toHaveProperty('warnings');
  expect(said((await raw('create table after_it ()')).body.warnings)).toEqual({ 'rls-no-policy': 'public.after_it' });
  expect(said((await raw('create table rooted ()', '/unrestricted')).body.warnings)).toEqual({
    'rls-no-policy': 'public.rooted',
  });
  const migration = { version: '1', name: 'more', sql: 'alter table before add column a int' };
  expect(said((await admin.post('/api/database/migrations', migration)).body.warnings)).toEqual({
    'rls-no-policy': 'public.before',
  });
  // Also what a function did on the way.
  await raw(`create function make() returns void language sql as 'create table made ()'`);
  expect(said((await raw('select make()')).body.warnings)).toEqual({ 'rls-no-policy': 'public.made' });
});

test('an answer has a bounded number of warnings', async () => {
  const app = await startApp();
  const query = Array.from({ length: 40 }, (_, index) => `create table t${index} ()`).join(';');
  const { body } = await app.as('admin').post('/api/database/advance/rawsql', { query });
  expect(body.warnings).toHaveLength(25);
});
