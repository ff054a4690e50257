import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';

const raw = ({ as }: TestApp, query: string) => as('admin').post('/api/database/advance/rawsql', { query });

const NONE = { access: 'none' };
const ALL = { access: 'all' };
const SOME = { access: 'some' };
const OWN = { access: 'own' };
const same = (cell: object) => ({ select: cell, insert: cell, update: cell, delete: cell });
const UID = '(owner = (select auth.uid()))';

const OWN_CONDITION = '(owner = ( SELECT auth.uid() AS uid))';
const CAN_ALL = { anon: same(ALL), authenticated: same(ALL), owner: same(ALL) };
const CAN_NOTHING = { anon: same(NONE), authenticated: same(NONE), owner: same(NONE) };

test.each([
  { what: 'a new table', sql: '', ...CAN_NOTHING },
  { what: 'a table without row level security', sql: 'alter table notes disable row level security', ...CAN_ALL },
  {
    what: 'own rows',
    sql: `create policy own on notes to authenticated using ${UID} with check ${UID}`,
    anon: same(NONE),
    authenticated: same(NONE),
    owner: same({ access: 'own', condition: OWN_CONDITION, policies: ['own'] }),
  },
  {
    what: 'own rows, said in other words, to everybody',
    sql: `create policy own on notes using ((auth.jwt() ->> 'sub') = owner::text and auth.role() = 'authenticated')`,
    anon: same(NONE),
    authenticated: same(NONE),
    owner: same(OWN),
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
    what: 'whoever is signed in',
    sql: 'create policy members on notes using (auth.uid() is not null)',
    anon: same(NONE),
    authenticated: same({ access: 'all', policies: ['members'] }),
    owner: same(ALL),
  },
  {
    what: 'whoever is signed in, by the role',
    sql: `create policy members on notes using ((select auth.role()) = 'authenticated')`,
    anon: same(NONE),
    authenticated: same(ALL),
    owner: same(ALL),
  },
  {
    what: "what is public, and what is one's own",
    sql: `create policy mixed on notes using (public or owner = (select auth.uid()))`,
    anon: same(SOME),
    authenticated: same(SOME),
    owner: same(SOME),
  },
  {
    what: "what is not one's own",
    sql: `create policy theirs on notes using (not (owner = auth.uid()))`,
    anon: same(NONE),
    authenticated: same({ access: 'all' }),
    owner: same(NONE),
  },
  {
    what: 'members of a team',
    sql: `create table members (team int, who uuid); create policy team on notes using (exists (select from members m where m.who = auth.uid()))`,
    anon: same(NONE),
    authenticated: same(SOME),
    owner: same(SOME),
  },
  {
    what: 'published rows, but for one title',
    sql: `create policy published on notes for select using (public); create policy now on notes as restrictive for select using (title <> 'old')`,
    anon: {
      ...same(NONE),
      select: { access: 'some', condition: "public AND (title <> 'old'::text)", policies: ['published', 'now'] },
    },
    authenticated: { ...same(NONE), select: SOME },
    owner: { ...same(NONE), select: SOME },
  },
  {
    what: 'everything, but only for users, by a restrictive policy',
    sql: `create policy everything on notes using (true); create policy users on notes as restrictive using (auth.uid() is not null)`,
    anon: same(NONE),
    authenticated: same(ALL),
    owner: same(ALL),
  },
  {
    what: 'a restrictive policy alone',
    sql: 'create policy narrow on notes as restrictive using (true)',
    ...CAN_NOTHING,
  },
  {
    what: 'a policy for somebody else',
    sql: 'create policy admins on notes to project_admin using (true)',
    ...CAN_NOTHING,
  },
  {
    what: 'no grant',
    sql: `create policy all_of_it on notes using (true); revoke insert, update, delete on notes from anon`,
    anon: { ...same({ access: 'none', reason: expect.stringContaining('no grant') }), select: ALL },
    authenticated: same(ALL),
    owner: same(ALL),
  },
  {
    what: 'rows that one may give away but not take',
    sql: `create policy read on notes for select using (true);
      create policy give on notes for update to authenticated using ${UID} with check (true)`,
    anon: { ...same(NONE), select: ALL },
    authenticated: { ...same(NONE), select: ALL },
    owner: { select: ALL, insert: NONE, update: { access: 'own', check: 'true' }, delete: NONE },
  },
  {
    what: 'rows that one does not see',
    sql: `create policy write on notes for insert with check (true); create policy blind on notes for delete using (true)`,
    anon: {
      ...same(NONE),
      insert: ALL,
      delete: { access: 'all', reason: expect.stringContaining('without a condition') },
    },
    authenticated: { ...same(NONE), insert: ALL, delete: ALL },
    owner: { ...same(NONE), insert: ALL, delete: ALL },
    blind: true,
  },
] as {
  what: string;
  sql: string;
  anon: Record<string, object>;
  authenticated: Record<string, object>;
  owner: Record<string, object>;
  blind?: boolean;
}[])('who can do what: $what', async ({ sql, anon, authenticated, owner, blind }) => {
  const app = await startApp();
  await raw(app, `create table notes (owner uuid, title text, public boolean); ${sql}`);
  const { status, body } = await app.as('admin').get('/api/database/access/notes');
  expect([status, body]).toMatchObject([200, { table: 'notes', anon, authenticated, owner, admin: same(ALL) }]);

  // And so it is.
  const [alice, bob] = [await app.user('alice'), await app.user('bob')];
  await app.sql(`insert into notes select id, email, false from auth.users`);
  for (const [caller, as, rows] of [
    ['anon', 'anon', bob],
    ['authenticated', { userId: alice.sub }, bob],
    ['owner', { userId: alice.sub }, alice],
  ] as const) {
    const where = `where owner = '${rows.sub}' returning 1`;
    const tries = {
      select: `select from notes where owner = '${rows.sub}'`,
      insert: `insert into notes values ('${rows.sub}', 'new', false)`,
      update: `update notes set title = 'changed' ${where}`,
      delete: `delete from notes ${blind ? '' : where}`,
    };
    for (const [command, query] of Object.entries(tries)) {
      const reply = await app.as('admin').post('/api/database/access/check', { query, as });
      const { access } = body[caller][command];
      if (access !== 'some') {
        const works = reply.status === 200 && reply.body.rowCount > 0;
        expect([caller, command, access, works]).toEqual([caller, command, access, access !== 'none']);
      }
    }
  }
});

