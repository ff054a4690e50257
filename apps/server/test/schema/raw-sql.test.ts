import { expect, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';

const RAW = '/api/database/advance/rawsql';
const run = ({ as }: TestApp, query: string, more: Record<string, unknown> = {}) =>
  as('admin').post(RAW, { query, ...more });

test('a query answers with rows, their number and their fields', async () => {
  const app = await startApp();
  const reply = await run(app, 'select n, n::text as t from generate_series($1::int, $2) n', { params: [1, 2] });
  expect(reply.headers['content-type']).toMatch(/^application\/json/);
  expect(reply).toMatchObject({
    status: 200,
    body: {
      rows: [
        { n: 1, t: '1' },
        { n: 2, t: '2' },
      ],
      rowCount: 2,
      fields: [
        { name: 'n', dataTypeID: 23 },
        { name: 't', dataTypeID: 25 },
      ],
    },
  });
  expect(await app.sql(`select action, details from system.audit_logs`)).toEqual([
    {
      action: 'EXECUTE_RAW_SQL',
      details: {
        query: 'select n, n::text as t from generate_series($1::int, $2) n',
        paramCount: 2,
        executionRole: 'project_admin',
        explain: false,
        rowsAffected: 2,
      },
    },
  ]);
});

test.each([
  ['9007199254740991::int8', 9007199254740991],
  ['9007199254740993::int8', '9007199254740993'],
  ['1.10::numeric', 1.1],
  ['-0.000001::numeric', -0.000001],
  ['123456789012345.678::numeric', '123456789012345.678'],
  [`'NaN'::numeric`, 'NaN'],
  ['0.1::float8 + 0.2', 0.30000000000000004],
  [`'-Infinity'::float8`, '-Infinity'],
  ['1e300::float8', 1e300],
  ['true', true],
  [`null::int`, null],
  [`'{"a":[1,{"b":null}]}'::jsonb`, { a: [1, { b: null }] }],
  [`'[1, 2]'::json`, [1, 2]],
  [`'2026-01-31'::date`, '2026-01-31'],
  [`'2026-01-31 10:20:30.123456'::timestamp`, '2026-01-31T10:20:30.123456'],
  [`'2026-01-31 10:20:30.5+02'::timestamptz`, '2026-01-31T08:20:30.5Z'],
  [`'infinity'::timestamptz`, 'infinity'],
  [`'0044-03-15 BC'::date`, '0044-03-15 BC'],
  [`array[1, null, 3]`, [1, null, 3]],
  [
    `array[['a "b"', 'c,d'], ['\\', 'NULL']]`,
    [
      ['a "b"', 'c,d'],
      ['\\', 'NULL'],
    ],
  ],
  [`'[0:1]={7,8}'::int[]`, [7, 8]],
  [`'{}'::text[]`, []],
  [`array['{"a":1}'::jsonb]`, [{ a: 1 }]],
  [`array[9007199254740993::int8]`, ['9007199254740993']],
  [`'\\x00ff'::bytea`, '\\x00ff'],
  [`'a"b\n'::text`, 'a"b\n'],
  [`'00000000-0000-0000-0000-00000000000a'::uuid`, '00000000-0000-0000-0000-00000000000a'],
  [`interval '1 day 2 hours'`, '1 day 02:00:00'],
  [`pg_sleep(0)`, null],
])('%s is answered as %j', async (expression, value) => {
  expect((await run(await startApp(), `select ${expression} as value`)).body.rows).toEqual([{ value }]);
});

test('numbers inside of JSON keep every digit', async () => {
  const { text } = await run(await startApp(), `select '{"n": 12345678901234567890.10}'::jsonb as j`);
  expect(text).toContain('{"n": 12345678901234567890.10}');
});

test('of columns with the same name the last one counts, and all are listed', async () => {
  const { body } = await run(await startApp(), 'select 1 as a, 2 as b, 3 as a');
  expect(body.rows).toEqual([{ a: 3, b: 2 }]);
  expect(body.fields.map(({ name }: { name: string }) => name)).toEqual(['a', 'b', 'a']);
});

test('several statements are one transaction and answer with the last result that has rows', async () => {
  const app = await startApp();
  const { body } = await run(
    app,
    `create table t (a int);
     insert into t values ($1), ($2);
     select sum(a) from t where a > $1;
     -- nothing after this has rows
     update t set a = a + 1;`,
    { params: [1, 2] },
  );
  expect(body).toMatchObject({ rows: [{ sum: 2 }], rowCount: 1 });
  const failed = await run(app, `insert into t values (100);\ninsert into t values ('x')`);
  expect(failed).toMatchObject({
    status: 400,
    body: {
      error: 'DATABASE_VALIDATION_ERROR',
      line: 2,
      column: 23,
      statement: `insert into t values ('x')`,
      statementIndex: 2,
      statementCount: 2,
      sqlstate: '22P02',
    },
  });
  expect((await run(app, 'select count(*) from t')).body.rows).toEqual([{ count: 2 }]);
});

test('parameters are values, whatever they look like', async () => {
  const app = await startApp();
  const { body } = await run(
    app,
    'select $1::text as a, $2::jsonb as b, $3::text[] as c, $4::bool as d, $5::int as e',
    {
      params: ["'; drop table x; --", { k: ['v'] }, ['p', null], false, null],
    },
  );
  expect(body.rows).toEqual([{ a: "'; drop table x; --", b: { k: ['v'] }, c: ['p', null], d: false, e: null }]);
  for (const [query, params] of [
    ['select $1::int', []],
    ['select $2::int, $1::int', [1]],
  ]) {
    const { status, body: refusal } = await run(app, String(query), { params });
    expect([status, refusal.error]).toEqual([400, 'DATABASE_INVALID_PARAMETER']);
  }
});

test.each([
  { query: 'selec 1', line: 1, column: 1 },
  { query: "select 'é😀' as x,\n  * fro t", line: 2, column: 5 },
  { query: 'select 1;\n\n  select missing', line: 3, column: 10 },
  { query: "/* 😀 */ select '😀', missing", line: 1, column: 23 },
  { query: "select 'open", line: 1, column: 8 },
])('an error names line and column: $query', async ({ query, line, column }) => {
  const { status, body } = await run(await startApp(), query);
  expect(status).toBe(400);
  expect(body).toMatchObject({ error: 'DATABASE_VALIDATION_ERROR', line, column, nextActions: expect.any(String) });
  expect(body.message).toContain(`(line ${line}, column ${column})`);
});

test.each([
  { query: 'select * from nothing', status: 400, error: 'DATABASE_VALIDATION_ERROR', sqlstate: '42P01' },
  { query: 'insert into keyed values (1)', status: 409, error: 'DATABASE_DUPLICATE', sqlstate: '23505' },
  { query: 'create table keyed (id int)', status: 409, error: 'DATABASE_DUPLICATE', sqlstate: '42P07' },
  { query: 'insert into keyed values (null)', status: 400, error: 'MISSING_FIELD', sqlstate: '23502' },
  {
    query:
      'insert into auth.user_providers (user_id, provider, provider_account_id) values (gen_random_uuid(), $$p$$, $$a$$)',
    status: 400,
    error: 'DATABASE_CONSTRAINT_VIOLATION',
    sqlstate: '23503',
  },
  { query: 'select * from auth.sessions', status: 403, error: 'FORBIDDEN', sqlstate: '42501' },
  {
    query: `do $$ begin raise exception 'mine' using hint = 'do that'; end $$`,
    status: 400,
    error: 'DATABASE_VALIDATION_ERROR',
    sqlstate: 'P0001',
  },
])('$query fails with $error', async ({ query, status, error, sqlstate }) => {
  const app = await startApp();
  await run(app, 'create table keyed (id int primary key); insert into keyed values (1)');
  const reply = await run(app, query);
  expect(reply).toMatchObject({
    status,
    body: { error, sqlstate, statusCode: status, nextActions: expect.any(String) },
  });
});

test.each(['', '   ', '-- only a comment', ';;'])('a query without a statement is refused: %j', async (query) => {
  expect((await run(await startApp(), query)).status).toBe(400);
});

test('a result is cut at its limits and says so', async () => {
  const app = await startApp();
  const cut = await run(app, 'select n from generate_series(1, 100) n', { maxRows: 3 });
  expect(cut.body).toMatchObject({
    rows: [{ n: 1 }, { n: 2 }, { n: 3 }],
    rowCount: 3,
    truncated: { rowsReturned: 3, reason: expect.stringContaining('maxRows is 3') },
  });
  const exact = await run(app, 'select n from generate_series(1, 3) n', { maxRows: 3 });
  expect(exact.body).not.toHaveProperty('truncated');
  const wide = await run(app, `select repeat('x', 4000000) as x from generate_series(1, 10)`);
  expect(wide.body.truncated).toMatchObject({ reason: expect.stringContaining('bytes') });
  expect(wide.body.rows.length).toBeLessThan(10);
  expect((await run(app, 'select 1', { maxRows: 0 })).status).toBe(400);
  const many = await run(app, 'select n from generate_series(1, 20000) n');
  expect(many.body).toMatchObject({ rowCount: 10_000, truncated: { rowsReturned: 10_000 } });
});

test('a dry run answers as the real one and undoes it', async () => {
  const app = await startApp();
  const reply = await run(app, `create table t (a int); insert into t values (1) returning a`, { dryRun: true });
  expect(reply.body).toMatchObject({ rows: [{ a: 1 }], dryRun: true, warnings: [{ rule: 'rls-no-policy' }] });
  expect((await app.as('admin').get('/api/database/tables')).body).toEqual([]);
  const deferred = await run(
    app,
    `create table a (id int primary key); create table b (a int references a deferrable initially deferred); insert into b values (1)`,
    { dryRun: true },
  );
  expect(deferred).toMatchObject({ status: 400, body: { error: 'DATABASE_CONSTRAINT_VIOLATION' } });
});

test('explain answers with the plan and changes nothing', async () => {
  const app = await startApp();
  await run(app, 'create table t (a int)');
  const { body } = await run(app, 'delete from t where a = $1', { explain: true, params: [1] });
  expect(body.rows[0]['QUERY PLAN']).toContain('Delete on t');
  expect(await run(app, 'select 1; select 2', { explain: true })).toMatchObject({ status: 400 });
  expect(await run(app, 'drop table t', { explain: true })).toMatchObject({ status: 400 });
  expect((await app.as('admin').get('/api/database/tables')).body).toEqual(['t']);
  const misspelt = await run(app, 'select\n  missing from t', { explain: true });
  expect(misspelt.body).toMatchObject({ line: 2, column: 3 });
});

test('the statements run as project_admin, with claims that say only that', async () => {
  const app = await startApp();
  const who = `select current_user, session_user, current_setting('request.jwt.claims') as claims, auth.uid(),
    current_setting('search_path') as path, current_setting('statement_timeout') as timeout`;
  expect((await run(app, who)).body.rows).toEqual([
    {
      current_user: 'project_admin',
      session_user: 'authenticator',
      claims: '{"role":"project_admin"}',
      uid: null,
      path: 'public',
      timeout: '30s',
    },
  ]);
  const unrestricted = await app.as('admin').post(`${RAW}/unrestricted`, { query: 'select current_user' });
  expect(unrestricted.body.rows).toEqual([{ current_user: 'postgres' }]);
  expect(
    await app.sql(`select action, details ->> 'executionRole' as role from system.audit_logs order by created_at`),
  ).toEqual([
    { action: 'EXECUTE_RAW_SQL', role: 'project_admin' },
    { action: 'EXECUTE_RAW_SQL_UNRESTRICTED', role: 'root' },
  ]);
});

test('what the owner makes in public is handed to project_admin', async () => {
  const app = await startApp();
  const { as, sql } = app;
  const reply = await as('admin').post(`${RAW}/unrestricted`, {
    query: `
      create type mood as enum ('ok'); create domain even as int check (value % 2 = 0); create type pair as (a int, b int);
      create type span as range (subtype = int);
      create table t (id serial primary key, m mood); create sequence free; create view v as select * from t;
      create materialized view mv as select 1 as a; create function f() returns int language sql as 'select 1';
      create procedure p() language sql as ''; create aggregate total(int) (sfunc = int4pl, stype = int);
      create extension citext`,
  });
  expect([reply.status, reply.text]).toEqual([200, reply.text]);
  expect(
    await sql(`
      select name from (
        select relname::text as name, relowner as owner from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v', 'm', 'S', 'c')
        union all select proname, proowner from pg_proc where proname in ('f', 'p', 'total')
        union all select typname, typowner from pg_type where typname in ('mood', 'even', 'pair', 'span')) as made
      where owner <> 'project_admin'::regrole`),
  ).toEqual([]);
  expect(await sql(`select proowner::regrole::text as owner from pg_proc where proname = 'citext_eq'`)).toEqual([
    { owner: 'postgres' },
  ]);
  expect((await run(app, 'alter table t add column more int; drop function f(); drop type mood cascade')).status).toBe(
    200,
  );
});

test('what the admin may have of the owner is part of the same transaction', async () => {
  const app = await startApp();
  const both = await run(app, 'create extension citext; create table words (w citext)');
  expect(both.status).toBe(200);
  const undone = await run(app, `drop table words; drop extension citext; select 1/0`);
  expect(undone).toMatchObject({ status: 400, body: { statementIndex: 3 } });
  expect((await run(app, `select 'A'::citext = 'a' as same`)).body.rows).toEqual([{ same: true }]);
  const held = await run(app, 'drop extension citext');
  expect(held).toMatchObject({ status: 400, body: { sqlstate: '2BP01', nextActions: expect.any(String) } });
  const absent = await run(app, 'create extension nothing_of_that_name');
  expect(absent).toMatchObject({ status: 400, body: { line: 1, column: 1 } });
});

test('policies on the tables that accept them are the developer’s', async () => {
  const app = await startApp();
  const reply = await run(
    app,
    `create function is_mine(k text) returns boolean language sql stable as 'select k like auth.uid()::text || ''/%''';
     alter table storage.objects enable row level security;
     create policy "own files" on storage.objects for all to authenticated using (is_mine(key));
     alter policy "own files" on storage.objects rename to mine;
     alter policy mine on storage.objects using (is_mine(key) and bucket = 'a');
     create policy other on storage.objects using (true);
     drop policy other on storage.objects`,
  );
  expect([reply.status, reply.text]).toEqual([200, reply.text]);
  expect(
    await app.sql(
      `select polname, pg_get_expr(polqual, polrelid) as qual from pg_policy where polrelid = 'storage.objects'::regclass`,
    ),
  ).toEqual([{ polname: 'mine', qual: expect.stringContaining('is_mine(key)') }]);
  expect(await run(app, 'alter table storage.objects disable row level security, add column x int')).toMatchObject({
    status: 403,
  });
});

test('a change is visible to the very next request', async () => {
  const app = await startApp();
  for (const [version, name] of [
    ['1', 'a'],
    ['2', 'b'],
  ] as const) {
    await run(app, `create table ${name} (id int); insert into ${name} values (1)`);
    expect((await app.as('admin').get(`/api/database/records/${name}`)).body).toEqual([{ id: 1 }]);
    await app
      .as('admin')
      .post('/api/database/migrations', { version, name, sql: `alter table ${name} add column more int` });
    expect((await app.as('admin').get(`/api/database/records/${name}`)).body).toEqual([{ id: 1, more: null }]);
  }
  await app.as('admin').delete('/api/database/tables/a');
  expect((await app.as('admin').get('/api/database/records/a')).status).toBe(404);
});

test('a client that leaves ends its query', async () => {
  const app = await startApp();
  const url = await app.listen();
  const leaving = new AbortController();
  const asked = fetch(`${url}${RAW}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'x-api-key': SECRETS.ACCESS_API_KEY,
    },
    body: JSON.stringify({ query: 'create table gone (); select pg_sleep(25)' }),
    signal: leaving.signal,
  });
  const sleepers = () =>
    app.sql(`select from pg_stat_activity where datname = current_database() and query like 'select pg_sleep(25)%'`);
  await expect.poll(sleepers).toHaveLength(1);
  leaving.abort();
  await expect(asked).rejects.toThrow();
  await expect.poll(sleepers).toHaveLength(0);
  expect((await app.as('admin').get('/api/database/tables')).body).toEqual([]);
});
