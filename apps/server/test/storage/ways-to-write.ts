import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  S3ServiceException,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { type Reply, SECRETS } from '../harness.ts';
import type { TestS3 } from '../s3/start.ts';
import { objectPath, upload } from './files.ts';

const MEGABYTE = 1024 * 1024;
export const Bucket = 'b';

export interface Outcome {
  status: number;
  /** Undefined where all went well. */
  code: string | undefined;
}

export const FULL = { status: 507, code: 'STORAGE_INSUFFICIENT_QUOTA' };
export const FULL_IN_S3 = { status: 507, code: 'QuotaExceeded' };

export async function outcomeOf(asked: Promise<unknown>): Promise<Outcome> {
  try {
    await asked;
    return { status: 200, code: undefined };
  } catch (error) {
    if (!(error instanceof S3ServiceException)) throw error;
    return { status: error.$metadata.httpStatusCode ?? 0, code: error.name };
  }
}

const TUS = { 'x-api-key': SECRETS.ACCESS_API_KEY, 'tus-resumable': '1.0.0' };

export async function beginTus(server: TestS3, objectName: string, length: number) {
  const named = Object.entries({ bucketName: Bucket, objectName });
  const begun = await server.as('admin').post('/storage/v1/upload/resumable', undefined, {
    ...TUS,
    'upload-length': String(length),
    'upload-metadata': named.map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`).join(','),
  });
  expect(begun.status).toBe(201);
  const path = new URL(String(begun.headers.location), 'http://x').pathname;
  return {
    path,
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

export const restOutcome = ({ status, body }: Reply): Outcome => ({ status, code: body.error });

/** A way to write bytes that need room on the disk. */
export interface Way {
  way: string;
  refusal: Outcome;
  /** What there is none left of; room where nothing is said. */
  scarce?: 'names';
  /** What comes of it is no object yet. */
  isPart?: boolean;
  /** Does all that is done before the disk is full. */
  prepare(server: TestS3, content: Buffer): Promise<() => Promise<Outcome>>;
}

export const SOURCE = 'source';
export const Key = 'key';

export async function beginMultipart({ client }: TestS3) {
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

/** All ways to write, with what they say where there is no room. They write `Key` in `Bucket`. */
export const WAYS: Way[] = [
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
