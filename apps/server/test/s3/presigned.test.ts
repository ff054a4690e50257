import { randomBytes } from 'node:crypto';
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { expect, test } from 'vitest';
import { SECRETS } from '../harness.ts';
import { startS3, type TestS3 } from './start.ts';

const Bucket = 'files';
const Key = 'a b/ü+%.bin';

async function startWithBucket(): Promise<TestS3> {
  const s3 = await startS3();
  await s3.client.send(new CreateBucketCommand({ Bucket }));
  return s3;
}

const codeOf = async (reply: Response) => /<Code>(\w+)/.exec(await reply.text())?.[1];

test('a URL that was signed uploads, downloads and deletes without a credential', async () => {
  const { client } = await startWithBucket();
  const body = randomBytes(50_000);
  const put = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key }));
  const type = { 'content-type': 'text/plain' };
  expect((await fetch(put, { method: 'PUT', body, headers: type })).status).toBe(200);
  const url = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key, ResponseContentDisposition: 'inline' }));
  const got = await fetch(url);
  expect([got.status, got.headers.get('content-type'), got.headers.get('content-disposition')]).toEqual([
    200,
    'text/plain',
    'inline',
  ]);
  expect(Buffer.from(await got.arrayBuffer()).equals(body)).toBe(true);
  const part = await fetch(url, { headers: { range: 'bytes=0-9' } });
  expect([part.status, part.headers.get('content-range')]).toEqual([206, 'bytes 0-9/50000']);
  const list = await getSignedUrl(client, new ListObjectsV2Command({ Bucket, Prefix: 'a b/' }));
  expect(await (await fetch(list)).text()).toContain('<KeyCount>1</KeyCount>');
  const remove = await getSignedUrl(client, new DeleteObjectCommand({ Bucket, Key }));
  expect((await fetch(remove, { method: 'DELETE' })).status).toBe(204);
  expect((await fetch(url)).status).toBe(404);
});

test('what was signed into a URL is not for the bearer to choose', async () => {
  const s3 = await startWithBucket();
  const command = new PutObjectCommand({ Bucket, Key, Metadata: { a: '1' }, Tagging: 't=1', ContentType: 'image/png' });
  const url = await getSignedUrl(s3.client, command, { signableHeaders: new Set(['content-type']) });
  const put = (headers: Record<string, string>, target = url) => fetch(target, { method: 'PUT', body: 'x', headers });
  const png = { 'content-type': 'image/png' };
  expect(await codeOf(await put({ 'content-type': 'text/html' }))).toBe('SignatureDoesNotMatch');
  expect(await codeOf(await put({ ...png, 'x-amz-meta-b': '2' }))).toBe('AccessDenied');
  expect(await codeOf(await put(png, url.replace('x-amz-meta-a=1', 'x-amz-meta-a=2')))).toBe('SignatureDoesNotMatch');
  expect(await codeOf(await put(png, `${url}&x-amz-meta-b=2`))).toBe('SignatureDoesNotMatch');
  expect(await codeOf(await fetch(url))).toBe('SignatureDoesNotMatch');
  expect(await s3.stored()).toMatchObject({ objects: [] });

  expect((await put(png)).status).toBe(200);
  expect(await s3.client.send(new HeadObjectCommand({ Bucket, Key }))).toMatchObject({
    ContentType: 'image/png',
    Metadata: { a: '1' },
  });
  expect(await s3.sql('select tag_key, tag_value from storage.object_tags')).toEqual([
    { tag_key: 't', tag_value: '1' },
  ]);
});

test('a checksum in a URL counts, save for the one of nothing that SDKs sign before they have a body', async () => {
  const s3 = await startWithBucket();
  const put = async (input: object, body: string) => {
    const url = await getSignedUrl(s3.client, new PutObjectCommand({ Bucket, Key, ...input }));
    return fetch(url, { method: 'PUT', body });
  };
  expect((await put({}, 'hello')).status).toBe(200);
  const signed = { ChecksumSHA256: 'LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=' };
  expect(await codeOf(await put(signed, 'other'))).toBe('BadDigest');
  expect((await put(signed, 'hello')).status).toBe(200);
});

test('the parts of an upload can be sent to URLs', async () => {
  const { client } = await startWithBucket();
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
  const url = await getSignedUrl(client, new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1 }));
  const ETag = (await fetch(url, { method: 'PUT', body: 'hello' })).headers.get('etag') ?? '';
  const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
  await client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload }));
  const got = await client.send(new GetObjectCommand({ Bucket, Key }));
  expect(await got.Body!.transformToString()).toBe('hello');
});

test('a URL lives as long as it says, and dies with its key', async () => {
  const s3 = await startWithBucket();
  await s3.client.send(new PutObjectCommand({ Bucket, Key, Body: 'x' }));
  const get = new GetObjectCommand({ Bucket, Key });
  const sign = (minutesAgo: number, expiresIn: number) =>
    getSignedUrl(s3.client, get, { expiresIn, signingDate: new Date(Date.now() - minutesAgo * 60_000) });
  expect((await fetch(await sign(0, 60))).status).toBe(200);
  expect((await fetch(await sign(5, 301))).status).toBe(200);
  const late = await fetch(await sign(5, 299));
  expect([late.status, await codeOf(late)]).toEqual([403, 'AccessDenied']);
  const url = await sign(0, 604_800);
  await s3.as('admin').delete(`/api/storage/s3/access-keys/${s3.key.id}`);
  expect(await codeOf(await fetch(url))).toBe('InvalidAccessKeyId');
});

test('no token opens anything here, neither as a bearer nor as the session token of a key', async () => {
  const s3 = await startWithBucket();
  const list = new ListObjectsV2Command({ Bucket });
  const ask = (url: string, headers: Record<string, string> = {}) => fetch(url, { headers });
  for (const token of [SECRETS.ACCESS_API_KEY, await s3.token(await s3.user('alice'))]) {
    const bearer = await ask(`${s3.endpoint}/${Bucket}`, { authorization: `Bearer ${token}` });
    expect([bearer.status, await codeOf(bearer)]).toEqual([400, 'InvalidRequest']);
    const client = s3.clientWith({ credentials: { ...s3.key, sessionToken: token } });
    await expect(client.send(list)).rejects.toMatchObject({ name: 'InvalidToken' });
    const url = await getSignedUrl(client, list);
    expect(url).toContain('X-Amz-Security-Token=');
    expect(await codeOf(await ask(url))).toBe('InvalidToken');
  }
  expect((await ask(await getSignedUrl(s3.client, list))).status).toBe(200);
});
