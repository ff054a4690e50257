import { createAdminClient, createClient } from '@insforge/sdk';
import { expect, test } from 'vitest';
import { SECRETS, startApp } from '../harness.ts';
import { makeBucket } from './files.ts';

/** The storage module of the official SDK for a signed-in user, on a real socket. */
async function startWithSdk() {
  const server = await startApp();
  await makeBucket(server, 'private', { preset: 'owner-only' });
  await makeBucket(server, 'public', { preset: 'public-read' });
  const baseUrl = await server.listen();
  const as = async (nickname: string) =>
    createClient({ baseUrl, accessToken: await server.token(await server.user(nickname)), isServerMode: true }).storage;
  return { server, baseUrl, ada: await as('ada'), bob: await as('bob') };
}

const text = (content: string) => new Blob([content], { type: 'text/plain' });

test('a user uploads, lists, downloads and replaces; nobody else sees any of it', async () => {
  const { ada, bob } = await startWithSdk();
  const uploaded = await ada.from('private').upload('notes/über mich.txt', text('hello'));
  expect(uploaded).toMatchObject({
    error: null,
    data: { bucket: 'private', key: 'notes/über mich.txt', size: 5, mimeType: 'text/plain' },
  });
  await ada.from('private').upload('other.txt', text('other'));

  const listed = await ada.from('private').list({ prefix: 'notes/', limit: 10 });
  expect(listed.data).toMatchObject({
    data: [{ key: 'notes/über mich.txt' }],
    pagination: { offset: 0, limit: 10, total: 1 },
  });
  expect((await ada.from('private').list({ search: 'MICH' })).data).toMatchObject({ pagination: { total: 1 } });
  expect(await (await ada.from('private').download('notes/über mich.txt')).data?.text()).toBe('hello');
  await ada.from('private').upload('notes/über mich.txt', text('changed'));
  expect(await (await ada.from('private').download('notes/über mich.txt')).data?.text()).toBe('changed');

  expect((await bob.from('private').list()).data).toMatchObject({ data: [], pagination: { total: 0 } });
  expect((await bob.from('private').download('notes/über mich.txt')).error).toMatchObject({
    statusCode: 404,
    error: 'STORAGE_NOT_FOUND',
  });
  expect((await bob.from('private').upload('notes/über mich.txt', text('stolen'))).error).toMatchObject({
    statusCode: 403,
    error: 'STORAGE_PERMISSION_DENIED',
  });
});

test('a file without a name of its own gets one', async () => {
  const { ada } = await startWithSdk();
  const { data, error } = await ada.from('private').uploadAuto(new File(['x'], 'my photo.png', { type: 'image/png' }));
  expect(error).toBeNull();
  expect(data?.key).toMatch(/^my-photo-\d+-\w+\.png$/);
});

test('signed URLs open one file to whoever has them', async () => {
  const { ada, bob } = await startWithSdk();
  await ada.from('private').upload('a b/c.txt', text('hello'));
  const signed = await ada.from('private').createSignedUrl('a b/c.txt', 60);
  expect(Date.parse(signed.data?.expiresAt ?? '')).toBeGreaterThan(Date.now() + 50_000);
  const opened = await fetch(signed.data?.signedUrl ?? '');
  expect([opened.status, await opened.text()]).toEqual([200, 'hello']);
  const many = await ada.from('private').createSignedUrls(['a b/c.txt', 'missing']);
  expect(many.data).toMatchObject([
    { path: 'a b/c.txt', signedUrl: expect.any(String), error: null },
    { path: 'missing', signedUrl: null, error: expect.stringContaining('no object') },
  ]);
  expect((await bob.from('private').createSignedUrl('a b/c.txt')).error).toMatchObject({ statusCode: 404 });
});

test('the public URL serves a public file, and only such', async () => {
  const { ada } = await startWithSdk();
  for (const bucket of ['public', 'private']) await ada.from(bucket).upload('a/b.txt', text('hello'));
  const open = await fetch(ada.from('public').getPublicUrl('a/b.txt').data?.publicUrl ?? '');
  expect([open.status, await open.text()]).toEqual([200, 'hello']);
  const closed = await fetch(ada.from('private').getPublicUrl('a/b.txt').data?.publicUrl ?? '');
  expect(closed.status).toBe(401);
});

