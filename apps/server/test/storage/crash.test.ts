import { randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { postgresPid } from '../start/process.ts';
import { orphansOf, problemsOf, query, type Running, refusalOf, restart, startStore, startWriting } from './writing.ts';

const ROUNDS = 2;

const someDeeds = (load: ReturnType<typeof startWriting>) =>
  expect.poll(load.fewest, { timeout: 20_000, interval: 5 }).toBeGreaterThan(randomInt(5, 30));

test('kill -9 during 200 writes of all kinds: each key has what was acknowledged, or what was underway', async () => {
  let { running, stored } = await startStore();
  for (let round = 0; round < ROUNDS; round++) {
    const load = startWriting(running, stored);
    await someDeeds(load);
    running.server.kill('SIGKILL');
    await running.server.ended();
    await load.ended();
    running = await restart(running);
    expect(await problemsOf(running, stored, load.underway)).toEqual([]);
  }
  running.client.destroy();
  await expect.poll(() => orphansOf(running), { timeout: 20_000 }).toEqual([]);
}, 90_000);

/** One that serves a client. PostgreSQL then ends all the others, since it cannot know what they share was left as. */
async function backendPid(running: Running): Promise<number> {
  const [found] = await query<{ pid: number }>(
    running,
    "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() limit 1",
  );
  if (!found) throw new Error('nobody is connected');
  return found.pid;
}

const IN_REST = { status: 503, code: 'UPSTREAM_FAILURE', nextActions: expect.stringContaining('Try again') };
const IN_S3 = { status: 503, code: 'ServiceUnavailable' };

test('kill -9 of PostgreSQL meanwhile: who is not acknowledged hears it, and can do it again', async () => {
  let { running, stored } = await startStore();
  const victims = [() => postgresPid(running.server.dataDir), () => backendPid(running)];
  for (const victim of victims) {
    const load = startWriting(running, stored);
    await someDeeds(load);
    process.kill(await victim(), 'SIGKILL');
    const refusals = (await load.ended()).map(refusalOf);
    for (const refusal of refusals) expect([IN_REST, IN_S3]).toContainEqual(refusal);
    await running.server.ready();
    expect(await problemsOf(running, stored, load.underway)).toEqual([]);
    await Promise.all(
      load.underway.entries().map(async ([key, deed]) => {
        await deed.run();
        stored.set(key, deed.hash);
      }),
    );
  }
  running.server.kill('SIGTERM');
  expect(await running.server.ended()).toBe(0);
  running = await restart(running);
  expect(await problemsOf(running, stored, new Map())).toEqual([]);
  await expect.poll(() => orphansOf(running), { timeout: 20_000 }).toEqual([]);
  running.client.destroy();
}, 90_000);
