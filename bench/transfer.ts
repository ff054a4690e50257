/** A million rows in and out, beside psql on the same server; and how long it takes to read a large schema. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, createWriteStream, type ReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { finished } from 'node:stream/promises';
import { promisify } from 'node:util';
import { type Figure, median, share, within } from './figure.ts';
import { type Fresh, withServer } from './server.ts';

const run = promisify(execFile);
const ROWS = 1_000_000;
const ROUNDS = 3;
const TABLES = 500;

export const measureTransfer = (): Promise<Figure[]> => withServer(measure);

async function measure({ server, keys, database, folder }: Fresh): Promise<Figure[]> {
  const api = async (path: string, body?: string | ReadStream, type = 'application/json') => {
    const reply = await fetch(`${server.url}/api/database/${path}`, {
      headers: { 'x-api-key': keys.ACCESS_API_KEY ?? '', ...(body ? { 'content-type': type } : {}) },
      ...(body ? { method: 'POST', body, duplex: 'half' } : {}),
    });
    if (!reply.ok) throw new Error(`${path}: ${await reply.text()}`);
    return reply;
  };
  const query = (text: string) => api('advance/rawsql', JSON.stringify({ query: text }));
  const psql = (text: string) =>
    run('psql', ['-h', database.host, '-U', database.user, '-d', database.database, '-q', '-c', text], {
      env: { ...process.env, PGPASSWORD: database.password },
    });

  const file = join(folder, 'rows.csv');
  await writeRows(file);
  await query('create table sold (id int, name text, amount numeric(10, 2), at timestamptz)');
  const memory = await peakMemory(server.child.pid);
  const ours: Times = { in: [], out: [] };
  const ceiling: Times = { in: [], out: [] };
  for (let round = 0; round < ROUNDS; round++) {
    await query('truncate sold');
    ceiling.in.push(await timed(() => psql(`\\copy sold from '${file}' with (format csv, header)`)));
    await query('truncate sold');
    ours.in.push(await timed(() => api('import/sold', createReadStream(file), 'text/csv')));
    ceiling.out.push(await timed(() => psql(`\\copy sold to '/dev/null' with (format csv, header)`)));
    ours.out.push(
      await timed(async () => {
        const { body } = await api('export/sold?format=csv');
        await body?.pipeTo(new WritableStream());
      }),
    );
  }

  const growth = (await peakMemory(server.child.pid)) - memory;

  await query(MANY_TABLES);
  const catalog: number[] = [];
  for (let round = 0; round < 5; round++) {
    catalog.push(await timed(async () => (await api('catalog?detail=full')).arrayBuffer()));
  }
  return [
    share(`CSV import of ${ROWS} rows, beside psql`, rate(ours.in), rate(ceiling.in), 0.5),
    share(`CSV export of ${ROWS} rows, beside psql`, rate(ours.out), rate(ceiling.out), 0.5),
    within('memory that these took beyond the usual', growth, 100, 'MB'),
    within(`schema of ${TABLES} tables in full (median)`, median(catalog), 300, 'ms'),
  ];
}

/** The most memory that a process has had so far, in megabytes. */
async function peakMemory(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

interface Times {
  in: number[];
  out: number[];
}

const rate = (times: readonly number[]) => (ROWS / median(times)) * 1000;

/** Tables as applications have them: keys, a reference, an index, a policy, a trigger, some rows. */
const MANY_TABLES = `do $$ begin for n in 1..${TABLES} loop
  execute format('create table t_%s (id bigint generated always as identity primary key, name text not null unique,
    owner uuid references auth.users (id), state text check (state <> %L), tags text[], data jsonb default %L, at timestamptz default now())', n, '', '{}');
  execute format('create index on t_%s (owner, at)', n);
  execute format('create policy own on t_%s to authenticated using (owner = (select auth.uid()))', n);
  execute format('create trigger touch before update on t_%s for each row execute function system.update_updated_at()', n);
  execute format('insert into t_%s (name) select g::text from generate_series(1, 20) g', n);
end loop; end $$`;

async function writeRows(file: string): Promise<void> {
  const stream = createWriteStream(file);
  stream.write('id,name,amount,at\n');
  for (let first = 0; first < ROWS; first += 1000) {
    const lines = Array.from({ length: 1000 }, (_, index) => {
      const id = first + index;
      return `${id},"Customer, number ${id}",${(id % 10_000) / 100},2026-01-01T00:00:${String(id % 60).padStart(2, '0')}Z\n`;
    });
    if (!stream.write(lines.join(''))) await once(stream, 'drain');
  }
  stream.end();
  await finished(stream);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
