import { expect, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';

const SCHEMA = `
  create table authors (id uuid primary key default gen_random_uuid(), name varchar(40) not null);
  create table posts (id int primary key, author uuid not null references authors on delete cascade, body text default 'x');
  create policy read on posts for select to anon using (id > 0);
  create schema shop; create table shop.orders (id int);
  insert into authors (name) values ('a'), ('b');
  insert into posts select 1, id from authors limit 1;`;

async function startFilled(): Promise<TestApp> {
  const app = await startApp();
  const made = await app.as('admin').post('/api/database/advance/rawsql', { query: SCHEMA });
  expect([made.status, made.text]).toEqual([200, made.text]);
  return app;
}

test('the project at a glance, for programs', async () => {
  const { as } = await startFilled();
  const { body } = await as('admin').get('/api/metadata?mcp=true');
  expect(body).toMatchObject({
    auth: { passwordMinLength: 6, allowedRedirectUrls: [], oAuthProviders: [] },
    database: {
      tables: [
        { tableName: 'authors', recordCount: 2 },
        { tableName: 'posts', recordCount: 1 },
        { tableName: 'shop.orders', recordCount: 0 },
      ],
      totalSizeInGB: expect.any(Number),
      hint: expect.stringContaining('/api/metadata/{table}'),
    },
    version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
  });
  // What there is not yet is not there: clients take a key for the feature.
  expect(body).not.toHaveProperty('deployments');
  expect(body).not.toHaveProperty('compute');
});

test('the project at a glance, for readers', async () => {
  const { as } = await startFilled();
  const reply = await as('admin').get('/api/metadata?format=markdown');
  expect(reply.headers['content-type']).toMatch(/^text\/markdown/);
  expect(reply.text).toContain('- authors: 2 rows, RLS on, 0 policies: name\n');
  expect(reply.text).toContain('- posts: 1 row, RLS on, 1 policy: author, body\n');
  expect(reply.text).toContain('- shop.orders: 0 rows, RLS OFF: \n');
  expect(reply.text).toMatch(/## auth\n(- .*\n)*- passwordMinLength: 6\n/);
  expect((await as('admin').get('/api/metadata?format=xml')).status).toBe(400);
});

test('500 tables fit into one answer, which says what it leaves out', async () => {
  const app = await startApp();
  const columns = Array.from({ length: 20 }, (_, index) => `some_column_name_${index} text`).join(', ');
  await app.sql(`do $$ begin for n in 1..500 loop
    execute format('create table table_with_a_name_%s (id int, ${columns})', n); end loop; end $$`);
  const { text } = await app.as('admin').get('/api/metadata?format=markdown');
  expect(text.length).toBeLessThan(30_000);
  expect(text).toContain('500 tables');
  expect(text).toMatch(/… \d+ more tables: GET \/api\/database\/tables/);
  const started = performance.now();
  const { body } = await app.as('admin').get('/api/metadata');
  expect(body.database.tables).toHaveLength(500);
  // Far from its usual time, but a loop of one query a table would not get there.
  expect(performance.now() - started).toBeLessThan(2_000);
});

test('a table in all its details', async () => {
  const { as } = await startFilled();
  const { body } = await as('admin').get('/api/metadata/posts');
  expect(body).toEqual({
    posts: {
      schema: [
        { columnName: 'id', dataType: 'integer', characterMaximumLength: null, isNullable: 'NO', columnDefault: null },
        { columnName: 'author', dataType: 'uuid', characterMaximumLength: null, isNullable: 'NO', columnDefault: null },
        {
          columnName: 'body',
          dataType: 'text',
          characterMaximumLength: null,
          isNullable: 'YES',
          columnDefault: `'x'::text`,
        },
      ],
      indexes: [
        {
          indexname: 'posts_pkey',
          indexdef: 'CREATE UNIQUE INDEX posts_pkey ON public.posts USING btree (id)',
          isUnique: true,
          isPrimary: true,
        },
      ],
      foreignKeys: [
        {
          constraintName: 'posts_author_fkey',
          columnName: 'author',
          foreignTableName: 'authors',
          foreignColumnName: 'id',
          deleteRule: 'CASCADE',
          updateRule: 'NO ACTION',
        },
      ],
      rlsEnabled: true,
      policies: [{ policyname: 'read', cmd: 'SELECT', roles: ['anon'], qual: '(id > 0)', withCheck: null }],
      triggers: [],
      recordCount: 1,
    },
  });
  expect((await as('admin').get('/api/metadata/authors')).body.authors.schema[1]).toMatchObject({
    dataType: 'character varying',
    characterMaximumLength: 40,
  });
  expect((await as('admin').get('/api/metadata/shop.orders')).body['shop.orders'].rlsEnabled).toBe(false);
  expect(await as('admin').get('/api/metadata/nothing')).toMatchObject({
    status: 404,
    body: { error: 'DATABASE_NOT_FOUND', nextActions: expect.any(String) },
  });
  expect((await as('admin').get(`/api/metadata/${encodeURIComponent(`x' or '1'='1`)}`)).status).toBe(404);
});

test('numbers of rows are exact while they are small, and near when they are large', async () => {
  const app = await startApp();
  await app.sql(`
    create table empty (n int); create table emptied (n int); insert into emptied values (1); delete from emptied;
    create table few (n int); insert into few select generate_series(1, 10000);
    create table many (n int); insert into many select generate_series(1, 60000);
    create table analysed (n int); insert into analysed select generate_series(1, 60000);
    create table parts (n int) partition by range (n); create table part partition of parts default;
    insert into parts values (1), (2);
    analyze analysed`);
  const { body } = await app.as('admin').get('/api/metadata/database');
  const rows = Object.fromEntries(
    body.tables.map(({ tableName, recordCount }: { tableName: string; recordCount: number }) => [
      tableName,
      recordCount,
    ]),
  );
  expect(rows).toMatchObject({ empty: 0, emptied: 0, few: 10_000, analysed: 60_000, parts: 2 });
  expect(rows.many).toBeGreaterThan(10_000);
  expect(rows).not.toHaveProperty('part');
  expect(body).toMatchObject({
    totalTables: 6,
    databaseSize: expect.stringMatching(/\d+ (kB|MB)/),
    totalSizeInGB: expect.any(Number),
    lastUpdated: expect.stringMatching(/Z$/),
  });
});

test('the keys, in clear text and kept by nobody', async () => {
  const { as } = await startApp();
  const apiKey = await as('admin').get('/api/metadata/api-key');
  expect(apiKey).toMatchObject({ body: { apiKey: SECRETS.ACCESS_API_KEY }, headers: { 'cache-control': 'no-store' } });
  expect((await as('admin').get('/api/metadata/anon-key')).body).toEqual({ anonKey: SECRETS.ACCESS_ANON_KEY });
  expect((await as('admin').get('/api/metadata/project-id')).body).toEqual({ projectId: null });
});

test('names of the API are not names of tables', async () => {
  const { as } = await startApp();
  await as('admin').post('/api/database/advance/rawsql', {
    query: 'create table database (); create table "api-key" ()',
  });
  expect((await as('admin').get('/api/metadata/database')).body).toHaveProperty('totalTables', 2);
  expect((await as('admin').get('/api/metadata/api-key')).body).toHaveProperty('apiKey');
});
