import { expect, test } from 'vitest';
import { expectReads } from './scenarios.ts';
import { OPEN, startApi } from './start.ts';

const LINES = `
  create table lines (id int primary key, name text, note text);
  insert into lines values (1, 'one', null), (2, 'two, "2"', 'x');
  create function one_line() returns lines stable language sql as $$ select * from lines where id = 1 $$;
  create function number() returns int stable language sql as $$ select 7 $$;
  create function st_asgeojson(feature record) returns text immutable language plpgsql as $$ begin
    return json_build_object('type', 'Feature', 'properties', to_json(feature))::text; end $$;
  ${OPEN}`;

test('answers come in the form that the client likes best', async () => {
  const api = await startApi(LINES);
  const accept = (type: string) => ({ accept: type });
  const json = 'application/json; charset=utf-8';
  await expectReads(api, [
    {
      path: 'lines?select=id&order=id',
      headers: accept('*/*'),
      body: [{ id: 1 }, { id: 2 }],
      has: { 'content-type': json },
    },
    {
      path: 'lines?select=id&id=eq.1',
      headers: accept('text/html, application/xml;q=0.9, */*;q=0.8'),
      body: [{ id: 1 }],
      has: { 'content-type': json },
    },
    {
      path: 'lines?order=id',
      headers: accept('text/csv'),
      body: 'id,name,note\n1,one,\n2,"two, ""2""",x',
      has: { 'content-type': 'text/csv; charset=utf-8' },
    },
    {
      path: 'lines?select=label:name&id=eq.1',
      headers: accept('application/json;q=0.5, text/csv'),
      body: 'label\none',
    },
    { path: 'lines?id=eq.9', headers: accept('text/csv'), body: '' },
    {
      path: 'lines?id=eq.1',
      headers: accept('application/vnd.pgrst.object+json'),
      body: { id: 1 },
      has: { 'content-type': 'application/vnd.pgrst.object+json; charset=utf-8' },
    },
    { path: 'lines?id=eq.1', headers: accept('application/vnd.pgrst.object'), body: { id: 1 } },
    {
      path: 'lines?select=id,note&order=id',
      headers: accept('application/vnd.pgrst.array+json;nulls=stripped'),
      body: [{ id: 1 }, { id: 2, note: 'x' }],
      has: { 'content-type': 'application/vnd.pgrst.array+json;nulls=stripped; charset=utf-8' },
    },
    {
      path: 'lines?id=eq.1',
      headers: accept('application/vnd.pgrst.object+json; nulls=stripped'),
      body: { id: 1, name: 'one' },
    },
    {
      path: 'lines?id=eq.1',
      headers: accept('application/vnd.pgrst.array+json'),
      body: [{ id: 1, name: 'one', note: null }],
      has: { 'content-type': json },
    },
    {
      path: 'lines?id=eq.1',
      headers: accept('APPLICATION/JSON; charset=utf-8'),
      body: [{ id: 1, name: 'one', note: null }],
    },
    {
      path: 'lines?select=id&id=eq.1',
      headers: accept('application/geo+json'),
      body: { type: 'FeatureCollection', features: [{ type: 'Feature', properties: { id: 1 } }] },
      has: { 'content-type': 'application/geo+json; charset=utf-8' },
    },
    {
      path: 'lines',
      headers: accept('unknown/unknown'),
      status: 406,
      body: { code: 'PGRST107', message: 'None of these media types are available: unknown/unknown' },
    },
    { path: 'rpc/one_line', headers: accept('text/csv'), body: 'id,name,note\n1,one,' },
    { path: 'rpc/number', headers: accept('text/csv'), body: 'pgrst_scalar\n7' },
    {
      path: 'rpc/one_line',
      headers: accept('application/vnd.pgrst.object+json;nulls=stripped'),
      body: { id: 1, name: 'one' },
    },
    { path: 'rpc/number', headers: accept('application/vnd.pgrst.object+json'), body: 7 },
    { path: 'rpc/number', headers: accept('text/plain'), status: 406, body: { code: 'PGRST107' } },
  ]);
});

test('writes answer in these forms too', async () => {
  const { as } = await startApi(LINES);
  const csv = await as('alice').post(
    'lines',
    { id: 3, name: 'c' },
    { prefer: 'return=representation', accept: 'text/csv' },
  );
  expect([csv.status, csv.text]).toEqual([201, 'id,name,note\n3,c,']);
  const stripped = await as('alice').patch(
    'lines?id=eq.3',
    { name: 'd' },
    { prefer: 'return=representation', accept: 'application/vnd.pgrst.array+json;nulls=stripped' },
  );
  expect(stripped.body).toEqual([{ id: 3, name: 'd' }]);
});

