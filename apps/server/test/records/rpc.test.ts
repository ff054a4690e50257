import { expect, test } from 'vitest';
import { expectReads } from './scenarios.ts';
import { type Headers, OPEN, startApi, tokenOf } from './start.ts';

const FUNCTIONS = `
  create table notes (id int primary key, body text, score int);
  insert into notes values (1, 'a', 10), (2, 'b', 20), (3, 'c', 30);
  create type pair as (x int, y text);
  create domain positive as int check (value > 0);
  create function add_them(a int, b int) returns int immutable language sql as $$ select a + b $$;
  create function add_opt(a int, b int default 5, c int default 0) returns int immutable language sql as $$ select a + b + c $$;
  create function no_args() returns text stable language sql as $$ select 'hi' $$;
  create function give_null() returns int stable language sql as $$ select null::int $$;
  create function nothing() returns void language plpgsql as $$ begin insert into notes values (100, 'void', 0); end $$;
  create function plus_one(arr int[]) returns int[] immutable language sql as $$ select array_agg(n + 1) from unnest($1) n $$;
  create function total(variadic v int[]) returns int immutable language sql as $$ select sum(n)::int from unnest($1) n $$;
  create function whole(json) returns text immutable language sql as $$ select $1->>'x' $$;
  create function whole_b(jsonb) returns int immutable language sql as $$ select jsonb_array_length($1) $$;
  create function raw_text(text) returns text immutable language sql as $$ select upper($1) $$;
  create function raw_bytes(bytea) returns int immutable language sql as $$ select length($1) $$;
  create function raw_xml(xml) returns text immutable language sql as $$ select $1::text $$;
  create function named_json(doc jsonb) returns int immutable language sql as $$ select (doc->>'n')::int $$;
  create function composite(p pair) returns text immutable language sql as $$ select p.x || p.y $$;
  create function one_pair() returns pair stable language sql as $$ select row(1, 'z')::pair $$;
  create function pairs() returns setof pair stable language sql as $$ values (1, 'a'), (2, 'b') $$;
  create function get_notes() returns setof notes stable language sql as $$ select * from notes $$;
  create function one_note(n int) returns notes stable language sql as $$ select * from notes where id = n $$;
  create function numbers(n int) returns setof int stable language sql as $$ select generate_series(1, n) $$;
  create function as_table() returns table (id int, label text) stable language sql as $$ values (1, 'one'), (2, 'two') $$;
  create function one_column() returns table (label text) stable language sql as $$ values ('one') $$;
  create function outs(a int, out twice int, out half numeric) immutable language sql as $$ select a * 2, a / 2.0 $$;
  create function one_out(a int, out twice int) immutable language sql as $$ select a * 2 $$;
  create function in_out(inout n int) immutable language sql as $$ select n + 1 $$;
  create function untyped() returns setof record stable language sql as $$ select id, body from notes $$;
  create function over(a int) returns text immutable language sql as $$ select 'int' $$;
  create function over(a int, b int) returns text immutable language sql as $$ select 'two ints' $$;
  create function clash(a int) returns text immutable language sql as $$ select 'int' $$;
  create function clash(a text) returns text immutable language sql as $$ select 'text' $$;
  create function fallback(a int) returns text immutable language sql as $$ select 'named' $$;
  create function fallback(json) returns text immutable language sql as $$ select 'json' $$;
  create function two_bodies(json) returns int immutable language sql as $$ select 1 $$;
  create function two_bodies(jsonb) returns int immutable language sql as $$ select 2 $$;
  create function writes() returns int volatile language sql as $$ insert into notes values (200, 'w', 0) returning id $$;
  create function lies() returns int stable language plpgsql as $$ begin return writes(); end $$;
  create function dom(p positive) returns positive immutable language sql as $$ select p $$;
  create function anything(v anyelement) returns text immutable language sql as $$ select v::text $$;
  create function "Odd Name"("An Arg" text) returns text immutable language sql as $$ select "An Arg" $$;
  create function chars(c char(5), b bit(5)) returns text immutable language sql as $$ select c || b::text $$;
  create function one_record() returns record stable language sql as $$ select 1 as id, 'a'::text as name $$;
  create domain note as notes;
  create function domain_notes() returns setof note stable language sql as $$ select (n.*)::note from notes n where id = 1 $$;
  create function doc() returns jsonb immutable language sql as $$ select '{"b":[1,2],"a":null}'::jsonb $$;
  create function add_note(new_id int, new_body text) returns setof notes language sql as $$ insert into notes values (new_id, new_body, 0) returning * $$;
  create function overloaded_rows(a int default 1) returns setof notes stable language sql as $$ select * from notes where id = a $$;
  ${OPEN}`;

