import { createHash, randomBytes } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type ServerProcess, startServer } from '../start/process.ts';
import { BUCKETS, objectPath } from './files.ts';

const AT_ONCE = 200;
/** What is no larger is kept in its row. */
const SMALL_BYTES = 64 * 1024;

const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex');

/** Uploads from many clients at once until the server is gone; each writes two keys again and again. */
function startUploading(url: string, apiKey: string) {
  /** Of each key the last content that was acknowledged, and the one on its way when the server died. */
  const acknowledged = new Map<string, string>();
  const underway = new Map<string, string>();
  let count = 0;
  let isOver = false;
  const uploader = async (index: number) => {
    for (let round = 0; !isOver; round++) {
      const key = `${index}/${round % 2}`;
      const content = randomBytes(1000 + ((index * 7919 + round * 104_729) % 200_000));
      underway.set(key, md5(content));
      const reply = await fetch(url + objectPath('b', key), {
        method: 'PUT',
        headers: { 'x-api-key': apiKey, 'content-type': 'application/octet-stream' },
        body: content,
      }).catch(() => undefined);
      if (reply?.status !== 200) return;
      acknowledged.set(key, md5(content));
      underway.delete(key);
      count++;
    }
  };
  const uploaders = Array.from({ length: AT_ONCE }, (_, index) => uploader(index));
  return {
    acknowledged,
    underway,
    count: () => count,
    async stop() {
      isOver = true;
      await Promise.all(uploaders);
    },
  };
}

interface ListedFile {
  key: string;
  size: number;
}

async function listAll(server: ServerProcess, apiKey: string): Promise<ListedFile[]> {
  const reply = await fetch(`${server.url}${BUCKETS}/b/objects?limit=1000`, { headers: { 'x-api-key': apiKey } });
  return ((await reply.json()) as { data: ListedFile[] }).data;
}

async function filesIn(server: ServerProcess): Promise<number> {
  const entries = await readdir(join(server.dataDir, 'storage'), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).length;
}

test('kill -9 during 200 uploads at once: what was acknowledged is there, and nothing is half there', async () => {
  let server = await startServer({});
  await server.ready();
  const apiKey = (await server.credentials()).ACCESS_API_KEY ?? '';
  await fetch(server.url + BUCKETS, {
    method: 'POST',
    headers: { 'x-api-key': apiKey, 'content-type': 'application/json' },
    body: JSON.stringify({ bucketName: 'b', isPublic: false }),
  });

  for (let round = 0; round < 3; round++) {
    const load = startUploading(server.url, apiKey);
    await expect.poll(load.count, { timeout: 20_000, interval: 5 }).toBeGreaterThan(300);
    server.kill('SIGKILL');
    await server.ended();
    await load.stop();
    server = await startServer({ DATA_DIR: server.dataDir });
    await server.ready();

    const listed = await listAll(server, apiKey);
    const problems: string[] = [];
    for (const { key, size } of listed) {
      const reply = await fetch(server.url + objectPath('b', key), { headers: { 'x-api-key': apiKey } });
      const bytes = Buffer.from(await reply.arrayBuffer());
      const etag = (reply.headers.get('etag') ?? '').replaceAll('"', '');
      if (bytes.length !== size || md5(bytes) !== etag) problems.push(`${key} does not match its row`);
      // The answer to an upload can be lost with the server; then its content is there, and as whole.
      const allowed = [load.acknowledged.get(key), load.underway.get(key)];
      if (load.acknowledged.has(key) && !allowed.includes(md5(bytes))) problems.push(`${key} is of an older upload`);
    }
    const keys = new Set(listed.map(({ key }) => key));
    for (const key of load.acknowledged.keys()) if (!keys.has(key)) problems.push(`${key} is lost`);
    expect(problems).toEqual([]);
    // What the crash left behind is swept: as many files as there are rows that have one.
    const inFiles = listed.filter(({ size }) => size > SMALL_BYTES).length;
    await expect.poll(() => filesIn(server), { timeout: 20_000 }).toBe(inFiles);
  }
}, 120_000);
