import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';

const RAW = '/api/database/advance/rawsql';

async function startFilled(): Promise<TestApp> {
  const app = await startApp();
  await app.as('admin').post(RAW, {
    query: 'create table notes (id int, title text); insert into notes values (1, $$a$$), (1, $$b$$)',
  });
  return app;
}

const indexes = ({ sql }: TestApp) =>
  sql(`select c.relname as name, i.indisvalid as valid, relowner::regrole::text as owner from pg_index i
    join pg_class c on c.oid = i.indexrelid where i.indrelid = 'public.notes'::regclass`);

test.each(['', '/unrestricted'])('an index is built while others write, through rawsql%s', async (path) => {
  const app = await startFilled();
  const reply = await app
    .as('admin')
    .post(RAW + path, { query: 'create index concurrently by_title on notes (title);' });
  expect(reply).toMatchObject({ status: 200, body: { rows: [], rowCount: null } });
  expect(await indexes(app)).toEqual([{ name: 'by_title', valid: true, owner: 'project_admin' }]);
});

test.each([
  'vacuum notes',
  'vacuum (analyze) notes',
  'reindex table concurrently notes',
  'drop index concurrently if exists x',
])('%s runs', async (query) => {
  const app = await startFilled();
  expect((await app.as('admin').post(RAW, { query })).status).toBe(200);
});

test('an index that cannot be finished is not left behind', async () => {
  const app = await startFilled();
  const reply = await app.as('admin').post(RAW, { query: '\ncreate unique index concurrently on notes (id)' });
  expect(reply).toMatchObject({ status: 409, body: { error: 'DATABASE_DUPLICATE', line: 2, sqlstate: '23505' } });
  expect(await indexes(app)).toEqual([]);
});

test.each([
  { query: 'select 1; create index concurrently on notes (id)' },
  { query: 'create index concurrently on notes (id)', dryRun: true },
])('what cannot be one transaction, or be undone, is refused: %j', async (body) => {
  const app = await startFilled();
  expect(await app.as('admin').post(RAW, body)).toMatchObject({
    status: 400,
    body: { error: 'DATABASE_VALIDATION_ERROR', nextActions: expect.any(String) },
  });
  expect(await indexes(app)).toEqual([]);
});

test('it stays the admin’s statement', async () => {
  const app = await startFilled();
  for (const query of ['create index concurrently on auth.users (email)', 'drop index concurrently auth._user_pkey']) {
    expect((await app.as('admin').post(RAW, { query })).status).toBe(403);
  }
  await app.sql('create table owned (id int)');
  expect(await app.as('admin').post(RAW, { query: 'create index concurrently on owned (id)' })).toMatchObject({
    status: 403,
    body: { sqlstate: '42501' },
  });
});

test('a migration may be such a statement, in its turn and once', async () => {
  const app = await startFilled();
  const migration = { version: '1', name: 'index', sql: 'create index concurrently by_title on notes (title)' };
  const replies = await Promise.all([1, 2].map(() => app.as('admin').post('/api/database/migrations', migration)));
  expect(replies.map(({ status }) => status).sort()).toEqual([201, 409]);
  expect(await indexes(app)).toMatchObject([{ name: 'by_title', valid: true }]);
  expect((await app.as('admin').get('/api/database/migrations')).body.migrations).toMatchObject([
    { version: '1', statements: ['create index concurrently by_title on notes (title);'] },
  ]);
  const failing = { version: '2', name: 'unique', sql: 'create unique index concurrently on notes (id)' };
  expect((await app.as('admin').post('/api/database/migrations', failing)).status).toBe(409);
  expect((await app.as('admin').get('/api/database/migrations')).body.migrations).toHaveLength(1);
  const mixed = { version: '3', name: 'mixed', sql: `alter table notes add a int; ${migration.sql}` };
  expect((await app.as('admin').post('/api/database/migrations', mixed)).status).toBe(400);
  const rehearsal = await app.as('admin').post('/api/database/migrations/dry-run', { sql: failing.sql });
  expect(rehearsal.body).toMatchObject({ valid: true, riskFactors: [expect.stringContaining('not tried')] });
});