test('functions are called with GET', async () => {
  const api = await startApi(FUNCTIONS);
  await expectReads(api, [
    { path: 'rpc/add_them?a=1&b=2', body: 3 },
    { path: 'rpc/add_opt?a=1', body: 6 },
    { path: 'rpc/add_opt?a=1&c=10', body: 16 },
    { path: 'rpc/no_args', body: 'hi', has: { 'content-type': 'application/json; charset=utf-8' } },
    { path: 'rpc/give_null', body: null },
    { path: 'rpc/plus_one?arr={1,2,3}', body: [2, 3, 4] },
    { path: 'rpc/total?v=1&v=2&v=3', body: 6 },
    { path: 'rpc/total?v=1', body: 1 },
    { path: 'rpc/named_json?doc={"n":4}', body: 4 },
    { path: 'rpc/composite?p=(1,b)', body: '1b' },
    { path: 'rpc/one_pair', body: { x: 1, y: 'z' } },
    {
      path: 'rpc/pairs',
      body: [
        { x: 1, y: 'a' },
        { x: 2, y: 'b' },
      ],
    },
    { path: 'rpc/pairs?select=y&x=eq.2', body: [{ y: 'b' }] },
    { path: 'rpc/get_notes?select=id&score=gt.10&order=id.desc&limit=1', body: [{ id: 3 }] },
    { path: 'rpc/one_note?n=2', body: { id: 2, body: 'b', score: 20 } },
    { path: 'rpc/one_note?n=2&select=body', body: { body: 'b' } },
    { path: 'rpc/numbers?n=3', body: [1, 2, 3] },
    { path: 'rpc/numbers?n=5&limit=2&offset=1', body: [2, 3], has: { 'content-range': '1-2/*' } },
    { path: 'rpc/numbers?n=5&pgrst_scalar=gt.3', body: [4, 5] },
    { path: 'rpc/numbers?n=5&or=(pgrst_scalar.eq.1,pgrst_scalar.gt.4)&order=pgrst_scalar.desc', body: [5, 1] },
    { path: 'rpc/numbers?n=2&select=pgrst_scalar::text', body: ['1', '2'] },
    { path: 'rpc/numbers?n=2&nothing=eq.1', status: 400, body: { code: '42703' } },
    { path: 'rpc/numbers?n=2&order=nothing', status: 400, body: { code: '42703' } },
    { path: 'rpc/numbers?n=2&select=nothing', status: 400, body: { code: '42703' } },
    { path: 'rpc/numbers?n=2&select=count()', status: 400, body: { code: '42703' } },
    { path: 'rpc/numbers?n=2&select=notes(id)', status: 400, body: { code: 'PGRST200' } },
    { path: 'rpc/add_them?a=1&b=2&select=*', body: 3 },
    { path: 'rpc/doc?select=pgrst_scalar:pgrst_scalar->b&pgrst_scalar->b->>0=eq.1', body: [1, 2] },
    { path: 'rpc/as_table?id=eq.2', body: [{ id: 2, label: 'two' }] },
    { path: 'rpc/one_column', body: [{ label: 'one' }] },
    { path: 'rpc/outs?a=3', body: { twice: 6, half: 1.5 } },
    { path: 'rpc/one_out?a=3', body: { twice: 6 } },
    { path: 'rpc/in_out?n=3', body: { n: 4 } },
    { path: 'rpc/over?a=1', body: 'int' },
    { path: 'rpc/over?a=1&b=2', body: 'two ints' },
    { path: 'rpc/dom?p=5', body: 5 },
    { path: 'rpc/dom?p=-5', status: 400, body: { code: '23514' } },
    { path: 'rpc/anything?v=x', body: 'x' },
    { path: 'rpc/Odd%20Name?An%20Arg=v', body: 'v' },
    { path: 'rpc/doc', body: { b: [1, 2], a: null } },
    { path: 'rpc/chars?c=abcdefg&b=101010', body: 'abcdefg101010' },
    { path: 'rpc/one_record', body: { id: 1, name: 'a' } },
    { path: 'rpc/untyped?limit=1', body: [{ id: 1, body: 'a' }] },
    { path: 'rpc/domain_notes?select=body', body: [{ body: 'a' }] },
    { path: 'rpc/add_them?a=1&b=2', headers: { prefer: 'count=exact' }, body: 3, has: { 'content-range': '0-0/1' } },
    { path: 'rpc/overloaded_rows?select=id', body: [{ id: 1 }] },
    { path: 'rpc/add_them?a=x&b=2', status: 400, body: { code: '22P02' } },
    {
      path: 'rpc/writes',
      status: 405,
      body: { code: '25006', message: 'cannot execute INSERT in a read-only transaction' },
    },
    {
      path: 'rpc/get_notes?id=gt.1&order=id',
      headers: { accept: 'application/vnd.pgrst.object+json' },
      status: 406,
      body: { code: 'PGRST116' },
    },
    {
      path: 'rpc/get_notes?id=eq.1&select=id',
      headers: { accept: 'application/vnd.pgrst.object+json' },
      body: { id: 1 },
    },
    {
      path: 'rpc/get_notes?select=id&order=id&limit=2',
      headers: { prefer: 'count=exact' },
      status: 206,
      body: [{ id: 1 }, { id: 2 }],
      has: { 'content-range': '0-1/3' },
    },
  ]);
});

