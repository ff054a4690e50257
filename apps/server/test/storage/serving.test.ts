import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { BUCKETS, form, makeBucket, objectPath, upload } from './files.ts';

const TEN = '0123456789';
const MD5_OF_TEN = '781e5e245d69b566979b86e28d23f2c7';

async function startWithFile(content = TEN, settings = {}): Promise<TestApp> {
  const server = await startApp();
  await makeBucket(server, 'b', { isPublic: true, ...settings });
  await upload(server.as('admin'), 'b', 'f', content);
  return server;
}

const IGNORED = { status: 200, text: TEN, range: undefined };
const UNSATISFIABLE = { status: 416, range: 'bytes */10' };

test.each([
  { range: 'bytes=0-3', gives: { status: 206, text: '0123', range: 'bytes 0-3/10' } },
  { range: 'bytes=4-', gives: { status: 206, text: '456789', range: 'bytes 4-9/10' } },
  { range: 'bytes=9-9', gives: { status: 206, text: '9', range: 'bytes 9-9/10' } },
  { range: 'bytes=-3', gives: { status: 206, text: '789', range: 'bytes 7-9/10' } },
  { range: 'bytes=-10', gives: { status: 206, text: TEN, range: 'bytes 0-9/10' } },
  { range: 'bytes=-99', gives: { status: 206, text: TEN, range: 'bytes 0-9/10' } },
  { range: 'bytes=8-99', gives: { status: 206, text: '89', range: 'bytes 8-9/10' } },
  { range: 'BYTES=0-0', gives: { status: 206, text: '0', range: 'bytes 0-0/10' } },
  { range: 'bytes=10-', gives: UNSATISFIABLE },
  { range: 'bytes=10-20', gives: UNSATISFIABLE },
  { range: 'bytes=-0', gives: UNSATISFIABLE },
  { range: `bytes=${'9'.repeat(400)}-`, gives: UNSATISFIABLE },
  { range: 'bytes=3-2', gives: IGNORED },
  { range: 'bytes=0-1,4-5', gives: IGNORED },
  { range: `bytes=${'0-1,'.repeat(1000)}2-3`, gives: IGNORED },
  { range: 'bytes=-', gives: IGNORED },
  { range: 'bytes=a-b', gives: IGNORED },
  { range: 'bytes=1.5-2', gives: IGNORED },
  { range: 'lines=0-1', gives: IGNORED },
])('Range: $range', async ({ range, gives }) => {
  const server = await startWithFile();
  const reply = await server.as('nobody').get(objectPath('b', 'f'), { range });
  expect(reply.status).toBe(gives.status);
  expect(reply.headers['content-range']).toBe(gives.range);
  if ('text' in gives) {
    expect(reply.text).toBe(gives.text);
    expect(reply.headers['content-length']).toBe(String(gives.text.length));
  }
});

test('an empty file is served, and has no range', async () => {
  const server = await startWithFile('');
  const { get } = server.as('nobody');
  expect(await get(objectPath('b', 'f'))).toMatchObject({ status: 200, text: '', headers: { 'content-length': '0' } });
  expect((await get(objectPath('b', 'f'), { range: 'bytes=0-' })).status).toBe(416);
});

test('HEAD answers as GET does, without the bytes', async () => {
  const server = await startWithFile();
  const got = await server.as('nobody').get(objectPath('b', 'f'));
  const asked = await server.as('nobody').head(objectPath('b', 'f'));
  expect(asked.text).toBe('');
  const { date: _, ...headers } = got.headers;
  expect(asked.headers).toMatchObject(headers);
});

test.each([
  { isPublic: true, query: '', control: 'public, no-cache' },
  { isPublic: true, query: `?v=${MD5_OF_TEN}`, control: 'public, max-age=31536000, immutable' },
  { isPublic: true, query: '?v=of-an-older-version', control: 'public, no-cache' },
  { isPublic: false, query: '', control: 'private, no-cache' },
  { isPublic: false, query: `?v=${MD5_OF_TEN}`, control: 'private, no-cache' },
])('public: $isPublic, $query may be kept: $control', async ({ isPublic, query, control }) => {
  const server = await startWithFile(TEN, { isPublic });
  const { headers } = await server.as('admin').get(objectPath('b', 'f') + query);
  expect(headers['cache-control']).toBe(control);
});

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
/** What browsers record: the container is that of videos, also where there is sound only. */
const WEBM = Buffer.from('1a45dfa39f4286810142f7810142f2810442f381084282847765626d42878104428581021853806701', 'hex');
const SCRIPT = '<script>alert(document.domain)</script>';
const SVG = `<svg xmlns="http://www.w3.org/2000/svg">${SCRIPT}</svg>`;
const HIDDEN = ['application/octet-stream', 'attachment'];

