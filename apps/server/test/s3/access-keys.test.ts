import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ListBucketsCommand, S3Client } from '@aws-sdk/client-s3';
import { pino } from 'pino';
import { expect, inject, onTestFinished, test, vi } from 'vitest';
import { buildApp } from '../../src/app.ts';
import { testConfig } from '../config.ts';
import { startApp, type TestApp } from '../harness.ts';
import { type AccessKey, createKey, REGION, startS3 } from './start.ts';

const KEYS = '/api/storage/s3/access-keys';
const from = (number: number) => ({ 'x-forwarded-for': `10.1.0.${number}` });

test('a key is shown with its secret once, listed without it, and gone when it was revoked', async () => {
  const app = await startApp();
  const admin = app.as('admin');
  const created = await admin.post(KEYS, { description: '  backup ' });
  expect(created.status).toBe(201);
  expect(created.body).toEqual({
    id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    accessKeyId: expect.stringMatching(/^INSF[A-Z0-9]{16}$/),
    secretAccessKey: expect.stringMatching(/^[\w-]{40}$/),
    description: 'backup',
    createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
    lastUsedAt: null,
  });
  const { secretAccessKey, ...shown } = created.body;
  expect((await admin.get(KEYS)).body).toEqual([shown]);
  const [{ stored } = { stored: '' }] = await app.sql<{ stored: string }>(
    `select to_jsonb(k)::text as stored from storage.s3_access_keys k`,
  );
  expect(stored).not.toContain(secretAccessKey);

  expect(await admin.delete(`${KEYS}/${shown.id}`)).toMatchObject({ status: 204, text: '' });
  expect((await admin.get(KEYS)).body).toEqual([]);
  expect(await admin.delete(`${KEYS}/${shown.id}`)).toMatchObject({
    status: 404,
    body: { error: 'S3_ACCESS_KEY_NOT_FOUND' },
  });
  const audited = await app.sql('select action, module, details from system.audit_logs order by created_at');
  const details = expect.objectContaining({ accessKeyId: shown.accessKeyId });
  expect(audited).toEqual([
    { action: 'CREATE_S3_ACCESS_KEY', module: 'STORAGE', details },
    { action: 'DELETE_S3_ACCESS_KEY', module: 'STORAGE', details },
  ]);
});

test.each([
  { what: 'no body', body: undefined, description: null },
  { what: 'an empty object', body: {}, description: null },
  { what: 'null', body: { description: null }, description: null },
  { what: 'an empty text', body: { description: ' ' }, description: null },
])('the description may be absent: $what', async ({ body, description }) => {
  const app = await startApp();
  expect(await app.as('admin').post(KEYS, body)).toMatchObject({ status: 201, body: { description } });
});

test.each([
  { method: 'post', path: KEYS, body: { description: 'x'.repeat(201) } },
  { method: 'post', path: KEYS, body: { description: 1 } },
  { method: 'delete', path: `${KEYS}/1`, body: undefined },
] as const)('what is not valid is refused: $method $path', async ({ method, path, body }) => {
  const app = await startApp();
  expect(await app.as('admin')[method](path, body)).toMatchObject({
    status: 400,
    body: { error: 'STORAGE_INVALID_PARAMETER' },
  });
});

test('only the admin sees, makes and revokes keys, and reads where the gateway is', async () => {
  const app = await startApp();
  const { id } = await createKey(app);
  const requests = [
    ['get', '/api/storage/s3/config'],
    ['get', KEYS],
    ['post', KEYS],
    ['delete', `${KEYS}/${id}`],
  ] as const;
  const alice = await app.user('alice');
  for (const [who, status, error] of [
    ['nobody', 401, 'AUTH_INVALID_CREDENTIALS'],
    ['anon', 403, 'AUTH_UNAUTHORIZED'],
    [alice, 403, 'AUTH_UNAUTHORIZED'],
  ] as const) {
    for (const [method, path] of requests) {
      expect(await app.as(who)[method](path), `${method} ${path}`).toMatchObject({ status, body: { error } });
    }
  }
  expect((await app.as('admin').get(KEYS)).body).toHaveLength(1);
  for (const claims of ['anon', 'authenticated']) {
    await app.sql(`set role ${claims}`);
    await expect(app.sql('select * from storage.s3_access_keys')).rejects.toThrow('permission denied');
    await app.sql('reset role');
  }
});