test('functions are called with POST', async () => {
  const { as, sql } = await startApi(FUNCTIONS);
  const call = async (path: string, body?: unknown, headers?: Headers) => {
    const reply = await as('alice').post(`rpc/${path}`, body, headers);
    return [reply.status, reply.body];
  };
  const octets = { 'content-type': 'application/octet-stream' };
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  expect.soft(await call('add_them', { a: 1, b: 2 })).toEqual([200, 3]);
  expect.soft(await call('no_args')).toEqual([200, 'hi']);
  expect.soft(await call('no_args', {})).toEqual([200, 'hi']);
  expect.soft(await call('plus_one', { arr: [1, 2] })).toEqual([200, [2, 3]]);
  expect.soft(await call('plus_one', { arr: '{1,2}' })).toEqual([200, [2, 3]]);
  expect.soft(await call('total', { v: [1, 2, 3] })).toEqual([200, 6]);
  expect.soft(await call('total', 'v=1&v=2', form)).toEqual([200, 3]);
  expect.soft(await call('add_them', 'a=1&b=2', form)).toEqual([200, 3]);
  const pairs = [
    { a: 1, b: 2 },
    { a: 5, b: 5 },
  ];
  expect.soft(await call('add_them', pairs)).toEqual([200, 3]);
  expect.soft(await call('add_them?columns=a,b', { a: 1, b: 2, c: 3 })).toEqual([200, 3]);
  expect.soft(await call('add_them?a=1', { b: 2 })).toEqual([400, expect.objectContaining({ code: 'PGRST100' })]);
  expect.soft(await call('raw_xml', '<a>1</a>', { 'content-type': 'text/xml' })).toEqual([200, '<a>1</a>']);
  expect.soft(await call('raw_xml', '<', { 'content-type': 'text/xml' })).toEqual([400, expect.anything()]);
  expect.soft(await call('whole', { x: 'y' })).toEqual([200, 'y']);
  expect.soft(await call('whole_b', [1, 2, 3])).toEqual([200, 3]);
  expect.soft(await call('raw_text', 'shout', { 'content-type': 'text/plain' })).toEqual([200, 'SHOUT']);
  expect.soft(await call('raw_bytes', Buffer.from([0, 1, 255]), octets)).toEqual([200, 3]);
  expect.soft(await call('named_json', { doc: { n: 7 } })).toEqual([200, 7]);
  expect.soft(await call('composite', { p: { x: 1, y: 'q' } })).toEqual([200, '1q']);
  expect.soft(await call('fallback', { a: 1 })).toEqual([200, 'named']);
  expect.soft(await call('fallback', { other: 1 })).toEqual([200, 'json']);
  expect.soft(await call('give_null', {})).toEqual([200, null]);
  expect.soft(await call('named_json', '{"n":3}', { prefer: 'params=single-object' })).toEqual([200, 3]);
  expect.soft(await call('get_notes?select=id&id=eq.1', {})).toEqual([200, [{ id: 1 }]]);
  expect.soft(await call('nothing', {})).toEqual([204, '']);
  expect.soft(await call('writes', {})).toEqual([200, 200]);
  expect.soft(await call('lies', {})).toEqual([405, expect.objectContaining({ code: '25006' })]);
  expect.soft(await call('add_note?select=body', { new_id: 300, new_body: 'n' })).toEqual([200, [{ body: 'n' }]]);
  const page = await as('alice').post(
    'rpc/add_note?limit=1&select=id',
    { new_id: 301, new_body: 'n' },
    { prefer: 'count=exact' },
  );
  expect.soft([page.status, page.body, page.headers['content-range']]).toEqual([200, [{ id: 301 }], '0-0/1']);
  const dry = await as('alice').post('rpc/add_note', { new_id: 302, new_body: 'n' }, { prefer: 'tx=rollback' });
  expect.soft([dry.status, dry.body.length]).toEqual([200, 1]);
  const found = await sql<{ id: number }>('select id from notes where id >= 100 order by id');
  expect(found.map(({ id }) => id)).toEqual([100, 200, 300, 301]);
});

