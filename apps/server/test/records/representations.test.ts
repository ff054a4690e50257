import { expect, test } from 'vitest';
import { expectReads } from './scenarios.ts';
import { OPEN, startApi } from './start.ts';

/** Colours are kept as numbers and shown as hexadecimal text. */
const COLOURS = `
  create domain color as int check (value >= 0 and value <= 16777215);
  create function color_to_json(color) returns json immutable language sql as $$ select to_json('#' || lpad(upper(to_hex($1)), 6, '0')) $$;
  create function color(text) returns color immutable language sql as $$ select (('x' || lpad(replace($1, '#', ''), 8, '0'))::bit(32)::int)::color $$;
  create function color(json) returns color immutable language sql as $$ select color($1 #>> '{}') $$;
  create cast (color as json) with function color_to_json(color) as implicit;
  create cast (text as color) with function color(text) as implicit;
  create cast (json as color) with function color(json) as implicit;
  create table paints (id int primary key, shade color, name text);
  create table walls (id int primary key, paint int references paints, trim color);
  insert into paints values (1, 255, 'blue'), (2, 65280, 'green');
  insert into walls values (1, 1, 65280);
  ${OPEN}`;

test('a domain with casts is shown, filtered and written in its own form', async () => {
  const api = await startApi(COLOURS);
  await expectReads(api, [
    { path: 'paints?id=eq.1', body: [{ id: 1, shade: '#0000FF', name: 'blue' }] },
    { path: 'paints?select=s:shade&order=id', body: [{ s: '#0000FF' }, { s: '#00FF00' }] },
    { path: 'paints?select=id&shade=eq.%230000FF', body: [{ id: 1 }] },
    { path: 'paints?select=id&shade=in.(%2300FF00,%23FFFFFF)', body: [{ id: 2 }] },
    { path: 'paints?select=id&or=(shade.eq.%2300FF00,id.eq.9)', body: [{ id: 2 }] },
    { path: 'paints?select=shade::text&id=eq.1', body: [{ shade: '"#0000FF"' }] },
    { path: 'paints?select=shade::int&id=eq.1', status: 400, body: { code: '42846' } },
    {
      path: 'paints?select=shade,count()&order=shade',
      body: [
        { shade: '#0000FF', count: 1 },
        { shade: '#00FF00', count: 1 },
      ],
    },
    { path: 'walls?select=id,trim,paints(shade)', body: [{ id: 1, trim: '#00FF00', paints: { shade: '#0000FF' } }] },
    { path: 'walls?select=id,...paints(*)', body: [{ id: 1, shade: '#0000FF', name: 'blue' }] },
    { path: 'paints?select=shade.max()', body: [{ max: 65280 }] },
    { path: 'paints?id=eq.1', headers: { accept: 'text/csv' }, body: 'id,shade,name\n1,255,blue' },
  ]);
  const rows = { prefer: 'return=representation' };
  const alice = api.as('alice');
  expect((await alice.post('paints', { id: 3, shade: '#ABCDEF' }, rows)).body).toEqual([
    { id: 3, shade: '#ABCDEF', name: null },
  ]);
  expect(
    (
      await alice.post('paints', [
        { id: 4, shade: '#000001' },
        { id: 5, shade: '#000002' },
      ])
    ).status,
  ).toBe(201);
  expect((await alice.patch('paints?shade=eq.%23000001', { shade: '#000003' }, rows)).body).toEqual([
    { id: 4, shade: '#000003', name: null },
  ]);
  expect((await alice.delete('paints?shade=eq.%23000002&select=id', rows)).body).toEqual([{ id: 5 }]);
  expect(await api.sql('select shade::int from paints where id in (3, 4) order by id')).toEqual([
    { shade: 11259375 },
    { shade: 3 },
  ]);
});
