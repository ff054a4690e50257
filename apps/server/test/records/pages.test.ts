import { expect, test } from 'vitest';
import { expectReads } from './scenarios.ts';
import { OPEN, startApi, tokenOf } from './start.ts';

const NUMBERS = `
  create table numbers (n int primary key);
  insert into numbers select generate_series(1, 15);
  create table many (n int);
  insert into many select generate_series(1, 3000);
  analyze many;
  ${OPEN}`;

const list = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => ({ n: from + index }));

test('pages come by parameters and by the Range header, and say what they are', async () => {
  const api = await startApi(NUMBERS);
  const exact = { prefer: 'count=exact' };
  await expectReads(api, [
    { path: 'numbers?order=n', body: list(1, 15), has: { 'content-range': '0-14/*' } },
    { path: 'numbers?order=n&limit=5', body: list(1, 5), has: { 'content-range': '0-4/*' } },
    { path: 'numbers?order=n&limit=5&offset=12', body: list(13, 15), has: { 'content-range': '12-14/*' } },
    { path: 'numbers?order=n&offset=12', body: list(13, 15), has: { 'content-range': '12-14/*' } },
    {
      path: 'numbers?order=n',
      headers: { range: '0-4', 'range-unit': 'items' },
      body: list(1, 5),
      has: { 'content-range': '0-4/*' },
    },
    { path: 'numbers?order=n', headers: { range: '10-' }, body: list(11, 15), has: { 'content-range': '10-14/*' } },
    { path: 'numbers?order=n&limit=3', headers: { range: '2-9' }, body: list(3, 3), has: { 'content-range': '2-2/*' } },
    {
      path: 'numbers?order=n',
      headers: { ...exact, range: '0-4' },
      status: 206,
      body: list(1, 5),
      has: { 'content-range': '0-4/15' },
    },
    {
      path: 'numbers?order=n&limit=15',
      headers: exact,
      body: list(1, 15),
      has: { 'content-range': '0-14/15', 'preference-applied': 'count=exact' },
    },
    {
      path: 'numbers?order=n&limit=20&offset=10',
      headers: exact,
      status: 206,
      body: list(11, 15),
      has: { 'content-range': '10-14/15' },
    },
    {
      path: 'numbers?n=gt.10&order=n&limit=2',
      headers: exact,
      status: 206,
      body: list(11, 12),
      has: { 'content-range': '0-1/5' },
    },
    { path: 'numbers?limit=0', headers: exact, status: 206, body: [], has: { 'content-range': '*/15' } },
    { path: 'numbers?limit=0', body: [], has: { 'content-range': '*/*' } },
    { path: 'numbers?n=gt.100', headers: exact, body: [], has: { 'content-range': '*/0' } },
    { path: 'numbers?n=gt.100', body: [], has: { 'content-range': '*/*' } },
    { path: 'numbers?offset=15', headers: exact, status: 206, body: [], has: { 'content-range': '*/15' } },
    {
      path: 'numbers?offset=16',
      headers: exact,
      status: 416,
      body: {
        code: 'PGRST103',
        message: 'Requested range not satisfiable',
        details: 'An offset of 16 was requested, but there are only 15 rows.',
      },
      has: { 'content-range': '*/15' },
    },
    { path: 'numbers?offset=16', body: [], has: { 'content-range': '*/*' } },
    {
      path: 'numbers?limit=-1',
      status: 416,
      body: { code: 'PGRST103', details: 'Limit should be greater than or equal to zero.' },
    },
    {
      path: 'numbers',
      headers: { range: '5-2' },
      status: 416,
      body: {
        code: 'PGRST103',
        details: 'The lower boundary must be lower than or equal to the upper boundary in the Range header.',
      },
    },
    { path: 'numbers?order=n&limit=abc', body: list(1, 15) },
    {
      path: 'numbers?order=n&n=gt.1&limit=2&n=lt.9',
      has: {
        'content-location': '/api/database/records/numbers?limit=2&n=gt.1&n=lt.9&order=n',
        'content-type': 'application/json; charset=utf-8',
      },
    },
  ]);
});

test('a list of many keys fits into the URL', async () => {
  const api = await startApi(
    `create table keys (id uuid primary key); insert into keys values (gen_random_uuid()); ${OPEN}`,
  );
  const base = await api.listen();
  const headers = { authorization: `Bearer ${await tokenOf('alice')}` };
  const [key] = await api.sql<{ id: string }>('select id from keys');
  const keys = Array.from({ length: 1500 }, () => key?.id).join();
  const reply = await fetch(`${base}/api/database/records/keys?id=in.(${keys})`, { headers });
  expect([reply.status, await reply.json()]).toEqual([200, [key]]);
  const longer = await fetch(`${base}/api/database/records/keys?id=in.(${keys},${keys})`, { headers });
  expect(longer.status).toBe(431);
});

test('counts are exact, planned, or exact up to a threshold', async () => {
  const { as } = await startApi(NUMBERS);
  const count = async (path: string, kind: string) => {
    const { headers, status } = await as('alice').get(path, { prefer: `count=${kind}` });
    return [status, headers['content-range'], headers['preference-applied']];
  };
  expect(await count('many?limit=2', 'exact')).toEqual([206, '0-1/3000', 'count=exact']);
  expect(await count('many?limit=2', 'planned')).toEqual([206, '0-1/3000', 'count=planned']);
  expect(await count('many?limit=2', 'estimated')).toEqual([206, '0-1/3000', 'count=estimated']);
  expect(await count('numbers?limit=2', 'estimated')).toEqual([206, '0-1/15', 'count=estimated']);
  expect(await count('numbers?n=lt.4', 'estimated')).toEqual([200, '0-2/3', 'count=estimated']);
});

test('HEAD answers like GET without a body', async () => {
  const { as } = await startApi(NUMBERS);
  const reply = await as('alice').head('numbers?limit=5', { prefer: 'count=exact' });
  expect([reply.status, reply.text, reply.headers['content-range'], reply.headers['content-type']]).toEqual([
    206,
    '',
    '0-4/15',
    'application/json; charset=utf-8',
  ]);
  const ranged = await as('alice').head('numbers', { prefer: 'count=exact', range: '0-4' });
  expect([ranged.status, ranged.headers['content-range']], 'Range is for GET').toEqual([200, '0-14/15']);
  expect((await as('alice').head('nothing')).status).toBe(404);
});

test('the server may have a limit of its own', async () => {
  const api = await startApi(NUMBERS, { maxRows: 4 });
  await expectReads(api, [
    { path: 'numbers?order=n', body: list(1, 4), has: { 'content-range': '0-3/*' } },
    { path: 'numbers?order=n&limit=2', body: list(1, 2) },
    { path: 'numbers?order=n&limit=20', body: list(1, 4) },
    {
      path: 'numbers?order=n',
      headers: { prefer: 'count=exact' },
      status: 206,
      body: list(1, 4),
      has: { 'content-range': '0-3/15' },
    },
    { path: 'numbers?order=n', headers: { prefer: 'count=estimated' }, status: 206, body: list(1, 4) },
  ]);
});