test('HEAD runs the function and answers without a body', async () => {
  const { as } = await startApi(FUNCTIONS);
  const reply = await as('alice').head('rpc/get_notes', { prefer: 'count=exact' });
  expect([reply.status, reply.text, reply.headers['content-range']]).toEqual([200, '', '0-2/3']);
  expect((await as('alice').head('rpc/writes')).status).toBe(405);
});

test('a function that cannot be called is explained', async () => {
  const api = await startApi(FUNCTIONS);
  await expectReads(api, [
    {
      path: 'rpc/add_then?a=1&b=2',
      status: 404,
      body: {
        code: 'PGRST202',
        message: 'Could not find the function public.add_then(a, b) in the schema cache',
        details:
          'Searched for the function public.add_then with parameters a, b, but no matches were found in the schema cache.',
        hint: 'Perhaps you meant to call the function public.add_them',
      },
    },
    {
      path: 'rpc/add_them?z=1&b=1&a=1',
      status: 404,
      body: {
        code: 'PGRST202',
        message: 'Could not find the function public.add_them(a, b, z) in the schema cache',
        hint: 'Perhaps you meant to call the function public.add_them(a, b)',
      },
    },
    { path: 'rpc/add_them?something=1', status: 404, body: { code: 'PGRST202', hint: null } },
    {
      path: 'rpc/add_them?a=1',
      status: 404,
      body: { code: 'PGRST202', hint: 'Perhaps you meant to call the function public.add_them(a, b)' },
    },
    {
      path: 'rpc/zzz',
      status: 404,
      body: {
        code: 'PGRST202',
        message: 'Could not find the function public.zzz without parameters in the schema cache',
        hint: null,
      },
    },
    {
      path: 'rpc/clash?a=1',
      status: 300,
      body: {
        code: 'PGRST203',
        message:
          'Could not choose the best candidate function between: public.clash(a => integer), public.clash(a => text)',
        hint: 'Try renaming the parameters or the function itself in the database so function overloading can be resolved',
      },
    },
  ]);
  const posted = await api.as('alice').post('rpc/add_them', { wrong: 1 });
  expect(posted.body).toMatchObject({
    code: 'PGRST202',
    details:
      'Searched for the function public.add_them with parameter wrong or with a single unnamed json/jsonb parameter, but no matches were found in the schema cache.',
  });
  const single = await api.as('alice').post('rpc/add_them', { a: 1, b: 2 }, { prefer: 'params=single-object' });
  expect(single.body).toEqual({
    code: 'PGRST202',
    message: 'Could not find the function public.add_them in the schema cache',
    details:
      'Searched for the function public.add_them with a single json/jsonb parameter, but no matches were found in the schema cache.',
    hint: null,
  });
  const bodies = await api.as('alice').post('rpc/two_bodies', { a: 1 });
  expect([bodies.status, bodies.body.message]).toEqual([
    300,
    'Could not choose the best candidate function between: public.two_bodies( => json), public.two_bodies( => jsonb)',
  ]);
  const raw = await api.as('alice').post('rpc/add_them', 'x', { 'content-type': 'text/plain' });
  expect(raw.body).toEqual({
    code: 'PGRST202',
    message: 'Could not find the function public.add_them in the schema cache',
    details:
      'Searched for the function public.add_them with a single unnamed text parameter, but no matches were found in the schema cache.',
    hint: null,
  });
  for (const method of ['patch', 'put', 'delete'] as const) {
    const reply = await api.as('alice')[method]('rpc/add_them', {} as never);
    expect([reply.status, reply.body.code]).toEqual([405, 'PGRST101']);
  }
});

