import { expect, test } from 'vitest';
import { startApi } from './start.ts';

const SHOP = `
  comment on schema public is 'A shop';
  create table customers (id int primary key, name varchar(20) not null, joined timestamptz default now());
  comment on table customers is E'People who buy\\nand pay';
  comment on column customers.name is 'How they are called';
  create table orders (id int primary key, customer int references customers, items text[], data jsonb);
  create type size as enum ('small', 'large');
  create domain price as numeric(10, 2) default 9.5;
  create table offers (id bigint generated always as identity primary key, size size default 'small', price price,
    note text default 'it''s new', is_open boolean default true, amount int default -3, extras jsonb[], meta jsonb default '{}');
  create table hidden (id int primary key);
  revoke all on hidden from anon, authenticated;
  create table partial (id int primary key, secret text);
  revoke all on partial from anon, authenticated;
  grant select (id) on partial to authenticated;
  create view totals as select count(*) as n from orders;
  create view names as select id, name from customers;
  create function stable_one(a int, b text default 'x') returns int stable language sql as $$ select 1 $$;
  create function volatile_one() returns int language sql as $$ select 1 $$;
  create function not_yours() returns int language sql as $$ select 1 $$;
  revoke execute on function not_yours() from public, anon, authenticated;
  create schema shop;
  create table shop.things (id int);
`;

test('the document at the root shows what the caller may use', async () => {
  const { as } = await startApi(SHOP);
  const { status, headers, body } = await as('alice').get('/api/database/records/');
  expect([status, headers['content-type']]).toEqual([200, 'application/openapi+json; charset=utf-8']);
  expect(body).toMatchObject({ swagger: '2.0', info: { description: 'A shop' }, basePath: '/api/database' });
  expect(Object.keys(body.paths).sort()).toEqual([
    '/records/customers',
    '/records/names',
    '/records/offers',
    '/records/orders',
    '/records/partial',
    '/records/totals',
    '/rpc/stable_one',
    '/rpc/volatile_one',
  ]);
  expect(Object.keys(body.paths['/records/customers'])).toEqual(['get', 'post', 'patch', 'delete']);
  expect(Object.keys(body.paths['/records/totals'])).toEqual(['get']);
  expect(Object.keys(body.paths['/records/names'])).toEqual(['get', 'post', 'patch', 'delete']);
  expect(Object.keys(body.paths['/records/partial'])).toEqual(['get']);
  expect(Object.keys(body.paths['/rpc/stable_one'])).toEqual(['get', 'post']);
  expect(Object.keys(body.paths['/rpc/volatile_one'])).toEqual(['post']);
  expect(body.paths['/records/customers'].get).toMatchObject({ summary: 'People who buy', description: 'and pay' });
  expect(body.definitions.partial.properties).toEqual({
    id: { type: 'integer', format: 'integer', description: 'Note:\nThis is a Primary Key.<pk/>' },
  });
  expect(body.definitions.customers).toMatchObject({
    required: ['id', 'name'],
    properties: {
      name: { type: 'string', format: 'character varying', maxLength: 20, description: 'How they are called' },
      joined: { type: 'string', default: 'now()' },
    },
  });
  expect(body.definitions.orders.properties).toMatchObject({
    customer: { description: "Note:\nThis is a Foreign Key to `customers.id`.<fk table='customers' column='id'/>" },
    items: { type: 'array', items: { type: 'string' } },
    data: { format: 'jsonb' },
  });
  expect(body.definitions.offers.properties).toEqual({
    id: { type: 'integer', format: 'bigint', description: 'Note:\nThis is a Primary Key.<pk/>' },
    size: { type: 'string', format: 'public.size', enum: ['small', 'large'], default: 'small' },
    price: { type: 'number', format: 'numeric', default: 9.5 },
    note: { type: 'string', format: 'text', default: "it's new" },
    is_open: { type: 'boolean', format: 'boolean', default: true },
    amount: { type: 'integer', format: 'integer', default: -3 },
    extras: { type: 'array', format: 'jsonb[]', items: {} },
    meta: { format: 'jsonb' },
  });
});

test('others see more or nothing', async () => {
  const { as } = await startApi(SHOP);
  const paths = async (who: 'anon' | 'admin', headers = {}) =>
    Object.keys((await as(who).get('/api/database/records', headers)).body.paths);
  expect(await paths('admin')).toContain('/records/hidden');
  expect(await paths('admin')).toContain('/rpc/not_yours');
  expect(await paths('anon')).not.toContain('/records/partial');
  expect(await paths('anon', { 'accept-profile': 'shop' })).toEqual([]);
  expect((await as('nobody').get('/api/database/records/')).status).toBe(401);
  expect((await as('alice').get('/api/database/records/', { accept: 'text/csv' })).body.code).toBe('PGRST107');
  expect((await as('alice').get('/api/database/records/', { 'accept-profile': 'auth' })).body.code).toBe('PGRST106');
  expect((await as('alice').head('/api/database/records/')).status).toBe(200);
});

test('OPTIONS tells the methods', async () => {
  const { as } = await startApi(
    `${SHOP} create table keyless (a int); create materialized view frozen as select 1 as a;`,
  );
  const allow = async (path: string) => (await as('alice').options(path)).headers.allow;
  expect(await allow('customers')).toBe('OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE');
  expect(await allow('keyless')).toBe('OPTIONS,GET,HEAD,POST,PATCH,DELETE');
  expect(await allow('names')).toBe('OPTIONS,GET,HEAD,POST,PUT,PATCH,DELETE');
  expect(await allow('totals')).toBe('OPTIONS,GET,HEAD');
  expect(await allow('frozen')).toBe('OPTIONS,GET,HEAD');
  expect(await allow('rpc/stable_one')).toBe('OPTIONS,GET,HEAD,POST');
  expect(await allow('rpc/volatile_one')).toBe('OPTIONS,POST');
  expect(await allow('/api/database/records')).toBe('OPTIONS,GET,HEAD');
  expect((await as('alice').options('nothing')).body.code).toBe('42P01');
  expect((await as('alice').options('rpc/nothing')).body.code).toBe('PGRST202');
  const preflight = await as('nobody').options('customers', {
    origin: 'https://app.example',
    'access-control-request-method': 'PATCH',
    'access-control-request-headers': 'prefer,content-profile',
  });
  expect([
    preflight.status,
    preflight.headers['access-control-allow-origin'],
    preflight.headers['access-control-allow-headers'],
  ]).toEqual([204, 'https://app.example', 'prefer,content-profile']);
});