/** What is uploaded as what, and how it is served. */
const ATTACKS: [what: string, content: string | Buffer, type: string, served: string[]][] = [
  ['a page', `<html>${SCRIPT}`, 'text/html', HIDDEN],
  ['a page in capitals', `<html>${SCRIPT}`, 'TEXT/HTML', HIDDEN],
  ['a page with a charset', `<html>${SCRIPT}`, 'text/html; charset=utf-7', HIDDEN],
  ['an SVG', SVG, 'image/svg+xml', HIDDEN],
  ['an SVG called PNG', SVG, 'image/png', HIDDEN],
  ['an SVG called text, with an XML header', `<?xml version="1.0"?>${SVG}`, 'text/plain', HIDDEN],
  ['XHTML', `<html xmlns="http://www.w3.org/1999/xhtml">${SCRIPT}</html>`, 'application/xhtml+xml', HIDDEN],
  ['XML', '<a/>', 'application/xml', HIDDEN],
  ['XML of some application', '<a/>', 'application/vnd.made-up+xml', HIDDEN],
  ['XSLT', '<a/>', 'text/xsl', HIDDEN],
  ['a script', 'alert(1)', 'text/javascript', HIDDEN],
  ['an old script', 'alert(1)', 'application/x-javascript', HIDDEN],
  ['a page called image', `<html>${SCRIPT}`, 'image/png', HIDDEN],
  ['a page that begins like a GIF', `GIF89a/*${SCRIPT}`, 'text/html', HIDDEN],
  ['a GIF that is also a script', `GIF89a=1;${SCRIPT}`, 'image/gif', ['image/gif', 'inline']],
  ['a page behind a PNG', Buffer.concat([PNG, Buffer.from(SCRIPT)]), 'image/png', ['image/png', 'inline']],
  ['a page called PDF', `<html>${SCRIPT}`, 'application/pdf', HIDDEN],
  ['a PDF with a page in it', `%PDF-1.4\n${SCRIPT}`, 'application/pdf', ['application/pdf', 'inline']],
  ['a page called text', `<html>${SCRIPT}`, 'text/plain', ['text/plain', 'inline']],
  ['a page called JSON', JSON.stringify(`<html>${SCRIPT}`), 'application/json', ['application/json', 'inline']],
  ['a frame set', 'x', 'multipart/x-mixed-replace', HIDDEN],
  ['a mail', 'Content-Type: text/html', 'message/rfc822', HIDDEN],
  ['Flash', 'FWS', 'application/x-shockwave-flash', HIDDEN],
  ['no type at all', 'x', '', HIDDEN],
  ['an archive', 'PK\x03\x04', 'application/zip', ['application/zip', 'attachment']],
  ['a type nobody knows', 'x', 'application/x-made-up', ['application/x-made-up', 'attachment']],
  ['an image', PNG, 'image/png', ['image/png', 'inline']],
  ['a recording without a picture', WEBM, 'audio/webm', ['audio/webm', 'inline']],
  ['a recording called image', WEBM, 'image/png', HIDDEN],
  ['text in UTF-16', Buffer.from('\ufeffhello', 'utf16le'), 'text/plain', ['text/plain', 'inline']],
  ['a program', Buffer.from('\0asm\x01\0\0\0'), 'application/wasm', ['application/wasm', 'attachment']],
  ['a page in one file', 'MIME-Version: 1.0', 'multipart/related', HIDDEN],
  ['text', 'hello', 'text/plain', ['text/plain', 'inline']],
  ['text with a charset', 'hello', 'text/plain; charset=UTF-8', ['text/plain; charset=utf-8', 'inline']],
];

