import { expect, test } from 'vitest';
import { startApi, USERS, type Who } from './start.ts';

const POSTS = `
  create table posts (id int primary key, owner uuid default auth.uid(), title text, secret text);
  create policy read_all on posts for select using (title not like 'hidden %');
  create policy write_own on posts for all to authenticated using (owner = auth.uid()) with check (owner = auth.uid());
  insert into posts values (1, '${USERS.alice}', 'of alice', 's1'), (2, '${USERS.bob}', 'of bob', 's2'), (3, '${USERS.bob}', 'hidden one', 's3');
  create table vault (id int primary key, open text, closed text);
  alter table vault disable row level security;
  revoke all on vault from anon, authenticated;
  grant select (id, open), insert (id, open), update (open) on vault to authenticated;
  insert into vault values (1, 'o', 'c');
  create table locked (id int primary key);
  insert into locked values (1);
  create function definer_count() returns bigint security definer set search_path = '' language sql as $$ select count(*) from public.locked $$;
  create function invoker_count() returns bigint language sql as $$ select count(*) from public.locked $$;
  create function forbidden() returns int language sql as $$ select 1 $$;
  revoke execute on function forbidden() from public, anon, authenticated;
`;

const PEOPLE: Who[] = ['anon', 'alice', 'bob', 'admin'];

test('a new table is closed to everybody but the admin until a policy opens it', async () => {
  const { as } = await startApi(POSTS);
  for (const who of ['anon', 'alice'] as const) {
    expect((await as(who).get('locked')).body).toEqual([]);
    expect((await as(who).head('locked', { prefer: 'count=exact' })).headers['content-range']).toBe('*/0');
    const insert = await as(who).post('locked', { id: 2 });
    expect([insert.status, insert.body.code]).toEqual([who === 'anon' ? 401 : 403, '42501']);
    expect((await as(who).patch('locked', { id: 9 }, { prefer: 'return=representation' })).body).toEqual([]);
    expect((await as(who).delete('locked', { prefer: 'count=exact' })).headers['content-range']).toBe('*/0');
    expect((await as(who).post('rpc/invoker_count', {})).body).toBe(0);
    expect((await as(who).post('rpc/definer_count', {})).body).toBe(1);
  }
  expect((await as('admin').get('locked')).body).toEqual([{ id: 1 }]);
});

test('rows are read and written as the policies say, whoever asks', async () => {
  const { as } = await startApi(POSTS);
  const ids = async (who: Who) =>
    (await as(who).get('posts?select=id&order=id')).body.map(({ id }: { id: number }) => id);
  expect(await Promise.all(PEOPLE.map(ids))).toEqual([
    [1, 2],
    [1, 2],
    [1, 2, 3],
    [1, 2, 3],
  ]);
  const status = async (who: Who) =>
    (await as(who).patch('posts?id=eq.1', { title: 'new' }, { prefer: 'count=exact' })).headers['content-range'];
  expect([await status('anon'), await status('bob'), await status('alice'), await status('admin')]).toEqual([
    '*/0',
    '*/0',
    '0-0/1',
    '0-0/1',
  ]);
  const forged = await as('alice').post('posts', { id: 9, owner: USERS.bob, title: 'x' });
  expect([forged.status, forged.body.code]).toEqual([403, '42501']);
  const anonymous = await as('anon').post('posts', { id: 9, title: 'x' });
  expect([anonymous.status, anonymous.body]).toEqual([
    401,
    {
      code: '42501',
      details: null,
      hint: null,
      message: 'new row violates row-level security policy for table "posts"',
    },
  ]);
  const unseen = await as('alice').post('posts', { id: 10, title: 'hidden mine' });
  expect(unseen.status).toBe(201);
  const given = await as('alice').patch('posts?id=eq.1', { owner: USERS.bob });
  expect(given.status).toBe(403);
});

test('a function is called by those who may', async () => {
  const { as } = await startApi(POSTS);
  const status = async (who: Who) => (await as(who).post('rpc/forbidden', {})).status;
  expect([await status('anon'), await status('alice'), await status('admin'), await status('nobody')]).toEqual([
    401, 403, 200, 401,
  ]);
});

test('an unreadable column cannot be probed by any part of a request', async () => {
  const { as } = await startApi(POSTS);
  const { get, post, patch } = as('alice');
  expect((await get('vault?select=id,open')).body).toEqual([{ id: 1, open: 'o' }]);
  const probes = [
    'vault',
    'vault?select=closed',
    'vault?select=id&closed=eq.c',
    'vault?select=id&closed=eq.x',
    'vault?select=id&order=closed',
    'vault?select=id&or=(closed.eq.c,id.eq.1)',
    'vault?select=closed.count()',
    'vault?select=closed::text',
    'vault?select=closed->a',
    'vault?select=id&closed=fts.c',
    'vault?select=id&closed=in.(c)',
    'vault?select=id&closed=is.null',
  ];
  for (const probe of probes) {
    const plain = await get(probe);
    expect
      .soft([plain.status, plain.body], probe)
      .toEqual([403, { code: '42501', details: null, hint: null, message: 'permission denied for table vault' }]);
    expect.soft((await get(probe, { prefer: 'count=exact' })).status, probe).toBe(403);
    expect.soft((await get(probe, { prefer: 'count=planned' })).status, probe).toBe(403);
  }
  expect((await post('vault?select=id', { id: 2, open: 'x' }, { prefer: 'return=representation' })).body).toEqual([
    { id: 2 },
  ]);
  expect((await post('vault', { id: 3, open: 'x' }, { prefer: 'return=representation' })).status).toBe(403);
  expect((await post('vault', { id: 3, open: 'x' })).status).toBe(201);
  expect((await post('vault', { id: 4, closed: 'x' })).status).toBe(403);
  expect((await patch('vault?id=eq.1', { open: 'y' })).status).toBe(204);
  expect((await patch('vault?closed=eq.c', { open: 'y' })).status).toBe(403);
  expect((await get('vault', { accept: 'text/csv' })).status).toBe(403);
});

test('a table that only takes rows does not need to be readable', async () => {
  const { as } = await startApi(`
    create table inbox (id int primary key, text text);
    alter table inbox disable row level security;
    revoke all on inbox from anon; grant insert on inbox to anon;`);
  expect((await as('anon').post('inbox', { id: 1, text: 'x' })).status).toBe(201);
  expect(
    (
      await as('anon').post(
        'inbox',
        [
          { id: 2, text: 'x' },
          { id: 3, text: 'y' },
        ],
        { prefer: 'count=exact' },
      )
    ).headers['content-range'],
  ).toBe('*/2');
  expect((await as('anon').post('inbox', { id: 4 }, { prefer: 'return=representation' })).status).toBe(401);
  expect((await as('anon').post('inbox', { id: 4 }, { prefer: 'return=headers-only' })).status).toBe(401);
  expect((await as('anon').get('inbox')).status).toBe(401);
});

test('SQL cannot gain rights that the request has not', async () => {
  const { as } = await startApi(`
    create function stay() returns text language plpgsql as $$ begin execute 'reset role'; return current_user; end $$;
    create table mine (id int primary key); insert into mine values (1);
    create function peek() returns bigint language plpgsql as $$ begin perform set_config('role', 'none', true); return (select count(*) from mine); end $$;`);
  const stay = await as('alice').post('rpc/stay', {});
  expect(stay.body).not.toBe('project_admin');
  const peek = await as('alice').post('rpc/peek', {});
  expect([peek.status, peek.body.code]).toEqual([403, '42501']);
  const after = await as('anon').get('mine');
  expect(after.body).toEqual([]);
});
