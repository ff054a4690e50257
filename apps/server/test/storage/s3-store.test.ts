import { randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createClient } from '@insforge/sdk';
// @ts-expect-error it has no types
import S3rver from 's3rver';
import { Upload } from 'tus-js-client';
import { expect, onTestFinished, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';
import { freePort, scratchFolder } from '../start/process.ts';
import { BUCKETS, makeBucket, objectPath, upload } from './files.ts';

/** A store that speaks S3 and is not ours, and what lies there. */
async function startStore() {
  const port = await freePort();
  const directory = await scratchFolder();
  const store = new S3rver({ port, directory, silent: true, configureBuckets: [{ name: 'store', configs: [] }] });
  await store.run();
  onTestFinished(() => store.close());
  const stored = async () =>
    (await readdir(join(directory, 'store'), { recursive: true })).filter((name) => name.endsWith('._S3rver_object'));
  return { stored, storeUrl: `http://127.0.0.1:${port}` };
}

/** A server whose files lie in such a store. */
async function startOnS3(environment: Record<string, string> = {}, beside?: TestApp) {
  const { stored, storeUrl } = await startStore();
  const settings = {
    S3_BUCKET: 'store',
    S3_ENDPOINT_URL: storeUrl,
    S3_REGION: 'us-east-1',
    S3_ACCESS_KEY_ID: 'S3RVER',
    S3_SECRET_ACCESS_KEY: 'S3RVER',
    S3_KEY_PREFIX: 'files/',
    ...environment,
  };
  return { server: await startApp(settings, beside ? { beside } : {}), stored, storeUrl };
}

const THROUGH_US = { S3_USE_PRESIGNED_URLS: 'false' };

test.each([{ bytes: 0 }, { bytes: 5 }, { bytes: 300_000 }, { bytes: 12 * 1024 * 1024 + 1 }])(
  '$bytes bytes go through this server to the store and back',
  async ({ bytes }) => {
    const { server, stored } = await startOnS3(THROUGH_US);
    const admin = server.as('admin');
    await makeBucket(server, 'b', { isPublic: true });
    const content = randomBytes(bytes);
    expect(await upload(admin, 'b', 'k', content)).toMatchObject({ status: 200, body: { size: bytes } });
    const url = await server.listen();
    const got = await fetch(url + objectPath('b', 'k'), { redirect: 'error' });
    expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true);
    if (bytes > 0) {
      const part = await fetch(url + objectPath('b', 'k'), { headers: { range: 'bytes=1-3' } });
      expect(Buffer.from(await part.arrayBuffer())).toEqual(content.subarray(1, 4));
    }
    expect(await stored()).toHaveLength(1);
  },
);

const OF_AWS = {
  AWS_S3_BUCKET: 'store',
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'S3RVER',
  AWS_SECRET_ACCESS_KEY: 'S3RVER',
};
const OWN = { S3_BUCKET: 'store', S3_REGION: 'us-east-1', S3_ACCESS_KEY_ID: 'S3RVER', S3_SECRET_ACCESS_KEY: 'S3RVER' };
const OF_SOMETHING_ELSE = {
  AWS_S3_BUCKET: 'other',
  AWS_REGION: 'eu-west-1',
  AWS_ACCESS_KEY_ID: 'OTHER',
  AWS_SECRET_ACCESS_KEY: 'other',
};

