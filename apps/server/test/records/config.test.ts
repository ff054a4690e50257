import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';

const TABLES = `
  create table words (id int primary key, word text);
  alter table words disable row level security;
  insert into words values (1, 'a'), (2, 'b'), (3, 'c');
  create schema tools;
  create type tools.size as enum ('small', 'big');
  create function tools.shout(words) returns text stable language sql as $$ select upper($1.word) $$;
  create function where_am_i() returns text stable language sql as $$ select current_setting('search_path') $$;
  grant usage on schema tools to authenticated;
`;

test('the environment decides what the API offers', async () => {
  const plain = await startApp();
  const strict = await startApp({
    PGRST_DB_AGGREGATES_ENABLED: 'false',
    PGRST_DB_MAX_ROWS: '2',
    PGRST_DB_PLAN_ENABLED: 'true',
    PGRST_SERVER_TIMING_ENABLED: 'true',
    PGRST_DB_EXTRA_SEARCH_PATH: 'public, tools',
  });
  const answers = [];
  for (const app of [plain, strict]) {
    await app.sql(TABLES);
    const alice = app.as(await app.user('alice'));
    const get = (path: string, headers?: Record<string, string>) => alice.get(`/api/database/${path}`, headers);
    await expect.poll(async () => (await get('records/words')).status).toBe(200);
    await expect.poll(async () => (await get('rpc/where_am_i')).status).toBe(200);
    const words = await get('records/words');
    answers.push([
      words.body.length,
      words.headers['server-timing'] !== undefined,
      (await get('records/words?select=count()')).body.code,
      (await get('records/words', { accept: 'application/vnd.pgrst.plan+json' })).status,
      (await get('records/words?select=shout&id=eq.1')).body.code ?? 'shouts',
      (await get('records/words?select=id::size')).body.code,
      (await get('rpc/where_am_i')).body,
    ]);
  }
  expect(answers).toEqual([
    [3, false, undefined, 406, '42703', '42704', '"$user", public'],
    [2, true, 'PGRST123', 200, 'shouts', '42846', '"public","public","tools"'],
  ]);
});

test.each([
  ['PGRST_DB_MAX_ROWS', '0'],
  ['PGRST_DB_MAX_ROWS', 'many'],
  ['PGRST_DB_AGGREGATES_ENABLED', 'maybe'],
])('%s=%s is refused at the start', async (name, value) => {
  await expect(startApp({ [name]: value })).rejects.toThrow(name);
});
