import { once } from 'node:events';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { freePort, isAlive, postgresPid, scratchFolder, startServer } from './process.ts';

test('a fresh start makes keys, says where they are, serves, and SIGTERM ends it cleanly', async () => {
  const server = await startServer({});
  await server.ready();
  const keys = await server.credentials();
  expect(keys.ACCESS_API_KEY).toMatch(/^ik_[0-9a-f]{64}$/);
  expect(keys.ACCESS_ANON_KEY).toMatch(/^anon_[0-9a-f]{64}$/);
  const file = join(server.dataDir, 'credentials.env');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(server.output()).toContain(file);
  expect(server.output()).toContain('@insforge/mcp');
  for (const secret of Object.values(keys))
    if (secret?.match(/^[\w-]{16,}$/)) expect(server.output()).not.toContain(secret);

  const postgres = await postgresPid(server.dataDir);
  server.kill('SIGTERM');
  expect(await server.ended()).toBe(0);
  expect(isAlive(postgres)).toBe(false);
});

test('what the process has learnt of its memory is not thrown away while it works', async () => {
  // A delay of V8's own that passes several times during a start, unless the server has set another before V8 looked.
  const server = await startServer({}, ['--trace-memory-reducer', '--gc-memory-reducer-start-delay-ms=100']);
  await server.ready();
  expect(server.output()).not.toContain('Memory reducer');
});

test('a second start on the same data folder is refused and leaves the first alone', async () => {
  const first = await startServer({});
  await first.ready();
  const second = await startServer({ DATA_DIR: first.dataDir });
  expect(await second.ended()).toBe(1);
  expect(second.output()).toContain('Another InsForge server is running on the data folder');
  expect(second.output()).toContain('DATA_DIR');
  await first.ready();
});

test('after kill -9 of the server the next start recovers, with the same keys', async () => {
  const first = await startServer({});
  await first.ready();
  const orphan = await postgresPid(first.dataDir);
  const keys = await first.credentials();
  first.kill('SIGKILL');
  await first.ended();
  expect(isAlive(orphan)).toBe(true);

  const second = await startServer({ DATA_DIR: first.dataDir });
  await second.ready();
  expect(await postgresPid(second.dataDir)).not.toBe(orphan);
  expect(await second.credentials()).toMatchObject({ ACCESS_API_KEY: keys.ACCESS_API_KEY });
});

test('a first start that was killed half-way is begun again', async () => {
  const first = await startServer({});
  const folder = join(first.dataDir, 'postgres');
  const isBegun = async () => (await readdir(folder).catch(() => [])).some((name) => name.startsWith('initdb-'));
  while (!(await isBegun())) await sleep(2);
  first.kill('SIGKILL');
  await first.ended();
  await expect(readFile(join(folder, 'creating'), 'utf8')).resolves.toBe('');

  const second = await startServer({ DATA_DIR: first.dataDir });
  await second.ready();
  await expect(readFile(join(folder, 'creating'), 'utf8')).rejects.toThrow('ENOENT');
});

test('kill -9 of PostgreSQL is survived: health fails meanwhile and the server recovers by itself', async () => {
  const server = await startServer({});
  await server.ready();
  const before = await postgresPid(server.dataDir);
  process.kill(before, 'SIGKILL');
  await server.ready();
  await expect.poll(() => postgresPid(server.dataDir).catch(() => before), { timeout: 20_000 }).not.toBe(before);
  await server.ready();
});

test('a taken port is refused with another to try, and nothing stays behind', async () => {
  const port = await freePort();
  const squatter = createServer().listen(port, '127.0.0.1');
  await once(squatter, 'listening');
  onTestFinished(() => void squatter.close());
  const server = await startServer({ PORT: String(port) });
  expect(await server.ended()).toBe(1);
  expect(server.output()).toContain(`Port ${port} is taken`);
  await expect(postgresPid(server.dataDir)).rejects.toThrow('ENOENT');
});

test('a data folder that cannot be written is refused', async () => {
  const file = join(await scratchFolder(), 'file');
  await writeFile(file, '');
  const server = await startServer({ DATA_DIR: join(file, 'data') });
  expect(await server.ended()).toBe(1);
  expect(server.output()).toMatch(/The data folder .* cannot be written .*Set DATA_DIR/s);
});

test('an unreachable database is refused', async () => {
  const server = await startServer({
    DATABASE_URL: `postgresql://someone:hidden-password@127.0.0.1:${await freePort()}/x`,
  });
  expect(await server.ended()).toBe(1);
  expect(server.output()).toContain('cannot be reached');
  expect(server.output()).toContain('Check DATABASE_URL');
  expect(server.output()).not.toContain('hidden-password');
});

test('every problem of the environment is listed at once', async () => {
  const server = await startServer({ PORT: 'http', JWT_SECRET: 'secret', ROOT_ADMIN_PASSWORD: 'change-this-password' });
  expect(await server.ended()).toBe(1);
  for (const name of ['PORT', 'JWT_SECRET', 'ROOT_ADMIN_PASSWORD']) expect(server.output()).toContain(`  ${name} `);
  expect(server.output()).not.toContain('    at ');
});

test.runIf(process.getuid?.() === 0)('root can start it where no other user can look', async () => {
  const secret = await scratchFolder(0o700);
  const server = await startServer({ DATA_DIR: join(secret, 'data') });
  await server.ready();
  server.kill('SIGTERM');
  expect(await server.ended()).toBe(0);
  const again = await startServer({ DATA_DIR: server.dataDir });
  await again.ready();
});
