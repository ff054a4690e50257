import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import {
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  DeleteObjectTaggingCommand,
  GetBucketLocationCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  PutBucketVersioningCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  PutObjectTaggingCommand,
} from '@aws-sdk/client-s3';
import { expect, test, vi } from 'vitest';
import { makeRowsUnreadable } from '../storage/files.ts';
import { type Mode, send, sign } from './sign.ts';
import { startS3, type TestS3 } from './start.ts';

const Bucket = 'files';

async function startWithBucket(environment: Record<string, string> = {}): Promise<TestS3> {
  const s3 = await startS3(environment);
  await s3.client.send(new CreateBucketCommand({ Bucket }));
  return s3;
}

const put = ({ client }: TestS3, Key: string, more: Partial<PutObjectCommandInput> = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body: 'hello', ...more }));
const head = ({ client }: TestS3, Key: string) => client.send(new HeadObjectCommand({ Bucket, Key }));
const read = async ({ client }: TestS3, Key: string) => {
  const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }));
  return Buffer.from((await Body?.transformToByteArray()) ?? []);
};
const failsWith = (name: string, httpStatusCode: number) =>
  expect.objectContaining({ name, $metadata: expect.objectContaining({ httpStatusCode }) });
const md5 = (data: string | Buffer) => createHash('md5').update(data).digest('hex');

test('buckets are made, listed, told about and deleted when they are empty', async () => {
  const s3 = await startS3();
  const { client } = s3;
  await client.send(new CreateBucketCommand({ Bucket: 'bbb' }));
  await client.send(new CreateBucketCommand({ Bucket: 'aaa', ACL: 'public-read' }));
  const { Buckets, Owner } = await client.send(new ListBucketsCommand());
  expect(Buckets?.map(({ Name, CreationDate }) => [Name, CreationDate instanceof Date])).toEqual([
    ['aaa', true],
    ['bbb', true],
  ]);
  expect(Owner?.ID).toBe('insforge');
  expect(await s3.sql('select name, public from storage.buckets order by name')).toEqual([
    { name: 'aaa', public: true },
    { name: 'bbb', public: false },
  ]);
  await expect(client.send(new CreateBucketCommand({ Bucket: 'aaa' }))).rejects.toEqual(
    failsWith('BucketAlreadyOwnedByYou', 409),
  );
  await expect(client.send(new CreateBucketCommand({ Bucket: 'no.dots' }))).rejects.toEqual(
    failsWith('InvalidBucketName', 400),
  );
  expect((await client.send(new HeadBucketCommand({ Bucket: 'aaa' }))).BucketRegion).toBe('us-east-2');
  expect((await client.send(new GetBucketLocationCommand({ Bucket: 'aaa' }))).LocationConstraint).toBe('us-east-2');
  await expect(client.send(new HeadBucketCommand({ Bucket: 'ccc' }))).rejects.toEqual(failsWith('NotFound', 404));

  await client.send(new PutObjectCommand({ Bucket: 'aaa', Key: 'k', Body: '' }));
  await expect(client.send(new DeleteBucketCommand({ Bucket: 'aaa' }))).rejects.toEqual(
    failsWith('BucketNotEmpty', 409),
  );
  await client.send(new DeleteBucketCommand({ Bucket: 'bbb' }));
  await expect(client.send(new DeleteBucketCommand({ Bucket: 'bbb' }))).rejects.toEqual(failsWith('NoSuchBucket', 404));
  const audited = await s3.sql(
    `select actor, action, details from system.audit_logs where action like '%_BUCKET' order by created_at`,
  );
  const actor = `s3:${s3.key.accessKeyId}`;
  expect(audited).toEqual([
    { actor, action: 'CREATE_BUCKET', details: { bucketName: 'bbb' } },
    { actor, action: 'CREATE_BUCKET', details: { bucketName: 'aaa' } },
    { actor, action: 'DELETE_BUCKET', details: { bucketName: 'bbb' } },
  ]);
});

test('the state of versioning is kept, told, and audited', async () => {
  const s3 = await startWithBucket();
  const { client } = s3;
  const status = async () => (await client.send(new GetBucketVersioningCommand({ Bucket }))).Status;
  expect(await status()).toBeUndefined();
  for (const Status of ['Enabled', 'Suspended'] as const) {
    await client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status } }));
    expect(await status()).toBe(Status);
  }
  const nonsense = { Status: 'Off' as 'Enabled' };
  const refused = client.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: nonsense }));
  await expect(refused).rejects.toMatchObject({ $metadata: { httpStatusCode: 400 } });
  const change = { actor: `s3:${s3.key.accessKeyId}`, details: { bucketName: Bucket } };
  expect(
    await s3.sql(`select actor, details from system.audit_logs where action = 'UPDATE_BUCKET_VERSIONING'`),
  ).toEqual([change, change]);
});

