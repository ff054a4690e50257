import {
  CreateBucketCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  ListObjectVersionsCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { startS3, type TestS3 } from './start.ts';

const Bucket = 'files';
const KEYS = ['a.txt', 'b/1', 'b/2', 'b/c/1', 'd', 'e/', 'e/1', 'f%_/x', 'f%_/y', 'fxy/z', 'z'];

/** A bucket with these keys. Objects without bytes are enough to be listed. */
async function startWith(keys: readonly string[]): Promise<TestS3> {
  const s3 = await startS3();
  await s3.client.send(new CreateBucketCommand({ Bucket }));
  await s3.sql(
    `insert into storage.objects (bucket, key, size, etag) select $1, key, 1, 'e' from unnest($2::text[]) key`,
    [Bucket, keys],
  );
  return s3;
}

/** All pages of a listing: keys and folders in the order in which they came. */
async function listAll({ client }: TestS3, input: Partial<ListObjectsV2CommandInput> = {}) {
  const [keys, folders, sizes]: [string[], string[], number[]] = [[], [], []];
  let token: string | undefined;
  do {
    const page = await client.send(new ListObjectsV2Command({ Bucket, ...input, ContinuationToken: token }));
    keys.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ''));
    folders.push(...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? ''));
    sizes.push(page.KeyCount ?? 0);
    expect(page.IsTruncated).toBe(page.NextContinuationToken !== undefined);
    token = page.NextContinuationToken;
  } while (token);
  return { keys, folders, sizes };
}

test.each([
  { input: {}, keys: KEYS, folders: [] },
  { input: { Prefix: 'b/' }, keys: ['b/1', 'b/2', 'b/c/1'], folders: [] },
  { input: { Prefix: 'f%_' }, keys: ['f%_/x', 'f%_/y'], folders: [] },
  { input: { Prefix: 'nothing' }, keys: [], folders: [] },
  { input: { Prefix: '%' }, keys: [], folders: [] },
  { input: { Delimiter: '/' }, keys: ['a.txt', 'd', 'z'], folders: ['b/', 'e/', 'f%_/', 'fxy/'] },
  { input: { Delimiter: '/', Prefix: 'b/' }, keys: ['b/1', 'b/2'], folders: ['b/c/'] },
  { input: { Delimiter: '/', Prefix: 'e/' }, keys: ['e/', 'e/1'], folders: [] },
  { input: { Delimiter: '/', Prefix: 'e' }, keys: [], folders: ['e/'] },
  { input: { Delimiter: '/', StartAfter: 'b/' }, keys: ['d', 'z'], folders: ['e/', 'f%_/', 'fxy/'] },
  { input: { Delimiter: '/', Prefix: 'b/', StartAfter: 'b/' }, keys: ['b/1', 'b/2'], folders: ['b/c/'] },
  { input: { StartAfter: 'b/2' }, keys: ['b/c/1', 'd', 'e/', 'e/1', 'f%_/x', 'f%_/y', 'fxy/z', 'z'], folders: [] },
  { input: { StartAfter: 'zz' }, keys: [], folders: [] },
])('ListObjectsV2 with $input, in pages of any size', async ({ input, keys, folders }) => {
  const s3 = await startWith(KEYS);
  for (const MaxKeys of [1, 2, 3, 1000]) {
    const all = await listAll(s3, { ...input, MaxKeys });
    expect({ keys: all.keys, folders: all.folders }).toEqual({ keys, folders });
    expect(all.sizes.slice(0, -1).every((size) => size === MaxKeys)).toBe(true);
  }
});

test('keys come in the order of their bytes', async () => {
  const keys = ['a', 'B', 'ä', 'z', '_', 'Z', '🦖', '\uffee', 'a b', 'a-b', 'a/b'];
  const s3 = await startWith(keys);
  expect((await listAll(s3)).keys).toEqual(keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
});

test('the first version of the listing goes on after its marker', async () => {
  const { client } = await startWith(KEYS);
  const seen: string[] = [];
  let Marker: string | undefined;
  for (let more = true; more; ) {
    const page = await client.send(new ListObjectsCommand({ Bucket, Delimiter: '/', MaxKeys: 2, Marker }));
    seen.push(
      ...[...(page.Contents ?? []).map(({ Key }) => Key), ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix)]
        .sort()
        .map(String),
    );
    more = page.IsTruncated ?? false;
    Marker = page.NextMarker;
  }
  expect(seen).toEqual(['a.txt', 'b/', 'd', 'e/', 'f%_/', 'fxy/', 'z']);
});

