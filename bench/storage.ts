/**
 * Files over REST and S3, beside a bare handler that streams the same bytes to and from the same disk. What it has
 * received is on the disk when it answers, as it is with ours.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { type Figure, median, share, within } from './figure.ts';
import { type Measured, withServer } from './server.ts';
import { call, KB, MB, openTargets, startBare, type Target } from './storage-targets.ts';
import type { Load } from './transfer-load.ts';

const ROUNDS = 5;

/** What is moved, and how much of what a bare handler does ours must do. */
interface Transfer {
  figure: string;
  method: 'GET' | 'PUT';
  bytes: number;
  connections: number;
  /** So long until the code is compiled that is measured, in seconds. */
  warmUp: number;
  /** In each round, for which the other ones have been idle, in seconds. */
  uncounted: number;
  seconds: number;
  /** No more requests than this. */
  atMost: number;
  /** So many files are taken in turn. */
  files: number;
  atLeast: number;
}

const SMALL = { bytes: 10 * KB, connections: 32, warmUp: 4, uncounted: 0.5, seconds: 1, atMost: 100_000, atLeast: 0.7 };
const LARGE = { warmUp: 3, uncounted: 0, seconds: 10, atLeast: 0.9 };
const TRANSFERS: Transfer[] = [
  { ...SMALL, figure: 'download of 10 KB', method: 'GET', files: 1 },
  { ...LARGE, figure: 'download of 10 MB', method: 'GET', files: 1, bytes: 10 * MB, connections: 4, atMost: 40 },
  { ...SMALL, figure: 'upload of 10 KB', method: 'PUT', files: 40_000 },
  { ...LARGE, figure: 'upload of 100 MB', method: 'PUT', files: 4, bytes: 100 * MB, connections: 1, atMost: 4 },
];

interface Bench {
  server: Measured;
  owner: Client;
  database: object;
  folder: string;
  admin: Record<string, string>;
  rest: Target;
  s3: Target;
}

export const measureStorage = (): Promise<Figure[]> =>
  withServer(async ({ server, keys, database, folder }) => {
    const owner = new Client(database);
    await owner.connect();
    try {
      const admin = { 'x-api-key': keys.ACCESS_API_KEY ?? '' };
      const bench = { server, owner, database, folder, admin, ...(await openTargets(server, keys)) };
      return [await measureMemory(bench), ...(await measureTransfers(bench)), await measureListing(bench)];
    } finally {
      await owner.end();
    }
  });

/**
 * PostgreSQL fills new files of its log with zeros before it writes to them, and uses them again later. A server that
 * has been up for a while has none to fill.
 */
async function fillLog(owner: Client): Promise<void> {
  await owner.query(
    `select count(pg_logical_emit_message(false, 'fill', repeat('x', 1000000))) from generate_series(1, 1000)`,
  );
  await owner.query('checkpoint');
}

async function measureTransfers({ owner, database, folder, rest, s3 }: Bench): Promise<Figure[]> {
  // Each its own: to write over what another has written is another thing than to write.
  const folderOf = async (name: string) => {
    await mkdir(join(folder, name));
    return { FOLDER: join(folder, name) };
  };
  await owner.query('create table bare_files (name text primary key, written_at timestamptz default now())');
  const bare = await startBare(await folderOf('bare'));
  const flushing = await startBare({ ...(await folderOf('flushing')), FLUSH: 'true' });
  const inDatabase = { FLUSH: 'true', DATABASE: JSON.stringify(database) };
  const recording = await startBare({ ...(await folderOf('recording')), ...inDatabase });
  try {
    const figures: Figure[] = [];
    for (const transfer of TRANSFERS) {
      const isUpload = transfer.method === 'PUT';
      const targets = { bare, rest, s3, ...(isUpload ? { flushing, recording } : {}) };
      if (isUpload) await fillLog(owner);
      const rates = await takeTurns(transfer, targets);
      for (const [way, name] of [['rest', 'REST'] as const, ['s3', 'S3'] as const]) {
        const figure = `${transfer.figure}, ${name}`;
        if (!isUpload) figures.push(share(figure, rates[way], rates.bare, transfer.atLeast));
        else {
          figures.push(share(figure, rates[way], rates.flushing ?? 0, transfer.atLeast));
          // Nobody asks for these. They tell what it costs to lose nothing, and what the least of it is that we do.
          figures.push(share(`${figure}, beside no flush`, rates[way], rates.bare, 0));
          figures.push(share(`${figure}, beside a flush and a row`, rates[way], rates.recording ?? 0, 0));
        }
      }
    }
    return figures;
  } finally {
    for (const { stop } of [bare, flushing, recording]) await stop();
  }
}