test.each([
  { what: 'as AWS tools call it', names: OF_AWS, token: undefined },
  { what: 'as AWS tools call it, for a while', names: { ...OF_AWS, AWS_SESSION_TOKEN: 'T' }, token: 'T' },
  { what: 'by names of its own', names: { ...OWN, ...OF_SOMETHING_ELSE, AWS_SESSION_TOKEN: 'T' }, token: null },
])('the store may be named $what', async ({ names, token = null }) => {
  const { stored, storeUrl } = await startStore();
  const server = await startApp({ ...names, S3_ENDPOINT_URL: storeUrl });
  await makeBucket(server, 'b', { isPublic: true });
  expect((await upload(server.as('admin'), 'b', 'k', 'content')).status).toBe(200);
  expect(await stored()).toHaveLength(1);
  const location = new URL(String((await server.as('nobody').get(objectPath('b', 'k'))).headers.location));
  expect(location.searchParams.get('X-Amz-Credential')).toMatch(/^S3RVER\/\d+\/us-east-1\//);
  expect(location.searchParams.get('X-Amz-Security-Token')).toBe(token);
});

test.each<Record<string, string>>([
  { ...OWN, S3_SECRET_ACCESS_KEY: '' },
  { S3_BUCKET: 'store', S3_ACCESS_KEY_ID: 'S3RVER', AWS_SECRET_ACCESS_KEY: 'other' },
  { S3_BUCKET: 'store', AWS_ACCESS_KEY_ID: 'S3RVER' },
])('half a key opens no store: %j', async (names) => {
  await expect(startApp(names)).rejects.toThrow('go together');
});

test('what is small and was stored before there was a store is served from its row', async () => {
  const local = await startApp();
  await makeBucket(local, 'b', { isPublic: true });
  await upload(local.as('admin'), 'b', 'old', 'small');
  const { server } = await startOnS3({}, local);
  await upload(server.as('admin'), 'b', 'new', 'small');
  const { get, head } = server.as('nobody');
  expect(await get(objectPath('b', 'old'))).toMatchObject({ status: 200, text: 'small' });
  expect((await head(objectPath('b', 'old'))).status).toBe(200);
  expect((await get(objectPath('b', 'new'))).status).toBe(302);
});

test('copies are the work of the store, and what no row points at is deleted there', async () => {
  const { server, stored } = await startOnS3(THROUGH_US);
  const admin = server.as('admin');
  await makeBucket(server, 'b');
  await upload(admin, 'b', 'k', 'one');
  await admin.post(`${objectPath('b', 'k')}/copy`, { to: 'c' });
  await upload(admin, 'b', 'k', 'two');
  expect((await admin.get(objectPath('b', 'c'))).text).toBe('one');
  expect((await admin.get(objectPath('b', 'k'))).text).toBe('two');
  await expect.poll(stored).toHaveLength(2);
  await admin.delete(`${BUCKETS}/b`);
  await expect.poll(stored).toHaveLength(0);
});

test('an upload that is too large or breaks off leaves nothing in the store', async () => {
  const { server, stored } = await startOnS3(THROUGH_US);
  await makeBucket(server, 'b', { fileSizeLimit: 6 * 1024 * 1024 });
  expect((await upload(server.as('admin'), 'b', 'k', randomBytes(7 * 1024 * 1024))).status).toBe(413);
  expect((await upload(server.as('admin'), 'b', 'k', randomBytes(20 * 1024 * 1024))).status).toBe(413);
  expect(await stored()).toEqual([]);
});

test('the official SDK uploads to the store directly, and downloads from it', async () => {
  const { server, stored, storeUrl } = await startOnS3();
  await makeBucket(server, 'b', { preset: 'owner-only' });
  const ada = await server.user('ada');
  const baseUrl = await server.listen();
  const { storage } = createClient({ baseUrl, accessToken: await server.token(ada), isServerMode: true });
  const files = storage.from('b');

  const stays = await files.upload('a/b c.txt', new Blob(['hello'], { type: 'text/plain' }));
  expect(stays.error).toBeNull();
  expect(stays.data).toMatchObject({ bucket: 'b', key: 'a/b c.txt', size: 5, mimeType: 'text/plain' });
  await expect.poll(stored).toHaveLength(1);
  expect(await server.sql('select uploaded_by, etag from storage.objects')).toEqual([
    { uploaded_by: ada.sub, etag: '5d41402abc4b2a76b9719d911017c592' },
  ]);
  expect(await (await files.download('a/b c.txt')).data?.text()).toBe('hello');
  const signed = await files.createSignedUrl('a/b c.txt', 60);
  expect(signed.data?.signedUrl).toContain(storeUrl);
  const direct = await fetch(signed.data?.signedUrl ?? '');
  expect(direct.headers.get('content-disposition')).toBe('inline; filename="b c.txt"');
  expect(await direct.text()).toBe('hello');
  const redirected = await fetch(`${baseUrl}${objectPath('b', 'a/b c.txt')}`, {
    headers: { authorization: `Bearer ${await server.token(ada)}` },
    redirect: 'manual',
  });
  expect(redirected.status).toBe(302);
  expect(redirected.headers.get('location')).toContain(storeUrl);
  expect(await server.sql('select * from storage.uploads')).toEqual([]);
});

test('a page in the store is a download there as well', async () => {
  const { server } = await startOnS3();
  await makeBucket(server, 'b', { isPublic: true });
  await upload(server.as('admin'), 'b', 'page', '<script>alert(1)</script>', 'text/html');
  const url = await server.listen();
  const { headers } = await fetch(url + objectPath('b', 'page'));
  expect(headers.get('content-type')).toBe('application/octet-stream');
  expect(headers.get('content-disposition')).toBe('attachment; filename="page"');
});

/** Asks for a plan, and posts to the store what `content` is. */
async function postDirectly(
  server: Awaited<ReturnType<typeof startOnS3>>['server'],
  content: string,
  size = content.length,
) {
  const admin = server.as('admin');
  const plan = await admin.post(`${BUCKETS}/b/upload-strategy`, { filename: 'k', contentType: 'text/plain', size });
  const form = new FormData();
  for (const [name, value] of Object.entries<string>(plan.body.fields)) form.append(name, value);
  form.append('file', new Blob([content]));
  await fetch(plan.body.uploadUrl, { method: 'POST', body: form });
  return plan.body.confirmUrl as string;
}

test('what was confirmed stays as it is, though its form can be posted again', async () => {
  const { server, stored } = await startOnS3();
  await makeBucket(server, 'b', { allowedMimeTypes: ['text/plain'] });
  const admin = server.as('admin');
  const plan = await admin.post(`${BUCKETS}/b/upload-strategy`, {
    filename: 'k',
    contentType: 'text/plain',
    size: 3,
  });
  const post = async (content: string) => {
    const form = new FormData();
    for (const [name, value] of Object.entries<string>(plan.body.fields)) form.append(name, value);
    form.append('file', new Blob([content]));
    return (await fetch(plan.body.uploadUrl, { method: 'POST', body: form })).ok;
  };
  expect(await post('abc')).toBe(true);
  expect((await admin.post(plan.body.confirmUrl, { size: 3 })).status).toBe(200);
  await expect.poll(stored).toHaveLength(1);
  expect(await post('%PDF-1.4')).toBe(true);
  const read = await admin.get(objectPath('b', 'k'));
  expect(await (await fetch(read.headers.location as string)).text()).toBe('abc');
});

test('what was uploaded directly counts once it is confirmed, as it is', async () => {
  const { server, stored } = await startOnS3();
  await makeBucket(server, 'b', { fileSizeLimit: 100, allowedMimeTypes: ['text/plain'] });
  const admin = server.as('admin');
  const confirm = (url: string, size: number) => admin.post(url, { size, contentType: 'text/plain' });

  const nothing = await admin.post(`${BUCKETS}/b/upload-strategy`, { filename: 'k', size: 3 });
  expect(nothing.status).toBe(415);
  const unsent = await admin.post(`${BUCKETS}/b/upload-strategy`, {
    filename: 'k',
    contentType: 'text/plain',
    size: 3,
  });
  expect((await confirm(unsent.body.confirmUrl, 3)).status).toBe(404);

  const tooLarge = await postDirectly(server, 'x'.repeat(101), 3);
  expect((await confirm(tooLarge, 101)).status).toBe(413);
  const lied = await postDirectly(server, 'abc');
  expect((await confirm(lied, 4)).status).toBe(400);
  const disguised = await postDirectly(server, '%PDF-1.4');
  expect((await confirm(disguised, 8)).status).toBe(415);
  expect(await server.sql('select * from storage.objects')).toEqual([]);

  const honest = await postDirectly(server, 'abc');
  const ada = await server.user('ada');
  expect((await server.as(ada).post(honest, { size: 3 })).status).toBe(404);
  expect(await confirm(honest, 3)).toMatchObject({ status: 200, body: { key: 'k', size: 3, mimeType: 'text/plain' } });
  expect((await confirm(honest, 3)).status).toBe(404);
  expect((await admin.head(objectPath('b', 'k'))).status).toBe(200);

  // A client that builds the URL itself does not know which upload it was: it was the last one.
  await postDirectly(server, 'changed');
  expect((await confirm(`${objectPath('b', 'k')}/confirm-upload`, 7)).body).toMatchObject({ size: 7 });

  // What was never confirmed goes when its time is over.
  const before = (await stored()).length;
  await server.sql(`delete from storage.uploads`);
  await admin.delete(objectPath('b', 'k'));
  await expect.poll(stored, { timeout: 5000 }).toHaveLength(0);
  expect(before).toBeGreaterThan(1);
});

function tusUpload(url: string, content: Buffer, chunkSize: number): Promise<void> {
  return new Promise((resolve, reject) => {
    new Upload(content as never, {
      endpoint: `${url}/storage/v1/upload/resumable`,
      headers: { 'x-api-key': SECRETS.ACCESS_API_KEY },
      metadata: { bucketName: 'b', objectName: 'k' },
      chunkSize,
      onSuccess: () => resolve(),
      onError: reject,
    }).start();
  });
}

test('an upload in pieces is put together in the store', async () => {
  const { server, stored } = await startOnS3(THROUGH_US);
  await makeBucket(server, 'b', { isPublic: true });
  const url = await server.listen();
  const content = randomBytes(11 * 1024 * 1024);
  await tusUpload(url, content, 6 * 1024 * 1024);
  const got = await fetch(url + objectPath('b', 'k'));
  expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true);
  await expect.poll(stored).toHaveLength(1);
});

