import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

const POSTS = {
  tableName: 'posts',
  columns: [
    { columnName: 'title', type: 'string', isNullable: false, isUnique: true },
    { columnName: 'body', type: 'string', isNullable: true, isUnique: false },
  ],
};

test('a table gets id, timestamps, a trigger that keeps them, row level security, and belongs to project_admin', async () => {
  const { as, sql } = await startApp();
  const admin = as('admin');
  const created = await admin.post('/api/database/tables', POSTS);
  expect(created.status).toBe(201);
  expect(created.body).toMatchObject({
    message: 'Table created successfully',
    tableName: 'posts',
    columns: [{ columnName: 'title', type: 'string', isNullable: false, isUnique: true }, { columnName: 'body' }],
    autoFields: ['id', 'created_at', 'updated_at'],
    nextActions: expect.stringContaining('CREATE POLICY'),
    sql: [expect.stringContaining('create table'), expect.any(String), expect.any(String)],
    warnings: [{ rule: 'rls-no-policy', object: 'public.posts', fix: expect.stringContaining('CREATE POLICY') }],
  });
  expect(
    await sql(`
      select relrowsecurity as rls, relowner::regrole::text as owner,
        (select array_agg(tgname::text) from pg_trigger where tgrelid = c.oid) as triggers,
        (select array_agg(attname || ' ' || format_type(atttypid, null) || case when attnotnull then ' not null' else '' end
          order by attnum) from pg_attribute where attrelid = c.oid and attnum > 0) as columns
      from pg_class c where relname = 'posts'`),
  ).toEqual([
    {
      rls: true,
      owner: 'project_admin',
      triggers: ['posts_update_timestamp'],
      columns: [
        'id uuid not null',
        'title text not null',
        'body text',
        'created_at timestamp with time zone',
        'updated_at timestamp with time zone',
      ],
    },
  ]);
  await admin.post('/api/database/advance/rawsql', {
    query: `insert into posts (title, updated_at) values ('a', '2000-01-01')`,
  });
  await admin.post('/api/database/advance/rawsql', { query: `update posts set body = 'x', updated_at = '2000-01-01'` });
  expect(await sql(`select updated_at > '2020-01-01' as kept from posts`)).toEqual([{ kept: true }]);
  expect((await admin.get('/api/database/tables')).body).toEqual(['posts']);
  expect(await sql('select action, module, actor, details from system.audit_logs order by created_at limit 1')).toEqual(
    [
      {
        action: 'CREATE_TABLE',
        module: 'DATABASE',
        actor: 'api-key',
        details: {
          schemaName: 'public',
          tableName: 'posts',
          columns: [
            { columnName: 'title', type: 'string' },
            { columnName: 'body', type: 'string' },
          ],
          rlsEnabled: true,
        },
      },
    ],
  );
});

test('what the schema says is what was asked for, in the same words', async () => {
  const { as } = await startApp();
  const admin = as('admin');
  const types = [
    'string',
    'date',
    'datetime',
    'integer',
    'float',
    'boolean',
    'uuid',
    'json',
    'numeric(10,2)',
    'text[]',
  ];
  const created = await admin.post('/api/database/tables', {
    tableName: 'of all types',
    // The older names of the same things.
    columns: types.map((type, index) => ({ name: `c${index}`, type, nullable: false, unique: index === 3 })),
    rlsEnabled: false,
  });
  expect(created.status).toBe(201);
  const { body } = await admin.get('/api/database/tables/of%20all%20types/schema');
  expect(body).toMatchObject({ tableName: 'of all types', rlsEnabled: false, recordCount: 0, foreignKeys: [] });
  const columns = body.columns.filter(({ columnName }: { columnName: string }) => columnName.startsWith('c'));
  expect(columns.slice(0, 10).map((column: { type: string }) => column.type)).toEqual(types);
  expect(columns.slice(0, 7)).toMatchObject([
    { isNullable: false, isUnique: false },
    { defaultValue: 'now()' },
    { defaultValue: 'now()' },
    { isUnique: true },
    {},
    { defaultValue: 'false' },
    { defaultValue: 'gen_random_uuid()' },
  ]);
});

