import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { BUCKETS, makeBucket, objectPath, upload } from './files.ts';

const auditOf = (server: TestApp) =>
  server.sql<{ actor: string; action: string; details: unknown }>(
    `select actor, action, details from system.audit_logs where module = 'STORAGE' order by created_at`,
  );

test('buckets are made, listed, changed and deleted, and the audit log says who did it', async () => {
  const server = await startApp();
  const admin = server.as('admin');
  expect(await admin.post(BUCKETS, { bucketName: 'avatars' })).toMatchObject({
    status: 201,
    body: { message: 'Bucket created successfully', bucketName: 'avatars', isPublic: true },
  });
  expect((await admin.post(BUCKETS, { bucketName: 'invoices', isPublic: false })).status).toBe(201);
  expect(await admin.post(BUCKETS, { bucketName: 'avatars' })).toMatchObject({
    status: 409,
    body: { error: 'STORAGE_ALREADY_EXISTS' },
  });
  expect((await admin.get(BUCKETS)).body).toEqual([
    expect.objectContaining({ name: 'avatars', public: true, createdAt: expect.any(String) }),
    expect.objectContaining({ name: 'invoices', public: false }),
  ]);

  const changes = { isPublic: false, fileSizeLimit: 1000, allowedMimeTypes: ['image/*'], inlineActiveContent: true };
  expect(await admin.patch(`${BUCKETS}/avatars`, changes)).toMatchObject({
    status: 200,
    body: { message: 'Bucket updated', bucket: 'avatars', ...changes },
  });
  expect((await admin.patch(`${BUCKETS}/avatars`, { allowedMimeTypes: null })).body).toMatchObject({
    fileSizeLimit: 1000,
    allowedMimeTypes: null,
  });
  expect((await admin.put(`${BUCKETS}/avatars/policies`, { preset: 'owner-only' })).status).toBe(200);
  expect((await admin.put('/api/storage/config', { maxFileSizeMb: 60 })).status).toBe(200);
  // What is only tried, or refused, leaves no trace.
  expect((await admin.put(`${BUCKETS}/avatars/policies`, { preset: null, dryRun: true })).status).toBe(200);
  expect((await admin.delete(`${BUCKETS}/avatars?dryRun=true`)).status).toBe(200);
  expect((await admin.put('/api/storage/config', { maxFileSizeMb: 0 })).status).toBe(400);
  expect((await server.as('anon').delete(`${BUCKETS}/avatars`)).status).toBe(403);
  expect((await admin.delete(`${BUCKETS}/avatars`)).status).toBe(200);
  const audited = await auditOf(server);
  expect(audited.map(({ actor }) => actor)).toEqual(audited.map(() => 'api-key'));
  expect(audited).toMatchObject([
    { action: 'CREATE_BUCKET', details: { bucketName: 'avatars' } },
    { action: 'CREATE_BUCKET', details: { bucketName: 'invoices', isPublic: false } },
    { action: 'UPDATE_BUCKET', details: { bucketName: 'avatars', isPublic: false } },
    { action: 'UPDATE_BUCKET', details: { bucketName: 'avatars', allowedMimeTypes: null } },
    { action: 'APPLY_BUCKET_PRESET', details: { bucketName: 'avatars', preset: 'owner-only' } },
    { action: 'UPDATE_STORAGE_CONFIG', details: { maxFileSizeMb: 60 } },
    { action: 'DELETE_BUCKET', details: { bucketName: 'avatars', objects: 0, bytes: 0 } },
  ]);
});

test.each([
  {},
  { isPublic: 'yes' },
  { misspelt: true },
  { fileSizeLimit: 0 },
  { fileSizeLimit: 1.5 },
  { allowedMimeTypes: [] },
  { allowedMimeTypes: ['image'] },
  { allowedMimeTypes: ['image/png; a=b'] },
])('%j changes no bucket', async (body) => {
  const server = await startApp();
  await makeBucket(server, 'b');
  expect(await server.as('admin').patch(`${BUCKETS}/b`, body)).toMatchObject({
    status: 400,
    body: { error: 'STORAGE_INVALID_PARAMETER' },
  });
});

