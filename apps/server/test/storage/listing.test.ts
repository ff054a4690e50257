import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { BUCKETS, makeBucket, objectPath, upload } from './files.ts';

const KEYS = ['a', 'a/1', 'a/2', 'a/b/3', 'a0', 'A', 'b%c', 'b_c', 'bXc', 'z', 'ä/1', '🦊/1'];

async function startWithKeys(keys = KEYS): Promise<TestApp> {
  const server = await startApp();
  await makeBucket(server, 'b');
  for (const [index, key] of keys.entries()) await upload(server.as('admin'), 'b', key, 'x'.repeat(index + 1));
  return server;
}

const BYTE_ORDER = ['A', 'a', 'a/1', 'a/2', 'a/b/3', 'a0', 'b%c', 'bXc', 'b_c', 'z', 'ä/1', '🦊/1'];

test.each([
  { query: '', keys: BYTE_ORDER },
  { query: 'prefix=a', keys: ['a', 'a/1', 'a/2', 'a/b/3', 'a0'] },
  { query: 'prefix=a/', keys: ['a/1', 'a/2', 'a/b/3'] },
  { query: 'prefix=b_', keys: ['b_c'] },
  { query: 'prefix=b%25', keys: ['b%c'] },
  { query: 'prefix=%25', keys: [] },
  { query: `prefix=${encodeURIComponent('🦊')}`, keys: ['🦊/1'] },
  { query: `prefix=${encodeURIComponent('\u{10ffff}')}`, keys: [] },
  { query: 'search=C', keys: ['b%c', 'bXc', 'b_c'] },
  { query: 'search=_', keys: ['b_c'] },
  { query: 'search=%25', keys: ['b%c'] },
  { query: 'search=/b/', keys: ['a/b/3'] },
  { query: 'prefix=a&search=2', keys: ['a/2'] },
  { query: 'limit=3', keys: ['A', 'a', 'a/1'] },
  { query: 'limit=3&offset=10', keys: ['ä/1', '🦊/1'] },
  { query: 'offset=99', keys: [] },
  { query: 'order=desc&limit=2', keys: ['🦊/1', 'ä/1'] },
  { query: 'sort=size&limit=2', keys: ['a', 'a/1'] },
  { query: 'sort=size&order=desc&limit=2', keys: ['🦊/1', 'ä/1'] },
  { query: 'sort=uploadedAt&order=desc&limit=1', keys: ['🦊/1'] },
  { query: 'startAfter=a0&limit=2', keys: ['b%c', 'bXc'] },
  { query: 'prefix=a&startAfter=a/2', keys: ['a/b/3', 'a0'] },
  { query: 'delimiter=/', keys: ['A', 'a', 'a0', 'b%c', 'bXc', 'b_c', 'z'], folders: ['a/', 'ä/', '🦊/'] },
  { query: 'delimiter=/&prefix=a/', keys: ['a/1', 'a/2'], folders: ['a/b/'] },
  { query: 'delimiter=/&prefix=a', keys: ['a', 'a0'], folders: ['a/'] },
  { query: 'delimiter=/&startAfter=a/', keys: ['a0', 'b%c', 'bXc', 'b_c', 'z'], folders: ['ä/', '🦊/'] },
  { query: 'delimiter=b', keys: ['A', 'a', 'a/1', 'a/2', 'a0', 'z', 'ä/1', '🦊/1'], folders: ['a/b', 'b'] },
])('$query lists $keys', async ({ query, keys, folders }) => {
  const server = await startWithKeys();
  const { body } = await server.as('admin').get(`${BUCKETS}/b/objects?${query}`);
  expect({ keys: body.data.map(({ key }: { key: string }) => key), folders: body.folders }).toEqual({ keys, folders });
});

test('a listing has the shape that clients read', async () => {
  const server = await startWithKeys(['a', 'b', 'c']);
  const { body } = await server.as('admin').get(`${BUCKETS}/b/objects?limit=2`);
  expect(body).toEqual({
    data: [
      {
        bucket: 'b',
        key: 'a',
        size: 1,
        mimeType: 'text/plain',
        uploadedAt: expect.stringMatching(/^\d{4}-.*Z$/),
        url: expect.stringContaining('/api/storage/buckets/b/objects/a?v='),
      },
      expect.objectContaining({ key: 'b' }),
    ],
    pagination: { offset: 0, limit: 2, total: 3 },
  });
});

test.each([
  { query: 'limit=5000', limit: 1000 },
  { query: 'limit=0', limit: 1 },
  { query: 'limit=-1', limit: 1 },
  { query: 'limit=&offset=&prefix=&search=', limit: 100 },
])('$query is taken as $limit', async ({ query, limit }) => {
  const server = await startWithKeys(['a']);
  const { body } = await server.as('admin').get(`${BUCKETS}/b/objects?${query}`);
  expect(body.pagination).toEqual({ offset: 0, limit, total: 1 });
});

const NONSENSE = ['limit=x', 'offset=-1', 'sort=owner', 'order=up', 'delimiter=/&sort=size', 'startAfter=a&offset=1'];
const NULS = ['prefix', 'search', 'delimiter', 'startAfter'].map((name) => `${name}=a%00`);