test('admins may see the plan of a query', async () => {
  const { as } = await startApi(LINES);
  const plan = 'application/vnd.pgrst.plan';
  const text = await as('admin').get('lines?id=eq.1', { accept: plan });
  expect([text.status, text.headers['content-type']]).toEqual([
    200,
    `${plan}+text; for="application/json"; charset=utf-8`,
  ]);
  expect(text.text).toMatch(/Aggregate[\s\S]*lines/);
  const json = await as('admin').get('lines?id=eq.1', {
    accept: `${plan}+json; for="text/csv"; options=analyze|verbose`,
  });
  expect(json.headers['content-type']).toBe(`${plan}+json; for="text/csv"; options=analyze|verbose; charset=utf-8`);
  expect(json.body[0]).toHaveProperty('Execution Time');
  const write = await as('admin').post(
    'lines',
    { id: 9 },
    { accept: `${plan}; options=analyze`, prefer: 'tx=rollback' },
  );
  expect(write.text).toMatch(/Insert on/);
  expect((await as('admin').get('lines?id=eq.9')).body).toEqual([]);
  for (const who of ['alice', 'anon'] as const) {
    const refused = await as(who).get('lines', { accept: plan });
    expect([refused.status, refused.body.code]).toEqual([406, 'PGRST107']);
  }
});

test('SQL may provide more media types', async () => {
  const api = await startApi(`
    ${LINES}
    create domain "application/vnd.names" as text;
    create domain "text/html" as text;
    create domain "text/csv" as text;
    create function names_step(state "application/vnd.names", next lines) returns "application/vnd.names" immutable language sql as $$ select state || next.name || ';' $$;
    create aggregate names_agg (lines) (initcond = '', stype = "application/vnd.names", sfunc = names_step);
    create function csv_step(state "text/csv", next lines) returns "text/csv" immutable language sql as $$ select state || next.id || E'\\n' $$;
    create aggregate csv_agg (lines) (initcond = 'own' , stype = "text/csv", sfunc = csv_step);
    create function any_step(state "text/html", next anyelement) returns "text/html" immutable language sql as $$ select state || '<p>' || (to_json(next)->>'id') || '</p>' $$;
    create aggregate any_agg (anyelement) (initcond = '', stype = "text/html", sfunc = any_step);
    create function page() returns "text/html" stable language sql as $$ select '<h1>hi</h1>' $$;
    create function pages() returns setof "text/html" stable language sql as $$ select '<p>'::"text/html" from generate_series(1, 2) $$;
    create domain "*/*" as bytea;
    create function anything() returns "*/*" stable language sql as $$ select 'x'::bytea $$;
    create function picture() returns "*/*" stable language sql as $$ select set_config('response.headers', '[{"Content-Type":"image/png"}]', true); select '\\x8950'::bytea $$;
    create function all_lines() returns setof lines stable language sql as $$ select * from lines $$;
    ${OPEN}`);
  await expectReads(api, [
    {
      path: 'lines?order=id',
      headers: { accept: 'application/vnd.names' },
      body: 'one;two, "2";',
      has: { 'content-type': 'application/vnd.names' },
    },
    { path: 'rpc/all_lines?order=id', headers: { accept: 'application/vnd.names' }, body: 'one;two, "2";' },
    {
      path: 'lines?order=id',
      headers: { accept: 'text/csv' },
      body: 'own1\n2\n',
      has: { 'content-type': 'text/csv; charset=utf-8' },
    },
    { path: 'lines?select=id', headers: { accept: 'application/vnd.names' }, status: 406, body: { code: 'PGRST107' } },
    { path: 'lines?select=id&order=id', headers: { accept: 'text/html' }, body: '<p>1</p><p>2</p>' },
    { path: 'rpc/pages', headers: { accept: 'text/html' }, status: 406, body: { code: 'PGRST107' } },
    { path: 'rpc/pages', body: ['<p>', '<p>'] },
    {
      path: 'rpc/anything',
      headers: { accept: 'a/b' },
      body: 'x',
      has: { 'content-type': 'application/octet-stream' },
    },
    {
      path: 'lines?order=id',
      headers: { accept: 'text/html' },
      body: '<p>1</p><p>2</p>',
      has: { 'content-type': 'text/html' },
    },
    { path: 'rpc/page', headers: { accept: 'text/html' }, body: '<h1>hi</h1>', has: { 'content-type': 'text/html' } },
    { path: 'rpc/page', headers: { accept: 'application/json' }, status: 406, body: { code: 'PGRST107' } },
    { path: 'lines?id=eq.1', headers: { accept: 'application/json' }, body: [{ id: 1, name: 'one', note: null }] },
  ]);
  const picture = await api.as('alice').get('rpc/picture', { accept: 'image/png' });
  expect([picture.status, picture.headers['content-type'], picture.bytes]).toEqual([
    200,
    'image/png',
    Buffer.from([0x89, 0x50]),
  ]);
});
