import { pino } from 'pino';
import { expect, inject, onTestFinished, test } from 'vitest';
import { createSchemaCache } from '#features/records/index.ts';
import { createDb } from '#platform/db/db.ts';
import { OPEN, startApi } from './start.ts';

test('a change of the schema is there for the request after it', async () => {
  const { as, ddl } = await startApi();
  expect((await as('admin').get('late')).status).toBe(404);
  await ddl('create table late (id int primary key)');
  expect((await as('admin').get('late')).body).toEqual([]);
  expect((await as('admin').get('late?select=name')).body.code).toBe('42703');
  await ddl('alter table late add column name text');
  expect((await as('admin').get('late?select=name')).body).toEqual([]);
  await ddl('alter table late alter column id type text');
  expect((await as('admin').get('late?id=eq.abc')).body).toEqual([]);
  await ddl('create function fresh() returns int language sql as $$ select 1 $$');
  expect((await as('admin').post('rpc/fresh', {})).body).toBe(1);
  await ddl('drop function fresh(); create function fresh(a text) returns text language sql as $$ select a $$');
  expect((await as('admin').post('rpc/fresh', { a: 'x' })).body).toBe('x');
  await ddl('create table later (id int primary key, late_id text references late)');
  expect((await as('admin').get('later?select=id,late(name)')).body).toEqual([]);
  await ddl('drop table later');
  expect((await as('admin').get('later')).status).toBe(404);
});

test('a change that nobody told of makes an error or a right answer, never a wrong one', async () => {
  const { as, sql } = await startApi(
    `create table t (id int primary key, name text); insert into t values (1, 'a'); ${OPEN}`,
  );
  expect((await as('alice').get('t')).body).toEqual([{ id: 1, name: 'a' }]);
  await sql('alter table t alter column name type varchar(10)');
  expect((await as('alice').get('t')).body).toEqual([{ id: 1, name: 'a' }]);
  await sql('alter table t add column extra int');
  expect((await as('alice').get('t')).body).toEqual([{ id: 1, name: 'a', extra: null }]);
  await sql('alter table t drop column name');
  expect((await as('alice').get('t?select=name')).body.code).toBe('42703');
  await sql('drop table t');
  expect((await as('alice').get('t')).status).toBe(404);
});

test('reloads that come together share a load, and an unchanged schema keeps its plans', async () => {
  const { as, schema, sql } = await startApi(`create table t (id int primary key); ${OPEN}`);
  await as('alice').get('t');
  const before = schema.current;
  await Promise.all([schema.reload(), schema.reload(), schema.reload()]);
  expect(schema.current).toBe(before);
  await as('alice').get('t');
  expect(schema.current.plans.stats).toEqual({ hits: 1, misses: 1, size: 1 });
  const running = schema.reload();
  await sql('create table u (id int)');
  await Promise.all([running, schema.reload()]);
  expect(schema.current.relations.get('public')?.has('u')).toBe(true);
});

test('a reload that fails leaves the old schema in place and says so', async () => {
  const connection = { ...inject('postgres'), database: 'template' };
  const db = createDb({ authenticator: connection, system: connection, onError: () => {} });
  const lines: string[] = [];
  const cache = createSchemaCache({ db, log: pino({}, { write: (line) => lines.push(line) }) });
  await cache.reload();
  const loaded = cache.current;
  await db.close();
  await expect(cache.reload()).rejects.toThrow();
  expect(cache.current).toBe(loaded);
  expect(JSON.parse(lines.at(-1) ?? '{}')).toMatchObject({
    level: 50,
    msg: 'schema.load_failed',
    err: { message: expect.any(String) },
  });
});

test('a reload that nobody waits for is tried until it succeeds', async () => {
  const connection = { ...inject('postgres'), database: 'template' };
  const db = createDb({ authenticator: connection, system: connection, onError: () => {} });
  onTestFinished(() => db.close());
  let failures = 2;
  const tx: typeof db.system.tx = async (work, signal) => {
    if (failures-- > 0) throw new Error('out of luck');
    return db.system.tx(work, signal);
  };
  const lines: string[] = [];
  const log = pino({}, { write: (line) => lines.push(JSON.parse(line).msg) });
  const cache = createSchemaCache({ db: { ...db, system: { ...db.system, tx } }, log, retryMs: 1 });
  cache.follow();
  await expect.poll(() => lines).toEqual(['schema.load_failed', 'schema.load_failed', 'schema.loaded']);
  expect(cache.current.exposed.map(({ name }) => name)).toEqual(['public']);
  failures = 1;
  cache.follow();
  cache.close();
  await expect.poll(() => lines.length).toBe(4);
  await cache.reload();
  expect(lines.at(-1), 'nobody tried after the end').toBe('schema.load_failed');
});

test('a large schema loads while requests are served, and is there as a whole', async () => {
  const { as, schema, sql } = await startApi('create table known (id int primary key)');
  await sql(`do $$ begin
    for n in 1..2000 loop
      execute format('create table t%s (id int primary key, name text not null default %L, at timestamptz default now(), parent int references %s)', n, 'x', case when n = 1 then 't1' else 't' || (n - 1) end);
    end loop;
    for n in 1..5000 loop
      execute format('create function f%s(a int, b text default %L) returns setof t1 stable language sql as %L', n, 'x', 'select * from t1');
    end loop;
  end $$`);
  const before = schema.current;
  const reload = schema.reload();
  expect((await as('admin').get('known')).status).toBe(200);
  expect([before.relations.get('public')?.size, before.routines.get('public')]).toEqual([1, undefined]);
  await reload;
  expect(schema.current.relations.get('public')?.size).toBe(2001);
  expect(schema.current.routines.get('public')?.size).toBe(5000);
  expect((await as('admin').get('t2000?select=id,parent(id,parent(id))')).body).toEqual([]);
  expect((await as('admin').get('rpc/f5000?a=1')).body).toEqual([]);
}, 120_000);
