/** What the records benches send, and the SQL that a developer would write by hand for the same answer. */
import type { BareStatement } from './ceiling.ts';

export const ROWS = 10_000;
const USERS_POSTS = 2_000;

export const SCHEMA = `
  create table items (
    id int primary key, owner uuid not null, title text not null, price numeric(10,2) not null,
    tags text[] not null, created_at timestamptz not null default now()
  );
  create table events (
    id bigint generated always as identity primary key, owner uuid not null, title text not null
  );
  create table counters (key int primary key, owner uuid not null, value int not null);
  create table authors (id int primary key, name text not null);
  create table posts (
    id int primary key, owner uuid not null, author_id int not null references authors, title text not null
  );
  create table comments (
    id int primary key, post_id int not null references posts, author_id int not null references authors,
    body text not null
  );
  create index on comments (post_id);
  create policy own_items on items to authenticated using (owner = (select auth.uid()));
  create policy own_events on events to authenticated
    using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
  create policy own_counters on counters to authenticated
    using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
  create policy own_posts on posts to authenticated using (owner = (select auth.uid()));
  create policy all_authors on authors for select to authenticated using (true);
  create policy all_comments on comments for select to authenticated using (true);
  create function price_of(item int) returns numeric language sql stable as
    'select price from items where id = item';`;

/** Fills the tables for the user $1. */
export const ROWS_OF_USER = [
  `insert into items select n, $1, 'item ' || n, n / 7.0, array['a', 'b'], now() - n * interval '1 minute'
   from generate_series(1, ${ROWS}) n`,
  `insert into authors select n, 'author ' || n from generate_series(1, 100) n where $1::text is not null`,
  `insert into posts select n, $1, n % 100 + 1, 'post ' || n from generate_series(1, ${USERS_POSTS}) n`,
  `insert into comments select n, n % ${USERS_POSTS} + 1, n % 100 + 1, 'comment ' || n
   from generate_series(1, ${USERS_POSTS * 3}) n where $1::text is not null`,
];

/** A request of ours, and how the bare twin answers the same. */
export interface Scenario {
  name: string;
  figure: string;
  method: 'GET' | 'POST';
  path: string;
  headers?: Record<string, string>;
  /** Several take turns. */
  bodies?: string[];
  /** Run before each load. */
  before?: string;
  byHand: BareStatement & { atLeast: number };
  /** Compare as well with a twin that runs the very SQL text that we ran. */
  sameText?: { parameter?: 'id' | 'body'; atLeast: number };
}

/** Stands for the id of the user who is signed in. */
export const USER = '00000000-0000-0000-0000-000000000000';
const rows = (select: string) => `select coalesce(json_agg(r), '[]') from (${select}) r`;

export const SCENARIOS: Scenario[] = [
  {
    name: 'key',
    figure: 'one row by primary key',
    method: 'GET',
    path: '/api/database/records/items?id=eq.4711',
    byHand: { text: rows('select * from items where id = $1'), parameter: 'id', atLeast: 0.75 },
    sameText: { parameter: 'id', atLeast: 0.75 },
  },
  {
    name: 'list',
    figure: 'list of 100',
    method: 'GET',
    path: '/api/database/records/items?order=id&limit=100',
    byHand: { text: rows('select * from items order by id limit 100'), atLeast: 0.75 },
    sameText: { atLeast: 0.8 },
  },
  {
    name: 'long-list',
    figure: 'list of 10,000',
    method: 'GET',
    path: '/api/database/records/items?order=id',
    byHand: { text: rows('select * from items order by id'), atLeast: 0.75 },
  },
  {
    name: 'page',
    figure: 'filtered, ordered page with exact count',
    method: 'GET',
    path: '/api/database/records/items?price=gte.500&tags=cs.{a}&order=created_at.desc,id.desc&limit=20&offset=40',
    headers: { prefer: 'count=exact' },
    byHand: {
      text: `select coalesce(json_agg(r), '[]'), (select count(*) from items where price >= 500 and tags @> '{a}') from (
        select * from items where price >= 500 and tags @> '{a}' order by created_at desc, id desc limit 20 offset 40) r`,
      isCounted: true,
      atLeast: 0.75,
    },
  },
  {
    name: 'embed',
    figure: 'two-level embed: posts, authors, comments',
    method: 'GET',
    path: '/api/database/records/posts?select=id,title,author:authors(id,name),comments(id,body,author:authors(id,name))&order=id&limit=20',
    byHand: {
      text: rows(`
        select p.id, p.title,
          (select row_to_json(a) from (select id, name from authors where id = p.author_id) a) as author,
          (select coalesce(json_agg(c), '[]') from (
            select c.id, c.body,
              (select row_to_json(a) from (select id, name from authors where id = c.author_id) a) as author
            from comments c where c.post_id = p.id) c) as comments
        from posts p order by p.id limit 20`),
      atLeast: 0.8,
    },
  },
  {
    name: 'insert',
    figure: 'insert of one row',
    method: 'POST',
    path: '/api/database/records/events',
    bodies: [`{"owner":"${USER}","title":"something happened"}`],
    before: 'truncate events',
    byHand: {
      text: 'insert into events (owner, title) select * from json_to_record($1) as r (owner uuid, title text)',
      parameter: 'body',
      atLeast: 0.75,
    },
    sameText: { parameter: 'body', atLeast: 0.7 },
  },
  {
    name: 'bulk',
    figure: 'bulk insert of 1,000 rows',
    method: 'POST',
    path: '/api/database/records/events',
    bodies: [
      JSON.stringify(
        Array.from({ length: 1_000 }, (_, index) => ({ owner: USER, title: `something happened ${index}` })),
      ),
    ],
    before: 'truncate events',
    byHand: {
      text: 'insert into events (owner, title) select * from json_to_recordset($1) as r (owner uuid, title text)',
      parameter: 'body',
      atLeast: 0.8,
    },
  },
  {
    name: 'upsert',
    figure: 'upsert of one row',
    method: 'POST',
    path: '/api/database/records/counters?on_conflict=key',
    headers: { prefer: 'resolution=merge-duplicates' },
    bodies: Array.from({ length: 1_000 }, (_, index) => `{"key":${index},"owner":"${USER}","value":${index}}`),
    before: 'vacuum counters',
    byHand: {
      text: `insert into counters select * from json_to_record($1) as r (key int, owner uuid, value int)
        on conflict (key) do update set key = excluded.key, owner = excluded.owner, value = excluded.value`,
      parameter: 'body',
      atLeast: 0.75,
    },
  },
  {
    name: 'rpc',
    figure: 'call of a function',
    method: 'POST',
    path: '/api/database/rpc/price_of',
    bodies: ['{"item":4711}'],
    byHand: {
      text: `select to_json(price_of(item)) from json_to_record($1) as r (item int)`,
      parameter: 'body',
      atLeast: 0.75,
    },
  },
];
