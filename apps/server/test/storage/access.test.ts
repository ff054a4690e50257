import sharp from 'sharp';
import { expect, test } from 'vitest';
import { type Reply, SECRETS, startApp, type TestApp, type TestUser, type Who } from '../harness.ts';
import { BUCKETS, type BucketOptions, form, makeBucket, objectPath, upload } from './files.ts';

/** What a verb comes to for nobody, the anon key, another user, the owner of the file, and an admin. */
type Row = readonly [nobody: unknown, anon: unknown, other: unknown, owner: unknown, admin: unknown];

interface Cell {
  server: TestApp;
  who: Who;
  /** The file belongs to the owner and lies in the folder with their id. */
  key: string;
  /** A key in the same folder that is free. */
  freeKey: string;
}

/** The verbs: what comes out is a status, or where everybody may ask, what they get. */
const VERBS: Record<string, (cell: Cell) => Promise<unknown>> = {
  read: async ({ server, who, key }) => (await server.as(who).get(objectPath('b', key))).status,
  head: async ({ server, who, key }) => (await server.as(who).head(objectPath('b', key))).status,
  link: async ({ server, who, key }) =>
    (await server.as(who).get(`${BUCKETS}/b/download-strategy/objects/${encodeURIComponent(key)}`)).status,
  oldLink: async ({ server, who, key }) =>
    (await server.as(who).post(`${objectPath('b', key)}/download-strategy`)).status,
  list: async ({ server, who, key }) => {
    const { status, body } = await server.as(who).get(`${BUCKETS}/b/objects?prefix=${encodeURIComponent(key)}`);
    return status === 200 ? `${body.pagination.total} of 1` : status;
  },
  upload: async ({ server, who, freeKey }) => (await upload(server.as(who), 'b', freeKey, 'new')).status,
  uploadUnnamed: async ({ server, who }) => {
    const { body, headers } = form('new');
    return (await server.as(who).post(`${BUCKETS}/b/objects`, body, headers)).status;
  },
  plan: async ({ server, who, freeKey }) =>
    (await server.as(who).post(`${BUCKETS}/b/upload-strategy`, { filename: freeKey, size: 3 })).status,
  confirm: async ({ server, who, key }) =>
    (await server.as(who).post(`${objectPath('b', key)}/confirm-upload`, { size: 12 })).status,
  replace: async ({ server, who, key }) => (await upload(server.as(who), 'b', key, 'replaced')).status,
  copy: async ({ server, who, key, freeKey }) =>
    (await server.as(who).post(`${objectPath('b', key)}/copy`, { to: freeKey })).status,
  move: async ({ server, who, key, freeKey }) =>
    (await server.as(who).post(`${objectPath('b', key)}/move`, { to: freeKey })).status,
  delete: async ({ server, who, key }) => (await server.as(who).delete(objectPath('b', key))).status,
  deleteMany: async ({ server, who, key }) => {
    const { status, body } = await server.as(who).delete(`${BUCKETS}/b/objects`, { keys: [key] });
    return status === 200 ? body.results[0].status : status;
  },
  deleteBucket: async ({ server, who }) => (await server.as(who).delete(`${BUCKETS}/b?dryRun=true`)).status,
  changeBucket: async ({ server, who }) => (await server.as(who).patch(`${BUCKETS}/b`, { fileSizeLimit: null })).status,
  listBuckets: async ({ server, who }) => (await server.as(who).get(BUCKETS)).status,
  makeBucket: async ({ server, who }) => (await server.as(who).post(BUCKETS, { bucketName: 'new' })).status,
  readPolicies: async ({ server, who }) => (await server.as(who).get(`${BUCKETS}/b/policies`)).status,
  changePolicies: async ({ server, who }) =>
    (await server.as(who).put(`${BUCKETS}/b/policies`, { preset: null, dryRun: true })).status,
  readConfig: async ({ server, who }) => (await server.as(who).get('/api/storage/config')).status,
  changeConfig: async ({ server, who }) =>
    (await server.as(who).put('/api/storage/config', { maxFileSizeMb: 60 })).status,
  usage: async ({ server, who }) => (await server.as(who).get('/api/storage/usage')).status,
};

const ONLY_ADMIN: Row = [401, 403, 403, 403, 200];
const ONLY_ADMIN_MAKES: Row = [401, 403, 403, 403, 201];
const ALL: Row = [200, 200, 200, 200, 200];