test.each([
  { type: 'string', defaultValue: 'draft', value: 'draft' },
  { type: 'string', defaultValue: "it's", value: "it's" },
  { type: 'string', defaultValue: 'now() + 1', value: null },
  { type: 'string', defaultValue: "'quoted'", value: 'quoted' },
  { type: 'string', defaultValue: 'hello (world)', value: 'hello (world)' },
  { type: 'string', defaultValue: '2024-01-01', value: '2024-01-01' },
  { type: 'string', defaultValue: "x'); drop table users; --", value: "x'); drop table users; --" },
  { type: 'string', defaultValue: '\\', value: '\\' },
  { type: 'string', defaultValue: "upper('x') || 'y'", value: 'Xy' },
  { type: 'integer', defaultValue: '42', value: 42 },
  { type: 'integer', defaultValue: 42, value: 42 },
  { type: 'boolean', defaultValue: 'true', value: true },
  { type: 'boolean', defaultValue: true, value: true },
  { type: 'json', defaultValue: '{"a":1}', value: { a: 1 } },
  { type: 'uuid', defaultValue: 'auth.uid()', value: null },
  { type: 'text[]', defaultValue: "array['a']::text[]", value: ['a'] },
])('a $type with the default $defaultValue is filled with $value', async ({ type, defaultValue, value }) => {
  const { as, sql } = await startApp();
  const created = await as('admin').post('/api/database/tables', {
    tableName: 't',
    columns: [{ columnName: 'c', type, isNullable: true, defaultValue }],
  });
  if (defaultValue === 'now() + 1') {
    expect(created).toMatchObject({ status: 400, body: { error: 'DATABASE_VALIDATION_ERROR' } });
    return;
  }
  expect([created.status, created.text]).toEqual([201, created.text]);
  expect(await sql('insert into t default values returning c')).toEqual([{ c: value }]);
});

test.each([
  { tableName: 't', columns: [] },
  { tableName: '', columns: [{ columnName: 'a', type: 'string' }] },
  { tableName: 'x'.repeat(64), columns: [{ columnName: 'a', type: 'string' }] },
  { tableName: 'é'.repeat(32), columns: [{ columnName: 'a', type: 'string' }] },
  { tableName: 'a\0b', columns: [{ columnName: 'a', type: 'string' }] },
  { tableName: 't', columns: [{ columnName: 'a' }] },
])('a request without sense is refused: $tableName $columns', async (body) => {
  const { as } = await startApp();
  expect(await as('admin').post('/api/database/tables', body)).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT' },
  });
});

test.each([
  ...['nonsense', 'int); drop table auth.users; --', 'int, evil int', 'int default 1', 'text -- ', 'setof int'].map(
    (type) => ({ columns: [{ columnName: 'a', type }], status: 400, error: 'DATABASE_VALIDATION_ERROR' }),
  ),
  { columns: [{ columnName: 'id', type: 'uuid' }], status: 400, error: 'DATABASE_VALIDATION_ERROR' },
  { columns: [{ columnName: 'updated_at', type: 'datetime' }], status: 400, error: 'DATABASE_VALIDATION_ERROR' },
  {
    columns: [
      { columnName: 'a', type: 'string' },
      { columnName: 'a', type: 'string' },
    ],
    status: 400,
    error: 'DATABASE_VALIDATION_ERROR',
  },
  {
    columns: [{ columnName: 'a', type: 'string', defaultValue: "set_config('role', 'postgres', false)" }],
    status: 400,
    error: 'DATABASE_VALIDATION_ERROR',
  },
])('columns that cannot be are refused: $columns', async ({ columns, status, error }) => {
  const { as } = await startApp();
  const reply = await as('admin').post('/api/database/tables', { tableName: 't', columns });
  expect(reply).toMatchObject({ status, body: { error } });
  expect((await as('admin').get('/api/database/tables')).body).toEqual([]);
});

