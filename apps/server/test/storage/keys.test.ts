import { expect, test } from 'vitest';
import { startApp } from '../harness.ts';
import { BUCKETS, makeBucket, objectPath, upload } from './files.ts';

const KEYS = {
  plain: 'cat.jpg',
  folders: 'a/b/c/d.txt',
  spaces: ' with  spaces .txt ',
  'slash at the end': 'folder/',
  'empty segments': 'a//b',
  'leading dot': '.env',
  'dots that are no folder': 'a/...b/..c/d..',
  percent: '100%.txt',
  'an encoded slash': 'a%2Fb',
  'an encoded dot-dot': '%2e%2e/x',
  'a double encoded slash': 'a%252Fb',
  wildcards: 'a_b%c*d?e[f]',
  'URL characters': 'a?b=c&d#e;f,g:h@i!$\'()+= "<>\\{}|^`~',
  'the word of an operation': 'a/copy',
  unicode: 'Übergrößen/日本語/🦊.png',
  'decomposed unicode': 'e\u0301.txt',
  'right to left': 'عربي.txt',
  'control characters': 'a\tb\nc',
  'no name a disk would take': 'CON',
  '1,024 bytes': 'x'.repeat(1024),
  '1,024 bytes of slashes': `${'a/'.repeat(511)}ab`,
  '1,024 bytes of unicode': 'ü'.repeat(512),
};

test.each(Object.entries(KEYS))('a key with %s is kept as it is', async (_what, key) => {
  const server = await startApp();
  await makeBucket(server, 'b');
  const admin = server.as('admin');
  const stored = await upload(admin, 'b', key, `content of ${key}`);
  expect(stored).toMatchObject({ status: 200, body: { key } });

  const [, path = ''] = stored.body.url.match(/^https?:\/\/[^/]+(\/.*)$/);
  const rawSlashes = `${BUCKETS}/b/objects/${key.split('/').map(encodeURIComponent).join('/')}`;
  for (const url of [path, objectPath('b', key), rawSlashes]) {
    expect(await admin.get(url)).toMatchObject({ status: 200, text: `content of ${key}` });
  }
  const listed = await admin.get(`${BUCKETS}/b/objects?prefix=${encodeURIComponent(key)}`);
  expect(listed.body.data.map((file: { key: string }) => file.key)).toEqual([key]);

  const strategy = await admin.get(`${BUCKETS}/b/download-strategy/objects/${encodeURIComponent(key)}`);
  const link = new URL(strategy.body.url);
  expect(await server.as('nobody').get(link.pathname + link.search)).toMatchObject({
    status: 200,
    text: `content of ${key}`,
  });

  expect(await admin.post(`${objectPath('b', key)}/move`, { to: 'elsewhere' })).toMatchObject({ status: 200 });
  expect(await admin.post(`${objectPath('b', 'elsewhere')}/move`, { to: key })).toMatchObject({
    status: 200,
    body: { key },
  });
  expect(await admin.delete(objectPath('b', key))).toMatchObject({ status: 200 });
  expect(await admin.get(objectPath('b', key))).toMatchObject({ status: 404, body: { error: 'STORAGE_NOT_FOUND' } });
});

const REFUSED = {
  'an absolute path': '/etc/passwd',
  'a folder up': '../secret',
  'a folder up inside': 'a/../../b',
  'a folder up at the end': 'a/..',
  'the folder itself': 'a/./b',
  'a folder up, for Windows': 'a\\..\\b',
  'an absolute path, for Windows': 'C:\\x',
  NUL: 'a\0b',
  '1,025 bytes': 'x'.repeat(1025),
  'nothing in it': '',
};