test('what was put is got, with its type, headers and metadata', async () => {
  const s3 = await startWithBucket();
  const Body = randomBytes(300_000);
  const stored = await put(s3, 'a/b.bin', {
    Body,
    ContentType: 'Image/PNG',
    CacheControl: 'max-age=60',
    ContentDisposition: 'attachment; filename="b.png"',
    ContentEncoding: 'identity',
    ContentLanguage: 'de',
    Expires: new Date('2030-01-01T00:00:00Z'),
    Metadata: { colour: 'blue', 'with-dash': 'is  sent as it is' },
  });
  expect(stored.ETag).toBe(`"${md5(Body)}"`);
  const expected = {
    ETag: `"${md5(Body)}"`,
    ContentLength: 300_000,
    ContentType: 'image/png',
    CacheControl: 'max-age=60',
    ContentDisposition: 'attachment; filename="b.png"',
    ContentEncoding: 'identity',
    ContentLanguage: 'de',
    ExpiresString: 'Tue, 01 Jan 2030 00:00:00 GMT',
    AcceptRanges: 'bytes',
    Metadata: { colour: 'blue', 'with-dash': 'is  sent as it is' },
    LastModified: expect.any(Date),
  };
  expect(await head(s3, 'a/b.bin')).toMatchObject(expected);
  const got = await s3.client.send(new GetObjectCommand({ Bucket, Key: 'a/b.bin' }));
  expect(got).toMatchObject(expected);
  expect(Buffer.from(await got.Body!.transformToByteArray()).equals(Body)).toBe(true);
});

test.each([
  'plain.txt',
  'a b+c%20d&e=f?g#h',
  'üñ/日本語/🦖',
  'folder/',
  'a//b',
  'a/%2F/b',
  '%',
  "it's (a) *key*!~@$,;:[]",
  'tab\tline\nreturn\r',
  '\u0001control',
  'x'.repeat(1024),
  '日'.repeat(341),
])('a key is data: %j', async (key) => {
  const s3 = await startWithBucket();
  await put(s3, key, { Body: key });
  expect((await read(s3, key)).toString()).toBe(key);
  expect(await s3.sql('select key from storage.objects')).toEqual([{ key }]);
  const listed = await s3.client.send(
    new ListObjectsV2Command({ Bucket, EncodingType: 'url', Prefix: key.slice(0, 1) }),
  );
  expect(listed.Contents?.map(({ Key }) => decodeURIComponent(Key ?? ''))).toEqual([key]);
  const copy = { Bucket, Key: 'copy', CopySource: `${Bucket}/${encodeURIComponent(key)}` };
  expect((await s3.client.send(new CopyObjectCommand(copy))).CopyObjectResult?.ETag).toBe(`"${md5(key)}"`);
  const deleted = await s3.client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: key }] } }));
  expect(deleted.Errors).toBeUndefined();
  if (!key.includes('\u0001')) expect(await s3.sql('select key from storage.objects')).toEqual([{ key: 'copy' }]);
});

test.each([
  ['x'.repeat(1025), 'KeyTooLongError'],
  ['a/../b', 'InvalidArgument'],
  ['/etc/passwd', 'InvalidArgument'],
])('a key that would lead astray is refused: %s', async (key, code) => {
  const s3 = await startWithBucket();
  await put(s3, 'ok');
  const CopySource = `${Bucket}/ok`;
  const Delete = { Objects: [{ Key: key }] };
  for (const ask of [
    () => put(s3, key),
    () => s3.client.send(new CopyObjectCommand({ Bucket, Key: key, CopySource })),
    () => s3.client.send(new CreateMultipartUploadCommand({ Bucket, Key: key })),
    () => read(s3, key),
  ]) {
    await expect(ask()).rejects.toEqual(failsWith(code, 400));
  }
  await s3.client.send(new DeleteObjectsCommand({ Bucket, Delete }));
  expect(await s3.stored()).toMatchObject({ objects: [`${Bucket}/ok`], uploads: 0 });
});

