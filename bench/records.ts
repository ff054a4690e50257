/** Rows over HTTP under row level security, beside bare handlers that answer the same from SQL alone. */
import { isDeepStrictEqual } from 'node:util';
import { Client, type ClientConfig } from 'pg';
import type { BareStatement } from './ceiling.ts';
import { type Figure, median, percentage, share } from './figure.ts';
import { type LoadResult, load } from './load.ts';
import { ROWS_OF_USER, SCENARIOS, SCHEMA, type Scenario, USER } from './scenarios.ts';
import { type Measured, startProgram, withServer } from './server.ts';

const CONNECTIONS = 32;
const SECONDS = 2;
const ROUNDS = 3;
const KEY = '4711';

/** A server with the tables of the scenarios, and a user who is signed in. */
export interface Bench {
  server: Measured;
  /** Behind the server's back. */
  owner: Client;
  database: ClientConfig;
  apiKey: string;
  token: string;
  user: string;
}

/** Runs `work` on a fresh server with the tables of the scenarios. */
export const withBench = <Result>(work: (bench: Bench) => Promise<Result>): Promise<Result> =>
  withServer(async ({ server, keys, database }) => {
    const owner = new Client(database);
    await owner.connect();
    try {
      const apiKey = keys.ACCESS_API_KEY ?? '';
      const rawSql = `${server.url}/api/database/advance/rawsql`;
      await post(rawSql, { 'x-api-key': apiKey }, { query: SCHEMA });
      const session = await post(
        `${server.url}/api/auth/users?client_type=server`,
        { authorization: `Bearer ${keys.ACCESS_ANON_KEY}` },
        { email: 'bench@example.com', password: 'correct horse battery' },
      );
      for (const statement of ROWS_OF_USER) await owner.query(statement, [session.user.id]);
      await owner.query('vacuum analyze');
      return await work({ server, owner, database, apiKey, token: session.accessToken, user: session.user.id });
    } finally {
      await owner.end();
    }
  });

export const measureRecords = (isChosen: (name: string) => boolean): Promise<Figure[]> =>
  withBench(async (bench) => {
    const figures: Figure[] = [];
    for (const scenario of SCENARIOS) if (isChosen(scenario.name)) figures.push(...(await measure(scenario, bench)));
    return [...figures, ...(await hitRates(bench))];
  });

/** How often the caches of plans and of prepared statements were of use in all of that. */
async function hitRates({ server, apiKey }: Bench): Promise<Figure[]> {
  const reply = await fetch(`${server.url}/api/database/admin/caches`, { headers: { 'x-api-key': apiKey } });
  const caches = (await reply.json()) as Record<'plans' | 'statements', { hits: number; misses: number }>;
  return (['plans', 'statements'] as const).map((name) => {
    const { hits, misses } = caches[name];
    return percentage(`hit rate of the cache of ${name}`, hits / (hits + misses), 0.99);
  });
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

interface Twin {
  label: string;
  atLeast: number;
  program: Measured;
}

/** Ours and its twins take turns, so that whatever else the machine does meets all of them. */
async function measure(scenario: Scenario, { server, owner, database, token, user }: Bench): Promise<Figure[]> {
  const { method, path, figure, byHand, sameText } = scenario;
  const bodies = scenario.bodies?.map((body) => body.replaceAll(USER, user));
  const type: Record<string, string> = bodies ? { 'content-type': 'application/json' } : {};
  const headers = { ...type, authorization: `Bearer ${token}`, ...scenario.headers };
  const expected = await answerOf(server.url + path, { method, headers, ...bodyOf(bodies) });
  const twins: Twin[] = [];
  const add = async (label: string, atLeast: number, statement: BareStatement) => {
    const env = { STATEMENT: JSON.stringify(statement), DATABASE: JSON.stringify(database) };
    twins.push({ label, atLeast, program: await startProgram('bench/ceiling.ts', env, '/health') });
  };
  const twinPath = method === 'GET' ? `/${KEY}` : '/';
  try {
    // First, because it asks PostgreSQL for what we ran last.
    if (sameText) await add('same SQL', sameText.atLeast, await statementOf(owner, sameText.parameter));
    await add('by hand', byHand.atLeast, byHand);
    const rates = [
      [server.url + path, headers] as const,
      ...twins.map((t) => [t.program.url + twinPath, type] as const),
    ].map(([url, headers]) => ({ url, headers, values: [] as number[] }));
    for (const { url, headers } of rates.slice(1)) {
      const answer = await answerOf(url, { method, headers, ...bodyOf(bodies) });
      if (!isDeepStrictEqual(answer, expected))
        throw new Error(
          `${scenario.name}: a twin answers ${JSON.stringify(answer)} instead of ${JSON.stringify(expected)}`,
        );
    }
    for (let round = 0; round <= ROUNDS; round++) {
      for (const { url, headers, values } of rates) {
        if (scenario.before) await owner.query(scenario.before);
        const { rate }: LoadResult = await load(url, {
          connections: CONNECTIONS,
          seconds: SECONDS,
          method,
          headers,
          bodies,
        });
        if (round > 0) values.push(rate); // the first is a warm-up
      }
    }
    const [ours = 0, ...theirs] = rates.map(({ values }) => median(values));
    return twins.map(({ label, atLeast }, index) => share(`${figure} (${label})`, ours, theirs[index] ?? 0, atLeast));
  } finally {
    for (const { program } of twins) await program.stop();
  }
}

const bodyOf = (bodies: string[] | undefined) => (bodies?.[0] === undefined ? {} : { body: bodies[0] });

/** The body and the count, if there is one. */
async function answerOf(url: string, request: RequestInit): Promise<unknown> {
  const reply = await fetch(url, request);
  if (!reply.ok) throw new Error(`${url} answered ${reply.status}: ${await reply.text()}`);
  const [, count] = /\/(\d+)$/.exec(reply.headers.get('content-range') ?? '') ?? [];
  return { body: await reply.json(), count };
}

/** The SQL text that our last request ran, as PostgreSQL reports it. */
async function statementOf(owner: Client, parameter: BareStatement['parameter']): Promise<BareStatement> {
  const { rows } = await owner.query<{ query: string }>(
    // A connection that was opened and not used yet has not begun anything.
    `select query from pg_stat_activity where usename = 'authenticator' and query_start is not null
     order by query_start desc limit 1`,
  );
  const text = rows[0]?.query ?? '';
  const count = new Set(text.match(/\$\d+/g)).size;
  if (text.length >= 1023)
    throw new Error('the statement is longer than PostgreSQL reports (track_activity_query_size)');
  if (count !== (parameter ? 1 : 0)) throw new Error(`the statement has ${count} parameters: ${text}`);
  return { text, parameter };
}