test.each([...NONSENSE, ...NULS])('%s is refused', async (query) => {
  const server = await startWithKeys([]);
  expect(await server.as('admin').get(`${BUCKETS}/b/objects?${query}`)).toMatchObject({
    status: 400,
    body: { error: 'STORAGE_INVALID_PARAMETER' },
  });
});

// What folders are made of: keys that are a folder themselves, that only begin like one, or have empty names in them.
const FOLDERS = ['a/', 'a//', 'a//b', 'a/b', 'a/b/', 'a/b/c', 'a/b0', 'a/c/', 'a/c/d/e', 'a0/', 'ab/', 'é/', 'é/ü'];

test.each([
  '',
  'delimiter=/&',
  'prefix=a&delimiter=/&',
  'prefix=a/&delimiter=/&',
  'prefix=a/b/&delimiter=/&',
  'prefix=a//&delimiter=/&',
  'delimiter=b&',
  'delimiter=/b&',
])('%s pages of every size together are the whole', async (query) => {
  const server = await startWithKeys([...new Set([...KEYS, ...FOLDERS])]);
  const { get } = server.as('admin');
  const read = async (limit: number) => {
    const found: string[] = [];
    for (let after: string | undefined = '\u0001'; after !== undefined; ) {
      const { body } = await get(`${BUCKETS}/b/objects?${query}limit=${limit}&startAfter=${encodeURIComponent(after)}`);
      found.push(...body.data.map(({ key }: { key: string }) => key), ...(body.folders ?? []));
      after = body.nextStartAfter;
    }
    return found.sort();
  };
  const whole = await read(1000);
  const { prefix = '', delimiter } = Object.fromEntries(new URLSearchParams(query)) as Record<string, string>;
  expect(whole).toEqual(expectedEntries([...KEYS, ...FOLDERS], prefix, delimiter));
  for (const limit of [1, 2, 3, 5]) expect(await read(limit)).toEqual(whole);
});

/** The keys and folders that are listed, worked out from all keys. */
function expectedEntries(keys: string[], prefix: string, delimiter: string | undefined): string[] {
  const entries = keys
    .filter((key) => key.startsWith(prefix))
    .map((key) => {
      const end = delimiter === undefined ? -1 : key.indexOf(delimiter, prefix.length);
      return end < 0 ? key : key.slice(0, end + (delimiter ?? '').length);
    });
  return [...new Set(entries)].sort();
}

test('a bucket of thousands of files and folders is the same in pages of 1,000', async () => {
  const server = await startWithKeys([]);
  await server.sql(
    `insert into storage.objects (bucket, key, size)
     select 'b', case n % 3 when 0 then 'p/' || n when 1 then 'p/' || n % 700 || '/' || n else 'p/' || n || '/' end, 1
     from generate_series(1, 6000) n on conflict do nothing`,
  );
  const keys = (await server.sql<{ key: string }>('select key from storage.objects')).map(({ key }) => key);
  for (const delimiter of ['/', undefined]) {
    const found: string[] = [];
    for (let after: string | undefined = '\u0001'; after !== undefined; ) {
      const query = new URLSearchParams({
        prefix: 'p/',
        limit: '1000',
        startAfter: after,
        ...(delimiter && { delimiter }),
      });
      const { body } = await server.as('admin').get(`${BUCKETS}/b/objects?${query}`);
      const page = [...body.data.map(({ key }: { key: string }) => key), ...(body.folders ?? [])];
      expect(page.length).toBeLessThanOrEqual(1000);
      found.push(...page);
      after = body.nextStartAfter;
    }
    expect(found.sort()).toEqual(expectedEntries(keys, 'p/', delimiter));
  }
});

/** Rows without bytes are enough to list. */
const fill = (server: TestApp, count: number) =>
  server.sql(
    `insert into storage.objects (bucket, key, size)
     select 'b', 'folder-' || n % 20 || '/' || lpad(n::text, 8, '0'), 1 from generate_series(1, $1::int) n`,
    [count],
  );

test('a total that would cost a walk through the whole bucket is a lower bound, and says so', async () => {
  const server = await startWithKeys([]);
  await fill(server, 30_000);
  await server.sql('analyze storage.objects');
  const { get } = server.as('admin');
  expect((await get(`${BUCKETS}/b/objects?limit=10`)).body.pagination).toEqual({
    offset: 0,
    limit: 10,
    total: 10_010,
    isTotalExact: false,
  });
  expect((await get(`${BUCKETS}/b/objects?prefix=folder-1/&limit=10`)).body.pagination).toEqual({
    offset: 0,
    limit: 10,
    total: 1_500,
  });
  const { body } = await get(`${BUCKETS}/b/objects?delimiter=/`);
  expect(body.folders).toHaveLength(20);
});

test('deleting many says of each key what became of it', async () => {
  const server = await startWithKeys(['a', 'b', 'c']);
  const admin = server.as('admin');
  const { body } = await admin.delete(`${BUCKETS}/b/objects`, { keys: ['a', 'missing', 'c', 'a'] });
  expect(body.results).toEqual([
    { key: 'a', status: 'deleted' },
    { key: 'missing', status: 'notFound' },
    { key: 'c', status: 'deleted' },
  ]);
  expect((await admin.get(objectPath('b', 'b'))).status).toBe(200);
  for (const keys of [[], [''], 'a', Array(1001).fill('a')]) {
    expect((await admin.delete(`${BUCKETS}/b/objects`, { keys })).status).toBe(400);
  }
});