/** Without a policy: end users reach nothing, whatever the way. */
const CLOSED: Record<string, Row> = {
  read: [401, 403, 404, 404, 200],
  head: [401, 403, 404, 404, 200],
  link: [401, 403, 404, 404, 200],
  oldLink: [401, 403, 404, 404, 200],
  list: [401, 403, '0 of 1', '0 of 1', '1 of 1'],
  upload: ONLY_ADMIN,
  uploadUnnamed: ONLY_ADMIN_MAKES,
  plan: ONLY_ADMIN,
  confirm: [401, 403, 404, 404, 200],
  replace: ONLY_ADMIN,
  copy: [401, 403, 404, 404, 200],
  move: [401, 403, 404, 404, 200],
  delete: [401, 403, 404, 404, 200],
  deleteMany: [401, 403, 'notFound', 'notFound', 'deleted'],
  deleteBucket: ONLY_ADMIN,
  changeBucket: ONLY_ADMIN,
  listBuckets: ONLY_ADMIN,
  makeBucket: ONLY_ADMIN_MAKES,
  readPolicies: ONLY_ADMIN,
  changePolicies: ONLY_ADMIN,
  readConfig: ONLY_ADMIN,
  changeConfig: ONLY_ADMIN,
  usage: ONLY_ADMIN,
};

const OWNER_MAY: Record<string, Row> = {
  ...CLOSED,
  read: [401, 403, 404, 200, 200],
  head: [401, 403, 404, 200, 200],
  link: [401, 403, 404, 200, 200],
  oldLink: [401, 403, 404, 200, 200],
  list: [401, 403, '0 of 1', '1 of 1', '1 of 1'],
  upload: [401, 403, 200, 200, 200],
  uploadUnnamed: [401, 403, 201, 201, 201],
  plan: [401, 403, 200, 200, 200],
  confirm: [401, 403, 404, 200, 200],
  replace: [401, 403, 403, 200, 200],
  copy: [401, 403, 404, 200, 200],
  move: [401, 403, 404, 200, 200],
  delete: [401, 403, 404, 200, 200],
  deleteMany: [401, 403, 'notFound', 'deleted', 'deleted'],
};

const READ_BY_URL: Record<string, Row> = { read: ALL, head: ALL, link: ALL, oldLink: ALL };

const KINDS: [kind: string, settings: BucketOptions, rows: Record<string, Row>][] = [
  ['private without a policy', {}, CLOSED],
  ['public without a policy', { isPublic: true }, { ...CLOSED, ...READ_BY_URL }],
  ['owner-only', { preset: 'owner-only' }, OWNER_MAY],
  [
    'owner-folder',
    { preset: 'owner-folder' },
    {
      ...OWNER_MAY,
      upload: [401, 403, 403, 200, 200],
      uploadUnnamed: ONLY_ADMIN_MAKES,
      plan: [401, 403, 403, 200, 200],
    },
  ],
  [
    'authenticated-read',
    { preset: 'authenticated-read' },
    {
      ...OWNER_MAY,
      read: [401, 403, 200, 200, 200],
      head: [401, 403, 200, 200, 200],
      link: [401, 403, 200, 200, 200],
      oldLink: [401, 403, 200, 200, 200],
      list: [401, 403, '1 of 1', '1 of 1', '1 of 1'],
      confirm: [401, 403, 200, 200, 200],
      copy: [401, 403, 200, 200, 200],
    },
  ],
  ['public-read', { preset: 'public-read' }, { ...OWNER_MAY, ...READ_BY_URL }],
];

async function startWithOwner(): Promise<{ server: TestApp; owner: TestUser; everybody: Who[] }> {
  const server = await startApp();
  const owner = await server.user('owner');
  return { server, owner, everybody: ['nobody', 'anon', await server.user('other'), owner, 'admin'] };
}

test.each(KINDS)('%s: who may do what', async (_kind, settings, rows) => {
  const { server, owner, everybody } = await startWithOwner();
  await makeBucket(server, 'b', settings);
  const found: Record<string, unknown[]> = {};
  for (const [verb, act] of Object.entries(VERBS)) {
    found[verb] = [];
    for (const [index, who] of everybody.entries()) {
      const key = `${owner.sub}/${verb}-${index}.txt`;
      await upload(server.as('admin'), 'b', key, 'of the owner');
      await server.sql('update storage.objects set uploaded_by = $1 where key = $2', [owner.sub, key]);
      found[verb].push(await act({ server, who, key, freeKey: `${owner.sub}/free-${verb}-${index}.txt` }));
    }
  }
  expect(found).toEqual(rows);
});