test('names that need quoting are only names', async () => {
  const { as, sql } = await startApp();
  const admin = as('admin');
  const tableName = 'we"ird; drop table x --';
  const created = await admin.post('/api/database/tables', {
    tableName,
    columns: [{ columnName: 'Select "all"', type: 'string' }],
  });
  expect(created.status).toBe(201);
  expect((await admin.get('/api/database/tables')).body).toEqual([tableName]);
  const path = `/api/database/tables/${encodeURIComponent(tableName)}`;
  expect((await admin.get(`${path}/schema`)).body.columns[1]).toMatchObject({ columnName: 'Select "all"' });
  expect((await admin.delete(path)).status).toBe(200);
  expect(await sql(`select relname from pg_class where relnamespace = 'public'::regnamespace`)).toEqual([]);
});

test('a table that exists is not made again, and one that does not exist is not found', async () => {
  const { as } = await startApp();
  const admin = as('admin');
  await admin.post('/api/database/tables', POSTS);
  expect(await admin.post('/api/database/tables', POSTS)).toMatchObject({
    status: 409,
    body: { error: 'DATABASE_DUPLICATE', nextActions: expect.stringContaining('PATCH') },
  });
  for (const reply of [
    await admin.get('/api/database/tables/nothing/schema'),
    await admin.patch('/api/database/tables/nothing/schema', { dropColumns: ['a'] }),
    await admin.delete('/api/database/tables/nothing'),
    // Tables of the platform are not this API's.
    await admin.get('/api/database/tables/users/schema'),
  ]) {
    expect(reply).toMatchObject({ status: 404, body: { error: 'DATABASE_NOT_FOUND' } });
  }
});

test('foreign keys of the table, of a column, to users, and of several columns', async () => {
  const { as } = await startApp();
  const admin = as('admin');
  await admin.post('/api/database/tables', {
    tableName: 'memberships',
    columns: [
      { columnName: 'team', type: 'string', isPrimaryKey: true },
      {
        columnName: 'member',
        type: 'uuid',
        isPrimaryKey: true,
        foreignKey: { referenceTable: 'auth.users', referenceColumn: 'id', onDelete: 'CASCADE', onUpdate: 'CASCADE' },
      },
    ],
  });
  const created = await admin.post('/api/database/tables', {
    tableName: 'votes',
    columns: [
      { columnName: 'team', type: 'string', isNullable: false },
      { columnName: 'member', type: 'uuid', isNullable: false },
    ],
    foreignKeys: [
      {
        referenceTable: 'memberships',
        referenceColumns: [
          { sourceColumn: 'team', referenceColumn: 'team' },
          { sourceColumn: 'member', referenceColumn: 'member' },
        ],
        onDelete: 'CASCADE',
        onUpdate: 'NO ACTION',
      },
    ],
  });
  expect(created.status).toBe(201);
  expect(created.body.warnings).toContainEqual(
    expect.objectContaining({ rule: 'missing-fk-index', fix: 'CREATE INDEX ON public.votes (team, member);' }),
  );
  const memberships = (await admin.get('/api/database/tables/memberships/schema')).body;
  expect(memberships.columns.map(({ columnName }: { columnName: string }) => columnName)).toEqual([
    'team',
    'member',
    'created_at',
    'updated_at',
  ]);
  expect(memberships.foreignKeys).toEqual([
    {
      constraintName: 'fk_member_auth_users_id',
      referenceTable: 'auth.users',
      referenceColumns: [{ sourceColumn: 'member', referenceColumn: 'id' }],
      onDelete: 'CASCADE',
      onUpdate: 'CASCADE',
    },
  ]);
  const votes = (await admin.get('/api/database/tables/votes/schema')).body;
  expect(votes.foreignKeys).toMatchObject([
    {
      constraintName: 'fk_team_member_memberships_team_member',
      referenceColumns: [
        { sourceColumn: 'team', referenceColumn: 'team' },
        { sourceColumn: 'member', referenceColumn: 'member' },
      ],
    },
  ]);
  // A reference is never filled with a random value.
  expect(votes.columns[2]).not.toHaveProperty('defaultValue');
  const dropped = await admin.delete('/api/database/tables/memberships');
  expect(dropped.body.sql).toEqual([
    'alter table "public"."votes" drop constraint "fk_team_member_memberships_team_member";',
    'drop table "public"."memberships";',
  ]);
});