test('a range is a part, the type may be overridden, and conditions are kept', async () => {
  const s3 = await startWithBucket();
  const { ETag } = await put(s3, 'k', { Body: '0123456789' });
  const get = (more: object) => s3.client.send(new GetObjectCommand({ Bucket, Key: 'k', ...more }));
  const part = await get({ Range: 'bytes=2-4' });
  expect(part).toMatchObject({ ContentRange: 'bytes 2-4/10', ContentLength: 3, $metadata: { httpStatusCode: 206 } });
  expect(await part.Body!.transformToString()).toBe('234');
  expect(await (await get({ Range: 'bytes=-2' })).Body!.transformToString()).toBe('89');
  await expect(get({ Range: 'bytes=10-' })).rejects.toEqual(failsWith('InvalidRange', 416));
  const overridden = await get({
    ResponseContentType: 'text/html',
    ResponseContentDisposition: 'inline',
    ResponseCacheControl: 'no-store',
  });
  expect(overridden).toMatchObject({
    ContentType: 'text/html',
    ContentDisposition: 'inline',
    CacheControl: 'no-store',
  });
  expect((await get({ IfMatch: ETag })).ContentLength).toBe(10);
  await expect(get({ IfMatch: '"other"' })).rejects.toEqual(failsWith('PreconditionFailed', 412));
  await expect(get({ IfNoneMatch: ETag })).rejects.toMatchObject({ $metadata: { httpStatusCode: 304 } });
  await expect(get({ IfModifiedSince: new Date(Date.now() + 60_000) })).rejects.toMatchObject({
    $metadata: { httpStatusCode: 304 },
  });
  await expect(get({ IfUnmodifiedSince: new Date(0) })).rejects.toEqual(failsWith('PreconditionFailed', 412));
  await expect(get({ PartNumber: 2 })).rejects.toEqual(failsWith('NotImplemented', 501));
  await expect(get({ VersionId: 'x' })).rejects.toEqual(failsWith('NoSuchVersion', 404));
  expect((await get({ VersionId: 'null' })).ContentLength).toBe(10);
});

test('what a browser shows of a file can do nothing there', async () => {
  const s3 = await startWithBucket();
  await put(s3, 'x.html', { Body: '<script>alert(1)</script>', ContentType: 'text/html' });
  await put(s3, 'x.js', { Body: 'alert(1)', ContentType: 'text/javascript' });
  const open = async (key: string, query: [string, string][] = [], mode: Mode = 'presigned') => {
    const headers: [string, string][] = [['host', new URL(s3.endpoint).host]];
    const draft = { method: 'GET', path: `/storage/v1/s3/files/${key}`, query, headers, body: Buffer.alloc(0) };
    return (await send(s3.endpoint, sign(draft, { ...s3.key, mode }))).headers;
  };
  const page = await open('x.html');
  expect(page['content-security-policy']).toMatch(/default-src 'none'.*sandbox$/);
  expect(page['x-content-type-options']).toBe('nosniff');
  for (const type of ['text/javascript', ' TEXT/JavaScript;x', 'application/x-ecmascript']) {
    const script = await open('x.html', [['response-content-type', type]]);
    expect(script['content-type']).toBe('text/plain; charset=utf-8');
  }
  expect((await open('x.js'))['content-type']).toBe('text/plain; charset=utf-8');
  // A client that signs its requests itself is no page.
  expect((await open('x.js', [], 'signed'))['content-type']).toBe('text/javascript');
});

test('what no header can say is never stored, and never sent', async () => {
  const s3 = await startWithBucket();
  await put(s3, 'k');
  const { host } = new URL(s3.endpoint);
  const ask = (method: string, query: [string, string][]) =>
    send(
      s3.endpoint,
      sign(
        { method, path: '/storage/v1/s3/files/k', query, headers: [['host', host]], body: Buffer.from('x') },
        { ...s3.key, mode: 'presigned' },
      ),
    );
  const refused: [string, string, string][] = [
    ['GET', 'response-content-type', 'text/html\r\nset-cookie: a=b'],
    ['GET', 'response-content-disposition', 'attachment; filename="日本語"'],
    ['GET', 'response-cache-control', 'no-store\n'],
    ['PUT', 'x-amz-meta-a', 'line\r\nbreak'],
    ['PUT', 'x-amz-meta-a', '日本語'],
    ['PUT', 'x-amz-meta-a b', 'x'],
  ];
  for (const [method, name, value] of refused) {
    const answer = await ask(method, [[name, value]]);
    expect([answer.status, answer.code], name).toEqual([400, 'InvalidArgument']);
    expect(answer.headers['set-cookie']).toBeUndefined();
  }
  expect((await read(s3, 'k')).toString()).toBe('hello');
  const disposition = `attachment; filename="_"; filename*=UTF-8''%E6%97%A5`;
  const answer = await ask('GET', [['response-content-disposition', disposition]]);
  expect(answer).toMatchObject({ status: 200, headers: { 'content-disposition': disposition } });
});