const BROKEN: [what: string, headers: Record<string, string>, error: string][] = [
  ['a token that is none', { authorization: 'Bearer broken' }, 'AUTH_UNAUTHORIZED'],
  ['an anon key that is not ours', { authorization: 'Bearer anon_wrong' }, 'AUTH_INVALID_CREDENTIALS'],
  ['an API key that is not ours', { 'x-api-key': 'ik_wrong' }, 'AUTH_INVALID_API_KEY'],
  ['the same as a bearer', { authorization: 'Bearer ik_wrong' }, 'AUTH_INVALID_API_KEY'],
];

test.each(BROKEN)('what is open to nobody is closed to %s', async (_what, headers, error) => {
  const server = await startApp();
  await makeBucket(server, 'open', { isPublic: true });
  await makeBucket(server, 'closed');
  const picture = await sharp({ create: { width: 4, height: 4, channels: 3, background: 'red' } })
    .png()
    .toBuffer();
  for (const bucket of ['open', 'closed']) await upload(server.as('admin'), bucket, 'f', picture, 'image/png');
  const strategyOf = (bucket: string) => `${BUCKETS}/${bucket}/download-strategy/objects/f`;
  const { pathname, search } = new URL((await server.as('admin').get(strategyOf('closed'))).body.url);
  const { get, head, post } = server.as('nobody');
  const ways: [status: number, ask: (headers?: Record<string, string>) => Promise<Reply>][] = [
    [200, (more) => get(objectPath('open', 'f'), more)],
    [200, (more) => head(objectPath('open', 'f'), more)],
    [200, (more) => get(`${objectPath('open', 'f')}?width=2`, more)],
    [200, (more) => get(strategyOf('open'), more)],
    [200, (more) => post(`${objectPath('open', 'f')}/download-strategy`, {}, more)],
    [200, (more) => get(pathname + search, more)],
    [404, (more) => get(objectPath('open', 'missing'), more)],
    [404, (more) => get(objectPath('missing', 'f'), more)],
  ];
  for (const [status, ask] of ways) {
    expect((await ask()).status).toBe(status);
    expect((await ask({ authorization: `Bearer ${SECRETS.ACCESS_ANON_KEY}` })).status).toBe(status);
    const refused = await ask(headers);
    expect(refused.status).toBe(401);
    if (refused.text) expect(refused.body).toMatchObject({ error });
  }
});

test('a refused upload leaves what was there, and says what would help', async () => {
  const { server, owner } = await startWithOwner();
  await makeBucket(server, 'b', { preset: 'owner-only' });
  const other = await server.user('other');
  await upload(server.as(owner), 'b', 'mine.txt', 'mine');
  const refused = await upload(server.as(other), 'b', 'mine.txt', 'theirs');
  expect(refused).toMatchObject({
    status: 403,
    body: {
      error: 'STORAGE_PERMISSION_DENIED',
      message: 'You do not have permission to write "mine.txt" in bucket "b"',
      nextActions: expect.stringContaining('/policies'),
    },
  });
  expect((await server.as(owner).get(objectPath('b', 'mine.txt'))).text).toBe('mine');
});

test("a policy of the developer's own decides like a preset", async () => {
  const { server, owner } = await startWithOwner();
  await makeBucket(server, 'team');
  await server.sql(`
    create policy pictures on storage.objects to authenticated
    using (bucket = 'team' and storage.extension(key) = 'png' and (storage.foldername(key))[1] = 'pictures')`);
  const outcomes = [];
  for (const key of ['pictures/a.png', 'pictures/deep/a.png', 'pictures/a.gif', 'a.png']) {
    outcomes.push((await upload(server.as(owner), 'team', key, 'x')).status);
  }
  expect(outcomes).toEqual([200, 200, 403, 403]);
});

test('a policy may ask who it is, and for the name of a file', async () => {
  const { server, owner } = await startWithOwner();
  await makeBucket(server, 'avatars');
  await server.sql(`
    create policy avatars on storage.objects to authenticated
    using (bucket = 'avatars' and (storage.foldername(key))[1] = (select auth.uid())::text
      and storage.filename(key) = 'avatar.png')`);
  const other = await server.user('other');
  const key = `${owner.sub}/avatar.png`;
  expect((await upload(server.as(other), 'avatars', key, 'x')).status).toBe(403);
  expect((await upload(server.as(owner), 'avatars', key, 'x')).status).toBe(200);
  expect((await upload(server.as(owner), 'avatars', `${owner.sub}/other.png`, 'x')).status).toBe(403);
  expect((await server.as(other).get(objectPath('avatars', key))).status).toBe(404);
  expect((await server.as(owner).get(objectPath('avatars', key))).text).toBe('x');
});

