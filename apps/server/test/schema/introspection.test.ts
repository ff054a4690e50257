import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';

const PATH = '/api/database/catalog';

const SCHEMA = `
  create type mood as enum ('sad', 'ok');
  create table authors (id uuid primary key default gen_random_uuid(), name varchar(40) not null unique, mood mood default 'ok');
  comment on table authors is 'Who writes'; comment on column authors.mood is 'today';
  create table posts (
    id bigint generated always as identity primary key,
    author uuid not null references authors on delete cascade,
    title text not null check (title <> ''), tags text[] not null default '{}',
    slug text generated always as (lower(title)) stored, at timestamptz default now());
  create index by_author on posts (author);
  create policy read on posts for select to anon, authenticated using (title <> 'x');
  create policy narrow on posts as restrictive for insert to authenticated with check (true);
  create trigger touch before update on posts for each row execute function system.update_updated_at();
  create view titles with (security_invoker = true) as select title from posts;
  create materialized view counts as select count(*) as n from authors;
  create function shout(t text, times int default 1) returns text language sql immutable as $$ select upper(t) $$;
  create function secret() returns int language sql security definer set search_path = '' as $$ select 1 $$;
  revoke execute on function secret from public;
  create extension citext;
  create schema shop; create table shop.orders (id int); insert into shop.orders values (1), (2);`;

async function startFilled(): Promise<TestApp> {
  const app = await startApp();
  const made = await app.as('admin').post('/api/database/advance/rawsql', { query: SCHEMA });
  expect([made.status, made.text]).toEqual([200, made.text]);
  return app;
}