const NUL_QUERIES: [method: string, target: string, query: [string, string][]][] = [
  ['GET', '/files', [['prefix', 'a\0']]],
  ['GET', '/files', [['marker', 'a\0']]],
  ['GET', '/files', [['delimiter', '\0']]],
  [
    'GET',
    '/files',
    [
      ['list-type', '2'],
      ['start-after', 'a\0'],
    ],
  ],
  [
    'GET',
    '/files',
    [
      ['uploads', ''],
      ['key-marker', '\0'],
    ],
  ],
  ['GET', '/files/k', [['uploadId', '\0']]],
  ['DELETE', '/files/a%00b', []],
  ['PUT', '/fi%00les', []],
];

test.each(NUL_QUERIES)('a NUL is refused: %s %s %j', async (method, target, query) => {
  const s3 = await startWithBucket();
  const headers: [string, string][] = [['host', new URL(s3.endpoint).host]];
  const draft = { method, path: `/storage/v1/s3${target}`, query, headers, body: Buffer.alloc(0) };
  const answer = await send(s3.endpoint, sign(draft, { ...s3.key, mode: 'signed' }));
  expect([answer.status, answer.code]).toEqual([400, 'InvalidURI']);
});

const DOCUMENTS: [what: string, document: string][] = [
  ['an entity of its own', '<!DOCTYPE a [<!ENTITY e "k">]><Delete><Object><Key>&e;</Key></Object></Delete>'],
  ['an entity nobody declared', '<Delete><Object><Key>&e;</Key></Object></Delete>'],
  ['an entity of HTML', '<Delete><Object><Key>&cent;</Key></Object></Delete>'],
  ['a NUL by reference', '<Delete><Object><Key>k&#0;</Key></Object></Delete>'],
  ['a NUL by reference, in hex', '<Delete><Object><Key>k&#x00;</Key></Object></Delete>'],
  ['a NUL', '<Delete><Object><Key>k\0</Key></Object></Delete>'],
  ['no key', '<Delete><Object></Object></Delete>'],
  ['an empty key', '<Delete><Object><Key></Key></Object></Delete>'],
  ['two keys', '<Delete><Object><Key>k</Key><Key>l</Key></Object></Delete>'],
  ['another root', '<Remove><Object><Key>k</Key></Object></Remove>'],
  ['no end', '<Delete><Object><Key>k</Key></Object>'],
  ['depths', '<Delete>'.repeat(100_000)],
  ['nothing', ''],
];

test.each(DOCUMENTS)('a document with %s deletes nothing', async (_what, document) => {
  const s3 = await startWithBucket();
  await put(s3, 'k');
  const draft = {
    method: 'POST',
    path: '/storage/v1/s3/files',
    query: [['delete', '']] as [string, string][],
    headers: [['host', new URL(s3.endpoint).host]] as [string, string][],
    body: Buffer.from(document),
  };
  const answer = await send(s3.endpoint, sign(draft, { ...s3.key, mode: 'signed' }));
  expect([answer.status, answer.code]).toEqual([400, 'MalformedXML']);
  expect((await s3.stored()).objects).toEqual(['files/k']);
});

test('a write may depend on the key being free', async () => {
  const s3 = await startWithBucket();
  await put(s3, 'k', { IfNoneMatch: '*' });
  await expect(put(s3, 'k', { IfNoneMatch: '*', Body: 'other' })).rejects.toEqual(failsWith('PreconditionFailed', 412));
  expect((await read(s3, 'k')).toString()).toBe('hello');
  const results = await Promise.allSettled(
    Array.from({ length: 10 }, (_, index) => put(s3, 'raced', { IfNoneMatch: '*', Body: String(index) })),
  );
  const won = results.findIndex(({ status }) => status === 'fulfilled');
  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  expect((await read(s3, 'raced')).toString()).toBe(String(won));
});

