import { expect, test } from 'vitest';
import { expectReads } from './scenarios.ts';
import { OPEN, startApi } from './start.ts';

const SHOPS = `
  create table items (id int primary key, name text);
  insert into items values (1, 'public');
  create schema shop;
  create table shop.items (id int primary key, name text, place text);
  create table shop.orders (id int primary key, item int references shop.items);
  insert into shop.items values (1, 'shop', 'left');
  insert into shop.orders values (1, 1);
  create function shop.name() returns text stable language sql as $$ select name from items $$;
  create schema "Odd ""Schema";
  create table "Odd ""Schema"."Täble ""x""" ("col ""1""" int primary key, "sel,ect" text);
  insert into "Odd ""Schema"."Täble ""x""" values (1, 'ö');
  create table "with space" (id int primary key);
  create table "موارد" (id int primary key, "اسم" text);
  insert into "موارد" values (1, 'x');
  create table has_schema (id int primary key, schema text);
  insert into has_schema values (1, 'a');
  grant usage on schema shop, "Odd ""Schema" to anon, authenticated, project_admin;
  grant all on all tables in schema shop, "Odd ""Schema" to anon, authenticated, project_admin;
  ${OPEN}`;

test('the schema is chosen by profile header or parameter', async () => {
  const api = await startApi(SHOPS);
  await expectReads(api, [
    { path: 'items', body: [{ id: 1, name: 'public' }] },
    { path: 'items', headers: { 'accept-profile': 'shop' }, body: [{ id: 1, name: 'shop', place: 'left' }] },
    { path: 'items?schema=shop&select=name', body: [{ name: 'shop' }] },
    { path: 'items?schema=shop&select=name', headers: { 'accept-profile': 'public' }, body: [{ name: 'shop' }] },
    { path: 'orders?schema=shop&select=id,items(name)', body: [{ id: 1, items: { name: 'shop' } }] },
    { path: 'orders', status: 404, body: { code: '42P01', message: 'relation "public.orders" does not exist' } },
    { path: 'rpc/name', headers: { 'accept-profile': 'shop' }, body: 'shop' },
    { path: 'rpc/name?schema=shop', body: 'shop' },
    { path: 'rpc/name', status: 404, body: { code: 'PGRST202' } },
    { path: 'items?schema=', status: 400, body: { error: 'INVALID_INPUT' } },
    { path: 'items?schema=shop&schema=public', status: 400, body: { error: 'INVALID_INPUT' } },
    { path: 'has_schema?schema=eq.a', body: [{ id: 1, schema: 'a' }] },
    {
      path: 'T%C3%A4ble%20%22x%22?select=v:"sel,ect"',
      headers: { 'accept-profile': 'Odd "Schema' },
      body: [{ v: 'ö' }],
    },
    {
      path: 'T%C3%A4ble%20%22x%22?"col \\"1\\""=eq.1&schema=Odd%20%22Schema',
      body: [{ 'col "1"': 1, 'sel,ect': 'ö' }],
    },
    { path: 'with%20space', body: [] },
    { path: '%D9%85%D9%88%D8%A7%D8%B1%D8%AF?select=اسم&id=eq.1', body: [{ اسم: 'x' }] },
  ]);
  const posted = await api
    .as('alice')
    .post(
      'items',
      { id: 2, name: 'new' },
      { 'content-profile': 'shop', 'accept-profile': 'public', prefer: 'return=representation' },
    );
  expect(posted.body).toEqual([{ id: 2, name: 'new', place: null }]);
  expect((await api.as('alice').post('rpc/name', {}, { 'content-profile': 'shop' })).status).toBe(200);
});

test('the answer says which schema it is from, where there are several', async () => {
  const api = await startApi(`
    create schema "схема"; create table "схема"."т" (id int primary key); insert into "схема"."т" values (1);
    create schema shop; create table shop.items (id int primary key);
    create function public."a""b" () returns text stable language sql as $$ select 'hi' $$;
    grant usage on schema "схема", shop to authenticated; grant all on "схема"."т", shop.items to authenticated; ${OPEN}`);
  const utf8 = Buffer.from('схема').toString('latin1');
  await expectReads(api, [
    { path: '%D1%82', headers: { 'accept-profile': utf8 }, body: [{ id: 1 }] },
    { path: '%D1%82?schema=%D1%81%D1%85%D0%B5%D0%BC%D0%B0', body: [{ id: 1 }] },
    { path: 'items', headers: { 'accept-profile': 'shop' }, body: [], has: { 'content-profile': 'shop' } },
    { path: 'rpc/a%22b', body: 'hi', has: { 'content-profile': 'public' } },
    { path: 'rpc/a%22c', status: 400, body: { error: 'DATABASE_VALIDATION_ERROR' } },
  ]);
  const document = await api.as('alice').get('/api/database/records/', { 'accept-profile': 'shop' });
  expect(document.headers['content-profile']).toBe('shop');
  await api.ddl('drop schema "схема" cascade; drop schema shop cascade');
  expect((await api.as('alice').get('rpc/a%22b')).headers['content-profile']).toBeUndefined();
});

const CLOSED = [
  'pg_catalog',
  'pg_temp_1',
  'pg_toast',
  'information_schema',
  'ai',
  'auth',
  'compute',
  'deployments',
  'email',
  'functions',
  'memory',
  'payments',
  'realtime',
  'schedules',
  'storage',
  'system',
  'nowhere',
  'Shop',
  'shop"',
  'shop, public',
];

test('schemas of the system and of the platform are not served, not even to the admin', async () => {
  const { as } = await startApi('create schema shop;');
  for (const who of ['anon', 'alice', 'admin'] as const) {
    for (const name of CLOSED) {
      const reply = await as(who).get('users', { 'accept-profile': name });
      expect.soft([reply.status, reply.body.code], name).toEqual([406, 'PGRST106']);
      const call = await as(who).post('rpc/version', {}, { 'content-profile': name });
      expect.soft([call.status, call.body.code], name).toEqual([406, 'PGRST106']);
    }
  }
  const reply = await as('admin').get('users', { 'accept-profile': 'nowhere' });
  expect(reply.body.message).toBe('The schema must be one of the following: public, shop');
});

test('a schema that belongs to an extension is not served', async () => {
  const { as } = await startApiWithExtension();
  expect((await as('admin').get('t', { 'accept-profile': 'ext' })).body.code).toBe('PGRST106');
});

/** As if an extension had made the schema `ext`: a dependency on plpgsql's own entry stands for it. */
async function startApiWithExtension() {
  const api = await startApi(`create schema ext;
    insert into pg_depend select 'pg_namespace'::regclass, 'ext'::regnamespace::oid, 0, 'pg_extension'::regclass, oid, 0, 'e' from pg_extension limit 1;`);
  return api;
}

test('a schema without grants says so, to whom it does not serve', async () => {
  const { as } = await startApi('create schema closed; create table closed.t (id int);');
  const alice = await as('alice').get('t?schema=closed');
  expect([alice.status, alice.body.code, alice.body.message]).toEqual([
    403,
    '42501',
    'permission denied for schema closed',
  ]);
  expect((await as('anon').get('t?schema=closed')).status).toBe(401);
});
