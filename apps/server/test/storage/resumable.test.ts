import { randomBytes } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { Upload } from 'tus-js-client';
import { expect, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';
import { type ServerProcess, scratchFolder, startServer } from '../start/process.ts';
import { BUCKETS, makeBucket, objectPath } from './files.ts';

const ENDPOINT = '/storage/v1/upload/resumable';
const MEGABYTE = 1024 * 1024;

interface Options {
  url: string;
  headers: Record<string, string>;
  content: Buffer;
  metadata?: Record<string, string>;
  chunkSize?: number;
  /** Called with what the server has acknowledged; true stops here. */
  stopAt?: (accepted: number) => boolean;
  uploadUrl?: string | null;
}

/** Uploads with tus-js-client. Resolves to the URL of the upload, when it is complete or was stopped. */
function tusUpload({ url, headers, content, metadata, chunkSize, stopAt, uploadUrl }: Options): Promise<string> {
  return new Promise((resolve, reject) => {
    const upload = new Upload(content as never, {
      endpoint: url + ENDPOINT,
      headers,
      metadata: metadata ?? { bucketName: 'b', objectName: 'big.bin', contentType: 'application/x-big' },
      ...(chunkSize ? { chunkSize } : {}),
      ...(uploadUrl ? { uploadUrl } : {}),
      retryDelays: null,
      onError: reject,
      onSuccess: () => resolve(upload.url ?? ''),
      onChunkComplete: (_size, accepted) => {
        if (stopAt?.(accepted)) void upload.abort().then(() => resolve(upload.url ?? ''));
      },
    });
    upload.start();
  });
}

async function startWithUser(environment: Record<string, string> = {}) {
  const server = await startApp(environment);
  const ada = await server.user('ada');
  await makeBucket(server, 'b', { preset: 'owner-only' });
  return { server, ada, url: await server.listen(), headers: { authorization: `Bearer ${await server.token(ada)}` } };
}

test.each([
  { what: 'in one piece', bytes: 300_000, chunkSize: undefined },
  { what: 'in pieces', bytes: 300_000, chunkSize: 70_000 },
  { what: 'larger than a part', bytes: 20 * MEGABYTE + 7, chunkSize: undefined },
  { what: 'of nothing', bytes: 0, chunkSize: undefined },
])('a file $what arrives as it was', async ({ bytes, chunkSize }) => {
  const { server, ada, url, headers } = await startWithUser();
  const content = randomBytes(bytes);
  await tusUpload({ url, headers, content, ...(chunkSize ? { chunkSize } : {}) });
  const reply = await fetch(url + objectPath('b', 'big.bin'), { headers });
  expect(reply.headers.get('content-type')).toBe('application/x-big');
  expect(Buffer.from(await reply.arrayBuffer()).equals(content)).toBe(true);
  expect(await server.sql('select uploaded_by, size::int from storage.objects')).toEqual([
    { uploaded_by: ada.sub, size: bytes },
  ]);
});

test('an upload goes on where it stopped', async () => {
  const { url, headers } = await startWithUser();
  const content = randomBytes(500_000);
  const uploadUrl = await tusUpload({
    url,
    headers,
    content,
    chunkSize: 100_000,
    stopAt: (accepted) => accepted >= 200_000,
  });
  const offset = await fetch(uploadUrl, { method: 'HEAD', headers: { ...headers, 'tus-resumable': '1.0.0' } });
  expect(Number(offset.headers.get('upload-offset'))).toBeGreaterThanOrEqual(200_000);
  expect(offset.headers.get('upload-length')).toBe('500000');
  expect((await fetch(url + objectPath('b', 'big.bin'), { headers })).status).toBe(404);
  await tusUpload({ url, headers, content, uploadUrl });
  const reply = await fetch(url + objectPath('b', 'big.bin'), { headers });
  expect(Buffer.from(await reply.arrayBuffer()).equals(content)).toBe(true);
});

test('what arrived before the connection broke is kept', async () => {
  const dataDir = await scratchFolder();
  const { url, headers } = await startWithUser({ DATA_DIR: dataDir });
  const content = randomBytes(400_000);
  const uploadUrl = await tusUpload({ url, headers, content, chunkSize: 1, stopAt: () => true });
  const broken = new AbortController();
  const sending = fetch(uploadUrl, {
    method: 'PATCH',
    headers: {
      ...headers,
      'tus-resumable': '1.0.0',
      'upload-offset': '1',
      'content-type': 'application/offset+octet-stream',
    },
    body: Readable.toWeb(
      Readable.from(
        (async function* () {
          yield content.subarray(1, 200_000);
          await new Promise(() => {});
        })(),
      ),
    ),
    duplex: 'half',
    signal: broken.signal,
  } as RequestInit);
  sending.catch(() => {});
  const offset = async () => {
    const reply = await fetch(uploadUrl, { method: 'HEAD', headers: { ...headers, 'tus-resumable': '1.0.0' } });
    return Number(reply.headers.get('upload-offset'));
  };
  const arrived = async () => {
    const entries = await readdir(join(dataDir, 'storage'), { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    const sizes = await Promise.all(
      files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  };
  // The last piece may still wait in memory for more to be written with it.
  await expect.poll(arrived).toBeGreaterThan(100_000);
  broken.abort();
  await expect.poll(offset, { timeout: 10_000 }).toBeGreaterThan(100_000);
  await tusUpload({ url, headers, content, uploadUrl });
  const reply = await fetch(url + objectPath('b', 'big.bin'), { headers });
  expect(Buffer.from(await reply.arrayBuffer()).equals(content)).toBe(true);
});

const statusOf = (sending: Promise<unknown>) =>
  sending.then(
    () => 'stored',
    (error) => error.originalResponse?.getStatus() ?? String(error),
  );

test('uploads that may not be are refused at once', async () => {
  const { server, url, headers } = await startWithUser();
  await makeBucket(server, 'closed');
  await makeBucket(server, 'small', { fileSizeLimit: 10 });
  await makeBucket(server, 'images', { allowedMimeTypes: ['image/*'] });
  const content = randomBytes(1000);
  const admin = { 'x-api-key': SECRETS.ACCESS_API_KEY };
  const into = (bucketName: string, more = {}) => ({
    url,
    content,
    metadata: { bucketName, objectName: 'k', ...more },
  });
  expect(await statusOf(tusUpload({ ...into('b'), headers: {} }))).toBe(401);
  expect(await statusOf(tusUpload({ ...into('closed'), headers }))).toBe(403);
  expect(await statusOf(tusUpload({ ...into('none'), headers }))).toBe(404);
  expect(await statusOf(tusUpload({ ...into('small'), headers: admin }))).toBe(413);
  expect(await statusOf(tusUpload({ ...into('images', { contentType: 'text/plain' }), headers: admin }))).toBe(415);
  expect(await statusOf(tusUpload({ ...into('b', { objectName: '../x' }), headers }))).toBe(400);
  expect(await statusOf(tusUpload({ url, content, headers, metadata: { objectName: 'k' } }))).toBe(400);
  expect(await server.sql('select * from storage.uploads')).toEqual([]);
});

test('errors are the envelope of every route, also for a page of another origin', async () => {
  const { url, headers } = await startWithUser();
  const origin = { origin: 'https://app.example.com', 'tus-resumable': '1.0.0' };
  const begin = (metadata: string) =>
    fetch(url + ENDPOINT, {
      method: 'POST',
      headers: { ...headers, ...origin, 'upload-length': '5', 'upload-metadata': metadata },
    });
  const refused = [
    await begin(`bucketName ${btoa('b')}`),
    await begin(`bucketName ${btoa('b')},objectName ${btoa('../x')}`),
    await begin(`bucketName ${btoa('b')},objectName ${btoa('k')},note ${btoa('a\0')}`),
    await begin(`bucketName ${btoa('b')},objectName !`),
    await fetch(`${url}${ENDPOINT}/no-such-upload`, {
      method: 'PATCH',
      headers: { ...headers, ...origin, 'upload-offset': '0', 'content-type': 'application/offset+octet-stream' },
      body: 'x',
    }),
  ];
  for (const reply of refused) {
    expect(Object.fromEntries(reply.headers)).toMatchObject({
      'tus-resumable': '1.0.0',
      'access-control-allow-origin': 'https://app.example.com',
      'access-control-allow-credentials': 'true',
    });
    expect(await reply.json()).toMatchObject({ error: expect.stringContaining('STORAGE_'), statusCode: reply.status });
  }
  const begun = await begin(`bucketName ${btoa('b')},objectName ${btoa('k')}`);
  expect(begun.headers.get('access-control-allow-origin')).toBe('https://app.example.com');
  expect(begun.headers.get('access-control-expose-headers')).toContain('Upload-Offset');
});

test('a client may ask what the server can do, and hears when it speaks another version', async () => {
  const { url, headers } = await startWithUser();
  const asked = await fetch(url + ENDPOINT, { method: 'OPTIONS' });
  expect([asked.status, Object.fromEntries(asked.headers)]).toMatchObject([
    204,
    {
      'tus-resumable': '1.0.0',
      'tus-version': '1.0.0',
      'tus-extension': 'creation,creation-with-upload,creation-defer-length,termination,expiration',
    },
  ]);
  const metadata = `bucketName ${btoa('b')},objectName ${btoa('k')}`;
  const begin = (more: Record<string, string>) =>
    fetch(url + ENDPOINT, { method: 'POST', headers: { ...headers, 'upload-metadata': metadata, ...more } });
  for (const version of ['', '0.2.2']) {
    const refused = await begin({ 'upload-length': '5', 'tus-resumable': version });
    expect([refused.status, refused.headers.get('tus-version')]).toEqual([412, '1.0.0']);
    expect(await refused.json()).toMatchObject({ error: 'STORAGE_INVALID_PARAMETER', statusCode: 412 });
  }
  for (const length of ['-5', '5.5', 'x']) {
    const refused = await begin({ 'tus-resumable': '1.0.0', 'upload-length': length });
    expect(await refused.json()).toMatchObject({ error: 'STORAGE_INVALID_PARAMETER', statusCode: 400 });
  }
});

test('nobody else goes on with an upload, or looks at it, or ends it', async () => {
  const { server, url, headers } = await startWithUser();
  const content = randomBytes(1000);
  const uploadUrl = await tusUpload({ url, headers, content, chunkSize: 500, stopAt: () => true });
  const bob = `Bearer ${await server.token(await server.user('bob'))}`;
  for (const authorization of [bob, `Bearer ${SECRETS.ACCESS_API_KEY}`]) {
    for (const method of ['HEAD', 'PATCH', 'DELETE']) {
      const reply = await fetch(uploadUrl, {
        method,
        headers: {
          authorization,
          'tus-resumable': '1.0.0',
          ...(method === 'PATCH' ? { 'upload-offset': '500', 'content-type': 'application/offset+octet-stream' } : {}),
        },
        ...(method === 'PATCH' ? { body: 'stolen' } : {}),
      });
      expect([method, reply.status]).toEqual([method, 404]);
    }
  }
  await tusUpload({ url, headers, content, uploadUrl });
  expect((await fetch(url + objectPath('b', 'big.bin'), { headers })).status).toBe(200);
});

test('an upload that is ended leaves nothing', async () => {
  const { server, url, headers } = await startWithUser();
  const content = randomBytes(1000);
  const uploadUrl = await tusUpload({ url, headers, content, chunkSize: 500, stopAt: () => true });
  const ended = await fetch(uploadUrl, { method: 'DELETE', headers: { ...headers, 'tus-resumable': '1.0.0' } });
  expect(ended.status).toBe(204);
  expect(await server.sql('select * from storage.uploads')).toEqual([]);
  expect(await server.sql('select * from storage.upload_parts')).toEqual([]);
});

test('a policy that closes in the middle keeps the file from appearing', async () => {
  const { server, url, headers } = await startWithUser();
  const content = randomBytes(1000);
  const uploadUrl = await tusUpload({ url, headers, content, chunkSize: 500, stopAt: () => true });
  await server.as('admin').put(`${BUCKETS}/b/policies`, { preset: null });
  expect(await statusOf(tusUpload({ url, headers, content, uploadUrl }))).toBe(403);
  expect(await server.sql('select * from storage.objects')).toEqual([]);
});

/** A server of its own process, with the bucket `b`. */
async function startProcess(
  environment: Record<string, string> = {},
): Promise<{ server: ServerProcess; headers: Record<string, string> }> {
  const server = await startServer(environment);
  await server.ready();
  const headers = { 'x-api-key': (await server.credentials()).ACCESS_API_KEY ?? '' };
  return { server, headers };
}

test('an upload survives kill -9 of the server', async () => {
  const first = await startProcess();
  await fetch(`${first.server.url}${BUCKETS}`, {
    method: 'POST',
    headers: { ...first.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ bucketName: 'b', isPublic: false }),
  });
  const content = randomBytes(12 * MEGABYTE);
  const uploadUrl = await tusUpload({
    url: first.server.url,
    headers: first.headers,
    content,
    chunkSize: 5 * MEGABYTE,
    stopAt: (accepted) => accepted >= 5 * MEGABYTE,
  });
  first.server.kill('SIGKILL');
  await first.server.ended();

  const { server, headers } = await startProcess({ DATA_DIR: first.server.dataDir });
  const moved = server.url + new URL(uploadUrl).pathname;
  const offset = await fetch(moved, { method: 'HEAD', headers: { ...headers, 'tus-resumable': '1.0.0' } });
  expect(Number(offset.headers.get('upload-offset'))).toBeGreaterThanOrEqual(5 * MEGABYTE);
  await tusUpload({ url: server.url, headers, content, uploadUrl: moved });
  const reply = await fetch(server.url + objectPath('b', 'big.bin'), { headers });
  expect(Buffer.from(await reply.arrayBuffer()).equals(content)).toBe(true);
}, 60_000);

test('an upload whose last bytes came just before the server was killed is completed when its client asks', async () => {
  const { server, url, headers } = await startWithUser();
  const content = randomBytes(1000);
  const uploadUrl = await tusUpload({ url, headers, content, chunkSize: 500, stopAt: () => true });
  // As if all parts had been stored, and nothing after that.
  await server.sql('update storage.uploads set size = 500');
  const head = () => fetch(uploadUrl, { method: 'HEAD', headers: { ...headers, 'tus-resumable': '1.0.0' } });
  expect((await head()).headers.get('upload-offset')).toBe('500');
  const reply = await fetch(url + objectPath('b', 'big.bin'), { headers });
  expect(Buffer.from(await reply.arrayBuffer())).toEqual(content.subarray(0, 500));
  expect((await head()).headers.get('upload-offset')).toBe('500');
});

test('an upload that nobody went on with is given up, and its pieces go', async () => {
  const { server, url, headers } = await startWithUser();
  const content = randomBytes(1000);
  const uploadUrl = await tusUpload({ url, headers, content, chunkSize: 500, stopAt: () => true });
  await server.sql(`update storage.uploads set expires_at = now() - interval '1 minute'`);
  const head = await fetch(uploadUrl, { method: 'HEAD', headers: { ...headers, 'tus-resumable': '1.0.0' } });
  expect(head.status).toBe(404);
  await server.sql(`update storage.uploads set expires_at = now() - interval '2 hours'`);
  // The first sweep comes some seconds after the start.
  await expect.poll(() => server.sql('select * from storage.uploads'), { timeout: 20_000 }).toEqual([]);
  expect(await server.sql('select * from storage.upload_parts')).toEqual([]);
  await expect.poll(() => server.sql('select * from storage.garbage')).toEqual([]);
});