test('there are fifty keys at most, however many are made at once', async () => {
  const app = await startApp();
  const replies = await Promise.all(
    Array.from({ length: 60 }, (_, number) => app.as('admin').post(KEYS, {}, from(number))),
  );
  expect(replies.filter(({ status }) => status === 201)).toHaveLength(50);
  const refused = replies.filter(({ status }) => status !== 201);
  expect(refused.map(({ status, body }) => [status, body.error])).toEqual(
    Array.from({ length: 10 }, () => [400, 'S3_ACCESS_KEY_LIMIT_EXCEEDED']),
  );
  const [first] = (await app.as('admin').get(KEYS)).body;
  await app.as('admin').delete(`${KEYS}/${first.id}`, undefined, from(60));
  expect((await app.as('admin').post(KEYS, {}, from(61))).status).toBe(201);
  expect((await app.as('admin').post(KEYS, {}, from(62))).status).toBe(400);
});

test('one address writes keys twenty times in fifteen minutes', async () => {
  const app = await startApp();
  for (let count = 0; count < 20; count++) expect((await app.as('admin').post(KEYS, {})).status).toBe(201);
  expect(await app.as('admin').post(KEYS, {})).toMatchObject({ status: 429, body: { error: 'TOO_MANY_REQUESTS' } });
});

test('the configuration says where clients connect, and for which region they sign', async () => {
  const app = await startApp({ S3_REGION: 'eu-test-1', API_BASE_URL: 'https://files.example.com' });
  expect((await app.as('admin').get('/api/storage/s3/config')).body).toEqual({
    endpoint: 'https://files.example.com/storage/v1/s3',
    region: 'eu-test-1',
    available: true,
  });
});

/** A second server on the same database, with an S3 client. */
async function startReplica(app: TestApp, key: AccessKey): Promise<S3Client> {
  const [{ name } = { name: '' }] = await app.sql<{ name: string }>('select current_database() as name');
  const dataDir = await mkdtemp(join(tmpdir(), 'insforge-replica-'));
  const replica = await buildApp(testConfig(inject('postgres'), name, dataDir), pino({ level: 'silent' }));
  const endpoint = `${await replica.listen({ host: '127.0.0.1', port: 0 })}/storage/v1/s3`;
  const client = new S3Client({ endpoint, region: REGION, forcePathStyle: true, credentials: key });
  onTestFinished(async () => {
    client.destroy();
    await replica.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  return client;
}

const listBuckets = (client: S3Client) => client.send(new ListBucketsCommand());
const isRefused = expect.objectContaining({
  name: 'InvalidAccessKeyId',
  $metadata: expect.objectContaining({ httpStatusCode: 403 }),
});

test('a key that is revoked stops working at once, on every server', async () => {
  const s3 = await startS3();
  const other = await startReplica(s3, s3.key);
  await listBuckets(s3.client);
  await listBuckets(other);

  await s3.as('admin').delete(`${KEYS}/${s3.key.id}`);
  await expect(listBuckets(s3.client)).rejects.toEqual(isRefused);
  await vi.waitFor(() => expect(listBuckets(other)).rejects.toEqual(isRefused), { timeout: 1000, interval: 10 });
});

test('a key that is made counts on every server, and one that SQL deletes no longer does', async () => {
  const s3 = await startS3();
  await listBuckets(await startReplica(s3, s3.key));
  const key = await createKey(s3);
  const there = await startReplica(s3, key);
  await listBuckets(there);
  await listBuckets(s3.clientWith({ credentials: key }));

  await s3.sql(`delete from storage.s3_access_keys where id = '${key.id}'`);
  await vi.waitFor(() => expect(listBuckets(there)).rejects.toEqual(isRefused), { timeout: 1000, interval: 10 });
});

test('the list tells when a key was last used', async () => {
  const s3 = await startS3();
  const used = async () => (await s3.as('admin').get(KEYS)).body[0].lastUsedAt;
  expect(await used()).toBeNull();
  await listBuckets(s3.client);
  await vi.waitFor(async () => expect(await used()).toMatch(/Z$/), { interval: 10 });
});

test('files tell which key stored them, and have no user as their owner', async () => {
  const s3 = await startS3();
  const { CreateBucketCommand, PutObjectCommand } = await import('@aws-sdk/client-s3');
  await s3.client.send(new CreateBucketCommand({ Bucket: 'files' }));
  await s3.client.send(new PutObjectCommand({ Bucket: 'files', Key: 'a', Body: 'a' }));
  expect(await s3.sql('select uploaded_by, uploaded_via, s3_access_key_id from storage.objects')).toEqual([
    { uploaded_by: null, uploaded_via: 's3', s3_access_key_id: s3.key.accessKeyId },
  ]);
});
