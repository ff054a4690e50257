import { createHash, randomBytes } from 'node:crypto';
import {
  ChecksumAlgorithm,
  type ChecksumType,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  HeadObjectCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import {
  type ChecksumAlgorithm as Algorithm,
  CHECKSUM_ALGORITHMS,
  CHECKSUMS,
} from '../../src/features/s3/checksums.ts';
import { scratchFolder } from '../start/process.ts';
import { storedFiles } from '../storage/files.ts';
import { type Draft, MODES, send, sign } from './sign.ts';
import { startS3, type TestS3 } from './start.ts';

const Bucket = 'files';
const Key = 'k';

async function startWithBucket(environment: Record<string, string> = {}): Promise<TestS3> {
  const s3 = await startS3(environment);
  await s3.client.send(new CreateBucketCommand({ Bucket }));
  return s3;
}

async function sum(algorithm: Algorithm, data: Buffer): Promise<string> {
  const checksum = await CHECKSUMS[algorithm].create();
  checksum.update(data);
  return (await checksum.digest()).toString('base64');
}

const failsWith = (name: string) =>
  expect.objectContaining({ name, $metadata: expect.objectContaining({ httpStatusCode: 400 }) });

test.each(CHECKSUM_ALGORITHMS)(
  '%s is computed by the client, held against the body, kept, and sent back',
  async (algorithm) => {
    const s3 = await startWithBucket();
    const Body = randomBytes(100_000);
    const value = await sum(algorithm, Body);
    const put = await s3.client.send(new PutObjectCommand({ Bucket, Key, Body, ChecksumAlgorithm: algorithm }));
    expect(put).toMatchObject({ [`Checksum${algorithm}`]: value, ChecksumType: 'FULL_OBJECT' });
    const got = await s3.client.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
    expect(got).toMatchObject({ [`Checksum${algorithm}`]: value, ChecksumType: 'FULL_OBJECT' });
    expect(Buffer.from(await got.Body!.transformToByteArray()).equals(Body)).toBe(true);
    const silent = s3.clientWith({ responseChecksumValidation: 'WHEN_REQUIRED' });
    expect(await silent.send(new HeadObjectCommand({ Bucket, Key }))).not.toHaveProperty(`Checksum${algorithm}`);
    await s3.client.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource: `${Bucket}/${Key}` }));
    const copy = await s3.client.send(new HeadObjectCommand({ Bucket, Key: 'copy', ChecksumMode: 'ENABLED' }));
    expect(copy).toMatchObject({ [`Checksum${algorithm}`]: value });

    const wrong = { [`Checksum${algorithm}`]: await sum(algorithm, Buffer.from('other')) };
    await expect(s3.client.send(new PutObjectCommand({ Bucket, Key, Body: 'new', ...wrong }))).rejects.toEqual(
      failsWith('BadDigest'),
    );
    const nonsense = { [`Checksum${algorithm}`]: 'nonsense' };
    await expect(s3.client.send(new PutObjectCommand({ Bucket, Key, Body: 'new', ...nonsense }))).rejects.toEqual(
      failsWith('InvalidRequest'),
    );
    expect((await s3.client.send(new HeadObjectCommand({ Bucket, Key }))).ContentLength).toBe(100_000);
  },
);

test.each(MODES)('every checksum is held against the body, in a row, a file or a part (%s)', async (mode) => {
  const dataDir = await scratchFolder();
  const s3 = await startWithBucket({ DATA_DIR: dataDir });
  const { origin, host, pathname } = new URL(s3.endpoint);
  const put = (algorithm: Algorithm, body: Buffer, checksum: string, query: Draft['query'] = []) => {
    const name = `x-amz-checksum-${algorithm.toLowerCase()}`;
    const headers: Draft['headers'] = mode.endsWith('-trailer') ? [] : [[name, checksum]];
    const draft = { method: 'PUT', path: `${pathname}/${Bucket}/${algorithm}-${body.length}`, query, body };
    const signer = { ...s3.key, mode, algorithm, checksum };
    return send(origin, sign({ ...draft, headers: [['host', host], ...headers] }, signer));
  };
  for (const algorithm of CHECKSUM_ALGORITHMS) {
    const { UploadId = '' } = await s3.client.send(
      new CreateMultipartUploadCommand({ Bucket, Key: `${algorithm}-20000`, ChecksumAlgorithm: algorithm }),
    );
    const part: Draft['query'] = [
      ['partNumber', '1'],
      ['uploadId', UploadId],
    ];
    for (const { size, query } of [{ size: 20_000 }, { size: 100_000 }, { size: 20_000, query: part }]) {
      const before = [await s3.stored(), await storedFiles(dataDir)];
      const body = randomBytes(size);
      const wrong = await put(algorithm, body, await sum(algorithm, Buffer.from('other')), query);
      expect([wrong.status, wrong.code], `${algorithm} ${wrong.text}`).toEqual([400, 'BadDigest']);
      expect([await s3.stored(), await storedFiles(dataDir)]).toEqual(before);
      const right = await sum(algorithm, body);
      const stored = await put(algorithm, body, right, query);
      expect([stored.status, stored.text]).toEqual([200, '']);
      expect(stored.headers[`x-amz-checksum-${algorithm.toLowerCase()}`]).toBe(right);
    }
  }
});

