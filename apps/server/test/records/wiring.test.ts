import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

test('a table made through the API takes rows in the very next request', async () => {
  const { as } = await startApp();
  const admin = as('admin');
  for (const [number, column] of ['a', 'b', 'c'].entries()) {
    const made = await admin.post('/api/database/advance/rawsql', {
      query:
        number === 0
          ? 'create table fresh (id int primary key, a text)'
          : `alter table fresh add column ${column} text`,
    });
    expect(made.status).toBe(200);
    const inserted = await admin.post(
      `/api/database/records/fresh?select=${column}`,
      { id: number, [column]: 'x' },
      { prefer: 'return=representation' },
    );
    expect([inserted.status, inserted.body]).toEqual([201, [{ [column]: 'x' }]]);
  }
});

test('a table made behind the server’s back is there within a second', async () => {
  const { as, sql } = await startApp();
  expect((await as('admin').get('/api/database/records/foreign_made')).status).toBe(404);
  await sql('create table foreign_made (id int primary key)');
  await expect
    .poll(async () => (await as('admin').get('/api/database/records/foreign_made')).status, { timeout: 1000 })
    .toBe(200);
  await sql('create function foreign_fn() returns int language sql as $$ select 7 $$');
  await expect
    .poll(async () => (await as('admin').post('/api/database/rpc/foreign_fn', {})).body, { timeout: 1000 })
    .toBe(7);
});
