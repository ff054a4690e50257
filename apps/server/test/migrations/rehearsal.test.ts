import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

const PATH = '/api/database/migrations/dry-run';
const BEFORE = 'create table notes (id int primary key, title text); insert into notes values (1, null)';

test.each([
  { sql: 'create table more ()', riskLevel: 'low', factors: 0 },
  { sql: 'alter table notes add column n int', riskLevel: 'low', factors: 0 },
  { sql: 'delete from notes where id = 1', riskLevel: 'low', factors: 0 },
  { sql: 'alter table notes alter column id type bigint', riskLevel: 'medium', factors: 1 },
  { sql: 'alter table notes rename to other', riskLevel: 'medium', factors: 1 },
  { sql: 'drop table notes', riskLevel: 'high', factors: 1 },
  { sql: 'alter table notes drop column title', riskLevel: 'high', factors: 1 },
  { sql: 'truncate notes; update notes set id = 2; delete from notes', riskLevel: 'high', factors: 3 },
  { sql: 'alter table notes disable row level security', riskLevel: 'high', factors: 1 },
])('$sql is of $riskLevel risk', async ({ sql, riskLevel, factors }) => {
  const app = await startApp();
  await app.as('admin').post('/api/database/advance/rawsql', { query: BEFORE });
  const { status, body } = await app.as('admin').post(PATH, { sql });
  expect([status, body]).toMatchObject([200, { valid: true, riskLevel, statementCount: sql.split(';').length }]);
  expect(body.riskFactors).toHaveLength(factors);
  expect(await app.sql('select * from notes')).toEqual([{ id: 1, title: null }]);
});

test.each([
  { sql: 'selec', error: 'syntax error', line: 1, column: 1 },
  { sql: '\nalter table notes alter column title set not null', error: 'contains null values', line: 2, column: 1 },
  { sql: 'begin', error: 'their own transaction', line: 1, column: 1 },
  { sql: 'drop table auth.users', error: 'belongs to the platform', line: 1, column: 1 },
])('what would fail is told: $sql', async ({ sql, error, line, column }) => {
  const app = await startApp();
  await app.as('admin').post('/api/database/advance/rawsql', { query: BEFORE });
  const { status, body } = await app.as('admin').post(PATH, { sql });
  expect(status).toBe(200);
  expect(body).toMatchObject({
    valid: false,
    error: expect.stringContaining(error),
    line,
    column,
    nextActions: expect.any(String),
  });
});

test('warnings are told before it is done', async () => {
  const app = await startApp();
  const { body } = await app.as('admin').post(PATH, { sql: 'create table notes ()' });
  expect(body).toMatchObject({ valid: true, warnings: [{ rule: 'rls-no-policy' }] });
});
