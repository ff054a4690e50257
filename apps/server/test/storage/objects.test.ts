import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';
import { BUCKETS, form, makeBucket, objectPath, upload } from './files.ts';

async function startInFolder() {
  const dataDir = await mkdtemp(join(tmpdir(), 'insforge-files-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const blobs = async () => {
    const entries = await readdir(join(dataDir, 'storage'), { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).length;
  };
  return { server: await startApp({ DATA_DIR: dataDir }), blobs };
}

/** Too large for its row, so that it is a file. */
const large = (content: string) => content.padEnd(70_000);

test('an upload answers with the file, replacing answers with the new one', async () => {
  const server = await startApp();
  await makeBucket(server, 'b');
  const admin = server.as('admin');
  const first = await upload(admin, 'b', 'k', 'one', 'text/plain');
  expect(first).toMatchObject({
    status: 200,
    body: {
      bucket: 'b',
      key: 'k',
      size: 3,
      mimeType: 'text/plain',
      url: expect.stringMatching(/^http.*\/k\?v=f97c5d2/),
    },
  });
  const second = await admin.put(objectPath('b', 'k'), '{"two":2}', { 'content-type': 'application/json' });
  expect(second).toMatchObject({ status: 200, body: { size: 9, mimeType: 'application/json' } });
  expect(second.body.url).not.toBe(first.body.url);
  expect((await admin.get(objectPath('b', 'k'))).text).toBe('{"two":2}');
});

const KIB = 1024;

/** What is small is one write, what is large travels in pieces: sizes around the bounds of both. */
test.each([0, 1, 64 * KIB, 64 * KIB + 1, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, 1024 * KIB + 7])(
  '%d bytes come back as they were, under their MD5',
  async (bytes) => {
    const server = await startApp();
    await makeBucket(server, 'b');
    const content = randomBytes(bytes);
    const md5 = createHash('md5').update(content).digest('hex');
    const url = (await server.listen()) + objectPath('b', 'k');
    const headers = { 'x-api-key': SECRETS.ACCESS_API_KEY, 'content-type': 'application/octet-stream' };
    expect((await fetch(url, { method: 'PUT', headers, body: content })).status).toBe(200);
    const reply = await fetch(url, { headers });
    expect(reply.headers.get('etag')).toBe(`"${md5}"`);
    expect(Buffer.from(await reply.arrayBuffer()).equals(content)).toBe(true);
  },
);

test('large uploads at the same time do not meet', async () => {
  const server = await startApp();
  await makeBucket(server, 'b');
  const url = await server.listen();
  const headers = { 'x-api-key': SECRETS.ACCESS_API_KEY, 'content-type': 'application/octet-stream' };
  const contents = Array.from({ length: 12 }, () => randomBytes(3 * KIB * KIB));
  const md5s = contents.map((content) => `"${createHash('md5').update(content).digest('hex')}"`);
  await Promise.all(
    contents.map((body, index) => fetch(url + objectPath('b', String(index)), { method: 'PUT', headers, body })),
  );
  const etags = await Promise.all(
    contents.map(async (content, index) => {
      const reply = await fetch(url + objectPath('b', String(index)), { headers });
      expect(Buffer.from(await reply.arrayBuffer()).equals(content)).toBe(true);
      return reply.headers.get('etag');
    }),
  );
  expect(etags).toEqual(md5s);
});

test('an upload without a key gets one that keeps the name readable', async () => {
  const server = await startApp();
  await makeBucket(server, 'b');
  const keys = [];
  for (const filename of ['holiday photo.jpg', '../../etc/passwd', `${'x'.repeat(100)}.tar.gz`, '.env', 'ä']) {
    const { body, headers } = form('x', 'image/jpeg', filename);
    const reply = await server.as('admin').post(`${BUCKETS}/b/objects`, body, headers);
    expect(reply.status).toBe(201);
    keys.push(reply.body.key.replace(/-\d{13}-[0-9a-f]{8}/, '-T-R'));
  }
  expect(keys).toEqual(['holiday-photo-T-R.jpg', 'passwd-T-R', `${'x'.repeat(32)}-T-R.gz`, '-env-T-R', '--T-R']);
  const raw = await server.as('admin').post(`${BUCKETS}/b/objects`, 'x', { 'content-type': 'text/plain' });
  expect(raw).toMatchObject({ status: 201, body: { key: expect.stringMatching(/^file-\d+-\w+$/) } });
});

test('If-None-Match: * stores only where there is nothing', async () => {
  const server = await startApp();
  await makeBucket(server, 'b', { preset: 'owner-only' });
  const ada = server.as(await server.user('ada'));
  const put = (content: string) =>
    ada.put(objectPath('b', 'k'), content, { 'if-none-match': '*', 'content-type': 'a/b' });
  expect((await put('first')).status).toBe(200);
  expect(await put('second')).toMatchObject({ status: 409, body: { error: 'STORAGE_ALREADY_EXISTS' } });
  expect((await ada.get(objectPath('b', 'k'))).text).toBe('first');
});

test('If-Match replaces the version that was read, and no other', async () => {
  const server = await startApp();
  await makeBucket(server, 'b', { preset: 'owner-only' });
  const ada = server.as(await server.user('ada'));
  const put = (content: string, condition: Record<string, string>, as = ada) =>
    as.put(objectPath('b', 'k'), content, { 'content-type': 'a/b', ...condition });
  expect((await put('none', { 'if-match': '*' })).status).toBe(404);
  expect((await put('first', {})).status).toBe(200);
  const { etag } = (await ada.get(objectPath('b', 'k'))).headers;
  expect((await put('second', { 'if-match': String(etag) })).status).toBe(200);
  expect(await put('third', { 'if-match': String(etag) })).toMatchObject({
    status: 412,
    body: { error: 'STORAGE_INVALID_PARAMETER', nextActions: expect.stringContaining('ETag') },
  });
  expect((await put('third', { 'if-none-match': String(etag) })).status).toBe(400);
  expect((await ada.get(objectPath('b', 'k'))).text).toBe('second');
  // A condition tells nobody what is there.
  const bob = server.as(await server.user('bob'));
  const current = String((await ada.get(objectPath('b', 'k'))).headers.etag);
  const guesses = [await put('bob', { 'if-match': current }, bob), await put('bob', { 'if-match': '"x"' }, bob)];
  expect(guesses.map(({ status }) => status)).toEqual([404, 404]);
  expect((await ada.get(objectPath('b', 'k'))).text).toBe('second');
});

test.each([
  { size: 'small', content: 'content', inFiles: 0 },
  { size: 'large', content: large('content'), inFiles: 1 },
])('a copy of something $size lives on its own, in its own bucket too', async ({ content, inFiles }) => {
  const { server, blobs } = await startInFolder();
  const admin = server.as('admin');
  await makeBucket(server, 'from');
  await makeBucket(server, 'to');
  await upload(admin, 'from', 'k', content, 'text/markdown');
  const copied = await admin.post(`${objectPath('from', 'k')}/copy`, { to: 'c', toBucket: 'to' });
  expect(copied.body).toMatchObject({ bucket: 'to', key: 'c', size: content.length, mimeType: 'text/markdown' });
  await upload(admin, 'from', 'k', 'changed');
  expect((await admin.get(objectPath('to', 'c'))).text).toBe(content);
  await admin.delete(objectPath('from', 'k'));
  expect((await admin.get(objectPath('to', 'c'))).text).toBe(content);
  await expect.poll(blobs).toBe(inFiles);
});

test('a copy of what is replaced meanwhile is one of what is there then', async () => {
  const { server, blobs } = await startInFolder();
  await makeBucket(server, 'b', { preset: 'authenticated-read' });
  await upload(server.as('admin'), 'b', 'k', large('old'));
  await server.sql(`
    create function public.hold() returns boolean language plpgsql as $$ begin
      perform pg_advisory_xact_lock_shared(1); return true; end $$;
    create policy hold on storage.objects for insert to authenticated with check (public.hold());
    select pg_advisory_lock(1)`);
  const copying = server.as(await server.user('ada')).post(`${objectPath('b', 'k')}/copy`, { to: 'c' });
  const held = "select from pg_stat_activity where wait_event = 'advisory' and datname = current_database()";
  await expect.poll(() => server.sql(held)).toHaveLength(1);
  await upload(server.as('admin'), 'b', 'k', large('new'));
  await expect.poll(blobs).toBe(1);
  await server.sql('select pg_advisory_unlock(1)');
  expect((await copying).status).toBe(200);
  expect((await server.as('admin').get(objectPath('b', 'c'))).text).toBe(large('new'));
});

test('a copy replaces only when told to, and a move never', async () => {
  const server = await startApp();
  const admin = server.as('admin');
  await makeBucket(server, 'b');
  await upload(admin, 'b', 'k', 'k');
  await upload(admin, 'b', 'taken', 'taken');
  const taken = { status: 409, body: { error: 'STORAGE_ALREADY_EXISTS' } };
  expect(await admin.post(`${objectPath('b', 'k')}/copy`, { to: 'taken' })).toMatchObject(taken);
  expect(await admin.post(`${objectPath('b', 'k')}/move`, { to: 'taken' })).toMatchObject(taken);
  expect((await admin.get(objectPath('b', 'taken'))).text).toBe('taken');
  expect((await admin.post(`${objectPath('b', 'k')}/copy`, { to: 'taken', overwrite: true })).status).toBe(200);
  expect((await admin.get(objectPath('b', 'taken'))).text).toBe('k');
});

test('a file does not get around the limits of a bucket by being copied or moved there', async () => {
  const server = await startApp();
  const admin = server.as('admin');
  await makeBucket(server, 'b');
  await makeBucket(server, 'small', { fileSizeLimit: 3 });
  await makeBucket(server, 'images', { allowedMimeTypes: ['image/*'] });
  await upload(admin, 'b', 'k', 'content');
  for (const [toBucket, status] of [
    ['small', 413],
    ['images', 415],
    ['none', 404],
  ] as const) {
    for (const operation of ['copy', 'move']) {
      const reply = await admin.post(`${objectPath('b', 'k')}/${operation}`, { to: 'k', toBucket });
      expect(reply.status).toBe(status);
    }
  }
  expect((await admin.get(objectPath('b', 'k'))).status).toBe(200);
});

test.each([
  { operation: 'copy', body: {}, status: 400 },
  { operation: 'copy', body: { to: '' }, status: 400 },
  { operation: 'move', body: { to: 1 }, status: 400 },
  { operation: 'confirm-upload', body: {}, status: 400 },
  { operation: 'burn', body: {}, status: 404 },
])('POST …/$operation with $body: $status', async ({ operation, body, status }) => {
  const server = await startApp();
  await makeBucket(server, 'b');
  await upload(server.as('admin'), 'b', 'k', 'x');
  expect((await server.as('admin').post(`${objectPath('b', 'k')}/${operation}`, body)).status).toBe(status);
});

test('the strategies of a server that keeps files itself', async () => {
  const server = await startApp();
  const admin = server.as('admin');
  await makeBucket(server, 'open', { isPublic: true });
  await upload(admin, 'open', 'a/b', 'x');
  expect(
    (await admin.post(`${BUCKETS}/open/upload-strategy`, { filename: 'a/c', contentType: 'a/b', size: 1 })).body,
  ).toEqual({
    method: 'direct',
    uploadUrl: expect.stringMatching(/^http:\/\/.+\/api\/storage\/buckets\/open\/objects\/a%2Fc$/),
    key: 'a/c',
    confirmRequired: false,
  });
  const direct = await server.as('nobody').get(`${BUCKETS}/open/download-strategy/objects/a%2Fb`);
  expect(direct.body).toEqual({
    method: 'direct',
    url: expect.stringMatching(/^http:\/\/.+\/objects\/a%2Fb\?v=[0-9a-f]{32}$/),
  });
  // Clients from before the strategies said so confirm every upload.
  expect((await admin.post(`${objectPath('open', 'a/b')}/confirm-upload`, { size: 1 })).body).toMatchObject({
    key: 'a/b',
  });
});

test('links name API_BASE_URL where it is set, else the host that the client asked', async () => {
  const { server } = await startInFolder();
  await makeBucket(server, 'b');
  const asked = await server
    .as('admin')
    .put(objectPath('b', 'k'), 'x', { host: 'files.example.com', 'content-type': 'a/b' });
  expect(asked.body.url).toMatch(/^http:\/\/files\.example\.com\/api\//);
  const named = await startApp({ API_BASE_URL: 'https://api.example.com/' });
  await makeBucket(named, 'b');
  const told = await named
    .as('admin')
    .put(objectPath('b', 'k'), 'x', { host: 'other.example.com', 'content-type': 'a/b' });
  expect(told.body.url).toMatch(/^https:\/\/api\.example\.com\/api\//);
});

test('whatever way rows go, their bytes go too', async () => {
  const { server, blobs } = await startInFolder();
  const admin = server.as('admin');
  await makeBucket(server, 'b', { preset: 'owner-only' });
  await makeBucket(server, 'c');
  const ada = server.as(await server.user('ada'));
  for (const key of ['a', 'b', 'c', 'd']) await upload(ada, 'b', key, large(key));
  await upload(admin, 'c', 'k', large('x'));
  expect(await blobs()).toBe(5);
  await upload(ada, 'b', 'a', large('replaced'));
  await expect.poll(blobs).toBe(5);
  await ada.delete(objectPath('b', 'b'));
  await expect.poll(blobs).toBe(4);
  await server.sql(`delete from storage.objects where key = 'c'`);
  await admin.delete(`${BUCKETS}/c`);
  await expect.poll(blobs).toBe(2);
  await admin.delete(`${BUCKETS}/b`);
  await expect.poll(blobs).toBe(0);
  expect(await server.sql('select * from storage.garbage')).toEqual([]);
});

test('uploads to one key at once: one of them wins, whole', async () => {
  const { server, blobs } = await startInFolder();
  await makeBucket(server, 'b');
  const admin = server.as('admin');
  const contents = Array.from({ length: 20 }, (_, index) => `${index}`.repeat(70_000));
  const replies = await Promise.all(contents.map((content) => upload(admin, 'b', 'k', content)));
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
  expect(contents).toContain((await admin.get(objectPath('b', 'k'))).text);
  await expect.poll(blobs).toBe(1);
});

test('reading while it is replaced gives the old or the new, whole', async () => {
  const server = await startApp();
  await makeBucket(server, 'b');
  const admin = server.as('admin');
  const contents = ['a'.repeat(400_000), 'b'.repeat(300_000)];
  await upload(admin, 'b', 'k', contents[0] ?? '');
  const writing = (async () => {
    for (let round = 0; round < 15; round++) await upload(admin, 'b', 'k', contents[round % 2] ?? '');
  })();
  for (let round = 0; round < 40; round++) {
    const { status, text } = await admin.get(objectPath('b', 'k'));
    expect(status).toBe(200);
    expect(contents.includes(text)).toBe(true);
  }
  await writing;
});

test('of uploads that come together each is decided on its own', async () => {
  const { server } = await startInFolder();
  await makeBucket(server, 'b', { preset: 'owner-folder' });
  const user = await server.user('ada');
  const ada = server.as(user);
  const keys = Array.from({ length: 40 }, (_, index) => `${index % 3 === 0 ? 'other' : user.sub}/${index}`);
  const replies = await Promise.all(keys.map((key) => ada.put(objectPath('b', key), key, { 'content-type': 'a/b' })));
  expect(replies.map(({ status }) => status)).toEqual(keys.map((key) => (key.startsWith('other') ? 403 : 200)));
  const stored = await server.sql<{ key: string; content: string }>(
    `select key, convert_from(bytes, 'utf8') as content from storage.objects`,
  );
  expect(stored.filter(({ key, content }) => key !== content)).toEqual([]);
  expect(stored.map(({ key }) => key).sort()).toEqual(keys.filter((key) => !key.startsWith('other')).sort());
});