test.each([
  {
    change: { addColumns: [{ columnName: 'n', type: 'integer', isNullable: false, defaultValue: '7' }] },
    operations: ['added 1 columns'],
    row: { title: 'a', body: 'x', n: 7 },
  },
  { change: { dropColumns: ['body'] }, operations: ['dropped 1 columns'], row: { title: 'a' } },
  {
    change: { updateColumns: [{ columnName: 'body', newColumnName: 'text' }] },
    operations: ['renamed 1 columns'],
    row: { title: 'a', text: 'x' },
  },
  {
    change: { updateColumns: [{ columnName: 'body', defaultValue: 'y', isNullable: false }] },
    operations: ['modified 1 columns'],
    row: { title: 'a', body: 'x' },
  },
  { change: { updateColumns: [{ columnName: 'body', type: 'json', defaultValue: '{}' }] }, status: 400 },
  {
    change: { updateColumns: [{ columnName: 'body', type: 'varchar(20)', defaultValue: 'z', newColumnName: 'b' }] },
    operations: ['renamed 1 columns'],
    row: { title: 'a', b: 'x' },
  },
  { change: { rlsEnabled: false }, operations: ['disabled row level security'], row: { title: 'a', body: 'x' } },
  { change: {}, status: 400 },
  { change: { dropColumns: ['nothing'] }, status: 400 },
  { change: { dropColumns: ['id'] }, status: 400 },
  { change: { updateColumns: [{ columnName: 'body', newColumnName: 'id' }] }, status: 400 },
  { change: { addColumns: [{ columnName: 'created_at', type: 'date' }] }, status: 400 },
  { change: { addColumns: [{ columnName: 'title', type: 'string' }] }, status: 400 },
  { change: { addColumns: [{ columnName: 'n', type: 'integer', isNullable: false }] }, status: 400 },
  { change: { dropForeignKeys: ['nothing'] }, status: 404 },
])('a table is changed: $change', async ({ change, status = 200, operations, row }) => {
  const { as, sql } = await startApp();
  const admin = as('admin');
  await admin.post('/api/database/tables', POSTS);
  await sql(`insert into posts (title, body) values ('a', 'x')`);
  const reply = await admin.patch('/api/database/tables/posts/schema', change);
  expect([reply.status, reply.text]).toEqual([status, reply.text]);
  const [{ id: _, created_at: _c, updated_at: _u, ...kept } = {} as Record<string, unknown>] =
    await sql('select * from posts');
  expect(kept).toEqual(row ?? { title: 'a', body: 'x' });
  if (operations) expect(reply.body).toMatchObject({ message: 'Table schema updated successfully', operations });
});

