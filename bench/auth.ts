/** Signing in beside the bare hash, what that does to everybody else, and a session check beside a bare one. */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { hashPassword, isPasswordOf } from '../apps/server/src/features/auth/passwords.ts';
import { type Figure, median, share, within } from './figure.ts';
import { load } from './load.ts';
import { type Measured, startProgram, withServer } from './server.ts';

const ROUNDS = 3;
const SECONDS = 3;
const IN_FLIGHT = 8;
const CONNECTIONS = 32;
const USERS = 100;
const PASSWORD = 'correct horse battery';

export const measureAuth = (): Promise<Figure[]> =>
  withServer(async ({ server, keys, database }) => {
    const hashed = await hashPassword(PASSWORD);
    await importUsers(server, keys, hashed);
    return [...(await measureSignIn(server, hashed)), await measureSessionCheck(server, database)];
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
  const lags: number[] = [];
  let next = 0;
  const agent = new Agent({ keepAlive: true, maxSockets: IN_FLIGHT });
  for (let round = 0; round <= ROUNDS; round++) {
    const isOver = new AbortController();
    const watching = watchHealth(server, isOver.signal);
    const rate = await perSecond(() => signIn(server, agent, emailOf(next++)));
    isOver.abort();
    const bareRate = await perSecond(async () => void (await isPasswordOf(hashed, PASSWORD)));
    const latencies = await watching;
    if (round === 0) continue; // warm-up
    ours.push(rate);
    bare.push(bareRate);
    lags.push(percentile(latencies, 0.99));
  }
  agent.destroy();
  return [
    share(`sign-in, ${IN_FLIGHT} in flight, beside argon2id alone`, median(ours), median(bare), 0.85),
    within(`health check meanwhile, p99`, median(lags), 20, 'ms'),
  ];
}

async function perSecond(work: () => Promise<void>): Promise<number> {
  const began = performance.now();
  let done = 0;
  const lane = async () => {
    while (performance.now() - began < SECONDS * 1000) {
      await work();
      done++;
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, lane));
  return (done * 1000) / (performance.now() - began);
}

function signIn({ url }: Measured, agent: Agent, email: string): Promise<void> {
  const body = JSON.stringify({ email, password: PASSWORD });
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  return send(`${url}/api/auth/sessions?client_type=server`, { method: 'POST', agent, headers }, body);
}

function send(url: string, options: object, body?: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options, (reply) => {
      reply.resume().once('end', () => {
        if (reply.statusCode === 200) resolve();
        else reject(new Error(`${url} answered ${reply.statusCode}`));
      });
    });
    outgoing.once('error', reject).end(body);
  });
}

/** How long health checks take, one after the other. */
async function watchHealth({ url }: Measured, isOver: AbortSignal): Promise<number[]> {
  const agent = new Agent({ keepAlive: true });
  const latencies: number[] = [];
  while (!isOver.aborted) {
    const began = performance.now();
    await send(`${url}/api/health`, { agent });
    latencies.push(performance.now() - began);
    await sleep(5);
  }
  agent.destroy();
  return latencies;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length * share)] ?? Number.NaN;
}

async function measureSessionCheck(server: Measured, database: object): Promise<Figure> {
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
  try {
    const ours: number[] = [];
    const ceiling: number[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      const pair = [
        await load(`${server.url}/api/auth/sessions/current`, options),
        await load(`${twin.url}/`, options),
      ] as const;
      if (round === 0) continue; // warm-up
      ours.push(pair[0].rate);
      ceiling.push(pair[1].rate);
    }
    return share(`session check, ${CONNECTIONS} connections`, median(ours), median(ceiling), 0.8);
  } finally {
    await twin.stop();
  }
}
