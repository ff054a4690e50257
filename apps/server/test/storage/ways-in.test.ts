import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { Upload } from 'tus-js-client';
import { expect, test } from 'vitest';
import { SECRETS } from '../harness.ts';
import { startS3, type TestS3 } from '../s3/start.ts';
import { BUCKETS, form, makeBucket, objectPath } from './files.ts';

interface File {
  type: string;
  content: Buffer;
}

/** Stores a file in bucket `b`; gives the status of the answer that decided. */
type Way = (s3: TestS3, file: File) => Promise<number | undefined>;

const overS3 = (sending: Promise<unknown>) =>
  sending.then(
    () => 200,
    (error) => error.$metadata?.httpStatusCode,
  );

/** Puts a file where everything may be, to bring it from there. */
async function beside(s3: TestS3, { type, content }: File): Promise<void> {
  await makeBucket(s3, 'open');
  const stored = await s3.as('admin').put(objectPath('open', 'k'), content, { 'content-type': type });
  expect(stored.status).toBe(200);
}

const tus =
  (options: object): Way =>
  (s3, { type, content }) =>
    new Promise((resolve) => {
      new Upload(content as never, {
        endpoint: new URL('/storage/v1/upload/resumable', s3.endpoint).href,
        headers: { 'x-api-key': SECRETS.ACCESS_API_KEY },
        metadata: { bucketName: 'b', objectName: 'k', contentType: type },
        retryDelays: null,
        onSuccess: () => resolve(200),
        onError: (error) => resolve('originalResponse' in error ? error.originalResponse?.getStatus() : undefined),
        ...options,
      }).start();
    });

const WAYS: Record<string, Way> = {
  'the body of a request': async (s3, { type, content }) =>
    (await s3.as('admin').put(objectPath('b', 'k'), content, { 'content-type': type })).status,
  'a form': async (s3, { type, content }) => {
    const { body, headers } = form(content, type);
    return (await s3.as('admin').put(objectPath('b', 'k'), body, headers)).status;
  },
  'a form without a key': async (s3, { type, content }) => {
    const { body, headers } = form(content, type);
    const { status } = await s3.as('admin').post(`${BUCKETS}/b/objects`, body, headers);
    return status === 201 ? 200 : status;
  },
  'a copy': async (s3, file) => {
    await beside(s3, file);
    return (await s3.as('admin').post(`${objectPath('open', 'k')}/copy`, { to: 'k', toBucket: 'b' })).status;
  },
  'a move': async (s3, file) => {
    await beside(s3, file);
    return (await s3.as('admin').post(`${objectPath('open', 'k')}/move`, { to: 'k', toBucket: 'b' })).status;
  },
  'tus, in one piece': tus({}),
  'tus, in pieces': tus({ chunkSize: 7 }),
  'tus, with the beginning': tus({ uploadDataDuringCreation: true }),
  'tus, of a length said later': tus({ uploadLengthDeferred: true, chunkSize: 7 }),
  'S3 PutObject': ({ client }, { type, content }) =>
    overS3(client.send(new PutObjectCommand({ Bucket: 'b', Key: 'k', Body: content, ContentType: type }))),
  'an S3 URL': async ({ client }, { type, content }) => {
    const url = await getSignedUrl(client, new PutObjectCommand({ Bucket: 'b', Key: 'k' }));
    return (await fetch(url, { method: 'PUT', body: content as never, headers: { 'content-type': type } })).status;
  },
  'S3 CopyObject': async (s3, file) => {
    await beside(s3, file);
    return overS3(s3.client.send(new CopyObjectCommand({ Bucket: 'b', Key: 'k', CopySource: 'open/k' })));
  },
  'S3 parts': ({ client }, { type, content }) => {
    const target = { Bucket: 'b', Key: 'k' };
    const send = async () => {
      const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...target, ContentType: type }));
      const upload = { ...target, UploadId };
      const { ETag } = await client.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body: content }));
      const MultipartUpload = { Parts: [{ PartNumber: 1, ETag }] };
      await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload }));
    };
    return overS3(send());
  },
};

const LIMIT = 20;
const PNG = Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex');
const PDF = Buffer.from('%PDF-1.4\n1 0 obj\n');

const FILES: { what: string; file: File; isTaken: boolean }[] = [
  { what: 'what the bucket is for', file: { type: 'image/png', content: PNG }, isTaken: true },
  { what: 'nothing', file: { type: 'image/png', content: Buffer.alloc(0) }, isTaken: true },
  { what: 'too many bytes', file: { type: 'image/png', content: Buffer.concat([PNG, PNG]) }, isTaken: false },
  { what: 'a type that is not for it', file: { type: 'application/pdf', content: PDF }, isTaken: false },
  { what: 'another type than it says', file: { type: 'image/png', content: PDF }, isTaken: false },
];

const CASES = Object.keys(WAYS).flatMap((way) => FILES.map((row) => ({ way, ...row })));

test.each(CASES)('$way brings $what into a bucket for small images: $isTaken', async ({ way, file, isTaken }) => {
  const s3 = await startS3();
  await makeBucket(s3, 'b', { fileSizeLimit: LIMIT, allowedMimeTypes: ['image/*'] });
  const status = await WAYS[way]?.(s3, file);
  const stored = (await s3.stored()).objects.filter((name) => name.startsWith('b/'));
  if (isTaken) expect([status, stored.length]).toEqual([200, 1]);
  else {
    expect([400, 413, 415]).toContain(status);
    expect(stored).toEqual([]);
  }
});
