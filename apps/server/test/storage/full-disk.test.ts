import { randomBytes } from 'node:crypto';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  PutObjectCommand,
  S3ServiceException,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { type Reply, SECRETS } from '../harness.ts';
import { startS3, type TestS3 } from '../s3/start.ts';
import { scratchFolder } from '../start/process.ts';
import { type Disk, mountDisk } from './disk.ts';
import { makeBucket, objectPath, storedFiles, upload } from './files.ts';

const KILOBYTE = 1024;
const MEGABYTE = 1024 * KILOBYTE;
const Bucket = 'b';
const NO_DISK = 'mounting a small disk needs root';

interface Outcome {
  status: number;
  /** Undefined where all went well. */
  code: string | undefined;
}

const FULL = { status: 507, code: 'STORAGE_INSUFFICIENT_QUOTA' };
const FULL_IN_S3 = { status: 507, code: 'QuotaExceeded' };

async function outcomeOf(asked: Promise<unknown>): Promise<Outcome> {
  try {
    await asked;
    return { status: 200, code: undefined };
  } catch (error) {
    if (!(error instanceof S3ServiceException)) throw error;
    return { status: error.$metadata.httpStatusCode ?? 0, code: error.name };
  }
}

/** A server whose files lie on a disk that can be filled. */
async function startOnDisk(disk: Disk): Promise<TestS3 & { dataDir: string }> {
  const dataDir = await scratchFolder();
  await symlink(disk.folder, join(dataDir, 'storage'));
  const server = await startS3({ DATA_DIR: dataDir });
  await makeBucket(server, Bucket);
  return { ...server, dataDir };
}

/** All that a server keeps. */
const snapshot = async (server: Awaited<ReturnType<typeof startOnDisk>>) => ({
  ...(await server.stored()),
  files: await storedFiles(server.dataDir),
});

const TUS = { 'x-api-key': SECRETS.ACCESS_API_KEY, 'tus-resumable': '1.0.0' };

async function beginTus(server: TestS3, objectName: string, length: number) {
  const named = Object.entries({ bucketName: Bucket, objectName });
  const begun = await server.as('admin').post('/storage/v1/upload/resumable', undefined, {
    ...TUS,
    'upload-length': String(length),
    'upload-metadata': named.map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`).join(','),
  });
  expect(begun.status).toBe(201);
  const path = new URL(String(begun.headers.location), 'http://x').pathname;
  return {
    patch: async (offset: number, body: Buffer): Promise<Outcome> => {
      const headers = { ...TUS, 'upload-offset': String(offset), 'content-type': 'application/offset+octet-stream' };
      const reply = await server.as('admin').patch(path, body, headers);
      return { status: reply.status, code: reply.body.error };
    },
    head: async () => {
      const reply = await server.as('admin').head(path, TUS);
      return { status: reply.status, offset: Number(reply.headers['upload-offset']) };
    },
  };
}

const restOutcome = ({ status, body }: Reply): Outcome => ({ status, code: body.error });

/** A way to write bytes that need room on the disk. */
interface Way {
  way: string;
  refusal: Outcome;
  /** What there is none left of; room where nothing is said. */
  scarce?: 'names';
  /** What comes of it is no object yet. */
  isPart?: boolean;
  /** Does all that is done before the disk is full. */
  prepare(server: TestS3, content: Buffer): Promise<() => Promise<Outcome>>;
}

const SOURCE = 'source';
const Key = 'key';

async function beginMultipart({ client }: TestS3) {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
  return { Bucket, Key, UploadId };
}

async function uploadParts(server: TestS3, content: Buffer) {
  const upload = await beginMultipart(server);
  const pieces = [content.subarray(0, 5 * MEGABYTE), content.subarray(5 * MEGABYTE)];
  const Parts = [];
  for (const [index, Body] of pieces.entries()) {
    const PartNumber = index + 1;
    const { ETag } = await server.client.send(new UploadPartCommand({ ...upload, PartNumber, Body }));
    Parts.push({ ETag, PartNumber });
  }
  return { ...upload, MultipartUpload: { Parts } };
}

const WAYS: Way[] = [
  {
    way: 'a form',
    refusal: FULL,
    prepare: async (server, content) => async () => restOutcome(await upload(server.as('admin'), Bucket, Key, content)),
  },
  {
    way: 'a body',
    refusal: FULL,
    prepare: async (server, content) => async () =>
      restOutcome(await server.as('admin').put(objectPath(Bucket, Key), content)),
  },
  {
    way: 'a copy',
    refusal: FULL,
    scarce: 'names',
    async prepare(server, content) {
      expect((await upload(server.as('admin'), Bucket, SOURCE, content)).status).toBe(200);
      return async () => restOutcome(await server.as('admin').post(`${objectPath(Bucket, SOURCE)}/copy`, { to: Key }));
    },
  },
  {
    way: 'the tus protocol',
    refusal: FULL,
    async prepare(server, content) {
      const { patch } = await beginTus(server, Key, content.length);
      return () => patch(0, content);
    },
  },
  {
    way: 'S3',
    refusal: FULL_IN_S3,
    prepare:
      async ({ client }, Body) =>
      () =>
        outcomeOf(client.send(new PutObjectCommand({ Bucket, Key, Body }))),
  },
  {
    way: 'a copy over S3',
    refusal: FULL_IN_S3,
    scarce: 'names',
    async prepare({ client }, Body) {
      await client.send(new PutObjectCommand({ Bucket, Key: SOURCE, Body }));
      return () => outcomeOf(client.send(new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/${SOURCE}` })));
    },
  },
  {
    way: 'a part over S3',
    refusal: FULL_IN_S3,
    isPart: true,
    async prepare(server, Body) {
      const upload = await beginMultipart(server);
      return () => outcomeOf(server.client.send(new UploadPartCommand({ ...upload, PartNumber: 1, Body })));
    },
  },
  {
    way: 'a copied part over S3',
    refusal: FULL_IN_S3,
    isPart: true,
    async prepare(server, Body) {
      await server.client.send(new PutObjectCommand({ Bucket, Key: SOURCE, Body }));
      const part = { ...(await beginMultipart(server)), PartNumber: 1, CopySource: `${Bucket}/${SOURCE}` };
      return () => outcomeOf(server.client.send(new UploadPartCopyCommand(part)));
    },
  },
  {
    way: 'the completion of an upload over S3',
    refusal: FULL_IN_S3,
    async prepare(server, content) {
      const completion = await uploadParts(server, content);
      return () => outcomeOf(server.client.send(new CompleteMultipartUploadCommand(completion)));
    },
  },
];