test('a stream is summed up while it is sent', async () => {
  const s3 = await startWithBucket();
  const body = randomBytes(200_000);
  const chunks = async function* () {
    for (let start = 0; start < body.length; start += 33_333) yield body.subarray(start, start + 33_333);
  };
  const { Readable } = await import('node:stream');
  const stream = {
    Body: Readable.from(chunks()),
    ContentLength: body.length,
    ChecksumAlgorithm: ChecksumAlgorithm.CRC64NVME,
  };
  await s3.client.send(new PutObjectCommand({ Bucket, Key, ...stream }));
  const head = await s3.client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
  expect(head).toMatchObject({ ChecksumCRC64NVME: await sum('CRC64NVME', body), ContentLength: body.length });
});

test('two checksums are one too many, and Content-MD5 counts', async () => {
  const s3 = await startWithBucket();
  const put = (more: object) => s3.client.send(new PutObjectCommand({ Bucket, Key, Body: 'hello', ...more }));
  const both = { ChecksumCRC32: 'NhCmhg==', ChecksumSHA1: 'qvTGHdzF6KLavt4PO0gs2a6pQ00=' };
  await expect(put(both)).rejects.toEqual(failsWith('InvalidRequest'));
  const md5 = (text: string) => createHash('md5').update(text).digest('base64');
  await put({ ContentMD5: md5('hello') });
  await expect(put({ ContentMD5: md5('other') })).rejects.toEqual(failsWith('BadDigest'));
  await expect(put({ ContentMD5: 'nonsense' })).rejects.toEqual(failsWith('InvalidDigest'));
  await expect(put({ ChecksumAlgorithm: 'XXHASH64', ChecksumXXHASH64: 'AAAAAAAAAAA=' })).rejects.toEqual(
    failsWith('InvalidRequest'),
  );
});

const MULTIPART = CHECKSUM_ALGORITHMS.flatMap((algorithm) =>
  CHECKSUMS[algorithm].types.map((type) => ({ algorithm, type })),
);

test.each(MULTIPART)('the $algorithm of an object of parts is $type', async ({ algorithm, type }) => {
  const s3 = await startWithBucket();
  const bodies = [randomBytes(5 * 1024 * 1024), randomBytes(12_345)];
  const created = await s3.client.send(
    new CreateMultipartUploadCommand({ Bucket, Key, ChecksumAlgorithm: algorithm, ChecksumType: type as ChecksumType }),
  );
  expect(created).toMatchObject({ ChecksumAlgorithm: algorithm, ChecksumType: type });
  const { UploadId } = created;
  const element = `Checksum${algorithm}`;
  const Parts = await Promise.all(
    bodies.map(async (Body, index) => {
      const PartNumber = index + 1;
      const input = { Bucket, Key, UploadId, PartNumber, Body, ChecksumAlgorithm: algorithm };
      const sent: Record<string, unknown> = { ...(await s3.client.send(new UploadPartCommand(input))) };
      expect(sent[element]).toBe(await sum(algorithm, Body));
      return { PartNumber, ETag: String(sent.ETag), [element]: sent[element] };
    }),
  );
  const digests = Buffer.concat(Parts.map((part) => Buffer.from(String(part[element as 'ETag']), 'base64')));
  const whole =
    type === 'FULL_OBJECT' ? await sum(algorithm, Buffer.concat(bodies)) : `${await sum(algorithm, digests)}-2`;
  const complete = (more: object) =>
    s3.client.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...more }));
  await expect(complete({ [element]: await sum(algorithm, Buffer.from('other')) })).rejects.toEqual(
    failsWith('BadDigest'),
  );
  const other = type === 'COMPOSITE' ? 'FULL_OBJECT' : 'COMPOSITE';
  await expect(complete({ ChecksumType: other })).rejects.toEqual(failsWith('InvalidRequest'));
  expect(await complete({ ChecksumType: type, [element]: whole })).toMatchObject({
    [element]: whole,
    ChecksumType: type,
  });
  const got = await s3.client.send(new GetObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }));
  expect(got).toMatchObject({ [element]: whole, ChecksumType: type });
  expect(Buffer.from(await got.Body!.transformToByteArray()).equals(Buffer.concat(bodies))).toBe(true);
});

test('an upload has one algorithm, and a type that goes with it', async () => {
  const s3 = await startWithBucket();
  const create = (more: object) => s3.client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...more }));
  await expect(create({ ChecksumAlgorithm: 'SHA1', ChecksumType: 'FULL_OBJECT' })).rejects.toEqual(
    failsWith('InvalidRequest'),
  );
  await expect(create({ ChecksumAlgorithm: 'CRC64NVME', ChecksumType: 'COMPOSITE' })).rejects.toEqual(
    failsWith('InvalidRequest'),
  );
  await expect(create({ ChecksumAlgorithm: 'XXHASH3' })).rejects.toEqual(failsWith('InvalidRequest'));
  const { UploadId } = await create({ ChecksumAlgorithm: 'SHA256' });
  const part = { Bucket, Key, UploadId, PartNumber: 1, Body: 'x' };
  await expect(s3.client.send(new UploadPartCommand({ ...part, ChecksumAlgorithm: 'CRC32' }))).rejects.toEqual(
    failsWith('InvalidRequest'),
  );
  const silent = s3.clientWith({ requestChecksumCalculation: 'WHEN_REQUIRED' });
  const { ChecksumSHA256 } = await silent.send(new UploadPartCommand(part));
  expect(ChecksumSHA256).toBe(await sum('SHA256', Buffer.from('x')));
});
