import { once } from 'node:events';
import { linkSync, mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';
import { BUCKETS, form, makeBucket, objectPath, storedFiles, upload } from './files.ts';

const KILOBYTE = 1024;

/** A server whose data folder the test can look into. */
async function startInFolder(environment: Record<string, string> = {}) {
  const dataDir = await mkdtemp(join(tmpdir(), 'insforge-files-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  return { server: await startApp({ ...environment, DATA_DIR: dataDir }), dataDir };
}

async function rows(server: TestApp): Promise<number> {
  const [row] = await server.sql<{ count: number }>('select count(*)::int as count from storage.objects');
  return row?.count ?? -1;
}

test.each([
  { limit: 'of the bucket', bytes: 10 * KILOBYTE, status: 200 },
  { limit: 'of the bucket', bytes: 10 * KILOBYTE + 1, status: 413 },
  { limit: 'of the bucket', bytes: 300 * KILOBYTE, status: 413 },
])('$bytes bytes against the limit $limit: $status', async ({ bytes, status }) => {
  const server = await startApp();
  await makeBucket(server, 'b', { fileSizeLimit: 10 * KILOBYTE });
  const content = Buffer.alloc(bytes, 'x');
  const raw = await server.as('admin').put(objectPath('b', 'raw'), content);
  const inForm = await upload(server.as('admin'), 'b', 'form', content);
  expect([raw.status, inForm.status]).toEqual([status, status]);
  if (status === 413) {
    expect(raw.body).toMatchObject({
      error: 'STORAGE_INVALID_PARAMETER',
      nextActions: expect.stringContaining('PATCH'),
    });
    expect(await rows(server)).toBe(0);
  }
});

test('the limit of the settings counts where a bucket has none of its own', async () => {
  const server = await startApp();
  const admin = server.as('admin');
  await makeBucket(server, 'b');
  const plan = async (size: number) =>
    (await admin.post(`${BUCKETS}/b/upload-strategy`, { filename: 'f', size })).status;
  const megabyte = KILOBYTE * KILOBYTE;
  expect([await plan(50 * megabyte), await plan(50 * megabyte + 1)]).toEqual([200, 413]);
  expect((await admin.put('/api/storage/config', { maxFileSizeMb: 60 })).body).toMatchObject({ maxFileSizeMb: 60 });
  expect([await plan(60 * megabyte), await plan(60 * megabyte + 1)]).toEqual([200, 413]);
  for (const maxFileSizeMb of [0, 201, 1.5, '60', null]) {
    expect((await admin.put('/api/storage/config', { maxFileSizeMb })).status).toBe(400);
  }
});

const latin1 = (hex: string) => Buffer.from(hex, 'hex').toString('latin1');
const JPEG = latin1('ffd8ffe000104a46494600010100000100010000ffdb');
const WEBM = latin1('1a45dfa39f4286810142f7810142f2810442f381084282847765626d42878104428581021853806701');
const OLD_OFFICE = latin1('d0cf11e0a1b11ae1') + '\0'.repeat(600);

test.each([
  { allowed: ['image/*'], type: 'image/png', content: '%PDF-1.4', status: 415 },
  { allowed: ['image/*'], type: 'text/plain', content: 'x', status: 415 },
  { allowed: ['image/*'], type: 'image/svg+xml', content: '<svg/>', status: 200 },
  { allowed: ['text/plain'], type: 'text/plain; charset=utf-8', content: 'x', status: 200 },
  { allowed: ['text/plain'], type: 'TEXT/PLAIN', content: 'x', status: 200 },
  { allowed: ['text/plain'], type: 'text/plain', content: '%PDF-1.4', status: 415 },
  { allowed: ['*/*'], type: 'a/b', content: 'x', status: 200 },
  // What has several names, or is packed in something that has another one.
  { allowed: ['image/*'], type: 'image/svg+xml', content: '<?xml version="1.0"?><svg/>', status: 200 },
  { allowed: ['image/png'], type: 'image/png', content: '<?xml version="1.0"?><svg/>', status: 415 },
  { allowed: ['text/xml'], type: 'text/xml', content: '<?xml version="1.0"?><a/>', status: 200 },
  { allowed: ['image/jpg'], type: 'image/jpg', content: JPEG, status: 200 },
  { allowed: ['image/png'], type: 'image/png', content: JPEG, status: 415 },
  { allowed: ['audio/*'], type: 'audio/webm', content: WEBM, status: 200 },
  { allowed: ['image/*'], type: 'image/webp', content: WEBM, status: 415 },
  { allowed: ['application/msword'], type: 'application/msword', content: OLD_OFFICE, status: 200 },
  { allowed: ['application/pdf'], type: 'application/pdf', content: OLD_OFFICE, status: 415 },
  { allowed: ['application/pdf'], type: 'application/pdf', content: 'PK\x03\x04', status: 415 },
  { allowed: ['text/plain'], type: 'text/plain', content: '\xff\xfeh\0i\0', status: 200 },
])('$type with $content in a bucket for $allowed: $status', async ({ allowed, type, content, status }) => {
  const server = await startApp();
  await makeBucket(server, 'b', { allowedMimeTypes: allowed });
  const reply = await server
    .as('admin')
    .put(objectPath('b', 'f'), Buffer.from(content, 'latin1'), { 'content-type': type });
  expect(reply.status).toBe(status);
  if (status === 415) expect(reply.body).toMatchObject({ error: 'STORAGE_INVALID_FILE_TYPE' });
  expect(await rows(server)).toBe(status === 200 ? 1 : 0);
});

/** Sends the beginning of an upload over a socket of its own, as a client does that then goes astray. */
async function beginUpload(url: string, { length, body }: { length: number; body: string }) {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  socket.write(
    `PUT ${objectPath('b', 'f')} HTTP/1.1\r\nhost: x\r\nx-api-key: ${SECRETS.ACCESS_API_KEY}\r\n` +
      `content-type: text/plain\r\ncontent-length: ${length}\r\n\r\n${body}`,
  );
  return socket;
}

test('a client that stops reading is cut off', async () => {
  const server = await startApp({ UPLOAD_IDLE_TIMEOUT_MS: '200' });
  await makeBucket(server, 'b', { isPublic: true });
  const bytes = 40 * 1024 * KILOBYTE;
  expect((await upload(server.as('admin'), 'b', 'f', Buffer.alloc(bytes))).status).toBe(200);
  const url = await server.listen();
  const { hostname, port } = new URL(url);
  const read = async (wait: (served: Socket) => Promise<unknown>) => {
    const accepted = once(server.app.server, 'connection');
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    const [served] = await accepted;
    socket.write(`GET ${objectPath('b', 'f')} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
    await wait(served);
    let received = 0;
    socket.on('data', (chunk) => (received += chunk.length));
    await once(socket, 'close');
    return received;
  };
  expect(await read(async () => {})).toBeGreaterThan(bytes);
  // Nothing is read until the server has given up.
  const cutOff = await read((served) => once(served, 'close'));
  expect(cutOff).toBeLessThan(bytes);
});

test('a client that goes away in the middle leaves nothing', async () => {
  const { server, dataDir } = await startInFolder();
  await makeBucket(server, 'b');
  const socket = await beginUpload(await server.listen(), { length: 100_000, body: 'x'.repeat(70_000) });
  await expect.poll(() => storedFiles(dataDir)).toHaveLength(1);
  socket.destroy();
  await expect.poll(() => storedFiles(dataDir)).toEqual([]);
  expect(await rows(server)).toBe(0);
});

test('a form that breaks off is not stored, though all its announced bytes came', async () => {
  const { server, dataDir } = await startInFolder();
  await makeBucket(server, 'b');
  const { body, headers } = form('x'.repeat(1000));
  const reply = await server.as('admin').put(objectPath('b', 'f'), body.subarray(0, -30), headers);
  expect(reply.status).toBe(400);
  expect(await rows(server)).toBe(0);
  expect(await storedFiles(dataDir)).toEqual([]);
});

const FIELD = '--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n';

test.each([
  ['without a file', '--x--\r\n', '; boundary=x'],
  ['with a field only', `${FIELD}--x--\r\n`, '; boundary=x'],
  ['that says not where its parts end', `${FIELD}--x--\r\n`, ''],
  ['with other ends than it says', `${FIELD}--x--\r\n`, '; boundary=y'],
  ['that is none', 'hello', '; boundary=x'],
  ['of nothing', '', '; boundary=x'],
])('a form %s is refused', async (_what, body, boundary) => {
  const server = await startApp();
  await makeBucket(server, 'b');
  const headers = { 'content-type': `multipart/form-data${boundary}` };
  for (const reply of [
    await server.as('admin').put(objectPath('b', 'f'), body, headers),
    await server.as('admin').post(`${BUCKETS}/b/objects`, body, headers),
  ]) {
    expect(reply).toMatchObject({ status: 400, body: { error: 'STORAGE_INVALID_PARAMETER' } });
  }
  expect(await rows(server)).toBe(0);
});

test('a refused upload of many bytes gets its answer while it is still sending', async () => {
  const { server, dataDir } = await startInFolder();
  await makeBucket(server, 'b', { fileSizeLimit: KILOBYTE });
  const url = await server.listen();
  const sent = new ReadableStream({
    async pull(controller) {
      controller.enqueue(Buffer.alloc(64 * KILOBYTE));
    },
  });
  const giveUp = new AbortController();
  const reply = await fetch(url + objectPath('b', 'f'), {
    signal: giveUp.signal,
    method: 'PUT',
    headers: { 'x-api-key': SECRETS.ACCESS_API_KEY, 'content-type': 'text/plain' },
    body: sent,
    duplex: 'half',
  } as RequestInit);
  expect(reply.status).toBe(413);
  expect(await storedFiles(dataDir)).toEqual([]);
  giveUp.abort();
});

test('nobody may read a byte of an upload before its sender may send it', async () => {
  const server = await startApp();
  await makeBucket(server, 'b');
  const { hostname, port } = new URL(await server.listen());
  const socket = connect(Number(port), hostname);
  await once(socket, 'connect');
  // Not one byte of the body follows, and yet there is the answer.
  socket.write(
    `PUT ${objectPath('b', 'f')} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${await server.token(await server.user('ada'))}\r\n` +
      'content-type: text/plain\r\ncontent-length: 1000000\r\n\r\n',
  );
  const [answer] = await once(socket, 'data');
  expect(String(answer)).toMatch(/^HTTP\/1.1 403 /);
  socket.destroy();
});

test('who asks before sending is told what they would be told, and waved through where they may', async () => {
  const server = await startApp();
  await makeBucket(server, 'b', { fileSizeLimit: 1024 * KILOBYTE });
  const { hostname, port } = new URL(await server.listen());
  const ask = async (path: string, headers: string[]) => {
    const socket = connect(Number(port), hostname);
    onTestFinished(() => void socket.destroy());
    await once(socket, 'connect');
    const lines = [`PUT ${path} HTTP/1.1`, 'host: x', 'content-type: text/plain', 'expect: 100-continue', ...headers];
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    const [answer] = await once(socket, 'data');
    return { socket, answer: String(answer) };
  };
  const key = `x-api-key: ${SECRETS.ACCESS_API_KEY}`;
  const user = `authorization: Bearer ${await server.token(await server.user('ada'))}`;
  const refusals: [status: number, path: string, headers: string[]][] = [
    [401, objectPath('b', 'f'), ['content-length: 100']],
    [403, objectPath('b', 'f'), ['content-length: 100', user]],
    [403, objectPath('b', 'f'), ['content-length: 500000', user]],
    [404, objectPath('none', 'f'), ['content-length: 100', key]],
    [413, objectPath('b', 'f'), ['content-length: 100000000', key]],
    [403, '/storage/v1/s3/b/f', ['content-length: 100']],
    [401, '/api/storage/config', ['content-length: 100']],
  ];
  for (const [status, path, headers] of refusals) {
    expect((await ask(path, headers)).answer, path).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  }
  const { socket, answer } = await ask(objectPath('b', 'f'), ['content-length: 5', key]);
  expect(answer).toBe('HTTP/1.1 100 Continue\r\n\r\n');
  socket.write('hello');
  expect(String((await once(socket, 'data'))[0])).toMatch(/^HTTP\/1.1 200 /);
  expect((await server.as('admin').get(objectPath('b', 'f'))).text).toBe('hello');
});

/** Ext4 gives a file no more. */
const MAX_NAMES = 65_000;

test('a file that has all the names it can have is copied nevertheless', async () => {
  const { server, dataDir } = await startInFolder();
  await makeBucket(server, 'b');
  const admin = server.as('admin');
  const content = 'x'.repeat(100 * KILOBYTE);
  expect((await upload(admin, 'b', 'f', content)).status).toBe(200);
  const [name = ''] = await storedFiles(dataDir);
  const links = join(dataDir, 'links');
  mkdirSync(links);
  try {
    for (let index = 1; index < MAX_NAMES; index++) {
      linkSync(join(dataDir, 'storage', name.slice(0, 1), name), join(links, String(index)));
    }
  } catch {} // Fewer are allowed.
  expect((await admin.post(`${objectPath('b', 'f')}/copy`, { to: 'copy' })).status).toBe(200);
  expect((await admin.get(objectPath('b', 'copy'))).text).toBe(content);
});