test('a write may depend on the version that it replaces', async () => {
  const s3 = await startWithBucket();
  await expect(put(s3, 'k', { IfMatch: `"${md5('hello')}"` })).rejects.toEqual(failsWith('NoSuchKey', 404));
  await expect(put(s3, 'k', { IfMatch: '*' })).rejects.toEqual(failsWith('NoSuchKey', 404));
  const { ETag } = await put(s3, 'k');
  await expect(put(s3, 'k', { IfMatch: '"x"', Body: 'other' })).rejects.toEqual(failsWith('PreconditionFailed', 412));
  await expect(put(s3, 'k', { IfMatch: `W/${ETag}`, Body: 'other' })).rejects.toEqual(
    failsWith('PreconditionFailed', 412),
  );
  expect((await read(s3, 'k')).toString()).toBe('hello');
  expect((await s3.stored()).blobs).toBe(1);
  const bare = ETag?.replaceAll('"', '');
  const second = await put(s3, 'k', { IfMatch: bare, Body: 'second' });
  await put(s3, 'k', { IfMatch: `"x", ${second.ETag}`, Body: 'third' });
  await put(s3, 'k', { IfMatch: '*', Body: 'fourth' });
  expect((await read(s3, 'k')).toString()).toBe('fourth');
});

test('of writes at the same time that replace one version, one does', async () => {
  const s3 = await startWithBucket();
  const { ETag } = await put(s3, 'k');
  const results = await Promise.allSettled(
    Array.from({ length: 10 }, (_, index) => put(s3, 'k', { IfMatch: ETag, Body: String(index) })),
  );
  const won = results.findIndex(({ status }) => status === 'fulfilled');
  const lost = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.name] : []));
  expect(lost).toEqual(Array(9).fill('PreconditionFailed'));
  expect((await read(s3, 'k')).toString()).toBe(String(won));
  expect((await s3.stored()).blobs).toBe(1);
});

test.each([{ IfNoneMatch: '"x"' }, { IfNoneMatch: '*', IfMatch: '"x"' }])(
  'a write under the condition %j is refused, not done',
  async (condition) => {
    const s3 = await startWithBucket();
    await expect(put(s3, 'k', condition)).rejects.toEqual(failsWith('NotImplemented', 501));
    expect((await s3.stored()).objects).toEqual([]);
  },
);

test('copies live on their own, with the metadata and tags that were asked for', async () => {
  const s3 = await startWithBucket();
  await put(s3, 'from', { ContentType: 'text/plain', Metadata: { a: '1' }, Tagging: 't=1&u=%26' });
  const copy = (more: object) =>
    s3.client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `/${Bucket}/from`, ...more }));
  const tags = async () => (await s3.client.send(new GetObjectTaggingCommand({ Bucket, Key: 'to' }))).TagSet;
  const copied = await copy({});
  expect(copied.CopyObjectResult).toMatchObject({ ETag: `"${md5('hello')}"`, LastModified: expect.any(Date) });
  expect(await head(s3, 'to')).toMatchObject({ ContentType: 'text/plain', Metadata: { a: '1' } });
  expect(await tags()).toEqual([
    { Key: 't', Value: '1' },
    { Key: 'u', Value: '&' },
  ]);
  await copy({
    MetadataDirective: 'REPLACE',
    Metadata: { b: '2' },
    ContentType: 'text/css',
    TaggingDirective: 'REPLACE',
    Tagging: 'v=3',
  });
  expect(await head(s3, 'to')).toMatchObject({ ContentType: 'text/css', Metadata: { b: '2' } });
  expect(await tags()).toEqual([{ Key: 'v', Value: '3' }]);

  await s3.client.send(new DeleteObjectCommand({ Bucket, Key: 'from' }));
  expect((await read(s3, 'to')).toString()).toBe('hello');
  await expect(copy({})).rejects.toEqual(failsWith('NoSuchKey', 404));
  const onItself = { CopySource: `${Bucket}/to` };
  await expect(copy(onItself)).rejects.toEqual(failsWith('InvalidRequest', 400));
  await copy({ ...onItself, MetadataDirective: 'REPLACE', Metadata: { c: '3' } });
  expect(await head(s3, 'to')).toMatchObject({ Metadata: { c: '3' } });
  expect(await tags()).toEqual([{ Key: 'v', Value: '3' }]);
  await expect(copy({ ...onItself, CopySourceIfMatch: '"x"' })).rejects.toEqual(failsWith('PreconditionFailed', 412));
});