/** Requests a second of each: the median of some rounds, in which they take turns. */
async function takeTurns<Targets extends Record<string, Target>>(
  transfer: Transfer,
  targets: Targets,
): Promise<Record<keyof Targets, number>> {
  const rates: [string, number][] = [];
  for (const target of Object.values(targets)) {
    if (transfer.method === 'GET')
      await run(target, { ...transfer, method: 'PUT', connections: 1, atMost: 1, uncounted: 0 });
    await run(target, { ...transfer, seconds: transfer.warmUp });
  }
  for (let round = 1; round <= ROUNDS; round++) {
    for (const [name, target] of Object.entries(targets)) rates.push([name, await run(target, transfer, round)]);
  }
  const medianOf = (name: string) => median(rates.filter(([other]) => other === name).map(([, rate]) => rate));
  return Object.fromEntries(Object.keys(targets).map((name) => [name, medianOf(name)])) as Record<
    keyof Targets,
    number
  >;
}

/** Requests a second, with the load generator in a process of its own. */
async function run(
  { port, headOf }: Target,
  transfer: Omit<Transfer, 'figure' | 'atLeast' | 'warmUp'>,
  round = 0,
): Promise<number> {
  const { method, bytes, files, connections, uncounted, seconds, atMost } = transfer;
  // Small uploads are of new files in each round, large ones replace those of the round before.
  const folder = files > 1_000 ? `${round}-` : '';
  const heads = Array.from({ length: files }, (_, n) => headOf(method, `${folder}${n}-${bytes}`, bytes));
  const bodyBytes = method === 'PUT' ? bytes : 0;
  const load: Load = { port, connections, uncounted, seconds, atMost, heads, bodyBytes };
  // What others have left for the disk to do is not for this one to wait for.
  await promisify(execFile)('sync');
  const child = spawn(process.execPath, ['bench/transfer-load.ts'], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(load));
  const rate = Number(await text(child.stdout));
  if (!rate) throw new Error('no request was answered');
  return rate;
}

/** Node's own memory, which is where files would pile up. */
async function measureMemory({ server, rest }: Bench): Promise<Figure> {
  const resident = async () => {
    const status = await readFile(`/proc/${server.child.pid}/status`, 'utf8');
    return Number(status.match(/^VmRSS:\s+(\d+)/m)?.[1] ?? 0) / KB;
  };
  await sleep(2_000);
  const idle = await resident();
  let isOver = false;
  const load = { connections: 16, files: 16, atMost: 16, uncounted: 0, seconds: 60 };
  const uploads = run(rest, { ...load, method: 'PUT', bytes: 100 * MB });
  void uploads.finally(() => {
    isOver = true;
  });
  let peak = idle;
  while (!isOver) {
    peak = Math.max(peak, await resident());
    await sleep(10);
  }
  await uploads;
  return within('memory above idle, 16 uploads of 100 MB', peak - idle, 64, 'MB');
}

async function measureListing({ server, owner, admin }: Bench): Promise<Figure> {
  const listing = async (objects: number) => {
    const bucket = `of-${objects}`;
    await call('POST', `${server.url}/api/storage/buckets`, admin, { bucketName: bucket, isPublic: false });
    await owner.query(
      `insert into storage.objects (bucket, key, size, mime_type)
       select $1, 'folder-' || n % 100 || '/file-' || n, n, 'text/plain' from generate_series(1, $2::int) n`,
      [bucket, objects],
    );
    return `${server.url}/api/storage/buckets/${bucket}/objects?limit=1000`;
  };
  const [few, many] = [await listing(10_000), await listing(1_000_000)];
  await owner.query('vacuum analyze storage.objects');
  const times: Record<string, number[]> = { [few]: [], [many]: [] };
  for (let round = 0; round < 40; round++) {
    for (const [url, taken] of Object.entries(times)) {
      const began = performance.now();
      await call('GET', url, admin);
      taken.push(performance.now() - began);
    }
  }
  const [ofFew, ofMany] = [median(times[few] ?? []), median(times[many] ?? [])];
  const figure = within('listing 1,000 of 1,000,000 objects', ofMany, 1.5 * ofFew, 'ms');
  return { ...figure, reference: `1.5 x ${ofFew.toFixed(1)} ms of 10,000` };
}
