import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  DeleteBucketCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { expect, test, vi } from 'vitest';
import { scratchFolder } from '../start/process.ts';
import { storedFiles } from '../storage/files.ts';
import { startS3, type TestS3 } from './start.ts';

const Bucket = 'files';
const Key = 'big.bin';
const MIB = 1024 * 1024;

async function startWithBucket(environment: Record<string, string> = {}): Promise<TestS3> {
  const s3 = await startS3(environment);
  await s3.client.send(new CreateBucketCommand({ Bucket }));
  return s3;
}

/** An upload in the making. */
async function begin({ client }: TestS3, input: Partial<CreateMultipartUploadCommandInput> = {}) {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...input }));
  const upload = { Bucket, Key, ...('Key' in input ? { Key: input.Key } : {}), UploadId };
  return {
    upload,
    part: async (PartNumber: number, Body: Buffer | string): Promise<CompletedPart> => {
      const { ETag } = await client.send(
        new UploadPartCommand({ ...upload, PartNumber, Body, ChecksumAlgorithm: input.ChecksumAlgorithm }),
      );
      return { PartNumber, ETag };
    },
    complete: (Parts: CompletedPart[], more: object = {}) =>
      client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts }, ...more })),
    abort: () => client.send(new AbortMultipartUploadCommand(upload)),
    parts: (more: object = {}) => client.send(new ListPartsCommand({ ...upload, ...more })),
  };
}

async function read({ client }: TestS3, key = Key): Promise<Buffer> {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: key }));
  return Buffer.from((await Body?.transformToByteArray()) ?? []);
}

const failsWith = (name: string, httpStatusCode: number) =>
  expect.objectContaining({ name, $metadata: expect.objectContaining({ httpStatusCode }) });
const md5 = (data: Buffer) => createHash('md5').update(data).digest();
const etagOf = (parts: Buffer[]) => `"${md5(Buffer.concat(parts.map(md5))).toString('hex')}-${parts.length}"`;
const nothingLeft = (s3: TestS3) =>
  vi.waitFor(async () => expect(await s3.stored()).toMatchObject({ uploads: 0, parts: 0 }));

test('parts become one object, with the metadata and tags of its beginning, and leave nothing behind', async () => {
  const dataDir = await scratchFolder();
  const s3 = await startWithBucket({ DATA_DIR: dataDir });
  const bodies = [randomBytes(5 * MIB), randomBytes(5 * MIB), randomBytes(1000)];
  const upload = await begin(s3, {
    ContentType: 'video/mp4',
    Metadata: { a: '1' },
    CacheControl: 'no-store',
    Tagging: 't=1',
  });
  const parts = await Promise.all(bodies.map((body, index) => upload.part(index + 1, body)));
  await expect(s3.client.send(new HeadObjectCommand({ Bucket, Key }))).rejects.toEqual(failsWith('NotFound', 404));

  const completed = await upload.complete(parts);
  expect(completed).toMatchObject({ Bucket, Key, ETag: etagOf(bodies), Location: `${s3.endpoint}/${Bucket}/${Key}` });
  expect((await read(s3)).equals(Buffer.concat(bodies))).toBe(true);
  const head = await s3.client.send(new HeadObjectCommand({ Bucket, Key }));
  expect(head).toMatchObject({
    ContentType: 'video/mp4',
    Metadata: { a: '1' },
    CacheControl: 'no-store',
    ETag: etagOf(bodies),
  });
  const { TagSet } = await s3.client.send(new GetObjectTaggingCommand({ Bucket, Key }));
  expect(TagSet).toEqual([{ Key: 't', Value: '1' }]);
  await nothingLeft(s3);
  await vi.waitFor(async () => {
    const files = await readdir(join(dataDir, 'storage'), { recursive: true, withFileTypes: true });
    expect(files.filter((file) => file.isFile())).toHaveLength(1);
  });
});