test('grants of single columns', async () => {
  const app = await startApp();
  await raw(
    app,
    `create table notes (id int, title text, secret text); create policy all_of_it on notes using (true);
     revoke all on notes from anon; grant select (id, title), update (title) on notes to anon`,
  );
  expect((await app.as('admin').get('/api/database/access/notes')).body.anon).toMatchObject({
    select: { access: 'all', columns: ['id', 'title'] },
    update: { access: 'all', columns: ['title'] },
    insert: NONE,
    delete: NONE,
  });
});

test('the owner of a table, with row level security forced on it or not', async () => {
  const app = await startApp();
  await raw(app, 'create table notes ()');
  await app.sql('alter table notes owner to authenticated');
  const access = async () => (await app.as('admin').get('/api/database/access/notes')).body.authenticated;
  expect(await access()).toMatchObject(same(ALL));
  await app.sql('alter table notes force row level security');
  expect(await access()).toMatchObject(same(NONE));
});

test('views', async () => {
  const app = await startApp();
  await raw(
    app,
    `create table notes (owner uuid, title text); create policy own on notes to authenticated using ${UID};
     create view open as select * from notes; create view counted as select count(*) from notes;
     create view closed with (security_invoker) as select * from notes;
     create view nested with (security_invoker = true) as select title from closed;
     create materialized view kept as select * from notes; revoke all on kept from authenticated`,
  );
  const access = async (name: string) => (await app.as('admin').get(`/api/database/access/${name}`)).body;
  expect(await access('open')).toMatchObject({
    kind: 'view',
    anon: same({ access: 'all', reason: expect.stringContaining('rights of its owner project_admin') }),
  });
  expect((await access('counted')).anon).toMatchObject({ ...same(NONE), select: ALL });
  for (const name of ['closed', 'nested']) {
    expect(await access(name)).toMatchObject({
      anon: same(NONE),
      authenticated: same(NONE),
      owner: same({ access: 'own', condition: OWN_CONDITION }),
      admin: same(ALL),
    });
  }
  expect(await access('kept')).toMatchObject({
    kind: 'materialized view',
    anon: { ...same(NONE), select: ALL },
    owner: same(NONE),
  });
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
  for (const query of [
    'reset role; select * from auth.users',
    'set role project_admin',
    'commit; drop table notes',
    `select set_config('role', 'project_admin', true)`,
    `do $$ begin execute 'set local role project_admin'; end $$; select * from auth.users`,
    `do $$ begin execute 'reset role'; end $$; select * from notes`,
    `set request.jwt.claims to '{"sub": "${bob.sub}", "role": "anon"}'; select * from notes`,
    `do $$ begin perform pg_catalog.set_config('request.jwt.claims', '{"sub": "${bob.sub}"}', true); end $$; select title from notes`,
  ]) {
    expect([query, (await check({ query, as: 'anon' })).status]).toEqual([query, 403]);
  }
  const commit = 'do $$ begin insert into notes (title) values (1); commit; end $$';
  expect(await check({ query: commit, as: { userId: bob.sub } })).toMatchObject({
    status: 400,
    body: { sqlstate: '2D000' },
  });
  expect(await app.sql('select count(*)::int as n from notes')).toEqual([{ n: 2 }]);
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