test('every object has one version', async () => {
  const { client } = await startWith(['a', 'b', 'c']);
  const first = await client.send(new ListObjectVersionsCommand({ Bucket, MaxKeys: 2 }));
  expect(first.Versions).toMatchObject([
    { Key: 'a', VersionId: 'null', IsLatest: true },
    { Key: 'b', VersionId: 'null', IsLatest: true },
  ]);
  const { NextKeyMarker, NextVersionIdMarker } = first;
  const markers = { KeyMarker: NextKeyMarker, VersionIdMarker: NextVersionIdMarker };
  const second = await client.send(new ListObjectVersionsCommand({ Bucket, ...markers }));
  expect(second.Versions?.map(({ Key }) => Key)).toEqual(['c']);
});

test('what is told of an object is what it is', async () => {
  const s3 = await startWith([]);
  await s3.client.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'hello', ChecksumAlgorithm: 'SHA256' }));
  const list = (more: object) => s3.client.send(new ListObjectsV2Command({ Bucket, ...more }));
  const { Contents } = await list({ FetchOwner: true });
  expect(Contents).toEqual([
    {
      Key: 'k',
      Size: 5,
      ETag: '"5d41402abc4b2a76b9719d911017c592"',
      LastModified: expect.any(Date),
      StorageClass: 'STANDARD',
      ChecksumAlgorithm: ['SHA256'],
      Owner: { ID: 'insforge', DisplayName: 'insforge' },
    },
  ]);
  expect((await list({})).Contents?.[0]?.Owner).toBeUndefined();
});

test('names are percent-encoded where the client asks for it, so that every key can be told', async () => {
  const key = 'a b/ü+%\u0001';
  const { client } = await startWith([key]);
  const { Contents, EncodingType } = await client.send(new ListObjectsV2Command({ Bucket, EncodingType: 'url' }));
  expect([Contents?.[0]?.Key, EncodingType]).toEqual(['a%20b/%C3%BC%2B%25%01', 'url']);
  const plain = await client.send(new ListObjectsV2Command({ Bucket }));
  expect(plain.Contents?.[0]?.Key).toBe('a b/ü+%\ufffd');
});

const isIncorrect = expect.objectContaining({ name: 'InvalidArgument' });

test('a continuation token is good for its own listing, and nobody can make one', async () => {
  const s3 = await startWith(KEYS);
  await s3.client.send(new CreateBucketCommand({ Bucket: 'other' }));
  const list = (input: Partial<ListObjectsV2CommandInput>) =>
    s3.client.send(new ListObjectsV2Command({ Bucket, MaxKeys: 1, ...input }));
  const { NextContinuationToken: token = '' } = await list({ Prefix: 'b/' });
  expect((await list({ Prefix: 'b/', ContinuationToken: token })).Contents?.[0]?.Key).toBe('b/2');
  const bytes = Buffer.from(token, 'base64url');
  bytes[40] = (bytes[40] ?? 0) ^ 1;
  for (const input of [
    { Prefix: '', ContinuationToken: token },
    { Prefix: 'b/', Delimiter: '/', ContinuationToken: token },
    { Prefix: 'b/', Bucket: 'other', ContinuationToken: token },
    { Prefix: 'b/', ContinuationToken: bytes.toString('base64url') },
    { Prefix: 'b/', ContinuationToken: token.slice(0, -4) },
    {
      Prefix: 'b/',
      ContinuationToken: Buffer.from('{"bucket":"files","prefix":"b/","delimiter":"","next":"z"}').toString(
        'base64url',
      ),
    },
    { Prefix: 'b/', ContinuationToken: 'b/2' },
  ]) {
    await expect(list(input), JSON.stringify(input)).rejects.toEqual(isIncorrect);
  }
});

test('numbers that are none are refused, and too great ones are cut', async () => {
  const s3 = await startWith(['a', 'b']);
  const list = (MaxKeys: number) => s3.client.send(new ListObjectsV2Command({ Bucket, MaxKeys }));
  expect(await list(0)).toMatchObject({ KeyCount: 0, IsTruncated: false });
  expect((await list(5000)).MaxKeys).toBe(1000);
  await expect(list(-1)).rejects.toEqual(isIncorrect);
});
