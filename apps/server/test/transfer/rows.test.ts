import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';

const TYPES = { csv: 'text/csv', json: 'application/json', ndjson: 'application/x-ndjson' } as const;

async function startFilled(): Promise<TestApp> {
  const app = await startApp();
  const made = await app.as('admin').post('/api/database/advance/rawsql', {
    query: `create table notes (id int primary key, title text not null, tags text[], data jsonb, at timestamptz default '2026-01-01', rank numeric default 7);
      create schema shop; create table shop."Odd ""name" (a int, "b c" text)`,
  });
  expect([made.status, made.text]).toEqual([200, made.text]);
  return app;
}

const send = ({ as }: TestApp, table: string, body: string | Buffer, format: keyof typeof TYPES, query = '') =>
  as('admin').post(`/api/database/import/${encodeURIComponent(table)}?${query}`, body, {
    'content-type': TYPES[format],
  });

test.each([
  {
    format: 'csv',
    body: 'id,title,tags,data\r\n1,"a, ""b""\nc","{x,y}","{""k"": 1}"\r\n2,é😀,,\r\n',
    rows: [
      { id: 1, title: 'a, "b"\nc', tags: ['x', 'y'], data: { k: 1 } },
      { id: 2, title: 'é😀', tags: null, data: null },
    ],
  },
  { format: 'csv', body: '\uFEFF"id","title"\n3,""', rows: [{ id: 3, title: '', tags: null, data: null }] },
  {
    format: 'csv',
    body: 'id;title\n4;a,b\n',
    query: 'delimiter=;',
    rows: [{ id: 4, title: 'a,b', tags: null, data: null }],
  },
  {
    format: 'json',
    body: '[{"id": 1, "title": "]},{\\"", "tags": ["p", "q"], "data": [1, {"x": null}]},\n {"id": 2, "title": "b"}]',
    rows: [
      { id: 1, title: ']},{"', tags: ['p', 'q'], data: [1, { x: null }] },
      { id: 2, title: 'b', tags: null, data: null },
    ],
  },
  { format: 'json', body: ' [ ] ', rows: [] },
  {
    format: 'ndjson',
    body: '{"id": 1, "title": "a\\nb"}\n\n{"title": "b", "id": 2, "data": 12345678901234567890}\r\n',
    rows: [
      { id: 1, title: 'a\nb', tags: null, data: null },
      { id: 2, title: 'b', tags: null, data: 12345678901234567000 },
    ],
  },
] as const)('rows come from $format: $body', async ({ format, body, rows, ...more }) => {
  const app = await startFilled();
  const reply = await send(app, 'notes', body, format, 'query' in more ? more.query : '');
  expect(reply).toMatchObject({
    status: 200,
    body: { success: true, table: 'notes', rowsImported: rows.length, totalRows: rows.length },
  });
  expect(await app.sql('select id, title, tags, data from notes order by id')).toEqual(rows);
});

test('what a row does not say gets its default', async () => {
  const app = await startFilled();
  await send(
    app,
    'notes',
    '[{"id":1,"title":"a"},{"id":2,"title":"b","rank":3},{"id":3,"title":"c","rank":null}]',
    'json',
  );
  expect(await app.sql('select id, rank::text, at from notes order by id')).toEqual([
    { id: 1, rank: '7', at: new Date('2026-01-01') },
    { id: 2, rank: '3', at: new Date('2026-01-01') },
    { id: 3, rank: null, at: new Date('2026-01-01') },
  ]);
});

test.each(['csv', 'json'] as const)('rows that exist are replaced by their key, from %s', async (format) => {
  const app = await startFilled();
  await app.sql(`insert into notes (id, title, rank) values (1, 'old', 1), (9, 'kept', 9)`);
  const body = {
    csv: 'id,title\n1,new\n2,first\n2,last\n',
    json: '[{"id":1,"title":"new"},{"id":2,"title":"first"},{"id":2,"title":"last"}]',
  };
  const reply = await send(app, 'notes', body[format], format, 'upsertKey=id');
  expect(reply.body).toMatchObject({ rowsImported: 2, totalRows: 3 });
  expect(await app.sql('select id, title, rank::int from notes order by id')).toEqual([
    { id: 1, title: 'new', rank: 1 },
    { id: 2, title: 'last', rank: 7 },
    { id: 9, title: 'kept', rank: 9 },
  ]);
  expect(await send(app, 'notes', 'title\nx\n', 'csv', 'upsertKey=id')).toMatchObject({ status: 400 });
  expect(await send(app, 'notes', 'id,title\n1,x\n', 'csv', 'upsertKey=title')).toMatchObject({
    status: 400,
    body: { sqlstate: '42P10' },
  });
});