test.each(ATTACKS)('%s: %j as %s', async (_what, content, type, [contentType, disposition]) => {
  const server = await startApp();
  await makeBucket(server, 'b', { isPublic: true });
  const stored = await server
    .as('admin')
    .put(objectPath('b', 'f'), Buffer.from(content), type ? { 'content-type': type } : {});
  expect(stored.status).toBe(200);
  const { headers } = await server.as('nobody').get(objectPath('b', 'f'));
  expect(headers['content-type']).toBe(contentType);
  expect(headers['content-disposition']).toBe(`${disposition}; filename="f"`);
  expect(headers['x-content-type-options']).toBe('nosniff');
  expect(headers['set-cookie']).toBeUndefined();
  const isPdf = contentType === 'application/pdf';
  expect(headers['content-security-policy'] ?? '').toContain(isPdf ? '' : "default-src 'none'");
  expect(String(headers['content-security-policy']).includes('sandbox')).toBe(!isPdf);
});

test.each(['text', 'text/plain\\r\\nset-cookie: a=b', '/'])('%j is no type', async (type) => {
  const server = await startApp();
  await makeBucket(server, 'b');
  expect(await server.as('admin').put(objectPath('b', 'f'), 'x', { 'content-type': type })).toMatchObject({
    status: 415,
    body: { error: 'STORAGE_INVALID_PARAMETER' },
  });
});

test('the type of a part of a form is trusted no more than that of a body', async () => {
  const server = await startApp();
  await makeBucket(server, 'b', { isPublic: true });
  await upload(server.as('admin'), 'b', 'f', SVG, 'image/svg+xml');
  expect((await server.as('nobody').get(objectPath('b', 'f'))).headers['content-type']).toBe(
    'application/octet-stream',
  );
});

test('an admin may have active content shown, in a sandbox', async () => {
  const server = await startApp();
  await makeBucket(server, 'b', { isPublic: true, inlineActiveContent: true });
  await upload(server.as('admin'), 'b', 'logo.svg', SVG, 'image/svg+xml');
  const { headers } = await server.as('nobody').get(objectPath('b', 'logo.svg'));
  expect(headers).toMatchObject({
    'content-type': 'image/svg+xml',
    'content-disposition': 'inline; filename="logo.svg"',
    'content-security-policy': expect.stringContaining('sandbox'),
  });
  await upload(server.as('admin'), 'b', 'a.js', 'alert(1)', 'application/javascript');
  expect((await server.as('nobody').get(objectPath('b', 'a.js'))).headers).toMatchObject({
    'content-type': 'text/plain; charset=utf-8',
    'content-disposition': 'inline; filename="a.js"',
  });
});

test.each([
  ['a/b/plain name.txt', 'inline; filename="plain name.txt"'],
  ['quote".txt', `inline; filename="quote_.txt"; filename*=UTF-8''quote%22.txt`],
  ['line\nbreak', `inline; filename="line_break"; filename*=UTF-8''line%0Abreak`],
  ['Übung (1).txt', `inline; filename="_bung (1).txt"; filename*=UTF-8''%C3%9Cbung%20%281%29.txt`],
  ['folder/', 'inline; filename="file"'],
])('%j is saved under its own name', async (key, disposition) => {
  const server = await startApp();
  await makeBucket(server, 'b', { isPublic: true });
  await upload(server.as('admin'), 'b', key, 'text');
  const { headers } = await server.as('nobody').get(objectPath('b', key));
  expect(headers['content-disposition']).toBe(disposition);
});

test('?download makes it a download, under another name where one is given', async () => {
  const server = await startWithFile();
  const { get } = server.as('nobody');
  const disposition = async (query: string) => (await get(objectPath('b', 'f') + query)).headers['content-disposition'];
  expect(await disposition('?download')).toBe('attachment; filename="f"');
  expect(await disposition('?download=report.txt')).toBe('attachment; filename="report.txt"');
});