test('functions decide the status, the headers and the errors of an answer', async () => {
  const { as } = await startApi(`
    create function teapot() returns json language plpgsql as $$ begin
      perform set_config('response.status', '418', true);
      perform set_config('response.headers', '[{"X-Kind":"tea"},{"Set-Cookie":"a=1"},{"Set-Cookie":"b=2"},{"Content-Type":"text/x-tea"}]', true);
      return '{"short":"stout"}';
    end $$;
    create function bad_headers() returns int language sql as $$ select set_config('response.headers', '{"a":"b"}', true)::json is null; select 1 $$;
    create function bad_status() returns int language sql as $$ select set_config('response.status', 'ok', true); select 1 $$;
    create function fails() returns int language plpgsql as $$ begin raise exception 'I refuse!' using detail = 'Pretty simple', hint = 'Nothing helps.'; end $$;
    create function pays() returns int language plpgsql as $$ begin raise sqlstate 'PT402' using message = 'Payment Required', detail = 'Quota', hint = 'Upgrade'; end $$;
    create function speaks() returns int language plpgsql as $$ begin
      raise sqlstate 'PGRST' using
        message = '{"code":"123","message":"Payment Required","details":"Quota exceeded","hint":"Upgrade your plan"}',
        detail = '{"status":402,"headers":{"X-Powered-By":"Nerd Rage"}}'; end $$;
    create function mumbles() returns int language plpgsql as $$ begin raise sqlstate 'PGRST' using message = 'INVALID', detail = '{"status":402,"headers":{}}'; end $$;
    create function denies() returns int language plpgsql as $$ begin raise insufficient_privilege using message = 'no'; end $$;
    create function slow() returns int language plpgsql set statement_timeout = '20ms' as $$ begin perform pg_sleep(5); return 1; end $$;
    create function whoami() returns json stable language sql as $$ select json_build_object(
      'method', current_setting('request.method', true), 'path', current_setting('request.path', true),
      'agent', current_setting('request.headers', true)::json->>'user-agent', 'secret', current_setting('request.headers', true)::json->>'authorization',
      'cookie', current_setting('request.cookies', true)::json->>'sid', 'role', current_setting('request.jwt.claims', true)::json->>'role', 'user', current_user) $$;
    ${OPEN}`);
  const post = async (name: string, who: 'alice' | 'anon' = 'alice') => {
    const { status, body } = await as(who).post(`rpc/${name}`, {});
    return [status, body];
  };
  const tea = await as('alice').post('rpc/teapot', {});
  expect([tea.status, tea.headers['x-kind'], tea.headers['set-cookie'], tea.headers['content-type'], tea.text]).toEqual(
    [418, 'tea', ['a=1', 'b=2'], 'text/x-tea', '{"short":"stout"}'],
  );
  expect(await post('bad_headers')).toEqual([500, expect.objectContaining({ code: 'PGRST111' })]);
  expect(await post('bad_status')).toEqual([500, expect.objectContaining({ code: 'PGRST112' })]);
  expect(await post('fails')).toEqual([
    400,
    { code: 'P0001', message: 'I refuse!', details: 'Pretty simple', hint: 'Nothing helps.' },
  ]);
  expect(await post('pays')).toEqual([
    402,
    { code: 'PT402', message: 'Payment Required', details: 'Quota', hint: 'Upgrade' },
  ]);
  const speaks = await as('alice').post('rpc/speaks', {});
  expect([speaks.status, speaks.headers['x-powered-by'], speaks.body]).toEqual([
    402,
    'Nerd Rage',
    { code: '123', message: 'Payment Required', details: 'Quota exceeded', hint: 'Upgrade your plan' },
  ]);
  expect(await post('mumbles')).toEqual([
    500,
    {
      code: 'PGRST121',
      message: `Could not parse JSON in the "RAISE SQLSTATE 'PGRST'" error`,
      details: "Invalid JSON value for MESSAGE: 'INVALID'",
      hint: "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: 'details', 'hint'.",
    },
  ]);
  expect(await post('denies')).toEqual([403, expect.objectContaining({ code: '42501' })]);
  expect(await post('denies', 'anon')).toEqual([401, expect.objectContaining({ code: '42501' })]);
  expect(await post('slow')).toEqual([500, expect.objectContaining({ code: '57014' })]);
  const me = await as('alice').get('rpc/whoami?select=*', { 'user-agent': 'test', cookie: 'sid=42; other=1' });
  expect(me.body).toEqual({
    method: 'GET',
    path: '/api/database/rpc/whoami',
    agent: 'test',
    secret: null,
    cookie: '42',
    role: 'authenticated',
    user: 'authenticated',
  });
});