test.each([{ isPulic: false }, { is_public: false }, { isPublic: 'no' }, { fileSizeLimit: '1' }])(
  'no bucket is made of a misspelt %j',
  async (settings) => {
    const server = await startApp();
    const made = await server.as('admin').post(BUCKETS, { bucketName: 'b', ...settings });
    expect(made).toMatchObject({ status: 400, body: { error: 'STORAGE_INVALID_PARAMETER' } });
    expect((await server.as('admin').get(BUCKETS)).body).toEqual([]);
  },
);

test('what a bucket holds is said before it is deleted, and in the usage', async () => {
  const server = await startApp();
  const admin = server.as('admin');
  await makeBucket(server, 'full');
  await makeBucket(server, 'empty');
  await upload(admin, 'full', 'a', '12345');
  await upload(admin, 'full', 'b', '123');
  expect((await admin.get('/api/storage/usage')).body).toEqual({
    buckets: [
      { name: 'empty', objects: 0, bytes: 0 },
      { name: 'full', objects: 2, bytes: 8 },
    ],
    objects: 2,
    bytes: 8,
  });
  expect((await admin.delete(`${BUCKETS}/full?dryRun=true`)).body).toMatchObject({
    dryRun: true,
    objects: 2,
    bytes: 8,
  });
  expect((await admin.get(objectPath('full', 'a'))).status).toBe(200);
  expect((await admin.delete(`${BUCKETS}/full`)).body).toMatchObject({ dryRun: false, objects: 2, bytes: 8 });
  expect((await admin.get(objectPath('full', 'a'))).status).toBe(404);
});

test('a bucket that is not there is answered everywhere with STORAGE_NOT_FOUND', async () => {
  const server = await startApp();
  const admin = server.as('admin');
  const replies = [
    await admin.get(`${BUCKETS}/none/objects`),
    await admin.patch(`${BUCKETS}/none`, { isPublic: true }),
    await admin.delete(`${BUCKETS}/none`),
    await admin.delete(`${BUCKETS}/none?dryRun=true`),
    await admin.delete(`${BUCKETS}/none/objects`, { keys: ['k'] }),
    await admin.get(`${BUCKETS}/none/policies`),
    await admin.put(`${BUCKETS}/none/policies`, { preset: 'owner-only' }),
    await admin.post(`${BUCKETS}/none/upload-strategy`, { filename: 'k' }),
    await admin.get(`${BUCKETS}/none/download-strategy/objects/k`),
    await admin.get(objectPath('none', 'k')),
    await admin.delete(objectPath('none', 'k')),
    await upload(admin, 'none', 'k', 'x'),
    await upload(server.as(await server.user('ada')), 'none', 'k', 'x'),
    await server.as('nobody').get(objectPath('none', 'k')),
  ];
  for (const reply of replies) expect(reply).toMatchObject({ status: 404, body: { error: 'STORAGE_NOT_FOUND' } });
});

