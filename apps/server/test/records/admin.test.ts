import { expect, test } from 'vitest';
import { startApi, type Who } from './start.ts';

const TABLES = `
  create table tasks (id int primary key, title text, done boolean default false, meta jsonb, tags text[]);
  insert into tasks (id, title, done, meta) values (1, 'Alpha 100%', true, '{"a":1}'), (2, 'beta', false, null), (3, 'gamma_x', false, null);
  create table pairs (a int, b text, c text, primary key (a, b));
  insert into pairs values (1, 'x', 'old'), (2, 'y', 'old');
  create table keyless (a int);
  create schema shop; create table shop.things (id int primary key); insert into shop.things values (7);
  grant usage on schema shop to project_admin; grant all on shop.things to project_admin;
`;
const at = (path: string) => `/api/database/admin/tables/${path}`;

test('rows are listed in pages, searched, sorted and filtered', async () => {
  const { as } = await startApi(TABLES);
  const ids = async (query: string) => {
    const { body, headers } = await as('admin').get(at(`tasks/records?${query}`));
    return [body.map(({ id }: { id: number }) => id), headers['content-range']];
  };
  const all = await as('admin').get(at('tasks/records'));
  expect([all.status, all.body[0], all.headers['content-range']]).toEqual([
    200,
    { id: 1, title: 'Alpha 100%', done: true, meta: { a: 1 }, tags: null },
    '0-2/3',
  ]);
  expect(await ids('limit=2')).toEqual([[1, 2], '0-1/3']);
  expect(await ids('limit=2&offset=2')).toEqual([[3], '2-2/3']);
  expect(await ids('sort=title:desc')).toEqual([[3, 2, 1], '0-2/3']);
  expect(await ids('sort=done:asc,id:desc')).toEqual([[3, 2, 1], '0-2/3']);
  expect(await ids('search=BETA')).toEqual([[2], '0-0/1']);
  expect(await ids('search=100%25')).toEqual([[1], '0-0/1']);
  expect(await ids('search=_x')).toEqual([[3], '0-0/1']);
  expect(await ids('filterColumn=done&filterValue=false')).toEqual([[2, 3], '0-1/2']);
  expect(await ids('search=nothing')).toEqual([[], '*/0']);
  expect((await as('admin').get(at('things/records?schema=shop'))).body).toEqual([{ id: 7 }]);
});

test('one row is looked up, rows are added, changed and deleted', async () => {
  const { as, sql } = await startApi(TABLES);
  const admin = as('admin');
  expect((await admin.get(at('tasks/records/lookup?column=id&value=2'))).body).toMatchObject({ title: 'beta' });
  const none = await admin.get(at('tasks/records/lookup?column=id&value=99'));
  expect([none.status, none.body]).toEqual([200, null]);
  const added = await admin.post(at('tasks/records'), [
    { id: 4, title: 'new', tags: ['a'], meta: { deep: [1] } },
    { id: 5 },
  ]);
  expect([added.status, added.body]).toEqual([
    201,
    [
      { id: 4, title: 'new', done: false, meta: { deep: [1] }, tags: ['a'] },
      { id: 5, title: null, done: false, meta: null, tags: null },
    ],
  ]);
  const changed = await admin.patch(at('tasks/records'), { pkKeys: { id: 4 }, data: { title: 'newer', done: true } });
  expect([changed.status, changed.body.title, changed.body.done]).toEqual([200, 'newer', true]);
  expect((await admin.patch(at('pairs/records'), { pkKeys: { a: 1, b: 'x' }, data: { c: 'new' } })).body).toEqual({
    a: 1,
    b: 'x',
    c: 'new',
  });
  const deleted = await admin.delete(
    at('pairs/records'),
    {},
    {
      pkKeys: [
        { a: 1, b: 'x' },
        { a: 9, b: 'x' },
      ],
    },
  );
  expect([deleted.status, deleted.body]).toEqual([200, { deletedCount: 1 }]);
  expect((await admin.delete(at('pairs/records'), {}, { pkKeys: [] })).status).toBe(400);
  expect(await sql('select a from pairs')).toEqual([{ a: 2 }]);
});

test('what cannot be is refused with the reason', async () => {
  const { as } = await startApi(TABLES);
  const admin = as('admin');
  const status = async (reply: Promise<{ status: number; body: { error: string } }>) => {
    const { status: code, body } = await reply;
    return [code, body.error];
  };
  expect(await status(admin.get(at('nothing/records')))).toEqual([404, 'DATABASE_NOT_FOUND']);
  expect(await status(admin.get(at('users/records?schema=auth')))).toEqual([404, 'DATABASE_NOT_FOUND']);
  expect(await status(admin.get(at('tasks/records?limit=501')))).toEqual([400, 'INVALID_INPUT']);
  expect(await status(admin.get(at('tasks/records?sort=nothing:asc')))).toEqual([400, 'DATABASE_INVALID_PARAMETER']);
  expect(await status(admin.get(at('tasks/records?filterColumn=x"&filterValue=1')))).toEqual([
    400,
    'DATABASE_INVALID_PARAMETER',
  ]);
  expect(await status(admin.get(at('tasks/records/lookup?column=id&value=abc')))).toEqual([
    400,
    'DATABASE_VALIDATION_ERROR',
  ]);
  expect(await status(admin.post(at('tasks/records'), [{ id: 1 }]))).toEqual([409, 'DATABASE_DUPLICATE']);
  expect(await status(admin.post(at('tasks/records'), [{ 'x"; drop table tasks; --': 1 }]))).toEqual([
    400,
    'DATABASE_INVALID_PARAMETER',
  ]);
  expect(await status(admin.patch(at('tasks/records'), { pkKeys: { title: 'beta' }, data: { done: true } }))).toEqual([
    400,
    'INVALID_INPUT',
  ]);
  expect(await status(admin.patch(at('tasks/records'), { pkKeys: { id: 99 }, data: { done: true } }))).toEqual([
    404,
    'NOT_FOUND',
  ]);
  expect(await status(admin.patch(at('tasks/records'), { pkKeys: { id: 1 }, data: {} }))).toEqual([
    400,
    'INVALID_INPUT',
  ]);
  expect(await status(admin.patch(at('keyless/records'), { pkKeys: {}, data: { a: 1 } }))).toEqual([
    400,
    'DATABASE_VALIDATION_ERROR',
  ]);
});

test('it is for admins only', async () => {
  const { as } = await startApi(TABLES);
  const expected: [Who, number][] = [
    ['nobody', 401],
    ['anon', 403],
    ['alice', 403],
    ['admin', 200],
  ];
  for (const [who, status] of expected) expect((await as(who).get(at('tasks/records'))).status, who).toBe(status);
  expect((await as('alice').post(at('tasks/records'), [{ id: 9 }])).status).toBe(403);
  expect((await as('anon').patch(at('tasks/records'), { pkKeys: { id: 1 }, data: { title: 'x' } })).status).toBe(403);
});

test('an admin is told how well the caches work', async () => {
  const { as } = await startApi(TABLES);
  const caches = '/api/database/admin/caches';
  for (let round = 0; round < 3; round++) await as('admin').get('/api/database/records/tasks?id=eq.1');
  const { status, body } = await as('admin').get(caches);
  expect([status, body.plans]).toEqual([200, { hits: 2, misses: 1, size: 1 }]);
  expect(body.statements.hits).toBeGreaterThan(0);
  expect(body.statements.misses).toBeGreaterThan(0);
  for (const who of ['anon', 'nobody'] as Who[]) expect((await as(who).get(caches)).body.plans).toBeUndefined();
});
