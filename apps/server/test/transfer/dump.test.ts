import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, inject, onTestFinished, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { comparable, DATA, SCHEMA } from './project.ts';

const run = promisify(execFile);

async function startFilled(): Promise<TestApp> {
  const app = await startApp();
  const admin = app.as('admin');
  for (const query of [SCHEMA, DATA]) {
    const made = await admin.post('/api/database/advance/rawsql', { query });
    expect([made.status, made.text]).toEqual([200, made.text]);
  }
  const alice = await app.user('alice');
  await app.sql(`update posts set editor = $1 where id = 1`, [alice.sub]);
  await app.sql(`update auth.users set password = 'hash', metadata = '{"it''s": "x"}'`);
  return app;
}

const dump = async ({ as }: TestApp, query = '') => {
  const reply = await as('admin').get(`/api/database/export?tool=insforge&${query}`);
  expect([reply.status, reply.text]).toEqual([200, reply.text]);
  return reply.text;
};

function form(filename: string, content: string, fields: Record<string, string> = {}) {
  const data = new FormData();
  data.append('file', new Blob([content]), filename);
  for (const [name, value] of Object.entries(fields)) data.append(name, value);
  return data;
}

async function importSql(app: TestApp, content: string, fields: Record<string, string> = {}) {
  const request = new Request('http://x', { method: 'POST', body: form('dump.sql', content, fields) });
  const body = Buffer.from(await request.arrayBuffer());
  const type = { 'content-type': request.headers.get('content-type') ?? '' };
  return app.as('admin').post('/api/database/advance/import', body, type);
}

test('a dump restores into an empty project by our own import', async () => {
  const from = await startFilled();
  const text = await dump(from);
  const to = await startApp();
  const imported = await importSql(to, text);
  expect([imported.status, imported.text]).toEqual([200, imported.text]);
  expect(imported.body).toMatchObject({ success: true, filename: 'dump.sql', fileSize: Buffer.byteLength(text) });
  expect(imported.body.tables).toEqual(expect.arrayContaining(['authors', 'posts', 'shop.Odd "name', 'logs_2026']));
  expect(comparable(await dump(to))).toEqual(comparable(text));
  // And it works as it did.
  for (const query of [
    'select total from totals',
    'select slug, number, tags from posts order by id limit 1',
    'select counted(2), total(1), (select name::text from author_names() limit 1) as name',
    `insert into posts (author, title) values ('00000000-0000-0000-0000-00000000000b', 'New') returning id, number, state`,
    'select tableoid::regclass::text as part, at, line from logs order by at',
    'select pair, span, "a b" from shop."Odd ""name" order by 3',
    'select email, password, metadata from auth.users',
  ]) {
    const [before, after] = [await from.sql(query), await to.sql(query)];
    expect([query, after]).toEqual([query, before]);
  }
  for (const who of ['anon', await to.user('bob')] as const) {
    expect((await to.as(who).get('/api/database/records/posts')).body).toEqual([]);
  }
});