test.each(Object.entries(REFUSED))('a key with %s is refused everywhere', async (what, key) => {
  const server = await startApp();
  await makeBucket(server, 'b');
  const admin = server.as('admin');
  await upload(admin, 'b', 'ok', 'x');
  const refused = { status: 400, body: { error: 'STORAGE_INVALID_PARAMETER' } };
  if (what !== 'nothing in it') {
    expect(await upload(admin, 'b', key, 'x')).toMatchObject(refused);
    expect(await admin.get(objectPath('b', key))).toMatchObject(refused);
  }
  expect(await admin.post(`${BUCKETS}/b/upload-strategy`, { filename: key })).toMatchObject(refused);
  expect(await admin.post(`${objectPath('b', 'ok')}/copy`, { to: key })).toMatchObject(refused);
  expect(await admin.post(`${objectPath('b', 'ok')}/move`, { to: key })).toMatchObject(refused);
  expect(await server.sql('select key from storage.objects')).toEqual([{ key: 'ok' }]);
});

test.each(['objects', 'buckets', 'download-strategy', 'api'])('a bucket may be called %s', async (bucket) => {
  const server = await startApp();
  await makeBucket(server, bucket);
  const admin = server.as('admin');
  const key = 'objects/buckets/f.txt';
  const stored = await upload(admin, bucket, key, 'content');
  expect(stored).toMatchObject({ status: 200, body: { bucket, key } });
  const { body } = await admin.get(`${BUCKETS}/${bucket}/download-strategy/objects/${encodeURIComponent(key)}`);
  const { pathname, search } = new URL(body.url);
  expect((await server.as('nobody').get(pathname + search)).text).toBe('content');
  const rawSlashes = `${BUCKETS}/${bucket}/objects/${key}`;
  expect((await admin.get(rawSlashes)).text).toBe('content');
  expect(await admin.post(`${rawSlashes}/move`, { to: 'g' })).toMatchObject({ status: 200, body: { key: 'g' } });
  expect((await admin.delete(objectPath(bucket, 'g'))).status).toBe(200);
});

// PostgreSQL takes no NUL, and makes of half a surrogate pair another character.
test.each(['a\0b', 'a\ud800b'])('what no key can be is nowhere: %j', async (key) => {
  const server = await startApp();
  await makeBucket(server, 'b');
  const admin = server.as('admin');
  await upload(admin, 'b', 'a\ufffdb', 'x');
  await upload(admin, 'b', 'ab', 'x');
  expect((await admin.delete(`${BUCKETS}/b/objects`, { keys: [key, 'ab'] })).body.results).toEqual([
    { key, status: 'notFound' },
    { key: 'ab', status: 'deleted' },
  ]);
  const path = `${BUCKETS}/b/objects/${key.includes('\0') ? 'a%00b' : 'a%ed%a0%80b'}`;
  for (const reply of [
    await admin.delete(path),
    await admin.post(`${path}/move`, { to: 'x' }),
    await admin.get(path),
  ]) {
    expect([400, 404]).toContain(reply.status);
    expect(reply.body.error).toMatch(/^(STORAGE_|INVALID_INPUT$)/);
  }
  expect(await server.sql('select key from storage.objects')).toEqual([{ key: 'a\ufffdb' }]);
});

test('a path that is not UTF-8 behind its percent signs is refused', async () => {
  const server = await startApp();
  await makeBucket(server, 'b');
  for (const path of ['%ff%fe', '%', 'a%zz']) {
    const refused = { status: 400, body: { error: expect.stringMatching(/^[A-Z_]+$/), statusCode: 400 } };
    expect(await server.as('admin').get(`${BUCKETS}/b/objects/${path}`)).toMatchObject(refused);
  }
});

test.each(['a b', 'a/b', '../x', 'ä', 'a.b', '', 'x'.repeat(64)])('%s is no name for a bucket', async (bucketName) => {
  const server = await startApp();
  const admin = server.as('admin');
  expect(await admin.post(BUCKETS, { bucketName })).toMatchObject({
    status: 400,
    body: { error: 'STORAGE_INVALID_PARAMETER' },
  });
});