test('where one may not upload, one may not move or copy a file to', async () => {
  const { server, owner } = await startWithOwner();
  for (const bucket of ['mine', 'closed']) await makeBucket(server, bucket);
  // As developers write them: what is one's own may be changed, wherever it is.
  await server.sql(`
    create policy upload on storage.objects for insert to authenticated with check (bucket = 'mine');
    create policy see on storage.objects for select to authenticated using (uploaded_by = auth.uid()::text);
    create policy change on storage.objects for update to authenticated using (uploaded_by = auth.uid()::text)`);
  const user = server.as(owner);
  expect((await upload(user, 'mine', 'k', 'x')).status).toBe(200);
  for (const way of ['move', 'copy']) {
    expect(await user.post(`${objectPath('mine', 'k')}/${way}`, { to: 'k', toBucket: 'closed' })).toMatchObject({
      status: 403,
      body: {
        error: 'STORAGE_PERMISSION_DENIED',
        message: 'You do not have permission to write "k" in bucket "closed"',
      },
    });
  }
  expect(await server.sql('select bucket, key from storage.objects')).toEqual([{ bucket: 'mine', key: 'k' }]);
  expect((await user.post(`${objectPath('mine', 'k')}/move`, { to: 'l' })).status).toBe(200);
});

test('a folder is listed to those who see a file in it', async () => {
  const { server, owner } = await startWithOwner();
  await makeBucket(server, 'b', { preset: 'owner-only' });
  const other = await server.user('other');
  for (const key of ['shared/a/1', 'shared/a/2', 'shared/b', 'mine/1']) await upload(server.as(owner), 'b', key, 'x');
  for (const key of ['shared/c/1', 'theirs/1']) await upload(server.as(other), 'b', key, 'x');
  const list = async (who: Who, query: string) => {
    const { body } = await server.as(who).get(`${BUCKETS}/b/objects?delimiter=/&${query}`);
    return [...body.data.map(({ key }: { key: string }) => key), ...body.folders];
  };
  expect(await list(owner, '')).toEqual(['mine/', 'shared/']);
  expect(await list(other, '')).toEqual(['shared/', 'theirs/']);
  expect(await list(owner, 'prefix=shared/')).toEqual(['shared/b', 'shared/a/']);
  expect(await list(other, 'prefix=shared/')).toEqual(['shared/c/']);
  expect(await list('admin', 'prefix=shared/')).toEqual(['shared/b', 'shared/a/', 'shared/c/']);
});

test('who uploaded a file stays the same when somebody else replaces it', async () => {
  const { server, owner } = await startWithOwner();
  const other = await server.user('other');
  await makeBucket(server, 'b', { preset: 'authenticated-read' });
  await server.sql(`create policy shared on storage.objects to authenticated using (bucket = 'b')`);
  await upload(server.as(owner), 'b', 'k', '1');
  await upload(server.as(other), 'b', 'k', '2');
  await upload(server.as('admin'), 'b', 'of-admin', '3');
  expect(await server.sql('select key, uploaded_by, uploaded_via from storage.objects order by key')).toEqual([
    { key: 'k', uploaded_by: owner.sub, uploaded_via: 'rest' },
    { key: 'of-admin', uploaded_by: null, uploaded_via: 'rest' },
  ]);
});

test('a fresh install has row level security on files and no policy', async () => {
  const server = await startApp();
  expect(
    await server.sql(`
      select relrowsecurity as on, (select count(*)::int from pg_policy where polrelid = c.oid) as policies
      from pg_class c where oid = 'storage.objects'::regclass`),
  ).toEqual([{ on: true, policies: 0 }]);
});

test.each([
  ['storage.foldername', 'a/b/c.txt', ['a', 'b']],
  ['storage.foldername', 'c.txt', []],
  ['storage.foldername', '', []],
  ['storage.foldername', 'a/', ['a']],
  ['storage.foldername', '/a/b', ['', 'a']],
  ['storage.foldername', null, null],
  ['storage.filename', 'a/b/c.txt', 'c.txt'],
  ['storage.filename', 'a/', ''],
  ['storage.filename', '', ''],
  ['storage.filename', null, null],
  ['storage.extension', 'a.tar.gz', 'gz'],
  ['storage.extension', '.env', 'env'],
  ['storage.extension', 'PHOTO.JPG', 'JPG'],
  ['storage.extension', 'noext', null],
  ['storage.extension', 'trailing.', null],
  ['storage.extension', 'd.x/file', null],
])('%s(%s) is %s', async (name, argument, expected) => {
  const server = await startApp();
  expect(await server.sql(`select ${name}($1) as value`, [argument])).toEqual([{ value: expected }]);
});
