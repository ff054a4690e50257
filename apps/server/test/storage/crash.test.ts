import { createHash, randomBytes, randomInt } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { expect, test } from 'vitest';
import { REGION } from '../s3/start.ts';
import { type ServerProcess, startServer } from '../start/process.ts';
import { BUCKETS, objectPath } from './files.ts';

const AT_ONCE = 200;
const ROUNDS = 2;
const Bucket = 'b';
const FIRST_PART = randomBytes(5 * 1024 * 1024);
const COPIED = Array.from({ length: 4 }, (_, index) => randomBytes(30_000 + 30_000 * index));
const SEEDS = new Map([['seed/part', FIRST_PART], ...COPIED.map((bytes, index) => [`seed/${index}`, bytes] as const)]);

const sha256 = (...data: Uint8Array[]) =>
  data.reduce((hash, piece) => hash.update(piece), createHash('sha256')).digest('hex');

/** A server, and the two ways into it. */
interface Running {
  server: ServerProcess;
  headers: { 'x-api-key': string };
  client: S3Client;
}

interface Deed {
  /** The hash of what will be there. */
  hash: string;
  /** Rejects unless it was acknowledged. */
  run(): Promise<unknown>;
}

async function mustSucceed(asked: Promise<Response>): Promise<Response> {
  const reply = await asked;
  if (!reply.ok) throw new Error(`${reply.status}: ${await reply.text()}`);
  return reply;
}

const putByRest = ({ server, headers }: Running, Key: string, bytes: Buffer<ArrayBuffer>): Deed => ({
  hash: sha256(bytes),
  run: () => mustSucceed(fetch(server.url + objectPath(Bucket, Key), { method: 'PUT', headers, body: bytes })),
});

const putByS3 = ({ client }: Running, Key: string, Body: Buffer<ArrayBuffer>): Deed => ({
  hash: sha256(Body),
  run: () => client.send(new PutObjectCommand({ Bucket, Key, Body })),
});

const copy = ({ client }: Running, Key: string, bytes: Buffer<ArrayBuffer>): Deed => {
  const index = bytes.length % COPIED.length;
  return {
    hash: sha256(COPIED[index] ?? Buffer.alloc(0)),
    run: () => client.send(new CopyObjectCommand({ Bucket, Key, CopySource: `${Bucket}/seed/${index}` })),
  };
};

const complete = ({ client }: Running, Key: string, Body: Buffer<ArrayBuffer>): Deed => ({
  hash: sha256(FIRST_PART, Body),
  async run() {
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const upload = { Bucket, Key, UploadId };
    const CopySource = `${Bucket}/seed/part`;
    const [first, second] = await Promise.all([
      client.send(new UploadPartCopyCommand({ ...upload, PartNumber: 1, CopySource })),
      client.send(new UploadPartCommand({ ...upload, PartNumber: 2, Body })),
    ]);
    const Parts = [first.CopyPartResult?.ETag, second.ETag].map((ETag, index) => ({ ETag, PartNumber: index + 1 }));
    await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } }));
  },
});