test('what SQL says of an answer must be possible', async () => {
  const { as } = await startApi(`
    create function set_header(name text, value text) returns int language sql as
      $$ select set_config('response.headers', json_build_array(json_build_object(name, value))::text, true); select 1 $$;
    create function set_status(status text) returns int language sql as $$ select set_config('response.status', status, true); select 1 $$;
    create function raise_code(code text) returns int language plpgsql as $$ begin raise exception using errcode = code, message = 'm'; end $$;
    create function raise_answer(detail text) returns int language plpgsql as $$ begin
      if detail is null then raise sqlstate 'PGRST' using message = '{"code":"1","message":"M"}'; end if;
      raise sqlstate 'PGRST' using message = '{"code":"1","message":"M"}', detail = detail; end $$;
    ${OPEN}`);
  const call = async (path: string, body: object) => {
    const reply = await as('alice').post(`rpc/${path}`, body);
    return [reply.status, reply.body?.code ?? reply.body];
  };
  expect.soft(await call('set_header', { name: 'Content-Length', value: '99' })).toEqual([200, 1]);
  for (const [name, value] of [
    ['X Bad', 'a'],
    ['X-Bad', 'a\nb'],
    ['', 'a'],
  ]) {
    expect.soft(await call('set_header', { name, value }), name).toEqual([500, 'PGRST111']);
  }
  expect.soft((await call('set_status', { status: '205' }))[0]).toBe(205);
  for (const status of ['100', '99', '600', '1000', 'ok']) {
    expect.soft(await call('set_status', { status }), status).toEqual([500, 'PGRST112']);
  }
  const codes = {
    PT404: 404,
    PT40A: 500,
    PT100: 500,
    PT999: 500,
    '22023': 400,
    '54001': 500,
    '21000': 500,
    P0002: 500,
  };
  for (const [code, status] of Object.entries(codes)) {
    expect.soft(await call('raise_code', { code }), code).toEqual([status, code]);
  }
  expect.soft(await call('raise_answer', { detail: '{"status":404,"headers":{}}' })).toEqual([404, '1']);
  const raised = await as('alice').post('rpc/raise_answer', { detail: '{"status":404,"headers":{}}' });
  expect.soft(raised.headers['proxy-status']).toBe('PostgREST; error=1');
  const missing = await as('alice').post('rpc/raise_answer', { detail: null });
  expect.soft([missing.status, missing.body.details]).toEqual([500, 'DETAIL is missing in the RAISE statement']);
  for (const detail of [
    '{"status":99,"headers":{}}',
    '{"status":1000,"headers":{}}',
    '{"status":404}',
    '{"status":404,"headers":{"X Bad":"a"}}',
    '{"status":404,"headers":{"X-Bad":"a\\nb"}}',
    '{"status":404,"headers":{},"status_text":"a\\nb"}',
  ]) {
    expect.soft(await call('raise_answer', { detail }), detail).toEqual([500, 'PGRST121']);
  }
});