test.each([
  {
    format: 'csv',
    body: 'id,title\n1,a\n"2\n",b\nx,c\n',
    message: 'line 5, column id',
    more: { line: 5, column: 'id' },
  },
  { format: 'csv', body: 'id,title\n1,a\n1,b\n', message: 'duplicate key', more: { line: 3 } },
  { format: 'csv', body: 'id,title\n1,a,b\n', message: 'extra data', more: { line: 2 } },
  {
    format: 'csv',
    query: 'upsertKey=id',
    body: 'id,title\n1,a\n"2\n",b\nx,c\ny,d\n',
    message: '"x" (line 5)',
    more: { line: 5, row: 3 },
  },
  { format: 'csv', query: 'upsertKey=id', body: 'id,title\n1,a\n2\n', message: '(line 3)', more: { line: 3, row: 2 } },
  { format: 'csv', body: 'id,nothing\n1,a\n', message: 'no column "nothing"' },
  { format: 'csv', body: '', message: 'no header' },
  { format: 'csv', body: 'id\n1\n', message: 'null value in column "title"' },
  { format: 'json', body: '[{"id":1,"title":"a"},{"id":2', message: 'no end' },
  { format: 'json', body: '[{"id":1,"title":"a"},{"id":2,}]', message: '(row 2)', more: { row: 2 } },
  { format: 'json', body: '[{"id":1,"title":"a"},7]', message: 'must be a JSON object (row 2)' },
  {
    format: 'ndjson',
    body: '{"id":1,"title":"a"}\n{"id":"x","title":"b"}\n',
    message: '"x" (row 2)',
    more: { row: 2 },
  },
  { format: 'json', body: '[{"id":1,"titel":"a"}]', message: 'no column "titel"' },
] as const)('bad rows undo everything, and the place is told: $body', async ({ format, body, message, ...rest }) => {
  const app = await startFilled();
  const reply = await send(app, 'notes', body, format, 'query' in rest ? rest.query : '');
  expect(reply).toMatchObject({
    status: expect.toBeOneOf([400, 409]),
    body: { message: expect.stringContaining(message), ...('more' in rest ? rest.more : {}) },
  });
  expect(await app.sql('select from notes')).toEqual([]);
});

test.each([
  {
    what: 'values with line ends in them',
    body: 'id,title\n1,"a\n\nb"\nx,bad\n2,"c\n"\n"y\n",bad\n3,d\n',
    good: [1, 2, 3],
    errors: [
      { row: 2, line: 5, message: 'invalid input syntax for type integer: "x"' },
      { row: 4, line: 8 },
    ],
  },
  {
    what: 'CRLF',
    body: 'id,"title"\r\n1,"a\r\nb"\r\nx,bad\r\n2,c\r\n2,again\r\n',
    good: [1, 2],
    errors: [
      { row: 2, line: 4 },
      { row: 4, line: 6, message: expect.stringContaining('duplicate key') },
    ],
  },
  {
    what: 'a byte order mark, and no end of the last line',
    body: '\uFEFF"id",title\n1,é\nx,"bad"',
    good: [1],
    errors: [{ row: 2, line: 3 }],
  },
  {
    what: 'too many and too few fields',
    body: 'id,title\n1,a\n2\n\n3,b,c\n4,"d,e"\n5,f,\n',
    good: [1, 4],
    errors: [
      { row: 2, line: 3, message: '1 field, and the header has 2' },
      { row: 3, line: 4 },
      { row: 4, line: 5, message: '3 fields, and the header has 2' },
      { row: 6, line: 7 },
    ],
  },
  {
    what: 'another delimiter, even a digit',
    body: 'id1title\n21a\n41"1"\n6\n',
    query: 'delimiter=1',
    good: [2, 4],
    errors: [{ row: 3, line: 4 }],
  },
  {
    what: 'what is no text',
    body: Buffer.from('id,title\n1,a\n2,\xff\n3,\x00\n4,b\rc\n5,"d\re"\n6,f\n', 'latin1'),
    good: [1, 5, 6],
    errors: [
      { row: 2, line: 3, message: 'not text in UTF-8' },
      { row: 3, line: 4, message: 'not text in UTF-8' },
      { row: 4, line: 5, message: expect.stringContaining('carriage return') },
    ],
  },
  {
    what: 'a quote without an end',
    body: 'id,title\n1,a\n2,"b\n3,c\n',
    good: [1],
    errors: [{ row: 2, line: 3, message: 'a quote has no end' }],
  },
])('bad rows are left out and listed by their line: $what', async ({ body, good, errors, ...more }) => {
  const app = await startFilled();
  const reply = await send(app, 'notes', body, 'csv', `onError=skip&${'query' in more ? more.query : ''}`);
  expect(reply).toMatchObject({
    status: 200,
    body: { rowsImported: good.length, totalRows: good.length + errors.length, errors },
  });
  expect(await app.sql('select id from notes order by id')).toEqual(good.map((id) => ({ id })));
});

