import { PostgrestClient } from '@supabase/postgrest-js';
import { expect, test } from 'vitest';
import { SECRETS } from '../config.ts';
import { FILMS } from './films.ts';
import { type Api, OPEN, startApi, tokenOf, USERS } from './start.ts';

/** The client of the ecosystem against a listening server, as an application uses it. */
async function connect(api: Api, token: string, schema = 'public') {
  const base = await api.listen();
  const shim: typeof fetch = (input, init) => fetch(String(input).replace(/\/records\/rpc\//, '/rpc/'), init);
  return new PostgrestClient<any, any, any>(`${base}/api/database/records`, {
    headers: { Authorization: `Bearer ${token}` },
    fetch: shim,
    schema,
  });
}

test('reads with every kind of filter, modifier and embed', async () => {
  const api = await startApi(FILMS);
  const db = await connect(api, await tokenOf('alice'));
  const titles = async (query: any) => {
    const { data, error } = await query;
    expect(error).toBeNull();
    return data.map(({ title }: { title: string }) => title);
  };
  const films = () => db.from('films').select('title').order('id');
  expect(await titles(films().eq('id', 1))).toEqual(['Workers']);
  expect(await titles(films().neq('id', 1).gt('year', 1993).lt('year', 2000))).toEqual(['Pulp Fiction']);
  expect(await titles(films().like('title', '%Fiction%'))).toEqual(['Pulp Fiction']);
  expect(await titles(films().ilikeAnyOf('title', ['work%', 'orph%']))).toEqual(['Workers', 'Orphan']);
  expect(await titles(films().likeAllOf('title', ['P%', '%n']))).toEqual(['Pulp Fiction']);
  expect(await titles(films().is('rating', null))).toEqual(['Orphan']);
  expect(await titles(films().in('title', ['Workers', 'a,b"c']))).toEqual(['Workers']);
  expect(await titles(films().not('id', 'in', '(1,2)'))).toEqual(['Reservoir Dogs', 'Orphan']);
  expect(await titles(films().or('id.eq.1,and(year.gt.1993,rating.gt.8)'))).toEqual(['Workers', 'Pulp Fiction']);
  expect(await titles(films().match({ id: 1, title: 'Workers' }))).toEqual(['Workers']);
  expect(await titles(films().textSearch('title', 'fiction', { config: 'english', type: 'plain' }))).toEqual([
    'Pulp Fiction',
  ]);
  expect(await titles(films().filter('year', 'gte', 2000))).toEqual(['Orphan']);
  expect(await titles(films().range(1, 2))).toEqual(['Pulp Fiction', 'Reservoir Dogs']);
  expect(await titles(films().limit(1))).toEqual(['Workers']);
  const nested = await db
    .from('directors')
    .select('last_name, films!inner(title, technical_specs(camera))')
    .eq('films.year', 1994)
    .order('title', { referencedTable: 'films' });
  expect(nested.data).toEqual([
    { last_name: 'Tarantino', films: [{ title: 'Pulp Fiction', technical_specs: { camera: 'Arriflex' } }] },
  ]);
  const related = await db
    .from('films')
    .select('id, ...directors(name:last_name)')
    .order('directors(last_name)', { ascending: false, nullsFirst: false })
    .limit(1);
  expect(related.data).toEqual([{ id: 2, name: 'Tarantino' }]);
  const counted = await db.from('films').select('*', { count: 'exact', head: true }).gt('id', 1);
  expect([counted.status, counted.data, counted.count]).toEqual([200, null, 3]);
  const page = await db.from('films').select('id', { count: 'exact' }).range(0, 1);
  expect([page.status, page.count, page.data?.length]).toEqual([206, 4, 2]);
});

test('single, maybeSingle, csv, explain and errors', async () => {
  const api = await startApi(FILMS);
  const db = await connect(api, await tokenOf('alice'));
  expect((await db.from('films').select('id').eq('id', 1).single()).data).toEqual({ id: 1 });
  const many = await db.from('films').select('id').single();
  expect([many.status, many.error?.code, many.error?.details]).toEqual([406, 'PGRST116', 'The result contains 4 rows']);
  expect((await db.from('films').select('id').eq('id', 99).single()).error?.details).toBe('The result contains 0 rows');
  const none = await db.from('films').select('id').eq('id', 99).maybeSingle();
  expect([none.data, none.error]).toEqual([null, null]);
  const twoMaybe = await db.from('films').select('id').lt('id', 3).maybeSingle();
  expect(twoMaybe.error?.code).toBe('PGRST116');
  expect((await db.from('films').update({ year: 1 }).eq('id', 99).select().maybeSingle()).data).toBeNull();
  expect((await db.from('films').select('id,title').eq('id', 1).csv()).data).toBe('id,title\n1,Workers');
  expect((await db.from('films').select('id').eq('id', 1).stripNulls()).data).toEqual([{ id: 1 }]);
  const bad = await db.from('films').select('nothing');
  expect([bad.status, bad.error?.code, bad.error?.message]).toEqual([
    400,
    '42703',
    'column films.nothing does not exist',
  ]);
  expect((await db.from('nothing').select()).error?.code).toBe('42P01');
  expect((await db.from('films').select().explain()).error?.code).toBe('PGRST107');
  const admin = await connect(await startApi(FILMS), SECRETS.ACCESS_API_KEY);
  expect((await admin.from('films').select().explain()).data).toMatch(/films/);
});

test('inserts, upserts, updates and deletes', async () => {
  const api = await startApi(
    `create table notes (id int primary key, body text default 'none', n int default 7); ${OPEN}`,
  );
  const db = await connect(api, await tokenOf('alice'));
  const quiet = await db.from('notes').insert({ id: 1, body: 'a' });
  expect([quiet.status, quiet.error]).toEqual([201, null]);
  expect(
    (
      await db
        .from('notes')
        .insert([
          { id: 2, body: 'b' },
          { id: 3, n: 1 },
        ])
        .select('id,body,n')
        .order('id')
    ).data,
  ).toEqual([
    { id: 2, body: 'b', n: null },
    { id: 3, body: null, n: 1 },
  ]);
  expect(
    (
      await db
        .from('notes')
        .insert([{ id: 4 }, { id: 5, n: 1 }], { defaultToNull: false })
        .select()
        .order('id')
    ).data,
  ).toEqual([
    { id: 4, body: 'none', n: 7 },
    { id: 5, body: 'none', n: 1 },
  ]);
  expect((await db.from('notes').upsert({ id: 1, body: 'z' }).select().single()).data).toEqual({
    id: 1,
    body: 'z',
    n: 7,
  });
  expect(
    (
      await db
        .from('notes')
        .upsert(
          [
            { id: 1, body: 'no' },
            { id: 6, body: 'yes' },
          ],
          { ignoreDuplicates: true, onConflict: 'id' },
        )
        .select('id')
    ).data,
  ).toEqual([{ id: 6 }]);
  const counted = await db.from('notes').update({ n: 0 }, { count: 'exact' }).gt('id', 4);
  expect([counted.status, counted.count, counted.data]).toEqual([204, 2, null]);
  expect((await db.from('notes').delete().eq('id', 6).select('id')).data).toEqual([{ id: 6 }]);
  expect((await db.from('notes').delete({ count: 'exact' }).eq('id', 5)).count).toBe(1);
  const duplicate = await db.from('notes').insert({ id: 1 });
  expect([duplicate.status, duplicate.error?.code]).toEqual([409, '23505']);
  expect((await db.from('notes').insert({ id: 9 }).select().rollback()).data).toEqual([{ id: 9, body: 'none', n: 7 }]);
  expect((await db.from('notes').select('id').eq('id', 9)).data).toEqual([]);
  const limited: any = await db.from('notes').delete().gt('id', 0).maxAffected(1);
  expect(limited.error?.code).toBe('PGRST124');
});

test('calls functions by POST, GET and HEAD', async () => {
  const api = await startApi(`
    create function add_them(a int, b int) returns int immutable language sql as $$ select a + b $$;
    create function sum_up(v int[]) returns int immutable language sql as $$ select sum(x)::int from unnest(v) x $$;
    create function many() returns setof int stable language sql as $$ select generate_series(1, 4) $$;
    create function quiet() returns void language sql as $$ select 1 $$; ${OPEN}`);
  const db = await connect(api, await tokenOf('alice'));
  expect((await db.rpc('add_them', { a: 1, b: 2 })).data).toBe(3);
  expect((await db.rpc('add_them', { a: 1, b: 2 }, { get: true })).data).toBe(3);
  expect((await db.rpc('sum_up', { v: [1, 2, 3] }, { get: true })).data).toBe(6);
  expect((await db.rpc('many', {}, { count: 'exact' }).range(1, 2)).data).toEqual([2, 3]);
  expect((await db.rpc('many', {}, { head: true, count: 'exact' })).count).toBe(4);
  const quiet = await db.rpc('quiet');
  expect([quiet.status, quiet.data, quiet.error]).toEqual([204, null, null]);
  expect((await db.rpc('nothing')).error?.code).toBe('PGRST202');
});

test('another schema, another user, nobody', async () => {
  const api = await startApi(`
    create schema shop; create table shop.items (id int primary key, owner uuid default auth.uid());
    alter table shop.items enable row level security;
    create policy own on shop.items using (owner = auth.uid()) with check (owner = auth.uid());
    grant usage on schema shop to anon, authenticated; grant all on shop.items to anon, authenticated;`);
  const alice = await connect(api, await tokenOf('alice'), 'shop');
  expect((await alice.from('items').insert({ id: 1 }).select()).data).toEqual([{ id: 1, owner: USERS.alice }]);
  const forged = await alice.from('items').insert({ id: 2, owner: USERS.bob });
  expect([forged.status, forged.error?.code]).toEqual([403, '42501']);
});