test('a store that does not answer is named in the error', async () => {
  const server = await startApp({
    S3_BUCKET: 'x',
    S3_ENDPOINT_URL: 'http://127.0.0.1:9',
    ...THROUGH_US,
    S3_ACCESS_KEY_ID: 'a',
    S3_SECRET_ACCESS_KEY: 'b',
  });
  await makeBucket(server, 'b');
  expect(await upload(server.as('admin'), 'b', 'k', 'x')).toMatchObject({
    status: 503,
    body: { error: 'UPSTREAM_FAILURE', nextActions: expect.stringContaining('S3_ENDPOINT_URL') },
  });
});

test('the gateway of a second server is a store as good as any, and joins pieces by itself', async () => {
  const store = await startApp();
  await makeBucket(store, 'store');
  const { body: key } = await store.as('admin').post('/api/storage/s3/access-keys', { description: 'another server' });
  const server = await startApp({
    S3_BUCKET: 'store',
    S3_ENDPOINT_URL: `${await store.listen()}/storage/v1/s3`,
    S3_ACCESS_KEY_ID: key.accessKeyId,
    S3_SECRET_ACCESS_KEY: key.secretAccessKey,
    S3_KEY_PREFIX: 'of/another/',
    ...THROUGH_US,
  });
  await makeBucket(server, 'b', { isPublic: true });
  const admin = server.as('admin');
  const url = await server.listen();
  const content = randomBytes(20 * 1024 * 1024);
  await tusUpload(url, content, 7 * 1024 * 1024);
  // Three pieces as they came; sent through the server again they would have been four.
  const [joined] = await store.sql<{ etag: string }>('select etag from storage.objects where size = $1', [
    content.length,
  ]);
  expect(joined?.etag).toMatch(/-3$/);
  const got = await fetch(url + objectPath('b', 'k'));
  expect(Buffer.from(await got.arrayBuffer()).equals(content)).toBe(true);
  await admin.post(`${objectPath('b', 'k')}/copy`, { to: 'c' });
  await upload(admin, 'b', 'small', 'hello');
  await upload(admin, 'b', 'k', 'replaced');
  expect((await admin.get(objectPath('b', 'small'))).text).toBe('hello');
  expect((await admin.get(objectPath('b', 'k'))).text).toBe('replaced');
  const keysInStore = async () => (await store.as('admin').get(`${BUCKETS}/store/objects`)).body.pagination.total;
  await expect.poll(keysInStore).toBe(3);
  await admin.delete(`${BUCKETS}/b`);
  await expect.poll(keysInStore).toBe(0);
});