const resume = ({ server, headers }: Running, key: string, bytes: Buffer<ArrayBuffer>): Deed => ({
  hash: sha256(bytes),
  async run() {
    const all = { ...headers, 'tus-resumable': '1.0.0' };
    const named = Object.entries({ bucketName: Bucket, objectName: key });
    const metadata = named.map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`).join(',');
    const begun = await mustSucceed(
      fetch(`${server.url}/storage/v1/upload/resumable`, {
        method: 'POST',
        headers: { ...all, 'upload-length': String(bytes.length), 'upload-metadata': metadata },
      }),
    );
    const half = Math.floor(bytes.length / 2);
    for (const [offset, body] of [[0, bytes.subarray(0, half)] as const, [half, bytes.subarray(half)] as const]) {
      await mustSucceed(
        fetch(new URL(begun.headers.get('location') ?? '', server.url), {
          method: 'PATCH',
          headers: { ...all, 'upload-offset': String(offset), 'content-type': 'application/offset+octet-stream' },
          body,
        }),
      );
    }
  },
});

const DEEDS = { putByRest, putByS3, copy, complete, resume };
const KINDS = Object.keys(DEEDS) as (keyof typeof DEEDS)[];

/** Writes from many clients at once until the server is gone; each writes two keys again and again. */
function startWriting(running: Running, stored: Map<string, string>) {
  /** What was on its way when the server died, by key. */
  const underway = new Map<string, string>();
  const counts = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<keyof typeof DEEDS, number>;
  const writer = async (index: number) => {
    const kind = KINDS[index % KINDS.length] ?? 'putByRest';
    for (let round = 0; ; round++) {
      const key = `${kind}/${index}/${round % 2}`;
      const deed = DEEDS[kind](running, key, randomBytes(randomInt(1_000, 200_000)));
      underway.set(key, deed.hash);
      try {
        await deed.run();
      } catch (error) {
        return error;
      }
      stored.set(key, deed.hash);
      underway.delete(key);
      counts[kind]++;
    }
  };
  const writers = Array.from({ length: AT_ONCE }, (_, index) => writer(index));
  return { underway, counts, ended: () => Promise.all(writers) };
}

async function connect(server: ServerProcess, credentials: { accessKeyId: string; secretAccessKey: string }) {
  await server.ready();
  return new S3Client({
    endpoint: `${server.url}/storage/v1/s3`,
    region: REGION,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials,
    requestHandler: { httpAgent: { maxSockets: AT_ONCE } },
  });
}

async function listAll({ server, headers }: Running): Promise<string[]> {
  const reply = await mustSucceed(fetch(`${server.url}${BUCKETS}/${Bucket}/objects?limit=1000`, { headers }));
  return ((await reply.json()) as { data: { key: string }[] }).data.map(({ key }) => key);
}

/** What is wrong with the objects, given what must and what may be under their keys. */
async function problemsOf(running: Running, stored: Map<string, string>, underway: Map<string, string>) {
  const problems: string[] = [];
  const listed = await listAll(running);
  for (const key of listed) {
    const reply = await fetch(running.server.url + objectPath(Bucket, key), { headers: running.headers });
    const found = sha256(Buffer.from(await reply.arrayBuffer()));
    if (found === underway.get(key)) stored.set(key, found);
    else if (found !== stored.get(key)) problems.push(`${key} is neither what was stored nor what was underway`);
  }
  const keys = new Set(listed);
  return [...problems, ...[...stored.keys()].filter((key) => !keys.has(key)).map((key) => `${key} is lost`)];
}

/** Files that no row points at. */
async function orphansOf({ server, headers }: Running): Promise<string[]> {
  const entries = await readdir(join(server.dataDir, 'storage'), { recursive: true, withFileTypes: true });
  const reply = await mustSucceed(
    fetch(`${server.url}/api/database/advance/rawsql/unrestricted`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ query: 'select blob from storage.live_blobs' }),
    }),
  );
  const live = new Set(((await reply.json()) as { rows: { blob: string }[] }).rows.map(({ blob }) => blob));
  return entries.filter((entry) => entry.isFile() && !live.has(entry.name)).map(({ name }) => name);
}

test('kill -9 during 200 writes of all kinds: each key has what was acknowledged, or what was underway', async () => {
  let server = await startServer({});
  await server.ready();
  const headers = { 'x-api-key': (await server.credentials()).ACCESS_API_KEY ?? '' };
  const key = await mustSucceed(fetch(`${server.url}/api/storage/s3/access-keys`, { method: 'POST', headers }));
  const credentials = (await key.json()) as { accessKeyId: string; secretAccessKey: string };
  await mustSucceed(
    fetch(server.url + BUCKETS, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ bucketName: Bucket, isPublic: false }),
    }),
  );
  const stored = new Map<string, string>();
  let running: Running = { server, headers, client: await connect(server, credentials) };
  for (const [name, bytes] of SEEDS) {
    await putByS3(running, name, bytes).run();
    stored.set(name, sha256(bytes));
  }

  for (let round = 0; round < ROUNDS; round++) {
    const load = startWriting(running, stored);
    const fewest = () => Math.min(...Object.values(load.counts));
    await expect.poll(fewest, { timeout: 20_000, interval: 5 }).toBeGreaterThan(randomInt(5, 30));
    server.kill('SIGKILL');
    await server.ended();
    await load.ended();
    running.client.destroy();
    server = await startServer({ DATA_DIR: server.dataDir });
    running = { server, headers, client: await connect(server, credentials) };
    expect(await problemsOf(running, stored, load.underway)).toEqual([]);
  }
  running.client.destroy();
  await expect.poll(() => orphansOf(running), { timeout: 20_000 }).toEqual([]);
}, 90_000);
