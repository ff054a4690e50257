import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';

/** Every surface that can make a table. */
const SURFACES: { name: string; make: (app: TestApp) => Promise<unknown> }[] = [
  {
    name: 'the tables API',
    make: ({ as }) =>
      as('admin').post('/api/database/tables', { tableName: 'made', columns: [{ columnName: 'a', type: 'string' }] }),
  },
  ...[
    'create table made (a text)',
    `create table made as select 'x' as a`,
    `select 'x' as a into made`,
    'create table made (a text) partition by list (a); create table part partition of made default',
    `do $$ begin execute 'create table made (a text)'; end $$`,
    `create function make() returns void language sql as 'create table made (a text)'; select make()`,
  ].flatMap((query) => [
    {
      name: `raw SQL: ${query}`,
      make: ({ as }: TestApp) => as('admin').post('/api/database/advance/rawsql', { query }),
    },
    {
      name: `unrestricted SQL: ${query}`,
      make: ({ as }: TestApp) => as('admin').post('/api/database/advance/rawsql/unrestricted', { query }),
    },
    {
      name: `a migration: ${query}`,
      make: ({ as }: TestApp) =>
        as('admin').post('/api/database/migrations', { version: '1', name: 'make', sql: query }),
    },
  ]),
];

async function expectClosed(app: TestApp) {
  const [made] = await app.sql<{ rls: boolean; owner: string }>(
    `select relrowsecurity as rls, relowner::regrole::text as owner from pg_class where relname = 'made'`,
  );
  expect(made).toEqual({ rls: true, owner: 'project_admin' });
  for (const who of ['anon', await app.user('alice')] as const) {
    const read = await app.as(who).get('/api/database/records/made');
    expect(read).toMatchObject({ status: 200, body: [] });
    const written = await app.as(who).post('/api/database/records/made', { a: 'mine' });
    expect(written).toMatchObject({ status: who === 'anon' ? 401 : 403, body: { code: '42501' } });
  }
}

test.each(SURFACES)('a table made by $name is closed', async ({ make }) => {
  const app = await startApp();
  expect(await make(app)).toMatchObject({ status: expect.toBeOneOf([200, 201]) });
  await app.sql(`insert into made values (default)`).catch(() => {});
  await expectClosed(app);
});

test.each(SURFACES)('a table made by $name is closed where there are no event triggers', async ({ make }) => {
  const app = await startApp();
  await app.sql('drop event trigger insforge_on_ddl_end; drop event trigger insforge_on_drop');
  expect(await make(app)).toMatchObject({ status: expect.toBeOneOf([200, 201]) });
  await expectClosed(app);
});

test.each(['with', 'without'])('the admin can switch that off, %s event triggers', async (how) => {
  const app = await startApp();
  if (how === 'without') await app.sql('drop event trigger insforge_on_ddl_end');
  const admin = app.as('admin');
  expect((await admin.patch('/api/database/config', { autoEnableRls: false })).body).toEqual({ autoEnableRls: false });
  expect((await admin.get('/api/database/config')).body).toEqual({ autoEnableRls: false });
  const made = await admin.post('/api/database/advance/rawsql', { query: 'create table made (a text)' });
  expect(made.body.warnings).toMatchObject([
    { rule: 'rls-disabled', severity: 'critical', fix: 'ALTER TABLE public.made ENABLE ROW LEVEL SECURITY;' },
  ]);
  expect(await app.sql(`select relrowsecurity from pg_class where relname = 'made'`)).toEqual([
    { relrowsecurity: false },
  ]);
  // The tables API says in each request what is wanted.
  await admin.post('/api/database/tables', { tableName: 'asked', columns: [{ columnName: 'a', type: 'string' }] });
  expect(await app.sql(`select relrowsecurity from pg_class where relname = 'asked'`)).toEqual([
    { relrowsecurity: true },
  ]);
  expect(await app.sql(`select action, details from system.audit_logs where action like '%CONFIG'`)).toEqual([
    { action: 'UPDATE_DATABASE_CONFIG', details: { updatedFields: ['autoEnableRls'] } },
  ]);
});

test('tables of the developer’s other schemas stay as they were made', async () => {
  const app = await startApp();
  await app.as('admin').post('/api/database/advance/rawsql', {
    query: 'create schema shop; create table shop.orders (id int); create table public.later (id int)',
  });
  expect(
    await app.sql(`select relname, relrowsecurity from pg_class where relname in ('orders', 'later') order by 1`),
  ).toEqual([
    { relname: 'later', relrowsecurity: true },
    { relname: 'orders', relrowsecurity: false },
  ]);
});
