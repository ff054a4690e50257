/** Signing in beside the bare hash, what that does to everybody else, and a session check beside bare ones. */
import { setTimeout as sleep } from 'node:timers/promises';
import { hashPassword, isPasswordOf } from '../apps/server/src/features/auth/passwords.ts';
import { type Connection, openConnection } from './connection.ts';
import { type Figure, median, share, within } from './figure.ts';
import { load } from './load.ts';
import { type Measured, startProgram, withServer } from './server.ts';

const ROUNDS = 3;
/** The speed of the memory, which is what a hash costs, changes by a fifth from one second to the next. */
const SIGN_IN_ROUNDS = 6;
/** A sign-in is compiled late, since there are so few of them in a second. */
const WARM_UPS = 3;
const SECONDS = 3;
const IN_FLIGHT = 8;
const CONNECTIONS = 32;
const HEALTH_EVERY_MS = 20;
const USERS = 100;
const PASSWORD = 'correct horse battery';

export const measureAuth = (): Promise<Figure[]> =>
  withServer(async ({ server, keys, database }) => {
    const hashed = await hashPassword(PASSWORD);
    await importUsers(server, keys, hashed);
    return [...(await measureSignIn(server, hashed)), ...(await measureSessionCheck(server, database))];
  });

const emailOf = (index: number) => `user${index % USERS}@example.com`;

async function importUsers(
  { url }: Measured,
  keys: Record<string, string | undefined>,
  passwordHash: string,
): Promise<void> {
  const users = Array.from({ length: USERS }, (_, index) => ({ email: emailOf(index), passwordHash }));
  const reply = await fetch(`${url}/api/auth/users/import`, {
    method: 'POST',
    headers: { 'x-api-key': keys.ACCESS_API_KEY ?? '', 'content-type': 'application/json' },
    body: JSON.stringify({ users }),
  });
  if (!reply.ok) throw new Error(`the import answered ${reply.status}: ${await reply.text()}`);
}

/** Different users, one after the other, as many at a time as there are requests in flight. */
async function measureSignIn(server: Measured, hashed: string): Promise<Figure[]> {
  const ours: number[] = [];
  const bare: number[] = [];
  let next = 0;
  const connections = await Promise.all(Array.from({ length: IN_FLIGHT }, () => openConnection(server.url)));
  const signIns = connections.map((connection) => () => signIn(connection, emailOf(next++)));
  const hashes = connections.map(() => () => isPasswordOf(hashed, PASSWORD));
  for (let round = 0; round < WARM_UPS; round++) await perSecond(signIns);
  for (let round = 0; round < SIGN_IN_ROUNDS; round++) {
    ours.push(await perSecond(signIns));
    bare.push(await perSecond(hashes));
  }
  // Apart, since to watch is work as well.
  const isOver = new AbortController();
  const watching = watchHealth(server, isOver.signal);
  for (let round = 0; round < ROUNDS; round++) await perSecond(signIns);
  isOver.abort();
  const latencies = await watching;
  for (const connection of connections) connection.close();
  return [
    share(`sign-in, ${IN_FLIGHT} in flight, beside argon2id alone`, median(ours), median(bare), 0.85),
    within(`health check meanwhile, p99`, percentile(latencies, 0.99), 20, 'ms'),
  ];
}

/** How often works are done that run beside each other, each again and again. */
async function perSecond(works: readonly (() => Promise<unknown>)[]): Promise<number> {
  const began = performance.now();
  let done = 0;
  const repeat = async (work: () => Promise<unknown>) => {
    while (performance.now() - began < SECONDS * 1000) {
      await work();
      done++;
    }
  };
  await Promise.all(works.map(repeat));
  return (done * 1000) / (performance.now() - began);
}

function signIn(connection: Connection, email: string): Promise<void> {
  const body = JSON.stringify({ email, password: PASSWORD });
  return connection.send('POST', '/api/auth/sessions?client_type=server', body);
}

/** How long health checks take, one after the other. */
async function watchHealth({ url }: Measured, isOver: AbortSignal): Promise<number[]> {
  const connection = await openConnection(url);
  const latencies: number[] = [];
  while (!isOver.aborted) {
    const began = performance.now();
    await connection.send('GET', '/api/health');
    latencies.push(performance.now() - began);
    await sleep(HEALTH_EVERY_MS);
  }
  connection.close();
  return latencies;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
}

/** Beside a handler that verifies the token, and beside one that reads the user as well, as ours has to. */
async function measureSessionCheck(server: Measured, database: object): Promise<Figure[]> {
  const reply = await fetch(`${server.url}/api/auth/sessions?client_type=server`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: emailOf(0), password: PASSWORD }),
  });
  const { accessToken } = (await reply.json()) as { accessToken: string };
  const JWKS = await (await fetch(`${server.url}/.well-known/jwks.json`)).text();
  const twin = await startProgram('bench/token-ceiling.ts', { JWKS, DATABASE: JSON.stringify(database) }, '/health');
  const headers = { authorization: `Bearer ${accessToken}` };
  const options = { method: 'GET', headers, connections: CONNECTIONS, seconds: SECONDS };
  const urls = [`${server.url}/api/auth/sessions/current`, `${twin.url}/claims`, `${twin.url}/user`];
  const rates: number[][] = urls.map(() => []);
  try {
    for (let round = 0; round <= ROUNDS; round++) {
      for (const [index, url] of urls.entries()) {
        const { rate } = await load(url, options);
        if (round > 0) rates[index]?.push(rate); // before that, warm-up
      }
    }
  } finally {
    await twin.stop();
  }
  const [ours = NaN, claims = NaN, user = NaN] = rates.map(median);
  return [
    share(`session check, ${CONNECTIONS} connections, beside a bare verification`, ours, claims, 0.8),
    share(`session check beside one that reads the user as well`, ours, user, 0.8),
  ];
}
