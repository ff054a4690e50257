import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';

const raw = ({ as }: TestApp, query: string) => as('admin').post('/api/database/advance/rawsql', { query });

const NONE = { access: 'none' };
const ALL = { access: 'all' };
const SOME = { access: 'some' };
const OWN = { access: 'own' };
const same = (cell: object) => ({ select: cell, insert: cell, update: cell, delete: cell });
const UID = '(owner = (select auth.uid()))';

test.each([
  { what: 'a new table', sql: '', anon: same(NONE), authenticated: same(NONE), owner: same(NONE) },
  {
    what: 'a table without row level security',
    sql: 'alter table notes disable row level security',
    anon: same(ALL),
    authenticated: same(ALL),
    owner: same(ALL),
  },
  {
    what: 'own rows',
    sql: `create policy own on notes to authenticated using ${UID} with check ${UID}`,
    anon: same(NONE),
    authenticated: same(NONE),
    owner: same({ access: 'own', condition: '(owner = ( SELECT auth.uid() AS uid))', policies: ['own'] }),
  },
  {
    what: 'rows that all may read and their users change',
    sql: `create policy read on notes for select using (true); create policy own on notes for update to authenticated using ${UID};
      create policy make on notes for insert to authenticated with check ${UID}`,
    anon: { ...same(NONE), select: ALL },
    authenticated: { ...same(NONE), select: ALL },
    owner: { select: ALL, insert: OWN, update: OWN, delete: NONE },
  },
  {
    what: 'published rows, but for one hour',
    sql: `create policy published on notes for select using (public); create policy now on notes as restrictive for select using (title <> 'old')`,
    anon: {
      ...same(NONE),
      select: { access: 'some', condition: "public AND (title <> 'old'::text)", policies: ['published', 'now'] },
    },
    authenticated: { ...same(NONE), select: SOME },
    owner: { ...same(NONE), select: SOME },
  },
  {
    what: 'no grant',
    sql: `create policy all_of_it on notes using (true); revoke insert, update, delete on notes from anon`,
    anon: { ...same({ access: 'none', reason: expect.stringContaining('no grant') }), select: ALL },
    authenticated: same(ALL),
    owner: same(ALL),
  },
])('who can do what: $what', async ({ sql, anon, authenticated, owner }) => {
  const app = await startApp();
  await raw(app, `create table notes (owner uuid, title text, public boolean); ${sql}`);
  const { status, body } = await app.as('admin').get('/api/database/access/notes');
  expect([status, body]).toMatchObject([200, { table: 'notes', anon, authenticated, owner, admin: same(ALL) }]);
});

test('other schemas, and what is not there', async () => {
  const app = await startApp();
  await raw(app, 'create schema shop; create table shop.orders ()');
  expect((await app.as('admin').get('/api/database/access/shop.orders')).body.anon).toMatchObject(same(NONE));
  expect((await app.as('admin').get('/api/database/access/nothing')).status).toBe(404);
});

test('a query as somebody else shows their rows or their refusal, and is undone', async () => {
  const app = await startApp();
  const [alice, bob] = [await app.user('alice'), await app.user('bob')];
  await raw(
    app,
    `create table notes (owner uuid default auth.uid(), title text); create policy own on notes to authenticated using ${UID} with check ${UID};
     insert into notes values ('${alice.sub}', 'of alice'), ('${bob.sub}', 'of bob')`,
  );
  const check = (body: object) => app.as('admin').post('/api/database/access/check', body);
  const all = 'select title from notes';
  expect((await check({ query: all, as: 'anon' })).body).toMatchObject({
    rows: [],
    as: { role: 'anon' },
    dryRun: true,
  });
  expect((await check({ query: all, as: { email: 'Alice@example.com' } })).body).toMatchObject({
    rows: [{ title: 'of alice' }],
    as: { role: 'authenticated', sub: alice.sub },
  });
  expect((await check({ query: all, as: { userId: bob.sub } })).body.rows).toEqual([{ title: 'of bob' }]);
  const insert = 'insert into notes (title) values ($1) returning owner';
  expect((await check({ query: insert, params: ['new'], as: { userId: bob.sub } })).body.rows).toEqual([
    { owner: bob.sub },
  ]);
  expect(await check({ query: insert, params: ['new'], as: 'anon' })).toMatchObject({
    status: 403,
    body: { error: 'FORBIDDEN', sqlstate: '42501', message: expect.stringContaining('row-level security') },
  });
  expect(await app.sql('select count(*)::int as n from notes')).toEqual([{ n: 2 }]);
  expect(await check({ query: all, as: { email: 'nobody@example.com' } })).toMatchObject({ status: 404 });
  for (const query of ['reset role; select * from auth.users', `set role project_admin`, 'commit; drop table notes']) {
    expect((await check({ query, as: 'anon' })).status).toBe(403);
  }
  for (const query of ['drop table notes', 'create extension citext', 'select * from auth.users']) {
    expect((await check({ query, as: { userId: bob.sub } })).status).toBe(403);
  }
});

test('nobody else asks', async () => {
  const app = await startApp();
  await raw(app, 'create table notes ()');
  for (const [who, status] of [
    ['nobody', 401],
    ['anon', 403],
    [await app.user('alice'), 403],
  ] as const) {
    expect((await app.as(who).get('/api/database/access/notes')).status).toBe(status);
    expect((await app.as(who).post('/api/database/access/check', { query: 'select 1', as: 'anon' })).status).toBe(
      status,
    );
  }
});
