import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { postgresPid, type ServerProcess, startServer } from '../start/process.ts';

const WRITERS = 16;

async function createTable(server: ServerProcess, apiKey: string): Promise<void> {
  const reply = await fetch(`${server.url}/api/database/migrations`, {
    method: 'POST',
    headers: { 'x-api-key': apiKey, 'content-type': 'application/json' },
    body: JSON.stringify({ version: '1', name: 'create-events', sql: 'create table events (id int primary key)' }),
  });
  expect(reply.status).toBe(201);
}

/** Writes rows from many clients at once until told to stop; remembers each that was acknowledged. */
function startWriting(url: string, apiKey: string, first: number) {
  const acknowledged: number[] = [];
  let next = first;
  let isStopped = false;
  const writer = async () => {
    while (!isStopped) {
      const id = next++;
      const reply = await fetch(`${url}/api/database/records/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ id }),
      }).catch(() => undefined);
      if (reply?.status === 201) acknowledged.push(id);
      else await sleep(5);
    }
  };
  const writers = Array.from({ length: WRITERS }, writer);
  return {
    acknowledged,
    atLeast: async (count: number) => {
      const target = acknowledged.length + count;
      while (acknowledged.length < target) await sleep(5);
    },
    async stop() {
      isStopped = true;
      await Promise.all(writers);
      return next;
    },
  };
}

async function storedIds(server: ServerProcess, apiKey: string): Promise<Set<number>> {
  const reply = await fetch(`${server.url}/api/database/records/events?select=id`, {
    headers: { authorization: `Bearer ${apiKey}` },
  });
  const rows = (await reply.json()) as { id: number }[];
  return new Set(rows.map(({ id }) => id));
}

test('kill -9 of the server, then of PostgreSQL, under load loses no acknowledged row', async () => {
  let server = await startServer({});
  await server.ready();
  const apiKey = (await server.credentials()).ACCESS_API_KEY ?? '';
  await createTable(server, apiKey);
  const acknowledged: number[] = [];
  let next = 1;

  for (let round = 0; round < 2; round++) {
    const load = startWriting(server.url, apiKey, next);
    await load.atLeast(300);
    server.kill('SIGKILL');
    await server.ended();
    next = await load.stop();
    acknowledged.push(...load.acknowledged);
    server = await startServer({ DATA_DIR: server.dataDir });
    await server.ready();
    const stored = await storedIds(server, apiKey);
    expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
  }

  const load = startWriting(server.url, apiKey, next);
  await load.atLeast(300);
  process.kill(await postgresPid(server.dataDir), 'SIGKILL');
  await load.atLeast(300); // the same server goes on by itself
  await load.stop();
  acknowledged.push(...load.acknowledged);
  const stored = await storedIds(server, apiKey);
  expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
}, 90_000);