test('a dump restores by psql', async ({ skip }) => {
  await run('psql', ['--version']).catch(() => skip('there is no psql on this machine'));
  const from = await startFilled();
  const text = await dump(from);
  const to = await startApp();
  const folder = await mkdtemp(join(tmpdir(), 'insforge-dump-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'dump.sql'), text);
  const [{ name } = { name: '' }] = await to.sql<{ name: string }>('select current_database() as name');
  const { host, user, password } = inject('postgres');
  const args = [
    '-h',
    host,
    '-U',
    user,
    '-d',
    name,
    '-v',
    'ON_ERROR_STOP=1',
    '--single-transaction',
    '-q',
    '-f',
    join(folder, 'dump.sql'),
  ];
  await run('psql', args, { env: { ...process.env, PGPASSWORD: password } });
  expect(comparable(await dump(to))).toEqual(comparable(text));
});

test('parts of a project, with or without what is around them', async () => {
  const app = await startFilled();
  const schemaOnly = await dump(app, 'data=false');
  expect(schemaOnly).not.toContain('COPY ');
  expect(schemaOnly).not.toContain('INSERT INTO auth.users');
  const to = await startApp();
  expect((await importSql(to, schemaOnly)).status).toBe(200);
  const bare = await dump(
    app,
    'functions=false&policies=false&triggers=false&sequences=false&views=false&grants=false',
  );
  for (const word of [
    'CREATE OR REPLACE FUNCTION',
    'CREATE POLICY',
    'CREATE TRIGGER',
    'CREATE SEQUENCE',
    'CREATE VIEW',
    'GRANT ',
  ]) {
    expect(bare).not.toContain(word);
  }
  const one = await dump(app, `tables=${encodeURIComponent('shop.Odd "name')}`);
  expect(one).toContain('CREATE TABLE shop."Odd ""name"');
  expect(one).not.toContain('authors');
  expect((await app.as('admin').get('/api/database/export?tables=nothing')).status).toBe(404);
});

test('a file that fails leaves nothing, and says where', async () => {
  const app = await startApp();
  const reply = await importSql(
    app,
    `create table notes (id int);\n\nCOPY notes FROM stdin;\n1\n2\n\\.\ninsert into notes\n  values ('x');`,
  );
  expect(reply).toMatchObject({
    status: 400,
    body: { line: 8, column: 11, statement: `insert into notes\n  values ('x')` },
  });
  const copy = await importSql(app, `create table notes (id int);\nCOPY notes FROM stdin;\n1\nx\n\\.\n`);
  expect(copy).toMatchObject({ status: 400, body: { error: 'DATABASE_VALIDATION_ERROR', sqlstate: '22P02' } });
  expect(await importSql(app, 'create table notes (id int);\nselec;')).toMatchObject({
    status: 400,
    body: { line: 2 },
  });
  for (const sql of [
    'drop table auth.users',
    'set role postgres',
    `copy t from program 'x'`,
    'create role evil',
    'rollback',
    `create table t (id int); copy t from stdin where set_config('role', 'anon', false) = '';`,
    'alter system set shared_buffers = 1',
    `do $$ begin perform 1; end $$; select set_config('search_path', 'auth', false), 1; reset role;`,
  ]) {
    expect([sql, (await importSql(app, sql)).status]).toEqual([sql, 403]);
  }
  expect((await app.as('admin').get('/api/database/tables')).body).toEqual([]);
});

test('what other tools write around their SQL is left out, and told', async () => {
  const app = await startApp();
  const reply = await importSql(
    app,
    `\\restrict abc
SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
BEGIN;
CREATE SCHEMA public;
CREATE TABLE public.notes (id integer NOT NULL);
ALTER TABLE public.notes OWNER TO postgres;
COPY public.notes (id) FROM stdin;
1
\\.
INSERT INTO public.notes VALUES (2), (3);
COMMIT;
`,
  );
  expect(reply).toMatchObject({ status: 200, body: { tables: ['notes'], rowsImported: 3, statements: 3 } });
  expect(reply.body.skipped).toHaveLength(8);
  expect(
    await app.sql(`select relrowsecurity, relowner::regrole::text as owner from pg_class where relname = 'notes'`),
  ).toEqual([{ relrowsecurity: true, owner: 'project_admin' }]);
  const again = await importSql(app, 'INSERT INTO notes VALUES (9);', { truncate: 'true' });
  expect(again.body).toMatchObject({ rowsImported: 1 });
  expect(await app.sql('select id from notes')).toEqual([{ id: 9 }]);
  const tried = await importSql(app, 'DELETE FROM notes;', { dryRun: 'true' });
  expect(tried.body).toMatchObject({ dryRun: true });
  expect(await app.sql('select id from notes')).toEqual([{ id: 9 }]);
  expect((await app.as('admin').post('/api/database/advance/import', {})).status).toBe(400);
});

test('bulk upsert and export as the official clients ask for them', async () => {
  const app = await startApp();
  await app.as('admin').post('/api/database/advance/rawsql', {
    query:
      'create table notes (id int primary key, title text); create function f() returns int language sql as $$ select 1 $$',
  });
  const upsert = async (name: string, content: string, fields: Record<string, string>) => {
    const request = new Request('http://x', { method: 'POST', body: form(name, content, fields) });
    const body = Buffer.from(await request.arrayBuffer());
    return app
      .as('admin')
      .post('/api/database/advance/bulk-upsert', body, { 'content-type': request.headers.get('content-type')! });
  };
  expect((await upsert('rows.csv', 'id,title\n1,a\n2,b\n', { table: 'notes' })).body).toEqual({
    success: true,
    message: '2 of 2 records written to notes',
    table: 'notes',
    rowsAffected: 2,
    totalRecords: 2,
    filename: 'rows.csv',
  });
  expect(
    (await upsert('rows.json', '[{"id":2,"title":"new"},{"id":3,"title":"c"}]', { table: 'notes', upsertKey: 'id' }))
      .status,
  ).toBe(200);
  expect((await upsert('rows.json', '[{"id":2,"title":"again"}]', { table: 'notes', upsertKey: '' })).status).toBe(409);
  expect((await upsert('rows.txt', 'x', { table: 'notes' })).status).toBe(400);
  expect((await upsert('rows.csv', 'id\n1\n', {})).status).toBe(400);

  const json = (await app.as('admin').post('/api/database/advance/export', { format: 'json', includeFunctions: true }))
    .body;
  expect(json).toMatchObject({ format: 'json', tables: ['notes'], timestamp: expect.any(String) });
  expect(json.data).toMatchObject({
    tables: {
      notes: {
        rows: [
          { id: 1, title: 'a' },
          { id: 2, title: 'new' },
          { id: 3, title: 'c' },
        ],
        rlsEnabled: true,
      },
    },
    functions: [{ functionName: 'f' }],
  });
  expect(JSON.parse(json.content)).toEqual(json.data);
  const sql = (await app.as('admin').post('/api/database/advance/export', { tables: ['notes'], rowLimit: 2 })).body;
  expect(sql).toMatchObject({ format: 'sql', truncatedTables: ['notes'] });
  expect(sql.content).toBe(sql.data);
  expect(sql.content).toContain('COPY public.notes');
  expect((await app.as('admin').post('/api/database/advance/export', { tables: ['nothing'] })).status).toBe(404);
});

test('a table without columns is a table', async () => {
  const app = await startApp();
  await app.as('admin').post('/api/database/advance/rawsql', {
    query: 'create table bare (); insert into bare default values; create table notes (id int primary key)',
  });
  for (const format of ['sql', 'json']) {
    const reply = await app.as('admin').post('/api/database/advance/export', { format });
    expect([reply.status, reply.body.tables]).toEqual([200, ['bare', 'notes']]);
  }
  expect((await app.as('admin').get('/api/database/export/bare?format=ndjson')).text).toBe('{}\n');
  expect((await app.as('admin').get('/api/database/export/nothing')).status).toBe(404);
});
