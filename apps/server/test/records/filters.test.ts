import { expect, test } from 'vitest';
import { expectReads, type Read } from './scenarios.ts';
import { OPEN, startApi } from './start.ts';

const PEOPLE = `
  create type mood as enum ('sad', 'ok', 'happy');
  create table people (
    id int primary key, name text, age int, score numeric, born date, mood mood, tags text[],
    stay int4range, data jsonb, note json, words tsvector, is_member boolean, code char(3), "Unit Price" int, "a.b" text
  );
  insert into people values
    (1, 'Ann', 20, 1.5, '2000-01-01', 'ok', '{x,y}', '[1,5)', '{"a":1,"b":{"c":"deep"},"l":[1,2]}', '{"k":"v"}',
      to_tsvector('english', 'the fat cats'), true, 'abc', 10, 'dot'),
    (2, 'Bob, Jr', 30, 2.5, '1990-06-15', 'sad', '{y,z}', '[5,9)', '{"a":2,"b":{"c":"low"}}', null,
      to_tsvector('english', 'a thin rat'), false, 'def', 20, null),
    (3, 'C "Q" \\ ö', null, null, null, null, null, null, null, null, null, null, null, null, null),
    (4, 'Ann*', 40, 100, '1980-12-31', 'happy', '{}', 'empty', '{"a":null}', '{"k":"fat cat"}', null, true, 'abc', 30, 'x.y');
  ${OPEN}`;

const ids = (query: string, ...found: number[]): Read => ({
  path: `people?select=id&order=id&${query}`,
  body: found.map((id) => ({ id })),
});

test('every operator filters as its PostgreSQL counterpart does', async () => {
  const api = await startApi(PEOPLE);
  await expectReads(api, [
    ids('age=eq.30', 2),
    ids('age=neq.30', 1, 4),
    ids('age=gt.20', 2, 4),
    ids('age=gte.20&age=lt.40', 1, 2),
    ids('age=lte.30', 1, 2),
    ids('name=like.Ann*', 1, 4),
    ids('name=like.*nn', 1),
    ids('name=ilike.ANN', 1),
    ids('name=not.ilike.ann*', 2, 3),
    ids('name=match.^A', 1, 4),
    ids('name=imatch.^b', 2),
    ids('id=in.(1,3,9)', 1, 3),
    ids('id=in.()'),
    ids('id=not.in.(1,3)', 2, 4),
    ids('id=in.(   )'),
    ids('id=in.( 1,3 )', 1, 3),
    ids('name=in.("Bob, Jr",Ann)', 1, 2),
    ids('name=in.("C \\"Q\\" \\\\ ö")', 3),
    ids('name=eq.C "Q" \\ ö', 3),
    ids('age=is.null', 3),
    ids('age=is.NULL', 3),
    ids('age=not.is.null', 1, 2, 4),
    ids('age=is.not_null', 1, 2, 4),
    ids('is_member=is.true', 1, 4),
    ids('is_member=is.false', 2),
    ids('is_member=is.unknown', 3),
    ids('age=isdistinct.20', 2, 3, 4),
    ids('age=not.isdistinct.20', 1),
    ids('mood=eq.happy', 4),
    ids('mood=gt.sad', 1, 4),
    ids('tags=cs.{y}', 1, 2),
    ids('tags=cd.{x,y,q}', 1, 4),
    ids('tags=ov.{z,q}', 2),
    ids('stay=cs.[2,3]', 1),
    ids('stay=ov.[4,5]', 1, 2),
    ids('stay=sl.[5,6)', 1, ...[]),
    ids('stay=sr.[1,2)', 2),
    ids('stay=nxr.[1,5)', 1),
    ids('stay=nxl.[5,9)', 2),
    ids('stay=adj.[9,10)', 2),
    ids('words=fts.cat', 1),
    ids('words=fts(english).cats', 1),
    ids('words=plfts(english).fat cats', 1),
    ids('words=phfts(english).fat cats', 1),
    ids('words=wfts(english).cat or rat', 1, 2),
    ids('words=not.fts(english).cat', 2),
    ids('name=fts(simple).bob', 2),
    ids('note=fts(english).cat', 4),
    ids('data=plfts(english).deep', 1),
    ids('born=gte.1990-01-01', 1, 2),
    ids('score=gt.2.25', 2, 4),
    ids('code=eq.abc', 1, 4),
    ids('"Unit Price"=lt.20', 1),
    ids('Unit%20Price=lt.20', 1),
    ids('"a.b"=eq.x.y', 4),
    ids('id=eq(any).{1,4}', 1, 4),
    ids('name=like(any).{Ann,B*}', 1, 2),
    ids('name=like(all).{A*,*n}', 1),
    ids('age=gt(all).{10,25}', 2, 4),
    ids('age=not.lt(any).{25}', 2, 4),
    ids('name=match(any).{^A,^B}', 1, 2, 4),
  ]);
});

