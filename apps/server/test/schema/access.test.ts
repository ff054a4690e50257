import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

type Method = 'get' | 'post' | 'patch' | 'delete';

/** Every door of the admin, with a request that works for the admin. */
const ROUTES: { method: Method; path: string; body?: unknown; status: number }[] = [
  { method: 'get', path: '/api/database/tables', status: 200 },
  {
    method: 'post',
    path: '/api/database/tables',
    body: { tableName: 'more', columns: [{ columnName: 'a', type: 'string' }] },
    status: 201,
  },
  { method: 'get', path: '/api/database/tables/notes/schema', status: 200 },
  {
    method: 'patch',
    path: '/api/database/tables/notes/schema',
    body: { addColumns: [{ columnName: 'b', type: 'string' }] },
    status: 200,
  },
  { method: 'delete', path: '/api/database/tables/notes', status: 200 },
  { method: 'post', path: '/api/database/advance/rawsql', body: { query: 'select 1' }, status: 200 },
  { method: 'post', path: '/api/database/advance/rawsql/unrestricted', body: { query: 'select 1' }, status: 200 },
  { method: 'get', path: '/api/database/schemas', status: 200 },
  { method: 'get', path: '/api/database/functions', status: 200 },
  { method: 'get', path: '/api/database/indexes', status: 200 },
  { method: 'get', path: '/api/database/policies', status: 200 },
  { method: 'get', path: '/api/database/triggers', status: 200 },
  { method: 'get', path: '/api/database/config', status: 200 },
  { method: 'patch', path: '/api/database/config', body: { autoEnableRls: true }, status: 200 },
  { method: 'get', path: '/api/database/migrations', status: 200 },
  {
    method: 'post',
    path: '/api/database/migrations',
    body: { version: '1', name: 'first', sql: 'create table made ()' },
    status: 201,
  },
  { method: 'post', path: '/api/database/migrations/dry-run', body: { sql: 'create table made ()' }, status: 200 },
  { method: 'get', path: '/api/metadata', status: 200 },
  { method: 'get', path: '/api/metadata?format=markdown', status: 200 },
  { method: 'get', path: '/api/metadata/database', status: 200 },
  { method: 'get', path: '/api/metadata/api-key', status: 200 },
  { method: 'get', path: '/api/metadata/anon-key', status: 200 },
  { method: 'get', path: '/api/metadata/project-id', status: 200 },
  { method: 'get', path: '/api/metadata/notes', status: 200 },
  { method: 'get', path: '/api/usage/mcp', status: 200 },
];

test('each door opens for the admin alone', async () => {
  const app = await startApp();
  await app.sql('create table notes (id int); alter table notes owner to project_admin');
  const alice = await app.user('alice');
  const before = await app.sql('select relname from pg_class order by 1');
  for (const { method, path, body } of ROUTES) {
    for (const [who, status, error] of [
      ['nobody', 401, 'AUTH_INVALID_CREDENTIALS'],
      ['anon', 403, 'AUTH_UNAUTHORIZED'],
      [alice, 403, 'AUTH_UNAUTHORIZED'],
    ] as const) {
      const reply = await app.as(who)[method](path, body as never);
      expect([method, path, who, reply.status, reply.body.error]).toEqual([method, path, who, status, error]);
    }
  }
  expect(await app.sql('select relname from pg_class order by 1')).toEqual(before);
});

test.each(ROUTES)('$method $path works for the admin', async ({ method, path, body, status }) => {
  const app = await startApp();
  await app.sql('create table notes (id int); alter table notes owner to project_admin');
  const reply = await app.as('admin')[method](path, body as never);
  expect([reply.status, reply.text]).toEqual([status, reply.text]);
});
