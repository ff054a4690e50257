/** Rows over HTTP under row level security, beside a bare handler that runs the same SQL text. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { type Figure, median, share } from './figure.ts';
import { type Measured, readKeys, removeFolder, scratchFolder, startProgram, startServer } from './server.ts';

const CONNECTIONS = 32;
const SECONDS = 4;
const ROUNDS = 5;
const ROWS = 10_000;

const SCHEMA = `
  create table items (
    id int primary key, owner uuid not null, title text not null, price numeric(10,2) not null,
    tags text[] not null, created_at timestamptz not null default now()
  );
  create table events (
    id bigint generated always as identity primary key, owner uuid default auth.uid(), title text not null
  );
  create policy own_items on items to authenticated using (owner = (select auth.uid()));
  create policy own_events on events to authenticated
    using (owner = (select auth.uid())) with check (owner = (select auth.uid()));`;

/** A request of ours and how the bare twin is asked for the same. */
interface Scenario {
  figure: string;
  atLeast: number;
  method: 'GET' | 'POST';
  path: string;
  twinPath: string;
  body?: string;
  /** What a parameter of the statement stands for, by its value in our request. */
  parameters: Record<string, string>;
}

const SCENARIOS: Scenario[] = [
  {
    figure: 'one row by primary key under RLS',
    atLeast: 0.75,
    method: 'GET',
    path: '/api/database/records/items?id=eq.4711',
    twinPath: '/4711',
    parameters: { '4711': '$id' },
  },
  {
    figure: '100 rows under RLS',
    atLeast: 0.8,
    method: 'GET',
    path: '/api/database/records/items?order=id&limit=100',
    twinPath: '/0',
    parameters: {},
  },
  {
    figure: 'insert of one row under RLS',
    atLeast: 0.7,
    method: 'POST',
    path: '/api/database/records/events',
    twinPath: '/',
    body: '{"title":"something happened"}',
    parameters: { '{"title":"something happened"}': '$body' },
  },
];

export async function measureRecords(): Promise<Figure[]> {
  const folder = await scratchFolder();
  const dataDir = join(folder, 'data');
  const server = await startServer(dataDir);
  const keys = await readKeys(dataDir);
  const database = {
    host: join(dataDir, 'postgres', 'run'),
    user: 'postgres',
    password: keys.POSTGRES_PASSWORD ?? '',
    database: 'insforge',
  };
  const owner = new Client(database);
  await owner.connect();
  try {
    const token = await prepare(server, keys, owner);
    const figures: Figure[] = [];
    for (const scenario of SCENARIOS) figures.push(await measure(scenario, server, token, owner, database));
    return figures;
  } finally {
    await owner.end();
    await server.stop();
    await removeFolder(folder);
  }
}

async function prepare(server: Measured, keys: Record<string, string | undefined>, owner: Client): Promise<string> {
  await post(
    `${server.url}/api/database/advance/rawsql`,
    { 'x-api-key': keys.ACCESS_API_KEY ?? '' },
    { query: SCHEMA },
  );
  const session = await post(
    `${server.url}/api/auth/users?client_type=server`,
    { authorization: `Bearer ${keys.ACCESS_ANON_KEY}` },
    { email: 'bench@example.com', password: 'correct horse battery' },
  );
  await owner.query(
    `insert into items select n, $1, 'item ' || n, n / 7.0, array['a', 'b'], now() from generate_series(1, ${ROWS}) n`,
    [session.user.id],
  );
  await owner.query('vacuum analyze items');
  return session.accessToken;
}

async function post(url: string, headers: Record<string, string>, body: object) {
  const reply = await fetch(url, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`${url} answered ${reply.status}: ${await reply.text()}`);
  return (await reply.json()) as { accessToken: string; user: { id: string } };
}

/** Ours and the twin take turns, so that whatever else the machine does meets both. */
async function measure(
  { figure, atLeast, method, path, twinPath, body, parameters }: Scenario,
  server: Measured,
  token: string,
  owner: Client,
  database: { host: string; user: string; password: string; database: string },
): Promise<Figure> {
  const headers = { authorization: `Bearer ${token}`, ...(body ? { 'content-type': 'application/json' } : {}) };
  const request = { method, headers, ...(body ? { body } : {}) };
  const reply = await fetch(server.url + path, request);
  if (!reply.ok) throw new Error(`${path} answered ${reply.status}: ${await reply.text()}`);
  const statement = await statementOf(owner, parameters);
  const twin = await startProgram(
    'bench/ceiling.ts',
    { STATEMENT: JSON.stringify(statement), DATABASE: JSON.stringify(database) },
    '/health',
  );
  try {
    const ours: number[] = [];
    const ceiling: number[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      const pair = [
        await load(server.url + path, request),
        await load(twin.url + twinPath, { ...request, headers: body ? { 'content-type': 'application/json' } : {} }),
      ] as const;
      if (round === 0) continue; // warm-up
      ours.push(pair[0]);
      ceiling.push(pair[1]);
    }
    return share(`${figure}, ${CONNECTIONS} connections`, median(ours), median(ceiling), atLeast);
  } finally {
    await twin.stop();
  }
}

/** The SQL text that our last request ran, as PostgreSQL reports it, and its parameters. */
async function statementOf(owner: Client, parameters: Record<string, string>) {
  const { rows } = await owner.query<{ query: string }>(
    `select query from pg_stat_activity where usename = 'authenticator' order by query_start desc limit 1`,
  );
  const text = rows[0]?.query ?? '';
  const count = new Set(text.match(/\$\d+/g)).size;
  const values = Object.values(parameters);
  if (text.length >= 1023)
    throw new Error('the statement is longer than PostgreSQL reports (track_activity_query_size)');
  if (count !== values.length) throw new Error(`the statement has ${count} parameters, not ${values.length}: ${text}`);
  return { text, parameters: values };
}

/** Requests a second, with the load generator in a process of its own. */
async function load(
  url: string,
  { method, headers, body }: { method: string; headers: Record<string, string>; body?: string },
): Promise<number> {
  const args = ['-c', String(CONNECTIONS), '-d', String(SECONDS), '-m', method, '--json', '--no-progress'];
  for (const [name, value] of Object.entries(headers)) args.push('-H', `${name}=${value}`);
  if (body) args.push('-b', body);
  const { stdout } = await promisify(execFile)(process.execPath, [
    'node_modules/autocannon/autocannon.js',
    ...args,
    url,
  ]);
  const result: { requests: { average: number }; non2xx: number; errors: number } = JSON.parse(stdout);
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${url}: ${result.non2xx} refused, ${result.errors} failed`);
  return result.requests.average;
}
