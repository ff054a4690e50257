import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { expect, onTestFinished, test } from 'vitest';
import { startApp } from '../harness.ts';
import { BUCKETS, makeBucket, makeRowsUnreadable, objectPath } from './files.ts';

const picture = (width: number, height: number, background = '#c81e1e') =>
  sharp({ create: { width, height, channels: 3, background } });

/** A public bucket with a photo of 400 x 200, and a way to get its bytes. */
async function startWithPhoto() {
  const dataDir = await mkdtemp(join(tmpdir(), 'insforge-images-'));
  onTestFinished(() => rm(dataDir, { recursive: true, force: true }));
  const server = await startApp({ DATA_DIR: dataDir });
  await makeBucket(server, 'b', { isPublic: true });
  const url = await server.listen();
  const put = (key: string, body: Uint8Array | string, type = 'image/jpeg') =>
    server.as('admin').put(objectPath('b', key), Buffer.from(body), { 'content-type': type });
  await put('photo.jpg', await picture(400, 200).jpeg().toBuffer());
  const get = async (key: string, query: string, headers = {}) => {
    const reply = await fetch(`${url}${objectPath('b', key)}?${query}`, { headers });
    const bytes = Buffer.from(await reply.arrayBuffer());
    return { status: reply.status, headers: Object.fromEntries(reply.headers), bytes };
  };
  const blobs = async () => {
    const entries = await readdir(join(dataDir, 'storage'), { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).length;
  };
  return { server, put, get, blobs };
}

test.each([
  { query: 'width=100', gives: { width: 100, height: 50, format: 'jpeg' } },
  { query: 'height=50', gives: { width: 100, height: 50, format: 'jpeg' } },
  { query: 'width=100&height=100', gives: { width: 100, height: 100, format: 'jpeg' } },
  { query: 'width=100&height=100&resize=contain', gives: { width: 100, height: 50, format: 'jpeg' } },
  { query: 'width=100&height=100&resize=fill', gives: { width: 100, height: 100, format: 'jpeg' } },
  { query: 'width=100&resize=fill', gives: { width: 100, height: 50, format: 'jpeg' } },
  { query: 'height=50&resize=fill', gives: { width: 100, height: 50, format: 'jpeg' } },
  { query: 'width=4000&resize=fill', gives: { width: 400, height: 200, format: 'jpeg' } },
  { query: 'width=4000', gives: { width: 400, height: 200, format: 'jpeg' } },
  { query: 'format=webp', gives: { width: 400, height: 200, format: 'webp' } },
  { query: 'format=png&width=10', gives: { width: 10, height: 5, format: 'png' } },
  { query: 'format=avif&width=20', gives: { width: 20, height: 10, format: 'heif' } },
  { query: 'format=origin&quality=10', gives: { width: 400, height: 200, format: 'jpeg' } },
])('$query makes $gives', async ({ query, gives }) => {
  const { get } = await startWithPhoto();
  const made = await get('photo.jpg', query);
  expect(made.status).toBe(200);
  expect(await sharp(made.bytes).metadata()).toMatchObject(gives);
  expect(made.headers['content-type']).toBe(`image/${gives.format === 'heif' ? 'avif' : gives.format}`);
  expect(made.headers['content-disposition']).toMatch(/^inline/);
  const again = await get('photo.jpg', query);
  expect(again.bytes.equals(made.bytes)).toBe(true);
  expect((await get('photo.jpg', query, { 'if-none-match': made.headers.etag })).status).toBe(304);
  expect((await get('photo.jpg', query, { range: 'bytes=0-9' })).bytes).toEqual(made.bytes.subarray(0, 10));
});

test('an image is made once, kept, and goes with its source', async () => {
  const { server, put, get, blobs } = await startWithPhoto();
  // The photo is small, and lies in its row.
  expect(await blobs()).toBe(0);
  const replies = await Promise.all(Array.from({ length: 10 }, () => get('photo.jpg', 'width=50')));
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
  expect(await blobs()).toBe(1);
  await get('photo.jpg', 'width=51');
  expect(await blobs()).toBe(2);
  const old = (await get('photo.jpg', 'width=50')).headers.etag;
  await put('photo.jpg', await picture(300, 300).png().toBuffer(), 'image/png');
  await expect.poll(blobs).toBe(0);
  const fresh = await get('photo.jpg', 'width=50');
  expect(await sharp(fresh.bytes).metadata()).toMatchObject({ width: 50, height: 50, format: 'png' });
  expect(fresh.headers.etag).not.toBe(old);
  await server.as('admin').delete(objectPath('b', 'photo.jpg'));
  await expect.poll(blobs).toBe(0);
});

test('whoever asks for images at the same time, in whatever way, gets them', async () => {
  const { server, get } = await startWithPhoto();
  const asked = Array.from({ length: 40 }, (_, index) => get('photo.jpg', `width=${100 + (index % 4)}`));
  expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(asked.map(() => 200));
  const heads = ['width=50', 'width=50', 'width=51', 'width=50'].map((query) =>
    server.as('nobody').head(`${objectPath('b', 'photo.jpg')}?${query}`),
  );
  for (const { status, headers } of await Promise.all(heads)) {
    expect([status, headers['content-type']]).toEqual([200, 'image/jpeg']);
  }
});

test('the bytes of an image are read only to make another of it', async () => {
  const { server, get } = await startWithPhoto();
  const made = await get('photo.jpg', 'width=50');
  await makeRowsUnreadable(server);
  const again = await get('photo.jpg', 'width=50');
  expect([again.status, again.bytes.equals(made.bytes)]).toEqual([200, true]);
  expect((await get('photo.jpg', 'width=50', { 'if-none-match': made.headers.etag })).status).toBe(304);
  expect((await get('photo.jpg', 'width=51')).status).toBe(400);
});

test('ever new sizes of one image do not fill the disk', async () => {
  const { get, blobs } = await startWithPhoto();
  for (let width = 1; width <= 70; width++) expect((await get('photo.jpg', `width=${width}`)).status).toBe(200);
  expect(await blobs()).toBe(64);
});

test.each([
  { what: 'text', content: 'hello', type: 'image/jpeg' },
  { what: 'an SVG', content: '<svg xmlns="http://www.w3.org/2000/svg"/>', type: 'image/svg+xml' },
  { what: 'a broken JPEG', content: Buffer.from('ffd8ffe000104a464946', 'hex'), type: 'image/jpeg' },
  { what: 'a PDF', content: '%PDF-1.4', type: 'application/pdf' },
])('$what is not changed', async ({ content, type }) => {
  const { put, get } = await startWithPhoto();
  await put('x', content, type);
  const reply = await get('x', 'width=10');
  expect(reply.status).toBe(400);
  expect(JSON.parse(reply.bytes.toString())).toMatchObject({ error: 'STORAGE_INVALID_PARAMETER' });
});

test.each(['width=0', 'width=4001', 'height=x', 'quality=0', 'quality=101', 'format=svg', 'resize=stretch'])(
  '%s is refused',
  async (query) => {
    const { get } = await startWithPhoto();
    expect((await get('photo.jpg', query)).status).toBe(400);
  },
);

test('an image of more pixels than memory is for is not opened', async () => {
  const { put, get } = await startWithPhoto();
  // 64 megapixels of one colour are a small file.
  await put('bomb.png', await picture(8000, 8000).png({ compressionLevel: 9 }).toBuffer(), 'image/png');
  const reply = await get('bomb.png', 'width=10');
  expect(reply.status).toBe(400);
  expect(reply.bytes.toString()).toContain('pixel limit');
});

test('an image of more bytes than memory is for is not read', async () => {
  const { server, get } = await startWithPhoto();
  await server.sql('update storage.objects set size = 25 * 1024 * 1024 + 1');
  const reply = await get('photo.jpg', 'width=10');
  expect(reply.status).toBe(400);
  expect(reply.bytes.toString()).toContain('above 25 MB');
});

test('of an animation, the first picture is changed', async () => {
  const { put, get } = await startWithPhoto();
  const [red, blue] = await Promise.all(
    ['red', 'blue'].map((background) => picture(30, 30, background).raw().toBuffer()),
  );
  const frames = Buffer.concat([red ?? Buffer.alloc(0), blue ?? Buffer.alloc(0)]);
  const raw = { width: 30, height: 60, channels: 3, pageHeight: 30 } as const;
  await put(
    'a.gif',
    await sharp(frames, { raw })
      .gif({ delay: [100, 100] })
      .toBuffer(),
    'image/gif',
  );
  for (const query of ['width=10', 'width=10&format=webp', 'width=10&format=png']) {
    const { bytes } = await get('a.gif', query);
    expect((await sharp(bytes, { animated: true }).metadata()).pages ?? 1).toBe(1);
    expect((await sharp(bytes).stats()).dominant.r).toBeGreaterThan(200);
  }
});

test('who may not see the original may not see what is made of it', async () => {
  const { server } = await startWithPhoto();
  await makeBucket(server, 'private');
  const photo = await picture(10, 10).png().toBuffer();
  await server.as('admin').put(objectPath('private', 'p'), photo, { 'content-type': 'image/png' });
  const path = `${objectPath('private', 'p')}?width=5`;
  const ada = await server.user('ada');
  expect((await server.as('nobody').get(path)).status).toBe(401);
  expect((await server.as(ada).get(path)).status).toBe(404);
  const own = await server.as('admin').get(path);
  expect(own).toMatchObject({ status: 200, headers: { 'cache-control': 'private, no-cache' } });
  const strategy = await server.as('admin').get(`${BUCKETS}/private/download-strategy/objects/p?expiresIn=60`);
  const { pathname, search } = new URL(strategy.body.url);
  const byLink = await server.as('nobody').get(`${pathname}${search}&width=5`);
  expect([byLink.status, byLink.headers['content-type']]).toEqual([200, 'image/png']);
  expect(byLink.headers['cache-control']).toMatch(/^private, max-age=\d\d$/);
});