test.for(WAYS)(
  'on a full disk $way is refused with 507 and leaves nothing; with room again it succeeds',
  async ({ refusal, scarce, isPart, prepare }, { skip }) => {
    const disk = await mountDisk(16 * MEGABYTE);
    if (!disk) return skip(NO_DISK);
    const server = await startOnDisk(disk);
    const content = randomBytes(5 * MEGABYTE + 100 * KILOBYTE);
    const write = await prepare(server, content);
    const before = await snapshot(server);
    await (scarce === 'names' ? disk.fillNames() : disk.fill(MEGABYTE));
    expect(await write()).toEqual(refusal);
    expect(await write()).toEqual(refusal);
    expect(await snapshot(server)).toEqual(before);
    await disk.free();
    expect(await write()).toMatchObject({ code: undefined });
    if (isPart) return;
    const { Body } = await server.client.send(new GetObjectCommand({ Bucket, Key }));
    expect(content.equals((await Body?.transformToByteArray()) ?? Buffer.alloc(0))).toBe(true);
  },
);

test('an upload of the tus protocol whose parts fit but not their sum is completed when there is room', async ({
  skip,
}) => {
  const disk = await mountDisk(16 * MEGABYTE);
  if (!disk) return skip(NO_DISK);
  const server = await startOnDisk(disk);
  const content = randomBytes(6 * MEGABYTE);
  const { patch, head } = await beginTus(server, Key, content.length);
  expect(await patch(0, content.subarray(0, 3 * MEGABYTE))).toMatchObject({ status: 204 });
  await disk.fill(4 * MEGABYTE);
  expect(await patch(3 * MEGABYTE, content.subarray(3 * MEGABYTE))).toEqual(FULL);
  expect((await server.stored()).objects).toEqual([]);
  expect(await storedFiles(server.dataDir)).toHaveLength(2);
  expect((await head()).status).toBe(507);
  await disk.free();
  expect(await head()).toEqual({ status: 200, offset: content.length });
  expect((await server.stored()).objects).toEqual([`${Bucket}/${Key}`]);
  await expect.poll(() => storedFiles(server.dataDir)).toHaveLength(1);
});

test('on a full disk files are moved, replaced by small ones, and deleted, which makes room', async ({ skip }) => {
  const disk = await mountDisk(MEGABYTE);
  if (!disk) return skip(NO_DISK);
  const server = await startOnDisk(disk);
  const admin = server.as('admin');
  const first = objectPath(Bucket, 'first');
  expect((await upload(admin, Bucket, 'first', Buffer.alloc(500 * KILOBYTE, 'a'))).status).toBe(200);
  await disk.fill();
  expect((await upload(admin, Bucket, 'small', 'b')).status).toBe(200);
  expect((await admin.post(`${first}/move`, { to: 'moved' })).status).toBe(200);
  expect((await upload(admin, Bucket, 'second', Buffer.alloc(400 * KILOBYTE))).status).toBe(507);
  expect((await admin.get(objectPath(Bucket, 'moved'))).text).toBe('a'.repeat(500 * KILOBYTE));
  expect((await admin.delete(objectPath(Bucket, 'moved'))).status).toBe(200);
  await expect.poll(() => storedFiles(server.dataDir)).toEqual([]);
  expect((await upload(admin, Bucket, 'second', Buffer.alloc(400 * KILOBYTE))).status).toBe(200);
});
