import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

const SCHEMA = `
  create table notes (id int primary key, title text);
  create index by_title on notes (title) where title <> '';
  create policy own on notes for update to authenticated, anon using (id > 0) with check (id > 1);
  create function double(n int) returns int language sql as 'select n * 2';
  create function keep() returns trigger language plpgsql as 'begin return new; end';
  create procedure proceed() language sql as '';
  create aggregate total(int) (sfunc = int4pl, stype = int);
  create trigger keep_title before insert or update on notes for each row when (new.title is not null) execute function keep('a b');
  create extension citext;
  create schema shop;
  create table shop.orders (id int primary key);`;

async function startCatalog() {
  const app = await startApp();
  const made = await app.as('admin').post('/api/database/advance/rawsql', { query: SCHEMA });
  expect([made.status, made.text]).toEqual([200, made.text]);
  return app.as('admin');
}

test('what is in public is listed', async () => {
  const admin = await startCatalog();
  const { functions } = (await admin.get('/api/database/functions')).body;
  expect(functions).toMatchObject([
    { functionName: 'double', kind: 'f', functionDef: expect.stringContaining('select n * 2') },
    { functionName: 'keep', kind: 'f' },
    { functionName: 'proceed', kind: 'p' },
    { functionName: 'total', kind: 'a' },
  ]);
  expect((await admin.get('/api/database/indexes')).body).toEqual({
    indexes: [
      {
        tableName: 'notes',
        indexName: 'by_title',
        indexDef: `CREATE INDEX by_title ON public.notes USING btree (title) WHERE (title <> ''::text)`,
        isUnique: false,
        isPrimary: false,
      },
      {
        tableName: 'notes',
        indexName: 'notes_pkey',
        indexDef: 'CREATE UNIQUE INDEX notes_pkey ON public.notes USING btree (id)',
        isUnique: true,
        isPrimary: true,
      },
    ],
  });
  expect((await admin.get('/api/database/policies')).body).toEqual({
    policies: [
      {
        tableName: 'notes',
        policyName: 'own',
        cmd: 'UPDATE',
        roles: ['anon', 'authenticated'],
        qual: '(id > 0)',
        withCheck: '(id > 1)',
      },
    ],
  });
  const trigger = {
    tableName: 'notes',
    triggerName: 'keep_title',
    actionTiming: 'BEFORE',
    actionOrientation: 'ROW',
    actionCondition: '(new.title IS NOT NULL)',
    actionStatement: `EXECUTE FUNCTION keep('a b')`,
  };
  expect((await admin.get('/api/database/triggers')).body).toEqual({
    triggers: [
      { ...trigger, eventManipulation: 'INSERT' },
      { ...trigger, eventManipulation: 'UPDATE' },
    ],
  });
});

test('another schema is listed on request, and all of them by name', async () => {
  const admin = await startCatalog();
  expect((await admin.get('/api/database/indexes?schema=shop')).body.indexes).toMatchObject([{ tableName: 'orders' }]);
  expect((await admin.get(`/api/database/indexes?schema=${encodeURIComponent(`a' or true --`)}`)).body.indexes).toEqual(
    [],
  );
  const { schemas } = (await admin.get('/api/database/schemas')).body;
  expect(schemas.slice(0, 2)).toMatchObject([
    { name: 'public', isProtected: false, tableCount: 1 },
    { name: 'shop', isProtected: false, tableCount: 1, owner: 'project_admin' },
  ]);
  expect(schemas).toContainEqual(expect.objectContaining({ name: 'auth', isProtected: true }));
  expect(schemas.map(({ name }: { name: string }) => name)).not.toContain('pg_catalog');
});

test('the schemas of the platform are the same in the database and in the program', async () => {
  const { MANAGED_SCHEMAS } = await import('@insforge/contract/schema.ts');
  const { sql } = await startApp();
  expect(
    await sql(`select name from unnest($1::text[]) as name where system.is_exposed_schema(name)`, [
      [...MANAGED_SCHEMAS],
    ]),
  ).toEqual([]);
  expect(
    await sql(`select name from unnest($1::text[]) as name where not system.is_exposed_schema(name)`, [
      ['public', 'shop', 'pgx', 'Auth'],
    ]),
  ).toEqual([]);
  expect(
    await sql(
      `select nspname from pg_namespace where nspowner <> 'pg_database_owner'::regrole and system.is_exposed_schema(nspname)`,
    ),
  ).toEqual([]);
});