test('the official uploader sends a stream of unknown length', async () => {
  const s3 = await startWithBucket();
  const body = randomBytes(12 * MIB);
  const stream = new Blob([body]).stream();
  const upload = new Upload({
    client: s3.client,
    params: { Bucket, Key, Body: stream },
    queueSize: 3,
    partSize: 5 * MIB,
  });
  expect((await upload.done()).ETag).toMatch(/-3"$/);
  expect((await read(s3)).equals(body)).toBe(true);
});

test('a part may be sent again, out of order, and left out', async () => {
  const s3 = await startWithBucket();
  const [first, last] = [randomBytes(5 * MIB), randomBytes(10)];
  const upload = await begin(s3);
  const end = await upload.part(9, last);
  await upload.part(1, randomBytes(100));
  await upload.part(5, 'never used');
  const start = await upload.part(1, first);
  expect((await upload.complete([start, end])).ETag).toBe(etagOf([first, last]));
  expect((await read(s3)).equals(Buffer.concat([first, last]))).toBe(true);
  await nothingLeft(s3);
});

test('a completion that was answered once is answered again in the same way', async () => {
  const s3 = await startWithBucket();
  const upload = await begin(s3, { ChecksumAlgorithm: 'SHA256' });
  const parts = [await upload.part(1, 'hello')];
  const first = await upload.complete(parts);
  const second = await upload.complete(parts);
  expect({ ...second, $metadata: 0 }).toEqual({ ...first, $metadata: 0 });
  await s3.client.send(new PutObjectCommand({ Bucket, Key, Body: 'newer' }));
  expect((await upload.complete(parts)).ETag).toBe(first.ETag);
  expect((await read(s3)).toString()).toBe('newer');
  const others = [{ PartNumber: 1, ETag: '"ffffffffffffffffffffffffffffffff"' }];
  await expect(upload.complete(others)).rejects.toEqual(failsWith('NoSuchUpload', 404));
});

test('completions at the same time make the same object', async () => {
  const s3 = await startWithBucket();
  const bodies = [randomBytes(5 * MIB), randomBytes(1000)];
  const upload = await begin(s3);
  const parts = await Promise.all(bodies.map((body, index) => upload.part(index + 1, body)));
  const answers = await Promise.all(Array.from({ length: 5 }, () => upload.complete(parts)));
  expect(new Set(answers.map(({ ETag }) => ETag))).toEqual(new Set([etagOf(bodies)]));
  expect((await read(s3)).equals(Buffer.concat(bodies))).toBe(true);
  await vi.waitFor(async () => expect(await s3.stored()).toMatchObject({ uploads: 0, parts: 0, blobs: 1 }));
});

test.each([
  { what: 'a part that is not there', parts: [1, 3], change: {}, code: 'InvalidPart' },
  { what: 'another ETag', parts: [1], change: { ETag: '"5d41402abc4b2a76b9719d911017c592"' }, code: 'InvalidPart' },
  { what: 'another checksum', parts: [1], change: { ChecksumCRC32: 'AAAAAA==' }, code: 'InvalidPart' },
  { what: 'the wrong order', parts: [2, 1], change: {}, code: 'InvalidPartOrder' },
  { what: 'a part twice', parts: [1, 1], change: {}, code: 'InvalidPartOrder' },
  { what: 'a small part before the last', parts: [1, 2], change: {}, code: 'EntityTooSmall' },
  { what: 'no part', parts: [], change: {}, code: 'MalformedXML' },
  { what: 'part 0', parts: [0], change: {}, code: 'MalformedXML' },
])('a completion with $what is refused and changes nothing', async ({ parts, change, code }) => {
  const s3 = await startWithBucket();
  const upload = await begin(s3, { ChecksumAlgorithm: 'CRC32' });
  const stored = new Map([
    [1, await upload.part(1, 'one')],
    [2, await upload.part(2, 'two')],
  ]);
  const wanted = parts.map((PartNumber) => ({ PartNumber, ETag: stored.get(PartNumber)?.ETag ?? '"x"', ...change }));
  await expect(upload.complete(wanted)).rejects.toEqual(failsWith(code, 400));
  expect(await s3.stored()).toMatchObject({ objects: [], uploads: 1, parts: 2 });
  expect((await upload.complete([stored.get(2)!])).ETag).toMatch(/-1"$/);
  expect((await read(s3)).toString()).toBe('two');
});

test('a completion may depend on the key being free and on the size', async () => {
  const s3 = await startWithBucket();
  await s3.client.send(new PutObjectCommand({ Bucket, Key, Body: 'first' }));
  const upload = await begin(s3);
  const parts = [await upload.part(1, 'second')];
  await expect(upload.complete(parts, { IfNoneMatch: '*' })).rejects.toEqual(failsWith('PreconditionFailed', 412));
  await expect(upload.complete(parts, { MpuObjectSize: 5 })).rejects.toEqual(failsWith('InvalidRequest', 400));
  expect((await read(s3)).toString()).toBe('first');
  await upload.complete(parts, { MpuObjectSize: 6 });
  expect((await read(s3)).toString()).toBe('second');
});

test('a completion may depend on the version that it replaces', async () => {
  const s3 = await startWithBucket();
  const { ETag } = await s3.client.send(new PutObjectCommand({ Bucket, Key, Body: 'old' }));
  const upload = await begin(s3);
  const parts = [await upload.part(1, 'new')];
  await expect(upload.complete(parts, { IfMatch: '"x"' })).rejects.toEqual(failsWith('PreconditionFailed', 412));
  expect((await read(s3)).toString()).toBe('old');
  const done = await upload.complete(parts, { IfMatch: ETag });
  expect((await read(s3)).toString()).toBe('new');
  // Its own object is in the way of the condition now, which is no failure.
  expect((await upload.complete(parts, { IfMatch: ETag })).ETag).toBe(done.ETag);
  await nothingLeft(s3);
});

test('an aborted upload is gone with its parts', async () => {
  const s3 = await startWithBucket();
  const upload = await begin(s3);
  const parts = [await upload.part(1, 'hello')];
  await upload.abort();
  await nothingLeft(s3);
  const attempts = [
    () => upload.complete(parts),
    () => upload.part(2, 'x'),
    () => upload.parts(),
    () => upload.abort(),
  ];
  for (const attempt of attempts) {
    await expect(attempt()).rejects.toEqual(failsWith('NoSuchUpload', 404));
  }
  expect(await s3.sql('select * from storage.s3_uploads')).toEqual([]);
});

test('an upload belongs to its key, and ids that were made up lead nowhere', async () => {
  const s3 = await startWithBucket();
  const { upload } = await begin(s3);
  const send = (more: object) =>
    s3.client.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: 'x', ...more }));
  await s3.client.send(new CreateBucketCommand({ Bucket: 'other' }));
  const missing = failsWith('NoSuchUpload', 404);
  await expect(send({ Key: 'another' })).rejects.toEqual(missing);
  await expect(send({ Bucket: 'other' })).rejects.toEqual(missing);
  await expect(send({ UploadId: '11111111-1111-1111-1111-111111111111' })).rejects.toEqual(missing);
  await expect(send({ UploadId: `x' or true --` })).rejects.toEqual(missing);
  for (const PartNumber of [0, 10_001])
    await expect(send({ PartNumber })).rejects.toEqual(failsWith('InvalidArgument', 400));
  const tus = await s3.sql<{ id: string }>(
    `insert into storage.uploads (protocol, bucket, key, role, expires_at)
     values ('tus', 'files', 'big.bin', 'project_admin', now() + interval '1 day') returning id`,
  );
  await expect(send({ UploadId: tus[0]?.id })).rejects.toEqual(missing);
  await s3.sql(`update storage.uploads set expires_at = now() - interval '1 second'`);
  await expect(send({})).rejects.toEqual(missing);
});

