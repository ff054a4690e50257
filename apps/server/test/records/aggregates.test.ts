import { test } from 'vitest';
import { FILMS } from './films.ts';
import { expectReads } from './scenarios.ts';
import { OPEN, startApi } from './start.ts';

const SALES = `
  create table customers (id int primary key, name text, city text, joined date);
  create table sales (id int primary key, customer_id int references customers, day date, amount numeric, details jsonb);
  insert into customers values (1, 'A', 'Bonn', '2020-01-01'), (2, 'B', 'Ulm', '2021-01-01');
  insert into sales values
    (1, 1, '2024-01-01', 10, '{"tax":1}'), (2, 1, '2024-01-02', 20, '{"tax":2}'),
    (3, 2, '2024-01-01', 5.5, '{"tax":3}'), (4, null, '2024-01-02', null, null);
  ${OPEN}`;

test('aggregates group by whatever else is selected', async () => {
  const api = await startApi(SALES);
  await expectReads(api, [
    { path: 'sales?select=amount.sum()', body: [{ sum: 35.5 }] },
    { path: 'sales?select=count()', body: [{ count: 4 }] },
    { path: 'sales?select=count', body: [{ count: 4 }] },
    { path: 'sales?select=amount.count()', body: [{ count: 3 }] },
    {
      path: 'sales?select=n:count(),total:amount.sum(),day&order=day',
      body: [
        { n: 2, total: 15.5, day: '2024-01-01' },
        { n: 2, total: 20, day: '2024-01-02' },
      ],
    },
    { path: 'sales?select=amount.avg()::int,amount.max(),amount.min()', body: [{ avg: 12, max: 20, min: 5.5 }] },
    { path: 'sales?select=details->tax::int.sum()', body: [{ sum: 6 }] },
    { path: 'sales?select=details->>tax::int.sum()::text', body: [{ sum: '6' }] },
    { path: 'sales?select=count()::text', body: [{ count: '4' }] },
    { path: 'sales?select=count()&amount=gt.6', body: [{ count: 2 }] },
    {
      path: 'sales?select=amount.sum(),*&id=eq.1',
      body: [{ sum: 10, id: 1, customer_id: 1, day: '2024-01-01', amount: 10, details: { tax: 1 } }],
    },
    {
      path: 'sales?select=amount.sum(),tax:details->tax&id=lt.3&order=details->tax',
      body: [
        { sum: 10, tax: 1 },
        { sum: 20, tax: 2 },
      ],
    },
    { path: 'sales?select=amount.sum(),day&order=amount&limit=1', status: 400, body: { code: '42803' } },
  ]);
});

test('aggregates work around, inside and through embedded resources', async () => {
  const api = await startApi(SALES);
  await expectReads(api, [
    {
      path: 'sales?select=amount.sum(),customers(name)&customers=not.is.null&order=customers(name)',
      status: 400,
      body: { code: '42803' },
    },
    {
      path: 'sales?select=amount.sum(),customers(name)&customer_id=eq.1',
      body: [{ sum: 30, customers: { name: 'A' } }],
    },
    {
      path: 'customers?select=name,sales(amount.sum(),day)&order=name&sales.order=day',
      body: [
        {
          name: 'A',
          sales: [
            { sum: 10, day: '2024-01-01' },
            { sum: 20, day: '2024-01-02' },
          ],
        },
        { name: 'B', sales: [{ sum: 5.5, day: '2024-01-01' }] },
      ],
    },
    {
      path: 'customers?select=name,sales(count())&order=name',
      body: [
        { name: 'A', sales: [{ count: 2 }] },
        { name: 'B', sales: [{ count: 1 }] },
      ],
    },
    { path: 'sales?select=amount.sum(),...customers!inner(city)&customer_id=eq.1', body: [{ sum: 30, city: 'Bonn' }] },
    {
      path: 'sales?select=amount.sum(),...customers(city)&order=customers(city).desc.nullslast',
      body: [
        { sum: 5.5, city: 'Ulm' },
        { sum: 30, city: 'Bonn' },
        { sum: null, city: null },
      ],
    },
    {
      path: 'sales?select=day,...customers(joined.max(),joined.min())&order=day',
      body: [
        { day: '2024-01-01', max: '2021-01-01', min: '2020-01-01' },
        { day: '2024-01-02', max: '2020-01-01', min: '2020-01-01' },
      ],
    },
    {
      path: 'sales?select=day,...customers(count())&order=day',
      body: [
        { day: '2024-01-01', count: 2 },
        { day: '2024-01-02', count: 1 },
      ],
    },
    {
      path: 'sales?select=amount.sum(),...customers(city,sales(id),...sales(days:day))&customer_id=eq.2',
      body: [{ sum: 5.5, city: 'Ulm', sales: [{ id: 3 }], days: ['2024-01-01'] }],
    },
    {
      path: 'sales?select=count(),day&order=day&limit=1',
      headers: { prefer: 'count=exact' },
      status: 206,
      body: [{ count: 2, day: '2024-01-01' }],
      has: { 'content-range': '0-0/2' },
    },
    {
      path: 'customers?select=name,...sales(amount.sum())',
      status: 400,
      body: { code: 'PGRST127', details: 'Aggregates are not implemented for one-to-many or many-to-many spreads.' },
    },
    {
      path: 'sales?select=day.max(),customers(name,sales(id))&customer_id=eq.2',
      body: [{ max: '2024-01-01', customers: { name: 'B', sales: [{ id: 3 }] } }],
    },
  ]);
});

test('aggregates can be switched off', async () => {
  const api = await startApi(FILMS, { areAggregatesEnabled: false });
  const refused = { status: 400, body: { code: 'PGRST123', message: 'Use of aggregate functions is not allowed' } };
  await expectReads(api, [
    { path: 'films?select=count()', ...refused },
    { path: 'films?select=count', ...refused },
    { path: 'directors?select=films(year.max())', ...refused },
    { path: 'films?select=...directors(id.max())', ...refused },
  ]);
});