test.each(['"', '§', '\n', '\r'])('a delimiter that COPY does not take is refused: %j', async (delimiter) => {
  const app = await startFilled();
  const query = `onError=skip&delimiter=${encodeURIComponent(delimiter)}`;
  expect(await send(app, 'notes', 'id\n1\n', 'csv', query)).toMatchObject({ status: 400 });
  expect(await send(app, 'notes', `id${delimiter}title\n1${delimiter}a\n`, 'csv', query)).toMatchObject({
    status: 400,
  });
  expect(await app.sql('select from notes')).toEqual([]);
});

test('bad rows in many batches are found, and a hundred are listed', async () => {
  const app = await startFilled();
  const lines = Array.from({ length: 12_000 }, (_, index) => (index % 4000 === 50 ? `x${index},bad` : `${index},good`));
  const some = await send(app, 'notes', `id,title\n${lines.join('\n')}\n5,again\n`, 'csv', 'onError=skip');
  expect(some.body).toMatchObject({ rowsImported: 11_997, totalRows: 12_001 });
  expect(some.body.errors).toMatchObject([
    { row: 51, line: 52, message: expect.stringContaining('x50') },
    { row: 4051, line: 4052 },
    { row: 8051, line: 8052 },
    { row: 12_001, line: 12_002, message: expect.stringContaining('duplicate key') },
  ]);
  const all = 'x,bad\nfew\n'.repeat(75);
  const none = await send(app, 'notes', `id,title\n${all}`, 'csv', 'onError=skip');
  expect(none.body).toMatchObject({ rowsImported: 0, totalRows: 150, moreErrors: 50 });
  expect(none.body.errors).toHaveLength(100);
  const json = '[{"id":20001,"title":"a"},{"id":20002},7,{"id":20003,"title":"b"}]';
  const { body } = await send(app, 'notes', json, 'json', 'onError=skip');
  expect(body).toMatchObject({ rowsImported: 2, errors: [{ row: 2 }, { row: 3 }] });
  expect(body.errors[0]).not.toHaveProperty('line');
});

test('bad rows are left out while others are replaced by their key', async () => {
  const app = await startFilled();
  await app.sql(`insert into notes (id, title) values (1, 'old'), (9, 'kept')`);
  const body = 'id,title\n1,new\n2,"first\n"\nx,bad\n2\n2,last\n3,\n';
  const reply = await send(app, 'notes', body, 'csv', 'upsertKey=id&onError=skip');
  expect(reply.body).toMatchObject({
    totalRows: 6,
    errors: [
      { row: 3, line: 5 },
      { row: 4, line: 6 },
      { row: 6, line: 8, message: expect.stringContaining('null value') },
    ],
  });
  const stored = [
    { id: 1, title: 'new' },
    { id: 2, title: 'last' },
    { id: 9, title: 'kept' },
  ];
  expect(await app.sql('select id, title from notes order by id')).toEqual(stored);
  // A key that is none is no fault of the rows.
  expect(await send(app, 'notes', body, 'csv', 'upsertKey=title&onError=skip')).toMatchObject({
    status: 400,
    body: { sqlstate: '42P10' },
  });
  expect(await app.sql('select id, title from notes order by id')).toEqual(stored);
});

test('a dry run and an emptied table', async () => {
  const app = await startFilled();
  await app.sql(`insert into notes (id, title) values (1, 'old')`);
  const tried = await send(app, 'notes', 'id,title\n1,new\n2,new\n', 'csv', 'truncate=true&dryRun=true');
  expect(tried.body).toMatchObject({ dryRun: true, rowsImported: 2 });
  expect(await app.sql('select title from notes')).toEqual([{ title: 'old' }]);
  await send(app, 'notes', 'id,title\n1,new\n', 'csv', 'truncate=true');
  expect(await app.sql('select title from notes')).toEqual([{ title: 'new' }]);
  expect(await app.sql(`select details from system.audit_logs where action = 'IMPORT_DATABASE'`)).toEqual([
    { details: { table: 'notes', format: 'csv', rowsImported: 1, totalRows: 1 } },
  ]);
});