test.each([
  { conditions: (etag = '') => ({ CopySourceIfMatch: etag }), error: 'PreconditionFailed' },
  { conditions: () => ({ MetadataDirective: 'REPLACE' as const }), error: undefined },
])('a copy of what is replaced meanwhile is, and says, what is there then: $error', async ({ conditions, error }) => {
  const s3 = await startWithBucket();
  const { ETag } = await put(s3, 'from', { Body: 'first' });
  const fresh = await put(s3, 'fresh', { Body: 'other' });
  await s3.sql('begin; lock table storage.object_tags');
  const wanted = { Bucket, Key: 'to', CopySource: `/${Bucket}/from`, ...conditions(ETag) };
  const outcome = s3.client.send(new CopyObjectCommand(wanted)).then(
    () => undefined,
    ({ name }) => name,
  );
  const waits = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
  await vi.waitFor(async () => expect(await s3.sql(waits)).not.toEqual([]), { interval: 10 });
  await s3.sql(`
    update storage.objects o set etag = n.etag, bytes = n.bytes, metadata = n.metadata
    from storage.objects n where o.key = 'from' and n.key = 'fresh'; commit`);
  expect(await outcome).toBe(error);
  const copy = new HeadObjectCommand({ Bucket, Key: 'to', ChecksumMode: 'ENABLED' });
  if (error) await expect(s3.client.send(copy)).rejects.toEqual(failsWith('NotFound', 404));
  else expect(await s3.client.send(copy)).toMatchObject({ ETag: fresh.ETag, ChecksumCRC32: fresh.ChecksumCRC32 });
});

test('tags are set, read and removed, and go when the object is replaced', async () => {
  const s3 = await startWithBucket();
  await put(s3, 'k', { Tagging: 'a=1' });
  const tags = async () => (await s3.client.send(new GetObjectTaggingCommand({ Bucket, Key: 'k' }))).TagSet;
  const set = (TagSet: { Key: string; Value: string }[]) =>
    s3.client.send(new PutObjectTaggingCommand({ Bucket, Key: 'k', Tagging: { TagSet } }));
  expect(await tags()).toEqual([{ Key: 'a', Value: '1' }]);
  await set([
    { Key: 'b', Value: '<&>' },
    { Key: 'ü', Value: '' },
  ]);
  expect(await tags()).toEqual([
    { Key: 'b', Value: '<&>' },
    { Key: 'ü', Value: '' },
  ]);
  const eleven = Array.from({ length: 11 }, (_, index) => ({ Key: String(index), Value: '' }));
  await expect(set(eleven)).rejects.toEqual(failsWith('InvalidTag', 400));
  await expect(
    set([
      { Key: 'a', Value: '' },
      { Key: 'a', Value: '' },
    ]),
  ).rejects.toEqual(failsWith('InvalidTag', 400));
  await expect(put(s3, 'k', { Tagging: 'a=1&a=2' })).rejects.toEqual(failsWith('InvalidTag', 400));
  expect(await tags()).toHaveLength(2);
  await put(s3, 'k', { Body: 'new' });
  expect(await tags()).toEqual([]);
  await set([{ Key: 'c', Value: '1' }]);
  await s3.client.send(new DeleteObjectTaggingCommand({ Bucket, Key: 'k' }));
  expect(await tags()).toEqual([]);
  await expect(s3.client.send(new GetObjectTaggingCommand({ Bucket, Key: 'x' }))).rejects.toEqual(
    failsWith('NoSuchKey', 404),
  );
});

test('what is deleted is gone, with its bytes, and deleting it again is no error', async () => {
  const s3 = await startWithBucket();
  for (const key of ['a', 'b', 'c']) await put(s3, key);
  await s3.client.send(new DeleteObjectCommand({ Bucket, Key: 'a' }));
  await s3.client.send(new DeleteObjectCommand({ Bucket, Key: 'a' }));
  await expect(head(s3, 'a')).rejects.toEqual(failsWith('NotFound', 404));
  await expect(read(s3, 'a')).rejects.toEqual(failsWith('NoSuchKey', 404));
  const remove = (Delete: object) => s3.client.send(new DeleteObjectsCommand({ Bucket, Delete: Delete as never }));
  const { Deleted, Errors } = await remove({
    Objects: [{ Key: 'b' }, { Key: 'missing' }, { Key: 'c', VersionId: 'v1' }],
  });
  expect(Deleted?.map(({ Key }) => Key)).toEqual(['b', 'missing']);
  expect(Errors).toEqual([expect.objectContaining({ Key: 'c', Code: 'NoSuchVersion' })]);
  expect((await remove({ Objects: [{ Key: 'c' }], Quiet: true })).Deleted).toBeUndefined();
  const tooMany = Array.from({ length: 1001 }, (_, index) => ({ Key: String(index) }));
  await expect(remove({ Objects: tooMany })).rejects.toEqual(failsWith('MalformedXML', 400));
  await vi.waitFor(async () => expect(await s3.stored()).toMatchObject({ objects: [], blobs: 0 }));
});