test('parts together may not be larger than what the bucket takes', async () => {
  const s3 = await startWithBucket();
  await s3.sql('update storage.buckets set file_size_limit = 1000');
  const upload = await begin(s3);
  await upload.part(1, Buffer.alloc(600));
  await expect(upload.part(2, Buffer.alloc(401))).rejects.toEqual(failsWith('EntityTooLarge', 400));
  await upload.part(2, Buffer.alloc(400));
  await upload.part(1, Buffer.alloc(599));
  expect(await s3.stored()).toMatchObject({ parts: 2 });
});

test('parts are copied from objects, as a whole or in ranges', async () => {
  const s3 = await startWithBucket();
  const source = randomBytes(6 * MIB);
  await s3.client.send(new PutObjectCommand({ Bucket, Key: 'source/ü +', Body: source }));
  const { upload, complete } = await begin(s3, { ChecksumAlgorithm: 'CRC32C' });
  const CopySource = `${Bucket}/${encodeURIComponent('source/ü +')}`;
  const copy = async (PartNumber: number, more: object = {}) => {
    const { CopyPartResult } = await s3.client.send(
      new UploadPartCopyCommand({ ...upload, CopySource, PartNumber, ...more }),
    );
    expect(CopyPartResult?.ChecksumCRC32C).toMatch(/==$/);
    return { PartNumber, ETag: CopyPartResult?.ETag };
  };
  const parts = [await copy(1), await copy(2, { CopySourceRange: 'bytes=10-19' })];
  expect((await complete(parts)).ETag).toBe(etagOf([source, source.subarray(10, 20)]));
  expect((await read(s3)).equals(Buffer.concat([source, source.subarray(10, 20)]))).toBe(true);
  const other = await begin(s3);
  const refused = (more: object) =>
    s3.client.send(new UploadPartCopyCommand({ ...other.upload, CopySource, PartNumber: 1, ...more }));
  await expect(refused({ CopySourceRange: `bytes=0-${source.length}` })).rejects.toEqual(
    failsWith('InvalidRange', 416),
  );
  await expect(refused({ CopySourceRange: 'bytes=5-' })).rejects.toEqual(failsWith('InvalidArgument', 400));
  await expect(refused({ CopySource: `${Bucket}/missing` })).rejects.toEqual(failsWith('NoSuchKey', 404));
  await expect(refused({ CopySourceIfNoneMatch: '*' })).rejects.toEqual(failsWith('PreconditionFailed', 412));
});