test('a preset writes policies that can be read, replaced and removed', async () => {
  const server = await startApp();
  const admin = server.as('admin');
  await makeBucket(server, 'b', { isPublic: true });
  const put = (body: unknown) => admin.put(`${BUCKETS}/b/policies`, body);

  const tried = await put({ preset: 'owner-folder', dryRun: true });
  expect(tried.body.dryRun).toBe(true);
  expect((await admin.get(`${BUCKETS}/b/policies`)).body).toEqual({ preset: null, policies: [] });

  const applied = await put({ preset: 'owner-folder' });
  expect(applied.body.statements).toEqual(tried.body.statements);
  expect(applied.body.statements).toContain(
    `create policy "b: insert" on storage.objects for insert to authenticated with check (bucket = 'b' and (storage.foldername(key))[1] = (select auth.jwt() ->> 'sub'))`,
  );
  const { preset, policies } = (await admin.get(`${BUCKETS}/b/policies`)).body;
  expect(preset).toBe('owner-folder');
  expect(policies.map(({ name }: { name: string }) => name)).toEqual([
    'b: delete',
    'b: insert',
    'b: select',
    'b: update',
  ]);
  expect((await admin.get(BUCKETS)).body[0].public).toBe(false);

  await put({ preset: 'public-read' });
  expect((await admin.get(`${BUCKETS}/b/policies`)).body).toMatchObject({
    preset: 'public-read',
    policies: { length: 4 },
  });
  expect((await admin.get(BUCKETS)).body[0].public).toBe(true);
  await put({ preset: null });
  expect((await admin.get(`${BUCKETS}/b/policies`)).body).toEqual({ preset: null, policies: [] });
  expect((await put({ preset: 'everybody' })).status).toBe(400);
});

const OWN_FILE = `uploaded_by = (select auth.jwt() ->> 'sub')`;
const OWN_FOLDER = `(storage.foldername(key))[1] = (select auth.jwt() ->> 'sub')`;

test.each([
  { preset: 'owner-only', read: ` and ${OWN_FILE}`, write: OWN_FILE },
  { preset: 'owner-folder', read: ` and ${OWN_FOLDER}`, write: OWN_FOLDER },
  { preset: 'authenticated-read', read: '', write: OWN_FILE },
  { preset: 'public-read', read: ` and ${OWN_FILE}`, write: OWN_FILE },
])('what $preset writes can be read, and run by hand', async ({ preset, read, write }) => {
  const server = await startApp();
  const admin = server.as('admin');
  await makeBucket(server, 'b');
  const { statements } = (await admin.put(`${BUCKETS}/b/policies`, { preset, dryRun: true })).body;
  expect(statements.filter((statement: string) => statement.startsWith('create'))).toEqual(
    [
      `for select to authenticated using (bucket = 'b'${read})`,
      `for insert to authenticated with check (bucket = 'b' and ${write})`,
      `for update to authenticated using (bucket = 'b' and ${write}) with check (bucket = 'b' and ${write})`,
      `for delete to authenticated using (bucket = 'b' and ${write})`,
    ].map((policy) => `create policy "b: ${policy.split(' ')[1]}" on storage.objects ${policy}`),
  );
  for (const statement of statements) await server.sql(statement);
  const byHand = (await admin.get(`${BUCKETS}/b/policies`)).body;
  expect(byHand).toMatchObject({ preset, policies: { length: 4 } });
  await admin.put(`${BUCKETS}/b/policies`, { preset: null });
  await admin.put(`${BUCKETS}/b/policies`, { preset });
  expect((await admin.get(`${BUCKETS}/b/policies`)).body).toEqual(byHand);
});

test('presets of buckets with alike and with long names do not meet', async () => {
  const server = await startApp();
  const names = ['b', 'b2', 'B', `${'x'.repeat(60)}1`, `${'x'.repeat(60)}2`];
  for (const name of names) await makeBucket(server, name, { preset: 'owner-only' });
  const [policies] = await server.sql<{ count: number }>('select count(*)::int from pg_policy');
  expect(policies?.count).toBe(4 * names.length);
  await server.as('admin').put(`${BUCKETS}/${names[3]}/policies`, { preset: null });
  expect((await server.as('admin').get(`${BUCKETS}/${names[4]}/policies`)).body).toMatchObject({
    preset: 'owner-only',
    policies: { length: 4 },
  });
});

test('a bucket that is made again begins closed', async () => {
  const server = await startApp();
  const ada = await server.user('ada');
  await makeBucket(server, 'b', { preset: 'authenticated-read' });
  expect((await upload(server.as(ada), 'b', 'k', 'x')).status).toBe(200);
  await server.as('admin').delete(`${BUCKETS}/b`);
  await makeBucket(server, 'b');
  expect((await upload(server.as(ada), 'b', 'k', 'x')).status).toBe(403);
});

