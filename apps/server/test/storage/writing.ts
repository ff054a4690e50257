import { createHash, randomBytes, randomInt } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { REGION } from '../s3/start.ts';
import { type ServerProcess, startServer } from '../start/process.ts';
import { BUCKETS, objectPath } from './files.ts';

/*
 * Many clients that write objects by all ways in, for tests in which something is killed meanwhile; and what must hold
 * of the objects afterwards.
 */

const AT_ONCE = 200;
const Bucket = 'b';
const FIRST_PART = randomBytes(5 * 1024 * 1024);
const COPIED = Array.from({ length: 4 }, (_, index) => randomBytes(30_000 + 30_000 * index));
const SEEDS = new Map([['seed/part', FIRST_PART], ...COPIED.map((bytes, index) => [`seed/${index}`, bytes] as const)]);

const sha256 = (...data: Uint8Array[]) =>
  data.reduce((hash, piece) => hash.update(piece), createHash('sha256')).digest('hex');

/** A server, and the two ways into it. */
export interface Running {
  server: ServerProcess;
  headers: { 'x-api-key': string };
  credentials: { accessKeyId: string; secretAccessKey: string };
  client: S3Client;
}

export interface Deed {
  /** The hash of what will be there. */
  hash: string;
  /** Rejects unless it was acknowledged. */
  run(): Promise<unknown>;
}

/** An answer that says no, in either protocol. */
export interface Refusal {
  status: number;
  code: string;
  nextActions?: string;
}

class Refused extends Error {
  readonly refusal: Refusal;
  constructor(status: number, text: string) {
    super(`${status}: ${text}`);
    const { error, nextActions } = JSON.parse(text);
    this.refusal = { status, code: error, nextActions };
  }
}

async function mustSucceed(asked: Promise<Response>): Promise<Response> {
  const reply = await asked;
  if (!reply.ok) throw new Refused(reply.status, await reply.text());
  return reply;
}

/** What a deed was answered with. Throws where there was no answer. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refused) return error.refusal;
  if (error instanceof S3ServiceException) return { status: error.$metadata.httpStatusCode ?? 0, code: error.name };
  throw error;
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

/** Writes from many clients at once; each writes two keys again and again until something is not acknowledged. */
export function startWriting(running: Running, stored: Map<string, string>) {
  /** What was on its way when it failed, by key. */
  const underway = new Map<string, Deed>();
  const counts = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<keyof typeof DEEDS, number>;
  const writer = async (index: number) => {
    const kind = KINDS[index % KINDS.length] ?? 'putByRest';
    for (let round = 0; ; round++) {
      const key = `${kind}/${index}/${round % 2}`;
      const deed = DEEDS[kind](running, key, randomBytes(randomInt(1_000, 200_000)));
      underway.set(key, deed);
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
  return {
    underway,
    /** How many of each kind were acknowledged at least. */
    fewest: () => Math.min(...Object.values(counts)),
    /** What each of them ended with. */
    ended: (): Promise<unknown[]> => Promise.all(writers),
  };
}

function connect(server: ServerProcess, credentials: Running['credentials']): S3Client {
  return new S3Client({
    endpoint: `${server.url}/storage/v1/s3`,
    region: REGION,
    forcePathStyle: true,
    maxAttempts: 1,
    credentials,
    requestHandler: { httpAgent: { maxSockets: AT_ONCE } },
  });
}

/**
 * Starts a server that is ready to be written to.
 * @returns it, and the hashes of what is in it, by key
 */
export async function startStore(): Promise<{ running: Running; stored: Map<string, string> }> {
  const server = await startServer({});
  await server.ready();
  const headers = { 'x-api-key': (await server.credentials()).ACCESS_API_KEY ?? '' };
  const key = await mustSucceed(fetch(`${server.url}/api/storage/s3/access-keys`, { method: 'POST', headers }));
  const credentials = (await key.json()) as Running['credentials'];
  await mustSucceed(
    fetch(server.url + BUCKETS, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ bucketName: Bucket, isPublic: false }),
    }),
  );
  const running = { server, headers, credentials, client: connect(server, credentials) };
  for (const [name, bytes] of SEEDS) await putByS3(running, name, bytes).run();
  return { running, stored: new Map([...SEEDS].map(([name, bytes]) => [name, sha256(bytes)])) };
}

/** Starts a server that has ended anew. */
export async function restart({ server, headers, credentials, client }: Running): Promise<Running> {
  client.destroy();
  const again = await startServer({ DATA_DIR: server.dataDir });
  await again.ready();
  return { server: again, headers, credentials, client: connect(again, credentials) };
}

async function listAll({ server, headers }: Running): Promise<string[]> {
  const reply = await mustSucceed(fetch(`${server.url}${BUCKETS}/${Bucket}/objects?limit=1000`, { headers }));
  return ((await reply.json()) as { data: { key: string }[] }).data.map(({ key }) => key);
}

/** What is wrong with the objects, given what must and what may be under their keys. */
export async function problemsOf(running: Running, stored: Map<string, string>, underway: Map<string, Deed>) {
  const problems: string[] = [];
  const listed = await listAll(running);
  const check = async (key: string) => {
    const reply = await fetch(running.server.url + objectPath(Bucket, key), { headers: running.headers });
    const found = sha256(Buffer.from(await reply.arrayBuffer()));
    if (found === underway.get(key)?.hash) stored.set(key, found);
    else if (found !== stored.get(key)) problems.push(`${key} is neither what was stored nor what was underway`);
  };
  await Promise.all(listed.map(check));
  const keys = new Set(listed);
  return [...problems, ...[...stored.keys()].filter((key) => !keys.has(key)).map((key) => `${key} is lost`)];
}

export async function query<Row>({ server, headers }: Running, text: string): Promise<Row[]> {
  const reply = await mustSucceed(
    fetch(`${server.url}/api/database/advance/rawsql/unrestricted`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ query: text }),
    }),
  );
  return ((await reply.json()) as { rows: Row[] }).rows;
}

/** Files that no row points at. */
export async function orphansOf(running: Running): Promise<string[]> {
  const entries = await readdir(join(running.server.dataDir, 'storage'), { recursive: true, withFileTypes: true });
  const live = new Set(
    (await query<{ blob: string }>(running, 'select blob from storage.live_blobs')).map(({ blob }) => blob),
  );
  return entries.filter((entry) => entry.isFile() && !live.has(entry.name)).map(({ name }) => name);
}
