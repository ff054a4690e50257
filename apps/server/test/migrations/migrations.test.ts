import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';

const PATH = '/api/database/migrations';
const apply = ({ as }: TestApp, version: string, sql: string, more: Record<string, unknown> = {}) =>
  as('admin').post(PATH, { version, name: 'change', sql, ...more });

test('a migration is applied, listed, and told to whoever asks', async () => {
  const app = await startApp();
  const sql = `-- all of it
    create table notes (id int primary key, note text default 'a;b');
    create policy own on notes using (true) -- open`;
  const reply = await apply(app, '00020260101000000', sql, { name: 'create-notes' });
  const statements = [
    `-- all of it\ncreate table notes (id int primary key, note text default 'a;b');`,
    'create policy own on notes using (true) -- open\n;',
  ];
  expect(reply).toMatchObject({
    status: 201,
    body: {
      version: '20260101000000',
      name: 'create-notes',
      statements,
      createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      message: 'Migration executed successfully',
      warnings: [{ rule: 'rls-permissive' }],
    },
  });
  const { version, name, createdAt } = reply.body;
  expect((await app.as('admin').get(PATH)).body).toEqual({ migrations: [{ version, name, statements, createdAt }] });
  // What is listed can be run again as it is.
  await app.sql(`drop table notes`);
  await app.sql(statements.join('\n'));
  expect(await app.sql('select action, module, details from system.audit_logs')).toEqual([
    {
      action: 'CREATE_CUSTOM_MIGRATION',
      module: 'DATABASE',
      details: { name: 'create-notes', version: '20260101000000', statementCount: 2 },
    },
  ]);
});

test.each([
  { version: '', name: 'a', sql: 'select 1' },
  { version: '1.5', name: 'a', sql: 'select 1' },
  { version: '-1', name: 'a', sql: 'select 1' },
  { version: '1'.repeat(65), name: 'a', sql: 'select 1' },
  { version: '1', name: '', sql: 'select 1' },
  { version: '1', name: 'A b', sql: 'select 1' },
  { version: '1', name: '../x', sql: 'select 1' },
  { version: '1', name: 'a', sql: '' },
  { version: 1, name: 'a', sql: 'select 1' },
])('what is no migration is refused: $version $name $sql', async (body) => {
  const { as } = await startApp();
  expect(await as('admin').post(PATH, body)).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
});

test('versions are numbers, and only a greater one is taken', async () => {
  const app = await startApp();
  expect((await apply(app, '0009', 'create table nine ()')).body.version).toBe('9');
  const refusals = [
    ['9', 'create table nine ()', 'with exactly this text'],
    ['009', 'create table other ()', 'with another text'],
    ['8', 'create table eight ()', 'not newer than the latest applied migration 9'],
  ] as const;
  for (const [version, sql, message] of refusals) {
    expect(await apply(app, version, sql)).toMatchObject({
      status: 409,
      body: {
        error: 'DATABASE_MIGRATION_ALREADY_EXISTS',
        message: expect.stringContaining(message),
        nextActions: expect.any(String),
        latestVersion: '9',
      },
    });
  }
  const huge = '9'.repeat(64);
  expect((await apply(app, '10', 'create table ten ()')).status).toBe(201);
  expect((await apply(app, huge, 'create table huge ()')).body.version).toBe(huge);
  const { migrations } = (await app.as('admin').get(PATH)).body;
  expect(migrations.map(({ version }: { version: string }) => version)).toEqual(['9', '10', huge]);
});

test('a migration that fails leaves nothing, and says where', async () => {
  const app = await startApp();
  const sql = `create table a (id int);\ninsert into a values (1);\n\ninsert into a\n  values ('x');`;
  expect(await apply(app, '1', sql)).toMatchObject({
    status: 400,
    body: {
      error: 'DATABASE_VALIDATION_ERROR',
      message: 'invalid input syntax for type integer: "x" (line 5, column 11)',
      line: 5,
      column: 11,
      statement: `insert into a\n  values ('x')`,
      statementIndex: 3,
      statementCount: 3,
      nextActions: expect.any(String),
    },
  });
  expect((await app.as('admin').get(PATH)).body).toEqual({ migrations: [] });
  expect((await app.as('admin').get('/api/database/tables')).body).toEqual([]);
  expect(await app.sql('select from system.owner_statements')).toEqual([]);
  expect((await apply(app, '1', sql.replace("'x'", '2'))).status).toBe(201);
});

test.each([
  ['begin; create table a (); commit', 400],
  ['create table a (); rollback', 400],
  ['savepoint a', 400],
  ['drop table auth.users', 403],
  ['create table system.mine ()', 403],
  ['set role anon', 403],
  ['create role mine', 403],
])('%s has no place in a migration', async (sql, status) => {
  const app = await startApp();
  expect(await apply(app, '1', sql)).toMatchObject({
    status,
    body: { error: 'DATABASE_FORBIDDEN', nextActions: expect.any(String), line: 1 },
  });
  expect((await app.as('admin').get(PATH)).body).toEqual({ migrations: [] });
});