test('conditions combine into trees', async () => {
  const api = await startApi(PEOPLE);
  await expectReads(api, [
    ids('or=(age.eq.20,age.eq.30)', 1, 2),
    ids('or=(age.lt.25,and(age.gt.35,is_member.is.true))', 1, 4),
    ids('and=(age.gte.20,age.lte.30)&is_member=is.true', 1),
    ids('not.or=(age.eq.20,age.eq.30)', 4),
    ids('not.and=(age.gte.20,age.lte.30)', 4),
    ids('or=(id.in.(1,2),name.like.C*)', 1, 2, 3),
    ids('or=(id.not.in.(1,2),not.and(id.eq.1,id.eq.2))', 1, 2, 3, 4),
    ids('or=(name.eq."Bob, Jr",name.eq.Ann)', 1, 2),
    ids('or=(tags.cs.{x,y},tags.ov.{z})', 1, 2),
    ids('or=(stay.adj."[9,10)",stay.cs."[1,2]")', 1, 2),
    ids('or=(data->>a.eq.1,data->b->>c.eq.low)', 1, 2),
    ids('or=(words.fts(english).cats,id.eq.3)', 1, 3),
    ids('or=(name.like(any).{Ann,B*},age.is.null)', 1, 2, 3),
    ids('or=( age.eq.20, age.eq.30 )', 1, 2),
    ids('and=( and ( id.in.( 1, 2 ) , id.lt.9 ) , not.or ( id.eq.2 , id.eq.3 ) )', 1),
    ids('and=(not.or(id.eq.1,id.eq.2),id.lt.4)', 3),
    ids('and=(id.eq.1,id.lt.4))', 1),
  ]);
});

test('paths reach into json, arrays and composites', async () => {
  const api = await startApi(`
    create type point2 as (x int, y int);
    ${PEOPLE}
    create table places (id int primary key, at point2, langs text[]);
    insert into places values (1, '(1,2)', '{en,de}'), (2, '(3,4)', '{fr}');
    ${OPEN}`);
  await expectReads(api, [
    ids('data->>a=eq.1', 1),
    ids('data->a=eq.2', 2),
    ids('data->a=gt.1', 2),
    ids('data->b->>c=eq.deep', 1),
    ids('data->l->>0=eq.1', 1),
    ids('data->l->>-1=eq.2', 1),
    ids('note->>k=eq.v', 1),
    ids('data->>"a"=eq.1', 1),
    { path: 'people?select=data->b->c&id=eq.1', body: [{ c: 'deep' }] },
    { path: 'people?select=data->l->0&id=eq.1', body: [{ l: 1 }] },
    { path: 'people?select=x:data->l->>0&id=eq.1', body: [{ x: '1' }] },
    { path: 'people?select=data->>a::int&id=eq.2', body: [{ a: 2 }] },
    { path: 'people?select=note->>k&id=eq.1', body: [{ k: 'v' }] },
    { path: 'people?select=id&order=data->>a.desc.nullslast,id', body: [{ id: 2 }, { id: 1 }, { id: 3 }, { id: 4 }] },
    {
      path: 'places?select=id,at->>x,primary:langs->0&order=id',
      body: [
        { id: 1, x: '1', primary: 'en' },
        { id: 2, x: '3', primary: 'fr' },
      ],
    },
    { path: 'places?select=id&at->y=gte.4', body: [{ id: 2 }] },
    { path: 'places?select=id&at=eq.(1,2)', body: [{ id: 1 }] },
    { path: 'places?select=id&at=in.("(1,2)","(9,9)")', body: [{ id: 1 }] },
    { path: 'places?select=id&or=(at.gt."(1,2)",id.eq.9)', body: [{ id: 2 }] },
    { path: 'places?select=id&at=eq(any).{"(3,4)"}', body: [{ id: 2 }] },
    { path: 'places?select=id&order=at->x.desc', body: [{ id: 2 }, { id: 1 }] },
  ]);
});