test('a table is renamed, with its trigger; foreign keys come and go by column or by name', async () => {
  const { as, sql } = await startApp();
  const admin = as('admin');
  await admin.post('/api/database/tables', POSTS);
  const path = '/api/database/tables/posts/schema';
  const key = { referenceTable: 'auth.users', onDelete: 'CASCADE', onUpdate: 'CASCADE' };
  await admin.patch(path, {
    addColumns: [{ columnName: 'author', type: 'uuid', isNullable: true }],
    // Once as newer clients send it, once as older ones do.
    addForeignKeys: [{ ...key, referenceColumns: [{ sourceColumn: 'author', referenceColumn: 'id' }] }],
  });
  await admin.patch(path, {
    addColumns: [{ columnName: 'editor', type: 'uuid', isNullable: true }],
    addForeignKeys: [{ columnName: 'editor', foreignKey: { ...key, referenceColumn: 'id' } }],
  });
  const names = async () =>
    (await admin.get(path)).body.foreignKeys.map((each: { constraintName: string }) => each.constraintName);
  expect(await names()).toEqual(['fk_author_auth_users_id', 'fk_editor_auth_users_id']);
  await admin.patch(path, { dropForeignKeys: ['author', 'fk_editor_auth_users_id'] });
  expect(await names()).toEqual([]);

  const renamed = await admin.patch(path, { renameTable: { newTableName: 'articles' } });
  expect(renamed.body).toMatchObject({ tableName: 'articles', operations: ['renamed the table to articles'] });
  expect((await admin.get('/api/database/tables')).body).toEqual(['articles']);
  expect(await sql(`select tgname from pg_trigger where tgrelid = 'articles'::regclass`)).toEqual([
    { tgname: 'articles_update_timestamp' },
  ]);
});

test('a dry run says what it would do and leaves no trace', async () => {
  const { as, sql } = await startApp();
  const admin = as('admin');
  const create = await admin.post('/api/database/tables', { ...POSTS, dryRun: true });
  expect(create).toMatchObject({
    status: 201,
    body: {
      dryRun: true,
      message: expect.stringContaining('nothing was changed'),
      warnings: [{ rule: 'rls-no-policy' }],
    },
  });
  expect((await admin.get('/api/database/tables')).body).toEqual([]);
  await admin.post('/api/database/tables', POSTS);
  const change = await admin.patch('/api/database/tables/posts/schema', { dropColumns: ['body'], dryRun: true });
  expect(change.body).toMatchObject({ dryRun: true, sql: ['alter table "public"."posts" drop column "body";'] });
  const drop = await admin.delete('/api/database/tables/posts?dryRun=true');
  expect(drop.body).toMatchObject({ dryRun: true, sql: ['drop table "public"."posts";'] });
  expect((await admin.get('/api/database/tables/posts/schema')).body.columns).toHaveLength(5);
  expect(await sql('select action from system.audit_logs')).toEqual([{ action: 'CREATE_TABLE' }]);
});

test('a view that reads a table keeps it from being dropped, and says so', async () => {
  const { as } = await startApp();
  const admin = as('admin');
  await admin.post('/api/database/tables', POSTS);
  await admin.post('/api/database/advance/rawsql', { query: 'create view titles as select title from posts' });
  expect(await admin.delete('/api/database/tables/posts')).toMatchObject({
    status: 400,
    body: { error: 'DATABASE_VALIDATION_ERROR', detail: expect.stringContaining('view titles') },
  });
});

test.each([
  [{ columns: [{ columnName: 'a', type: 'moood' }] }, 'type "moood" does not exist', 'catalog'],
  [
    {
      columns: [{ columnName: 'a', type: 'uuid' }],
      foreignKeys: [{ referenceTable: 'nothing', referenceColumns: [{ sourceColumn: 'a', referenceColumn: 'id' }] }],
    },
    'relation "public.nothing" does not exist',
    'GET /api/database/tables',
  ],
  [{ columns: [{ columnName: 'a', type: 'integer', defaultValue: 'many' }] }, 'invalid input syntax', 'dryRun'],
])('what PostgreSQL refuses comes with the statement and a next step: %j', async (table, message, nextStep) => {
  const { as } = await startApp();
  expect(await as('admin').post('/api/database/tables', { tableName: 't', ...table })).toMatchObject({
    status: 400,
    body: {
      message: expect.stringContaining(message),
      nextActions: expect.stringContaining(nextStep),
      statement: expect.stringContaining('create table "public"."t"'),
    },
  });
  expect((await as('admin').get('/api/database/tables')).body).toEqual([]);
});