test('words of SQL travel as they are', async () => {
  const api = await startApi(`
    create function refuse() returns int language plpgsql as $$ begin raise sqlstate 'PGRST' using
      message = '{"code":"1","message":"жаль"}',
      detail = '{"status":404,"status_text":"My Not Found","headers":{"X-File":"файл"}}'; end $$;
    create function charge() returns int language plpgsql as $$ begin raise sqlstate 'PT402' using message = 'Pay First'; end $$;
    create function named() returns text language sql as $$
      select set_config('response.headers', '[{"X-File":"файл"}]', true); select 'ö' $$;
    ${OPEN}`);
  const base = await api.listen();
  const headers = { authorization: `Bearer ${await tokenOf('alice')}` };
  const refused = await fetch(`${base}/api/database/rpc/refuse`, { method: 'POST', headers });
  expect([refused.status, refused.statusText]).toEqual([404, 'My Not Found']);
  expect(fileOf(refused)).toBe('файл');
  expect(await refused.json()).toMatchObject({ message: 'жаль' });
  const charged = await fetch(`${base}/api/database/rpc/charge`, { method: 'POST', headers });
  expect([charged.status, charged.statusText]).toEqual([402, 'Pay First']);
  const named = await fetch(`${base}/api/database/rpc/named`, { method: 'POST', headers });
  expect(fileOf(named)).toBe('файл');
  expect(await named.json()).toBe('ö');
});

test('policies, defaults and views get to know the request too', async () => {
  const { as } = await startApi(`
    create table tenants (id int primary key, tenant text default current_setting('request.headers', true)::json->>'x-tenant');
    create policy same on tenants using (tenant = current_setting('request.headers', true)::json->>'x-tenant') with check (true);`);
  expect((await as('alice').post('tenants', { id: 1 }, { 'x-tenant': 'a' })).status).toBe(201);
  expect((await as('alice').get('tenants', { 'x-tenant': 'a' })).body).toEqual([{ id: 1, tenant: 'a' }]);
  expect((await as('alice').get('tenants', { 'x-tenant': 'b' })).body).toEqual([]);
});