test('columns can be renamed, cast, repeated and left out', async () => {
  const api = await startApi(PEOPLE);
  await expectReads(api, [
    { path: 'people?select=fullName:name,years:age::text&id=eq.1', body: [{ fullName: 'Ann', years: '20' }] },
    { path: 'people?select=score::int&id=eq.2', body: [{ score: 3 }] },
    { path: 'people?select=born::timestamptz&id=eq.1', body: [{ born: '2000-01-01T00:00:00+00:00' }] },
    { path: 'people?select=tags::_text&id=eq.1', body: [{ tags: ['x', 'y'] }] },
    { path: 'people?select=mood::text,m:mood::mood&id=eq.1', body: [{ mood: 'ok', m: 'ok' }] },
    { path: 'people?select=age::double precision&id=eq.1', body: [{ age: 20 }] },
    { path: 'people?select="Unit Price"&id=eq.1', body: [{ 'Unit Price': 10 }] },
    { path: 'people?select=p:Unit Price&id=eq.1', body: [{ p: 10 }] },
    { path: 'people?select=name&select=id&id=eq.1', body: [{ name: 'Ann' }] },
    { path: 'people?select= id , name &id=eq.1', body: [{ id: 1, name: 'Ann' }] },
    { path: 'people?select=ctid&id=eq.1', body: [{ ctid: '(0,1)' }] },
    { path: 'people?select=id&order=age.desc.nullslast', body: [{ id: 4 }, { id: 2 }, { id: 1 }, { id: 3 }] },
    { path: 'people?select=id&order=age.nullsfirst', body: [{ id: 3 }, { id: 1 }, { id: 2 }, { id: 4 }] },
    { path: 'people?select=id&order=is_member.desc,id.desc&id=neq.3', body: [{ id: 4 }, { id: 1 }, { id: 2 }] },
  ]);
  const { body: all } = await api.as('alice').get('people?id=eq.1');
  expect((await api.as('alice').get('people?select=&id=eq.1')).body).toEqual(all);
  const { text } = await api.as('alice').get('people?select=id,id,name&id=eq.1');
  expect(text).toBe('[{"id":1,"id":1,"name":"Ann"}]');
});

test('what cannot be understood is refused with the reason', async () => {
  const api = await startApi(PEOPLE);
  const bad = (query: string, status: number, body: object): Read => ({ path: `people?${query}`, status, body });
  const unparsed = (query: string, column: number, details: string): Read => {
    const message = expect.stringContaining(`(line 1, column ${column})`);
    return bad(query, 400, { code: 'PGRST100', message, details });
  };
  await expectReads(api, [
    unparsed('age=20', 1, 'unexpected "2" expecting "not" or operator (eq, gt, ...)'),
    unparsed('age=foo.20', 1, 'unexpected "f" expecting "not" or operator (eq, gt, ...)'),
    unparsed('age=not.20', 5, 'unexpected "2" expecting operator (eq, gt, ...)'),
    unparsed('age=eq', 3, 'unexpected end of input expecting operator (eq, gt, ...)'),
    unparsed('age=neq(any).{20}', 4, 'unexpected "(" expecting operator (eq, gt, ...)'),
    unparsed('age=is.maybe', 4, 'unexpected "m" expecting isVal: (null, not_null, true, false, unknown)'),
    unparsed('or=(age.eq.1,age.foo.2)', 15, 'unexpected "f" expecting "not" or operator (eq, gt, ...)'),
    unparsed('order=age.up', 5, 'unexpected "u" expecting "asc", "desc", "nullsfirst" or "nullslast"'),
    unparsed('order=age.asc.up', 9, 'unexpected "u" expecting "nullsfirst" or "nullslast"'),
    unparsed('order=age.descc', 9, 'unexpected "c" expecting delimiter (.), "," or end of input'),
    unparsed('select=data->>--1', 8, 'unexpected "-" expecting JSON key or array index'),
    bad('id=in.(1', 400, { code: 'PGRST100' }),
    bad('id=in.(1)x', 400, { code: 'PGRST100' }),
    bad('tags=cs(any).{x}', 400, { code: 'PGRST100' }),
    bad('words=fts().x', 400, { code: 'PGRST100' }),
    bad('or=(age.eq.1', 400, { code: 'PGRST100' }),
    bad('or=age.eq.1', 400, { code: 'PGRST100' }),
    bad('or=()', 400, { code: 'PGRST100' }),
    bad('select=id,', 400, { code: 'PGRST100' }),
    bad('select=id(', 400, { code: 'PGRST100' }),
    bad('select=id::', 400, { code: 'PGRST100' }),
    bad('select=age.median()', 400, { code: 'PGRST100' }),
    bad('select=%00', 400, { code: 'PGRST100' }),
    bad('select=%ff', 400, { code: 'PGRST100' }),
    bad('select=nothing', 400, { code: '42703', message: 'column people.nothing does not exist' }),
    bad('nothing=eq.1', 400, { code: '42703', hint: null }),
    bad('nam=eq.1', 400, { hint: 'Perhaps you meant to reference the column "people.name".' }),
    bad('order=nothing', 400, { code: '42703' }),
    bad('select=age::nothing', 400, { code: '42704', message: 'type "nothing" does not exist' }),
    bad('age=eq.abc', 400, { code: '22P02', message: 'invalid input syntax for type integer: "abc"' }),
    bad('age=like.2*', 404, { code: '42883' }),
    bad('note=eq.{}', 404, { code: '42883' }),
    { path: 'nothing', status: 404, body: { code: '42P01', message: 'relation "public.nothing" does not exist' } },
    { path: 'people/1', status: 404, body: { code: 'PGRST125' } },
    { path: 'a%22b', status: 400, body: { error: 'DATABASE_VALIDATION_ERROR' } },
  ]);
});