test('files are removed one by one and in bulk', async () => {
  const { ada, bob } = await startWithSdk();
  for (const key of ['1', '2', '3']) await ada.from('private').upload(key, text(key));
  expect((await bob.from('private').remove('1')).error).toMatchObject({ statusCode: 404 });
  expect((await ada.from('private').remove('1')).data).toMatchObject({ message: expect.any(String) });
  expect((await bob.from('private').remove(['2', '3'])).data).toEqual({
    results: [
      { key: '2', status: 'notFound' },
      { key: '3', status: 'notFound' },
    ],
  });
  expect((await ada.from('private').remove(['2', '3', '4'])).data).toEqual({
    results: [
      { key: '2', status: 'deleted' },
      { key: '3', status: 'deleted' },
      { key: '4', status: 'notFound' },
    ],
  });
});

test('what cannot be is said in the words of the server', async () => {
  const { server, ada } = await startWithSdk();
  await server.as('admin').patch('/api/storage/buckets/private', { fileSizeLimit: 3 });
  expect((await ada.from('private').upload('k', text('hello'))).error).toMatchObject({
    statusCode: 413,
    message: expect.stringContaining('larger than'),
  });
  expect((await ada.from('none').upload('k', text('x'))).error).toMatchObject({ statusCode: 404 });
  expect((await ada.from('private').upload('../k', text('x'))).error).toMatchObject({ statusCode: 400 });
});

test.each(['100% #1?.txt', 'a+b&c=d.txt', 'sign-in/ñ 漢字 🎉.bin', "quo'te.txt", 'a\\b'])(
  'a file is found by its key: %s',
  async (key) => {
    const { ada } = await startWithSdk();
    const files = ada.from('private');
    // Without a type, as a blob is born.
    expect((await files.upload(key, new Blob(['hello']))).data).toMatchObject({ key, size: 5 });
    expect((await files.list({ prefix: key })).data).toMatchObject({
      data: [{ key, mimeType: 'application/octet-stream' }],
    });
    expect(await (await files.download(key)).data?.text()).toBe('hello');
    const signed = await files.createSignedUrl(key);
    expect(await (await fetch(signed.data?.signedUrl ?? '')).text()).toBe('hello');
    expect((await files.remove(key)).error).toBeNull();
    expect((await files.list()).data?.pagination.total).toBe(0);
  },
);

test('a list is read page by page', async () => {
  const { ada } = await startWithSdk();
  for (const key of ['a', 'b', 'c']) await ada.from('private').upload(key, text(key));
  const pages = await Promise.all([0, 2, 4].map((offset) => ada.from('private').list({ limit: 2, offset })));
  expect(pages.map(({ data }) => data)).toMatchObject([
    { data: [{ key: 'a' }, { key: 'b' }], pagination: { total: 3 } },
    { data: [{ key: 'c' }], pagination: { total: 3 } },
    { data: [], pagination: { total: 3 } },
  ]);
});

test('a link counts for a second at least and for a week at most', async () => {
  const { ada } = await startWithSdk();
  await ada.from('private').upload('k', text('x'));
  for (const seconds of [1, 604_800])
    expect((await ada.from('private').createSignedUrl('k', seconds)).error).toBeNull();
  for (const seconds of [-1, 604_801, 1.5]) {
    expect((await ada.from('private').createSignedUrl('k', seconds)).error, `${seconds}`).toMatchObject({
      statusCode: 400,
    });
  }
});

test('the admin client reaches the files of all, a client without a user those that are public', async () => {
  const { baseUrl, ada } = await startWithSdk();
  for (const bucket of ['public', 'private']) await ada.from(bucket).upload('k', text('hello'));
  const { storage: admin } = createAdminClient({ baseUrl, apiKey: SECRETS.ACCESS_API_KEY });
  const { storage: anon } = createClient({ baseUrl, anonKey: SECRETS.ACCESS_ANON_KEY });
  expect(await (await anon.from('public').download('k')).data?.text()).toBe('hello');
  expect((await anon.from('private').download('k')).error).toMatchObject({ statusCode: 403 });
  expect((await anon.from('private').createSignedUrl('k')).error).toMatchObject({ statusCode: 403 });
  expect((await anon.from('private').upload('mine', text('x'))).error).toMatchObject({ statusCode: 403 });
  expect((await anon.from('public').remove('k')).error).toMatchObject({ statusCode: 403 });
  expect(await (await admin.from('private').download('k')).data?.text()).toBe('hello');
  expect((await admin.from('private').remove('k')).error).toBeNull();
  expect((await ada.from('private').list()).data?.pagination.total).toBe(0);
});
