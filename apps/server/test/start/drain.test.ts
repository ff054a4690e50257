import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { startServer } from './process.ts';

test('SIGTERM lets a request in flight finish, refuses new ones, and ends with exit code 0', async () => {
  const server = await startServer({});
  await server.ready();
  const { ACCESS_API_KEY = '' } = await server.credentials();
  const run = (query: string, asOwner = '') =>
    fetch(`${server.url}/api/database/advance/rawsql${asOwner}`, {
      method: 'POST',
      headers: { 'x-api-key': ACCESS_API_KEY, 'content-type': 'application/json' },
      body: JSON.stringify({ query }),
    });
  const slow = run("select pg_sleep(1.5), 'finished' as state");
  const isRunning = async () => {
    const others = `select count(*)::int as n from pg_stat_activity
      where query like '%pg_sl%eep(1.5)%' and state = 'active' and pid <> pg_backend_pid()`;
    const reply = await run(others, '/unrestricted');
    return ((await reply.json()) as { rows: { n: number }[] }).rows[0]?.n === 1;
  };
  while (!(await isRunning())) await sleep(10);

  server.kill('SIGTERM');
  const reply = await slow;
  expect(reply.status).toBe(200);
  expect(await reply.json()).toMatchObject({ rows: [{ state: 'finished' }] });
  expect(await server.ended()).toBe(0);
  await expect(fetch(`${server.url}/api/health`)).rejects.toThrow('fetch failed');
});
