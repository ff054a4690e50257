import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CompleteMultipartUploadCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { type ServerProcess, startServer } from '../start/process.ts';
import { REGION } from './start.ts';

const Bucket = 'files';
const WRITERS = 8;
const ROUNDS = 2;
const MIB = 1024 * 1024;
const FIRST_PART = randomBytes(5 * MIB);

interface Written {
  key: string;
  hash: string;
  /** The request to complete it, where it has been sent. */
  completion?: CompleteMultipartUploadCommand;
}

const sha256 = (...data: Uint8Array[]) =>
  data.reduce((hash, piece) => hash.update(piece), createHash('sha256')).digest('hex');

/** Uploads objects from many clients at once, most of them in parts, until told to stop. */
function startWriting(client: S3Client, round: number) {
  const acknowledged: Written[] = [];
  const unanswered: Written[] = [];
  let [next, isStopped] = [0, false];
  const write = async (written: Written) => {
    const tail = randomBytes(20_000);
    const object = { Bucket, Key: written.key };
    if (next % 3 === 0) {
      written.hash = sha256(tail);
      await client.send(new PutObjectCommand({ ...object, Body: tail }));
      return;
    }
    written.hash = sha256(FIRST_PART, tail);
    const { UploadId } = await client.send(new CreateMultipartUploadCommand(object));
    const Parts = [];
    for (const [index, Body] of [FIRST_PART, tail].entries()) {
      const part = { ...object, UploadId, PartNumber: index + 1 };
      const { ETag } = await client.send(new UploadPartCommand({ ...part, Body }));
      Parts.push({ PartNumber: part.PartNumber, ETag });
    }
    written.completion = new CompleteMultipartUploadCommand({ ...object, UploadId, MultipartUpload: { Parts } });
    await client.send(written.completion);
  };
  const writer = async () => {
    while (!isStopped) {
      const written: Written = { key: `${round}/${next++}`, hash: '' };
      await write(written).then(
        () => acknowledged.push(written),
        () => unanswered.push(written),
      );
    }
  };
  const writers = Array.from({ length: WRITERS }, writer);
  return {
    acknowledged,
    unanswered,
    atLeast: async (count: number) => {
      while (acknowledged.length < count) await sleep(2);
    },
    async stop() {
      isStopped = true;
      await Promise.all(writers);
    },
  };
}

async function connect(server: ServerProcess, credentials: { accessKeyId: string; secretAccessKey: string }) {
  await server.ready();
  const endpoint = `${server.url}/storage/v1/s3`;
  return new S3Client({ endpoint, region: REGION, forcePathStyle: true, maxAttempts: 1, credentials });
}

async function hashOf(client: S3Client, key: string): Promise<string | undefined> {
  try {
    const { Body } = await client.send(new GetObjectCommand({ Bucket, Key: key }));
    return sha256((await Body?.transformToByteArray()) ?? new Uint8Array());
  } catch (error) {
    if (error instanceof Error && error.name === 'NoSuchKey') return undefined;
    throw error;
  }
}

test('kill -9 during uploads and completions loses nothing that was acknowledged, and shows nothing in part', async () => {
  let server = await startServer({});
  await server.ready();
  const headers = { 'x-api-key': (await server.credentials()).ACCESS_API_KEY ?? '' };
  const key = await (await fetch(`${server.url}/api/storage/s3/access-keys`, { method: 'POST', headers })).json();
  const credentials = key as { accessKeyId: string; secretAccessKey: string };
  let client = await connect(server, credentials);
  await client.send(new CreateBucketCommand({ Bucket }));

  for (let round = 0; round < ROUNDS; round++) {
    const load = startWriting(client, round);
    await load.atLeast(16);
    server.kill('SIGKILL');
    await server.ended();
    await load.stop();
    client.destroy();
    server = await startServer({ DATA_DIR: server.dataDir });
    client = await connect(server, credentials);

    for (const { key, hash } of load.acknowledged) expect(await hashOf(client, key), key).toBe(hash);
    for (const { key, hash, completion } of load.unanswered) {
      expect([hash, undefined], key).toContain(await hashOf(client, key));
      if (!completion) continue;
      // Whoever got no answer asks again.
      await client.send(completion);
      expect(await hashOf(client, key), key).toBe(hash);
    }
  }
  const { Uploads = [] } = await client.send(new ListMultipartUploadsCommand({ Bucket }));
  expect(Uploads.length).toBeLessThanOrEqual(3 * WRITERS);
  client.destroy();
}, 120_000);