test('the database on a page', async () => {
  const { as } = await startFilled();
  const reply = await as('admin').get(`${PATH}?format=markdown`);
  expect(reply.headers['content-type']).toMatch(/^text\/markdown/);
  const lines = reply.text.split('\n');
  expect(lines[0]).toMatch(/^# Database: 3 tables, [\d.]+ MB$/);
  expect(lines).toEqual(
    expect.arrayContaining([
      expect.stringMatching(/^- authors: 0 rows, [\d.]+ kB, RLS on \(0\) \| id uuid, name varchar\(40\), mood mood\?$/),
      expect.stringMatching(
        /^- posts: 0 rows, .* RLS on \(2\) \| id bigint, author uuid, title text, tags text\[\], slug text\?, at timestamptz\?$/,
      ),
      expect.stringMatching(/^- shop\.orders: 2 rows, .* RLS OFF \| id int\?$/),
      '- titles: title',
      '- counts: n',
      '- secret() → integer, security definer, not for anon',
      '- shout(t text, times integer DEFAULT 1) → text',
      '- mood: sad, ok',
      expect.stringMatching(/^- citext \d/),
    ]),
  );
  // Members of extensions are theirs.
  expect(reply.text).not.toContain('citext_eq');
});

test('one table on a page', async () => {
  const { as } = await startFilled();
  const { text } = await as('admin').get(`${PATH}?format=markdown&tables=posts`);
  const lines = text.split('\n');
  expect(lines[0]).toMatch(/^# posts \(table\): 0 rows, .*, RLS on \(2\)$/);
  expect(lines.slice(1)).toEqual([
    '## Columns',
    '- id bigint not null generated always',
    '- author uuid not null',
    '- title text not null',
    "- tags text[] not null default '{}'::text[]",
    '- slug text generated stored',
    '- at timestamptz default now()',
    '## Constraints',
    '- posts_pkey: PRIMARY KEY (id)',
    '- posts_author_fkey: FOREIGN KEY (author) REFERENCES authors(id) ON DELETE CASCADE',
    "- posts_title_check: CHECK ((title <> ''::text))",
    '## Indexes',
    '- CREATE INDEX by_author ON public.posts USING btree (author)',
    '## Policies',
    '- narrow: restrictive, INSERT to authenticated with check true',
    "- read: SELECT to anon, authenticated using (title <> 'x'::text)",
    '## Triggers',
    '- CREATE TRIGGER touch BEFORE UPDATE ON public.posts FOR EACH ROW EXECUTE FUNCTION system.update_updated_at()',
  ]);
});

test('the same for programs, in short and in full', async () => {
  const { as } = await startFilled();
  const short = (await as('admin').get(PATH)).body;
  expect(short.relations).toMatchObject([
    {
      schema: 'public',
      name: 'authors',
      kind: 'table',
      rows: 0,
      rlsEnabled: true,
      policies: 0,
      columns: ['id', 'name', 'mood'],
    },
    { name: 'counts', kind: 'materialized view' },
    { name: 'posts', policies: 2 },
    { name: 'titles', kind: 'view' },
    { schema: 'shop', name: 'orders', rows: 2 },
  ]);
  expect(short).toMatchObject({
    functions: [
      { name: 'secret', securityDefiner: true, public: false },
      {
        name: 'shout',
        arguments: 't text, times integer DEFAULT 1',
        returns: 'text',
        volatility: 'immutable',
        public: true,
      },
    ],
    enums: [{ schema: 'public', name: 'mood', values: ['sad', 'ok'] }],
    extensions: [{ name: 'citext', schema: 'public' }],
    databaseBytes: expect.any(Number),
  });
  const full = (await as('admin').get(`${PATH}?detail=full`)).body;
  expect(full.relations[0]).toMatchObject({
    name: 'authors',
    comment: 'Who writes',
    columns: [{ name: 'id', default: 'gen_random_uuid()' }, { nullable: false }, { comment: 'today', type: 'mood' }],
    constraints: [{ kind: 'primary key' }, { kind: 'unique' }],
    referencedBy: ['posts: FOREIGN KEY (author) REFERENCES authors(id) ON DELETE CASCADE'],
    indexes: [{ name: 'authors_name_key', valid: true }, { name: 'authors_pkey' }],
  });
  expect(full.relations[3]).toMatchObject({ name: 'titles', definition: expect.stringContaining('SELECT title') });
});

test('some of it: a schema, or tables by name', async () => {
  const { as } = await startFilled();
  const names = async (query: string) =>
    (await as('admin').get(`${PATH}?${query}`)).body.relations?.map(({ name }: { name: string }) => name);
  expect(await names('schema=shop')).toEqual(['orders']);
  expect(await names('tables=shop.orders,posts')).toEqual(['posts', 'orders']);
  expect(await names('tables=orders&schema=shop')).toEqual(['orders']);
  expect(await as('admin').get(`${PATH}?tables=nothing`)).toMatchObject({
    status: 404,
    body: { error: 'DATABASE_NOT_FOUND', message: 'There is no table nothing' },
  });
  expect((await as('admin').get(`${PATH}?tables=${encodeURIComponent(`x') or true --`)}`)).status).toBe(404);
});

test('500 tables fit into the answer of a tool, and are read at once', async () => {
  const app = await startApp();
  await app.sql(`do $$ begin for n in 1..500 loop
    execute format('create table table_%s (id bigint primary key, name text not null, created_at timestamptz default now(),
      owner uuid references auth.users (id), amount numeric(10, 2) check (amount > 0))', n);
    execute format('create policy own on table_%s using (owner = (select auth.uid()))', n); end loop; end $$`);
  const { text } = await app.as('admin').get(`${PATH}?format=markdown`);
  // Three characters to a token is what identifiers cost at most.
  expect(text.length / 3).toBeLessThan(25_000);
  expect(text.match(/^- table_\d+: /gm)).toHaveLength(500);
  expect(text).toContain('?tables=');
  const times: number[] = [];
  for (let round = 0; round < 3; round++) {
    const started = performance.now();
    const { body } = await app.as('admin').get(`${PATH}?detail=full`);
    times.push(performance.now() - started);
    expect(body.relations).toHaveLength(500);
  }
  if (process.env.TIMES) console.log(times);
  expect(Math.min(...times)).toBeLessThan(3_000);
});

test('nobody else reads it', async () => {
  const app = await startFilled();
  for (const [who, status] of [
    ['nobody', 401],
    ['anon', 403],
    [await app.user('alice'), 403],
  ] as const) {
    expect((await app.as(who).get(PATH)).status).toBe(status);
  }
});