test('a delete may depend on the version that it deletes', async () => {
  const s3 = await startWithBucket();
  const remove = (Key: string, IfMatch: string) => s3.client.send(new DeleteObjectCommand({ Bucket, Key, IfMatch }));
  const first = await put(s3, 'k');
  const second = await put(s3, 'k', { Body: 'second' });
  await expect(remove('k', first.ETag ?? '')).rejects.toEqual(failsWith('PreconditionFailed', 412));
  expect((await read(s3, 'k')).toString()).toBe('second');
  await remove('k', second.ETag ?? '');
  await expect(remove('k', second.ETag ?? '')).rejects.toEqual(failsWith('NoSuchKey', 404));
  await expect(remove('k', '*')).rejects.toEqual(failsWith('NoSuchKey', 404));
  await put(s3, 'k');
  await remove('k', '*');
  expect((await s3.stored()).objects).toEqual([]);

  const { ETag } = await put(s3, 'a');
  await put(s3, 'b');
  await put(s3, 'c', { Body: 'changed' });
  const Objects = [{ Key: 'a', ETag }, { Key: 'b' }, { Key: 'c', ETag }, { Key: 'd', ETag }, { Key: 'c', Size: 7 }];
  const { Deleted, Errors } = await s3.client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
  expect(Deleted?.map(({ Key }) => Key)).toEqual(['a', 'b']);
  expect(Errors?.map(({ Key, Code }) => [Key, Code])).toEqual([
    ['c', 'PreconditionFailed'],
    ['d', 'NoSuchKey'],
    ['c', 'NotImplemented'],
  ]);
  expect((await s3.stored()).objects).toEqual(['files/c']);
  const bySize = new DeleteObjectCommand({ Bucket, Key: 'c', IfMatchSize: 1 });
  await expect(s3.client.send(bySize)).rejects.toEqual(failsWith('NotImplemented', 501));
});

test('of a write and a delete at the same time that depend on one version, one does', async () => {
  const s3 = await startWithBucket();
  for (let round = 0; round < 10; round++) {
    const { ETag } = await put(s3, 'k', { Body: `before ${round}` });
    const results = await Promise.allSettled([
      put(s3, 'k', { IfMatch: ETag, Body: `after ${round}` }),
      s3.client.send(new DeleteObjectCommand({ Bucket, Key: 'k', IfMatch: ETag })),
    ]);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    const isThere = results[0].status === 'fulfilled';
    expect((await s3.stored()).objects).toEqual(isThere ? ['files/k'] : []);
  }
});

test.each([
  ['PutObject', new PutObjectCommand({ Bucket: 'nowhere', Key: 'k', Body: 'x' })],
  ['GetObject', new GetObjectCommand({ Bucket: 'nowhere', Key: 'k' })],
  ['DeleteObject', new DeleteObjectCommand({ Bucket: 'nowhere', Key: 'k' })],
  ['DeleteObjects', new DeleteObjectsCommand({ Bucket: 'nowhere', Delete: { Objects: [{ Key: 'k' }] } })],
  ['ListObjectsV2', new ListObjectsV2Command({ Bucket: 'nowhere' })],
  ['GetBucketVersioning', new GetBucketVersioningCommand({ Bucket: 'nowhere' })],
  ['GetObjectTagging', new GetObjectTaggingCommand({ Bucket: 'nowhere', Key: 'k' })],
])('%s of a bucket that does not exist says so', async (_name, command) => {
  const { client } = await startS3();
  await expect(client.send(command as GetObjectCommand)).rejects.toEqual(failsWith('NoSuchBucket', 404));
});

test('the limit of a bucket and its types hold here as well', async () => {
  const s3 = await startWithBucket();
  await s3.sql(`update storage.buckets set file_size_limit = 1000, allowed_mime_types = '{image/*}'`);
  const big = { Body: Buffer.alloc(1001), ContentType: 'image/png' };
  await expect(put(s3, 'k', big)).rejects.toEqual(failsWith('EntityTooLarge', 400));
  await expect(put(s3, 'k', { ContentType: 'text/plain' })).rejects.toEqual(failsWith('InvalidRequest', 400));
  await put(s3, 'k', { Body: Buffer.alloc(1000), ContentType: 'image/png' });
  const tooMuch = { Metadata: { a: 'x'.repeat(2100) }, ContentType: 'image/png' };
  await expect(put(s3, 'k', tooMuch)).rejects.toEqual(failsWith('MetadataTooLarge', 400));
});