test('objects belong to project_admin, in public, whoever else is on the path', async () => {
  const app = await startApp();
  await apply(app, '1', 'create schema project_admin');
  await apply(app, '2', 'create table notes (); create function f() returns int language sql as $$ select 1 $$');
  expect(
    await app.sql(`
      select relnamespace::regnamespace::text as schema, relowner::regrole::text as owner from pg_class where relname = 'notes'
      union all select pronamespace::regnamespace::text, proowner::regrole::text from pg_proc where proname = 'f'`),
  ).toEqual([
    { schema: 'public', owner: 'project_admin' },
    { schema: 'public', owner: 'project_admin' },
  ]);
});

test('extensions and policies on files are part of the migration’s transaction', async () => {
  const app = await startApp();
  const sql = `create extension citext; create table words (w citext);
    create policy own on storage.objects using (uploaded_by = auth.uid()::text);`;
  expect((await apply(app, '1', `${sql} select 1/0`)).status).toBe(400);
  expect(await app.sql(`select from pg_extension where extname = 'citext' union all select from pg_policy`)).toEqual(
    [],
  );
  expect((await apply(app, '1', sql)).status).toBe(201);
  expect(await app.sql(`select polname from pg_policy`)).toEqual([{ polname: 'own' }]);
});

test('migrations that arrive together take turns, and each is applied once', async () => {
  const app = await startApp();
  const versions = Array.from({ length: 8 }, (_, index) => String(index + 1));
  const replies = await Promise.all([
    ...versions.map((version) => apply(app, version, `create table t${version} ()`)),
    ...versions.map((version) => apply(app, version, `create table t${version} ()`)),
  ]);
  const applied = replies.filter(({ status }) => status === 201).map(({ body }) => body.version);
  expect(replies.filter(({ status }) => status === 409)).toHaveLength(replies.length - applied.length);
  expect(applied.length).toBeGreaterThan(0);
  const { migrations } = (await app.as('admin').get(PATH)).body;
  expect(migrations.map(({ version }: { version: string }) => version)).toEqual(
    applied
      .map(BigInt)
      .sort((a, b) => Number(a - b))
      .map(String),
  );
  expect((await app.as('admin').get('/api/database/tables')).body.sort()).toEqual(
    applied.map((version) => `t${version}`).sort(),
  );
});

test('two servers on one database take turns as well', async () => {
  const app = await startApp();
  const other = await startApp({}, { beside: app });
  await apply(app, '1', 'create table notes (id int)');
  const replies = await Promise.all(
    [app, other, app, other].map((server) => apply(server, '2', 'alter table notes add column once int')),
  );
  expect(replies.map(({ status }) => status).sort()).toEqual([201, 409, 409, 409]);
  const [slow, quick] = await Promise.all([
    apply(app, '3', 'create index concurrently notes_id on notes (id)'),
    apply(other, '4', 'select pg_sleep(0.2); alter table notes add column twice int'),
  ]);
  // Whichever came second had to wait; the lower version may have been too late for its place.
  expect([quick.status, [201, 409].includes(slow.status)]).toEqual([201, true]);
  for (const server of [app, other]) {
    const read = async () => (await server.as('admin').get('/api/database/records/notes?select=once,twice')).status;
    await expect.poll(read).toBe(200);
  }
});

test('the ledger cannot be written by the SQL of a migration', async () => {
  const app = await startApp();
  for (const sql of [
    `insert into system.custom_migrations (version, name, statements) values ('5', 'forged', '{}')`,
    `delete from system.custom_migrations`,
    `create function f() returns void language sql security definer as 'delete from system.custom_migrations'; select f()`,
  ]) {
    expect(await apply(app, '1', sql)).toMatchObject({ status: 403, body: { error: 'FORBIDDEN', sqlstate: '42501' } });
  }
  const hostile = `select 'x''), (''6'', ''forged'', ''{}''); --', E'\\'; drop table auth.users; --'`;
  expect((await apply(app, '1', hostile)).status).toBe(201);
  expect((await app.as('admin').get(PATH)).body.migrations).toMatchObject([
    { version: '1', statements: [`${hostile}\n;`] },
  ]);
});

test('a dry run does everything but keep it', async () => {
  const app = await startApp();
  const tried = await apply(app, '1', 'create table notes ()', { dryRun: true });
  expect(tried).toMatchObject({
    status: 201,
    body: { version: '1', dryRun: true, message: expect.stringContaining('nothing was changed') },
  });
  expect((await apply(app, '1', 'create table notes (); select 1/0', { dryRun: true })).status).toBe(400);
  expect((await app.as('admin').get(PATH)).body).toEqual({ migrations: [] });
  expect((await app.as('admin').get('/api/database/tables')).body).toEqual([]);
  expect(await app.sql('select from system.audit_logs')).toEqual([]);
  await apply(app, '1', 'create table notes ()');
  expect((await apply(app, '1', 'create table more ()', { dryRun: true })).status).toBe(409);
});