test('a part that is copied from what is replaced meanwhile is one of what is there then', async () => {
  const dataDir = await scratchFolder();
  const s3 = await startWithBucket({ DATA_DIR: dataDir });
  const [old, fresh] = [randomBytes(100_000), randomBytes(100_000)];
  const put = (Body: Buffer) => s3.client.send(new PutObjectCommand({ Bucket, Key: 'source', Body }));
  await put(old);
  const { upload, complete } = await begin(s3);
  const [replaced] = await storedFiles(dataDir);
  // What it looks at between the row of the source and its bytes.
  await s3.sql('begin; lock table storage.s3_uploads');
  const copying = s3.client.send(
    new UploadPartCopyCommand({ ...upload, CopySource: `${Bucket}/source`, PartNumber: 1 }),
  );
  const waits = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
  await vi.waitFor(async () => expect(await s3.sql(waits)).not.toEqual([]), { interval: 10 });
  await put(fresh);
  await vi.waitFor(async () => expect(await storedFiles(dataDir)).not.toContain(replaced), { interval: 10 });
  await s3.sql('commit');
  const { CopyPartResult } = await copying;
  await complete([{ PartNumber: 1, ETag: CopyPartResult?.ETag }]);
  expect((await read(s3)).equals(fresh)).toBe(true);
});

test('parts are listed in pages', async () => {
  const s3 = await startWithBucket();
  const upload = await begin(s3, { ChecksumAlgorithm: 'SHA1' });
  for (const number of [3, 1, 2]) await upload.part(number, String(number));
  const first = await upload.parts({ MaxParts: 2 });
  expect(first).toMatchObject({
    IsTruncated: true,
    NextPartNumberMarker: '2',
    ChecksumAlgorithm: 'SHA1',
    ChecksumType: 'COMPOSITE',
  });
  expect(first.Parts).toMatchObject([
    {
      PartNumber: 1,
      Size: 1,
      ETag: '"c4ca4238a0b923820dcc509a6f75849b"',
      ChecksumSHA1: 'NWoZK3kTsExUV00Ywo1G5jlUKKs=',
    },
    { PartNumber: 2, LastModified: expect.any(Date) },
  ]);
  const second = await upload.parts({ PartNumberMarker: '2' });
  expect(second.Parts?.map(({ PartNumber }) => PartNumber)).toEqual([3]);
  expect(second.IsTruncated).toBe(false);
});