test('what S3 stores REST serves, and what REST stores S3 serves', async () => {
  const s3 = await startWithBucket();
  await put(s3, 'a/from s3.txt', { ContentType: 'text/plain' });
  const path = `/api/storage/buckets/${Bucket}/objects`;
  expect((await s3.as('admin').get(`${path}/${encodeURIComponent('a/from s3.txt')}`)).text).toBe('hello');
  expect((await s3.as('admin').get(path)).body.data).toEqual([
    expect.objectContaining({ key: 'a/from s3.txt', size: 5, mimeType: 'text/plain' }),
  ]);
  const form = new FormData();
  form.append('file', new Blob(['from rest'], { type: 'text/csv' }), 'x.csv');
  const headers = { 'x-api-key': (await import('../harness.ts')).SECRETS.ACCESS_API_KEY };
  const reply = await fetch(new URL(`${path}/x.csv`, s3.endpoint), { method: 'PUT', body: form, headers });
  expect(reply.status).toBe(200);
  expect((await read(s3, 'x.csv')).toString()).toBe('from rest');
  expect(await head(s3, 'x.csv')).toMatchObject({ ContentType: 'text/csv', ETag: `"${md5('from rest')}"` });
});

test('an upload that breaks off, or stalls, leaves nothing', async () => {
  const s3 = await startWithBucket({ UPLOAD_IDLE_TIMEOUT_MS: '200' });
  const { host, hostname, port } = new URL(s3.endpoint);
  const draft = {
    method: 'PUT',
    path: '/storage/v1/s3/files/k',
    query: [],
    headers: [['host', host]] as [string, string][],
    body: Buffer.alloc(100_000),
  };
  const signed = sign(draft, { ...s3.key, mode: 'unsigned' });
  const lines = [...signed.headers, ['content-length', '100000']]
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
  const start = () => {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.write(`PUT ${draft.path} HTTP/1.1\r\n${lines}\r\n`);
    socket.write(Buffer.alloc(50_000));
    return socket;
  };
  const broken = start();
  await vi.waitFor(async () =>
    expect(await s3.sql('select 1 from storage.s3_access_keys where last_used_at is not null')).toHaveLength(1),
  );
  broken.destroy();
  const stalled = start();
  let answer = '';
  stalled.on('data', (chunk) => (answer += chunk));
  await new Promise((resolve) => stalled.on('close', resolve));
  expect(answer).toMatch(/^HTTP\/1.1 400 .*<Code>RequestTimeout<\/Code>/s);
  await vi.waitFor(async () => expect(await s3.stored()).toMatchObject({ objects: [], blobs: 0 }));
});

test('errors of HEAD have no body, all others are XML with the id of the request', async () => {
  const s3 = await startWithBucket();
  const get = (method: string, path: string) =>
    send(
      s3.endpoint,
      sign(
        {
          method,
          path: `/storage/v1/s3${path}`,
          query: [],
          headers: [['host', new URL(s3.endpoint).host]],
          body: Buffer.alloc(0),
        },
        { ...s3.key, mode: 'signed' },
      ),
    );
  const answer = await get('GET', '/files/no<thing');
  expect(answer.status).toBe(404);
  expect(answer.headers['content-type']).toBe('application/xml');
  expect(answer.text).toContain(`<RequestId>${answer.headers['x-amz-request-id']}</RequestId>`);
  expect(answer.text).toContain('<Resource>/files/no&lt;thing</Resource>');
  expect(await get('HEAD', '/files/nothing')).toMatchObject({ status: 404, text: '' });
  expect(await get('PATCH', '/files/nothing')).toMatchObject({ status: 501, code: 'NotImplemented' });
});

test('the bytes are read only where they are sent', async () => {
  const s3 = await startWithBucket();
  const { ETag } = await s3.client.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'content' }));
  await makeRowsUnreadable(s3);
  const statusOf = (asked: Promise<{ $metadata: { httpStatusCode?: number } }>) =>
    asked.then(
      ({ $metadata }) => $metadata.httpStatusCode,
      ({ $metadata }) => $metadata.httpStatusCode,
    );
  const get = (conditions: object) =>
    statusOf(s3.client.send(new GetObjectCommand({ Bucket, Key: 'k', ...conditions })));
  expect(await statusOf(s3.client.send(new HeadObjectCommand({ Bucket, Key: 'k' })))).toBe(200);
  expect(await get({ IfNoneMatch: ETag })).toBe(304);
  expect(await get({ IfModifiedSince: new Date(Date.now() + 60_000) })).toBe(304);
  expect(await get({ IfNoneMatch: '"old"' })).toBe(500);
  expect(await get({})).toBe(500);
});