test('names that need quoting, and tables that are not there', async () => {
  const app = await startFilled();
  expect((await send(app, 'shop.Odd "name', 'a,b c\n1,x\n', 'csv')).status).toBe(200);
  expect((await send(app, 'shop.Odd "name', '[{"a":2,"b c":"y"}]', 'json')).status).toBe(200);
  expect(await app.sql('select * from shop."Odd ""name"')).toEqual([
    { a: 1, 'b c': 'x' },
    { a: 2, 'b c': 'y' },
  ]);
  expect((await send(app, 'nothing', 'a\n1\n', 'csv')).status).toBe(404);
  expect((await send(app, 'auth.sessions', 'id\n1\n', 'csv')).status).toBe(403);
  expect((await app.as('admin').post('/api/database/import/notes', 'x', { 'content-type': 'text/plain' })).status).toBe(
    400,
  );
});

test.each([
  { format: 'csv', type: 'text/csv', text: 'a,b c\n1,"x, ""y"""\n2,\n' },
  { format: 'ndjson', type: 'application/x-ndjson', text: '{"a": 1, "b c": "x, \\"y\\""}\n{"a": 2, "b c": null}\n' },
  { format: 'json', type: 'application/json', text: '[{"a": 1, "b c": "x, \\"y\\""},\n{"a": 2, "b c": null}]\n' },
])('rows go out as $format', async ({ format, type, text }) => {
  const app = await startFilled();
  await app.sql(`insert into shop."Odd ""name" values (1, 'x, "y"'), (2, null)`);
  const reply = await app
    .as('admin')
    .get(`/api/database/export/${encodeURIComponent('shop.Odd "name')}?format=${format}`);
  expect(reply.headers['content-type']).toContain(type);
  expect(reply.text).toBe(text);
  const empty = await app.as('admin').get(`/api/database/export/notes?format=${format}`);
  expect([empty.status, empty.text.trim()]).toEqual([
    200,
    { csv: 'id,title,tags,data,at,rank', json: '[]', ndjson: '' }[format],
  ]);
  expect((await app.as('admin').get(`/api/database/export/nothing?format=${format}`)).status).toBe(404);
  expect((await app.as('admin').get(`/api/database/export/auth.sessions?format=${format}`)).status).toBe(403);
});

test('many rows go out and come back the same, in little memory', async () => {
  const app = await startFilled();
  await app.sql(`insert into notes (id, title, tags, data, rank)
    select n, repeat('t' || n, 10), array['a b', 'c"d', n::text], jsonb_build_object('n', n, 'text', 'x' || chr(10)), n / 7.0
    from generate_series(1, 50000) n`);
  const [before] = await app.sql('select md5(string_agg(n::text, $$|$$ order by id)) as sum from notes n');
  const url = await app.listen();
  const headers = { 'x-api-key': (await import('../config.ts')).SECRETS.ACCESS_API_KEY };
  for (const format of ['csv', 'json', 'ndjson'] as const) {
    const file = await fetch(`${url}/api/database/export/notes?format=${format}`, { headers });
    const stored = await fetch(`${url}/api/database/import/notes?truncate=true`, {
      method: 'POST',
      headers: { ...headers, 'content-type': TYPES[format] },
      body: Buffer.from(await file.arrayBuffer()),
    });
    expect([format, stored.status, await stored.json()]).toMatchObject([format, 200, { rowsImported: 50_000 }]);
    expect(await app.sql('select md5(string_agg(n::text, $$|$$ order by id)) as sum from notes n')).toEqual([before]);
  }
});

test('nobody else moves data', async () => {
  const app = await startFilled();
  for (const [who, status] of [
    ['nobody', 401],
    ['anon', 403],
    [await app.user('alice'), 403],
  ] as const) {
    for (const path of ['/api/database/export/notes', '/api/database/export']) {
      expect([path, (await app.as(who).get(path)).status]).toEqual([path, status]);
    }
    for (const path of ['import/notes', 'advance/import', 'advance/export', 'advance/bulk-upsert']) {
      const reply = await app.as(who).post(`/api/database/${path}`, 'id\n1\n', { 'content-type': 'text/csv' });
      expect([path, reply.status]).toEqual([path, status]);
    }
  }
});