test('max-affected limits what a function may return', async () => {
  const { as, sql } = await startApi(`${FUNCTIONS}
    create function clear_notes() returns setof notes language sql as $$ delete from notes returning * $$; ${OPEN}`);
  const strict = { prefer: 'handling=strict, max-affected=2' };
  const refused = await as('alice').post('rpc/clear_notes', {}, strict);
  expect([refused.status, refused.body.code, refused.body.details]).toEqual([
    400,
    'PGRST124',
    'The query affects 3 rows',
  ]);
  expect(await sql('select from notes')).toHaveLength(3);
  expect((await as('alice').post('rpc/add_them', { a: 1, b: 2 }, strict)).body.code).toBe('PGRST128');
  expect((await as('alice').post('rpc/clear_notes?id=gt.1', {}, strict)).status).toBe(200);
});

test('an error is told in a header where there is no body', async () => {
  const { as } = await startApi(FUNCTIONS);
  const reply = await as('alice').head('notes?nothing=eq.1');
  expect([reply.status, reply.text, reply.headers['proxy-status']]).toEqual([400, '', 'PostgREST; error=42703']);
});

test('a client that goes away takes its statement with it', async () => {
  const api = await startApi(
    `create function nap() returns int volatile language plpgsql as $$ begin perform pg_sleep(30); return 1; end $$; ${OPEN}`,
  );
  const base = await api.listen();
  const running = async () =>
    (
      await api.sql<{ n: number }>(
        `select count(*)::int as n from pg_stat_activity where datname = current_database() and state = 'active' and wait_event = 'PgSleep'`,
      )
    )[0]?.n;
  for (const prefer of ['', 'tx=rollback']) {
    const controller = new AbortController();
    const answer = fetch(`${base}/api/database/rpc/nap`, {
      method: 'POST',
      body: '{}',
      signal: controller.signal,
      headers: { authorization: `Bearer ${await tokenOf('alice')}`, 'content-type': 'application/json', prefer },
    });
    await expect.poll(running, { timeout: 5000 }).toBe(1);
    controller.abort();
    await expect(answer).rejects.toThrow('aborted');
    await expect.poll(running, { timeout: 5000 }).toBe(0);
  }
  expect((await api.as('alice').get('nothing')).status).toBe(404);
});

test('a call that does not give the one object is undone, and a counted one runs once', async () => {
  const { as, sql } = await startApi(`${FUNCTIONS}
    create function add_many(n int) returns setof notes language sql as $$ insert into notes select 400 + i, 'x', 0 from generate_series(1, n) i returning * $$; ${OPEN}`);
  const object = { accept: 'application/vnd.pgrst.object+json' };
  const refused = await as('alice').post('rpc/add_many', { n: 2 }, object);
  expect([refused.status, refused.body.details]).toEqual([406, 'The result contains 2 rows']);
  expect(await sql('select from notes where id > 400')).toHaveLength(0);
  expect((await as('alice').post('rpc/add_many?select=id', { n: 1 }, object)).body).toEqual({ id: 401 });
  for (const count of ['exact', 'planned', 'estimated']) {
    await sql('delete from notes where id > 400');
    const reply = await as('alice').post(
      'rpc/add_many?limit=2&offset=1&select=id',
      { n: 3 },
      { prefer: `count=${count}` },
    );
    expect([reply.status, reply.body], count).toEqual([expect.any(Number), [{ id: 402 }, { id: 403 }]]);
  }
});

/** The header as the bytes on the wire say it, which fetch reads one by one. */
function fileOf({ headers }: Response): string {
  return Buffer.from(headers.get('x-file') ?? '', 'latin1').toString();
}