test('policies wait for a long transaction, but not so long that everybody waits behind them', async () => {
  const server = await startApp();
  const admin = server.as('admin');
  await makeBucket(server, 'b', { preset: 'owner-only' });
  await server.sql('begin; select from storage.objects');
  const refused = { status: 503, body: { error: 'UPSTREAM_FAILURE', nextActions: expect.stringContaining('again') } };
  const replies = await Promise.all([
    admin.put(`${BUCKETS}/b/policies`, { preset: 'public-read' }),
    admin.delete(`${BUCKETS}/b`),
  ]);
  for (const reply of replies) expect(reply).toMatchObject(refused);
  await server.sql('rollback');
  expect((await admin.get(`${BUCKETS}/b/policies`)).body.preset).toBe('owner-only');
  expect((await admin.delete(`${BUCKETS}/b`)).status).toBe(200);
});

test('a bucket that is closed behind the back of the server is closed', async () => {
  const server = await startApp();
  await makeBucket(server, 'b', { isPublic: true });
  await upload(server.as('admin'), 'b', 'k', 'x');
  const status = async () => (await server.as('nobody').get(objectPath('b', 'k'))).status;
  expect(await status()).toBe(200);
  await server.sql('update storage.buckets set public = false');
  await expect.poll(status).toBe(401);
  await server.sql(
    `insert into storage.config (max_file_size_mb) values (1) on conflict ((1)) do update set max_file_size_mb = 1`,
  );
  const plan = () => server.as('admin').post(`${BUCKETS}/b/upload-strategy`, { filename: 'k', size: 2_000_000 });
  await expect.poll(async () => (await plan()).status).toBe(413);
});

test('a change that this server made itself counts for its next request', async () => {
  const server = await startApp();
  await makeBucket(server, 'b');
  await upload(server.as('admin'), 'b', 'k', 'x');
  for (let round = 0; round < 20; round++) {
    const isPublic = round % 2 === 0;
    await server.as('admin').patch(`${BUCKETS}/b`, { isPublic });
    expect((await server.as('nobody').get(objectPath('b', 'k'))).status).toBe(isPublic ? 200 : 401);
  }
});

test("a developer's table may refer to files", async () => {
  const server = await startApp();
  await makeBucket(server, 'b');
  await upload(server.as('admin'), 'b', 'k', 'x');
  await server.sql(`
    set role project_admin;
    create table public.attachments (bucket text, key text,
      foreign key (bucket, key) references storage.objects (bucket, key) on delete cascade);
    insert into public.attachments values ('b', 'k');
    reset role`);
  await expect(server.sql(`insert into public.attachments values ('b', 'missing')`)).rejects.toThrow('foreign key');
  await server.as('admin').delete(objectPath('b', 'k'));
  expect(await server.sql('select * from public.attachments')).toEqual([]);
});

test('nobody reaches the tables of storage but by what the platform grants', async () => {
  const server = await startApp();
  const refusals = [];
  for (const [role, statement] of [
    ['anon', 'select * from storage.objects'],
    ['anon', `select storage.foldername('a/b')`],
    ['authenticated', 'select * from storage.uploads'],
    ['authenticated', 'select * from storage.s3_access_keys'],
    ['authenticated', 'select * from storage.config'],
    ['authenticated', 'insert into storage.garbage (blob) values (null)'],
    ['authenticated', 'delete from storage.renditions'],
    ['project_admin', 'delete from storage.objects'],
    ['project_admin', `update storage.buckets set public = true`],
    ['project_admin', 'drop table storage.objects'],
  ]) {
    await server.sql(`set role ${role}`);
    refusals.push(
      await server.sql(statement ?? '').then(
        () => `${role}: ${statement}`,
        ({ code }) => code,
      ),
    );
    await server.sql('reset role');
  }
  expect(refusals).toEqual(Array(10).fill('42501'));
});