test('uploads are listed in pages, by key and age, with prefixes and folders', async () => {
  const s3 = await startWithBucket();
  const ids: string[] = [];
  for (const key of ['b', 'a/1', 'a/2', 'a/1', 'c%', 'cx'])
    ids.push((await begin(s3, { Key: key })).upload.UploadId ?? '');
  const list = (more: object) => s3.client.send(new ListMultipartUploadsCommand({ Bucket, ...more }));
  const all = (await list({})).Uploads?.map(({ Key: key, UploadId }) => [key, UploadId]);
  expect(all).toEqual([
    ['a/1', ids[1]],
    ['a/1', ids[3]],
    ['a/2', ids[2]],
    ['b', ids[0]],
    ['c%', ids[4]],
    ['cx', ids[5]],
  ]);
  const paged: unknown[] = [];
  let markers: { KeyMarker?: string; UploadIdMarker?: string } = {};
  for (let more = true; more; ) {
    const page = await list({ MaxUploads: 2, ...markers });
    paged.push(...(page.Uploads ?? []).map(({ Key: key, UploadId }) => [key, UploadId]));
    markers = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    more = page.IsTruncated ?? false;
  }
  expect(paged).toEqual(all);
  expect((await list({ Prefix: 'c%' })).Uploads).toHaveLength(1);
  const folders = await list({ Delimiter: '/' });
  expect(folders.CommonPrefixes).toEqual([{ Prefix: 'a/' }]);
  expect(folders.Uploads?.map(({ Key: key }) => key)).toEqual(['b', 'c%', 'cx']);
  const one = await list({ Delimiter: '/', MaxUploads: 1 });
  expect(one).toMatchObject({ CommonPrefixes: [{ Prefix: 'a/' }], IsTruncated: true, NextKeyMarker: 'a/' });
  const next = await list({ Delimiter: '/', MaxUploads: 1, KeyMarker: one.NextKeyMarker });
  expect([next.CommonPrefixes, next.Uploads?.map(({ Key: key }) => key)]).toEqual([undefined, ['b']]);
});

test('a bucket with uploads but without objects can be deleted, and takes them along', async () => {
  const s3 = await startWithBucket();
  const upload = await begin(s3);
  await upload.part(1, 'hello');
  await s3.client.send(new DeleteBucketCommand({ Bucket }));
  await vi.waitFor(async () => expect(await s3.stored()).toEqual({ objects: [], uploads: 0, parts: 0, blobs: 0 }));
});

test('an object of parts is copied with its ETag', async () => {
  const s3 = await startWithBucket();
  const upload = await begin(s3);
  const { ETag } = await upload.complete([await upload.part(1, 'hello')]);
  const { CopyObjectResult } = await s3.client.send(
    new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/${Key}` }),
  );
  expect(CopyObjectResult?.ETag).toBe(ETag);
  expect((await read(s3, 'copy')).toString()).toBe('hello');
});

test('a bucket of another S3 store holds the parts and the object just as well', async () => {
  const store = await startWithBucket();
  const s3 = await startWithBucket({
    S3_BUCKET: Bucket,
    S3_ENDPOINT_URL: store.endpoint,
    S3_ACCESS_KEY_ID: store.key.accessKeyId,
    S3_SECRET_ACCESS_KEY: store.key.secretAccessKey,
  });
  const bodies = [randomBytes(5 * MIB), randomBytes(1000)];
  const upload = await begin(s3);
  const parts = await Promise.all(bodies.map((body, index) => upload.part(index + 1, body)));
  expect((await upload.complete(parts)).ETag).toBe(etagOf(bodies));
  expect((await read(s3)).equals(Buffer.concat(bodies))).toBe(true);
  await s3.client.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/${Key}` }));
  const range = { Bucket, Key: 'copy', Range: `bytes=${5 * MIB - 2}-${5 * MIB + 1}` };
  const { Body } = await s3.client.send(new GetObjectCommand(range));
  const expected = Buffer.concat([bodies[0]!.subarray(-2), bodies[1]!.subarray(0, 2)]);
  expect(Buffer.from(await Body!.transformToByteArray()).equals(expected)).toBe(true);
  await vi.waitFor(async () => expect((await store.stored()).objects).toHaveLength(2), { timeout: 5000 });
}, 60_000);

test('what was known of an upload is forgotten when nobody can ask for it any more', async () => {
  const s3 = await startWithBucket();
  const { upload } = await begin(s3);
  await s3.sql(`update storage.s3_uploads set created_at = now() - interval '9 days'`);
  const next = await begin(s3);
  expect(await s3.sql('select upload_id from storage.s3_uploads')).toEqual([{ upload_id: next.upload.UploadId }]);
  expect(next.upload.UploadId).not.toBe(upload.UploadId);
});