test.each([
  { what: 'itself', alter: (url: string) => url, status: 200 },
  { what: 'another key', alter: (url: string) => url.replace('objects/f', 'objects/g'), status: 403 },
  { what: 'another bucket', alter: (url: string) => url.replace('/b/', '/c/'), status: 403 },
  { what: 'a later end', alter: (url: string) => url.replace(/expires=\d+/, 'expires=99999999999'), status: 403 },
  { what: 'an end that is no number', alter: (url: string) => url.replace(/expires=\d+/, 'expires=1e99'), status: 403 },
  { what: 'no end', alter: (url: string) => url.replace(/expires=\d+&/, ''), status: 403 },
  { what: 'another signature', alter: (url: string) => url.replace(/signature=.{4}/, 'signature=AAAA'), status: 403 },
  { what: 'half a signature', alter: (url: string) => url.slice(0, -10), status: 403 },
  { what: 'no signature', alter: (url: string) => url.replace(/&signature=.*/, ''), status: 401 },
  { what: 'two signatures', alter: (url: string) => `${url}&signature=x`, status: 403 },
])('a signed link with $what: $status', async ({ alter, status }) => {
  const server = await startApp();
  for (const bucket of ['b', 'c']) {
    await makeBucket(server, bucket);
    for (const key of ['f', 'g']) await upload(server.as('admin'), bucket, key, TEN);
  }
  const strategy = await server.as('admin').get(`${BUCKETS}/b/download-strategy/objects/f?expiresIn=60`);
  expect(strategy.body.method).toBe('presigned');
  const { pathname, search } = new URL(alter(strategy.body.url));
  expect((await server.as('nobody').get(pathname + search)).status).toBe(status);
});

test('a signed link opens the bytes of its file and does nothing else', async () => {
  const server = await startWithFile(TEN, { isPublic: false });
  const strategy = await server.as('admin').get(`${BUCKETS}/b/download-strategy/objects/f?expiresIn=60`);
  const { pathname, search } = new URL(strategy.body.url);
  const { get, head, post, put, delete: remove } = server.as('nobody');
  expect((await head(pathname + search)).status).toBe(200);
  const refused = [
    // A link that could be exchanged for a new one would never end.
    await get(`${BUCKETS}/b/download-strategy/objects/f${search}&expiresIn=604800`),
    await post(`${pathname}/download-strategy${search}`, { expiresIn: 604_800 }),
    await get(`${BUCKETS}/b/objects${search}`),
    await put(pathname + search, 'x', { 'content-type': 'text/plain' }),
    await remove(pathname + search),
    await post(`${pathname}/copy${search}`, { to: 'g' }),
    await post(`${pathname}/move${search}`, { to: 'g' }),
    await post(`${pathname}/confirm-upload${search}`, { size: 10 }),
  ];
  expect(refused.map(({ status }) => status)).toEqual(refused.map(() => 401));
  expect((await get(pathname + search)).text).toBe(TEN);
});

test('a signed link ends when it says, and its writer cannot make it longer than a week', async () => {
  const server = await startWithFile(TEN, { isPublic: false });
  const { get } = server.as('admin');
  const strategy = (seconds: unknown) => get(`${BUCKETS}/b/download-strategy/objects/f?expiresIn=${seconds}`);
  const { url, expiresAt } = (await strategy(1)).body;
  const { pathname, search } = new URL(url);
  expect(Date.parse(expiresAt) - Date.now()).toBeLessThanOrEqual(1000);
  const status = async () => (await server.as('nobody').get(pathname + search)).status;
  expect(await status()).toBe(200);
  await expect.poll(status, { timeout: 5000 }).toBe(403);
  for (const seconds of [0, -1, 604_801, 'x']) {
    expect(await strategy(seconds)).toMatchObject({ status: 400, body: { error: 'STORAGE_INVALID_PARAMETER' } });
  }
  expect((await strategy(604_800)).status).toBe(200);
});

test('a large file comes in parts too', async () => {
  const server = await startApp();
  await makeBucket(server, 'b', { isPublic: true });
  const content = Buffer.alloc(3_000_000, 'abcdefghij');
  const { body, headers } = form(content);
  expect((await server.as('admin').put(objectPath('b', 'f'), body, headers)).body.size).toBe(3_000_000);
  const { get } = server.as('nobody');
  expect((await get(objectPath('b', 'f'))).text === content.toString()).toBe(true);
  const middle = await get(objectPath('b', 'f'), { range: 'bytes=1000003-2000004' });
  expect(middle.text === content.subarray(1_000_003, 2_000_005).toString()).toBe(true);
});
