import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, type TestContext, test } from 'vitest';
import { PGVECTOR_BIN, requirePgvector } from '../pgvector.ts';
import { type ServerProcess, scratchFolder, startServer } from './process.ts';

const DEBIAN = '/usr/lib/postgresql';

/** The newest PostgreSQL that the machine's own packages brought, or the one that brings pgvector. */
async function systemPostgres(skip: TestContext['skip']): Promise<{ bin: string; version: string }> {
  const versions = existsSync(DEBIAN) ? await readdir(DEBIAN) : [];
  const version = versions
    .filter((each) => existsSync(join(DEBIAN, each, 'bin', 'postgres')))
    .sort((a, b) => Number(b) - Number(a))[0];
  if (version !== undefined) return { bin: join(DEBIAN, version, 'bin'), version };
  requirePgvector(skip);
  return { bin: PGVECTOR_BIN, version: '17' };
}

async function rawSql(server: ServerProcess, query: string) {
  const { ACCESS_API_KEY = '' } = await server.credentials();
  const reply = await fetch(`${server.url}/api/database/advance/rawsql`, {
    method: 'POST',
    headers: { 'x-api-key': ACCESS_API_KEY, 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  });
  return reply.json();
}

async function stop(server: ServerProcess): Promise<void> {
  server.kill('SIGTERM');
  expect(await server.ended()).toBe(0);
}

test('a PostgreSQL of the machine is run in place of the bundled one, and keeps its data', async ({ skip }) => {
  const { bin, version } = await systemPostgres(skip);
  const first = await startServer({ POSTGRES_BIN_DIR: bin });
  await first.ready();
  expect(
    await rawSql(
      first,
      `create table notes (t text); insert into notes values ('ÄÖ'); select lower(t) as t, split_part(version(), ' ', 2) as version from notes`,
    ),
  ).toMatchObject({ rows: [{ t: 'äö', version: expect.stringMatching(`^${version}\\.`) }] });
  first.kill('SIGKILL');
  await first.ended();
  const second = await startServer({ POSTGRES_BIN_DIR: bin, DATA_DIR: first.dataDir });
  await second.ready();
  expect(await rawSql(second, 'select t from notes')).toMatchObject({ rows: [{ t: 'ÄÖ' }] });
  await stop(second);

  const bundled = await startServer({ DATA_DIR: first.dataDir });
  expect(await bundled.ended()).toBe(1);
  expect(bundled.output()).toMatch(
    new RegExp(
      `cluster of PostgreSQL ${version}, .*Set POSTGRES_BIN_DIR to the programs of version ${version}.*export`,
    ),
  );
  const third = await startServer({ POSTGRES_BIN_DIR: bin, DATA_DIR: first.dataDir });
  await third.ready();
  expect(await rawSql(third, 'select t from notes')).toMatchObject({ rows: [{ t: 'ÄÖ' }] });
});

test('the cluster of another version is left as it is', async ({ skip }) => {
  const { bin } = await systemPostgres(skip);
  const first = await startServer({});
  await first.ready();
  await stop(first);
  const other = await startServer({ POSTGRES_BIN_DIR: bin, DATA_DIR: first.dataDir });
  expect(await other.ended()).toBe(1);
  expect(other.output()).toContain('The data folder holds a cluster of PostgreSQL 18');
  const again = await startServer({ DATA_DIR: first.dataDir });
  await again.ready();
});

/** A folder with programs that do nothing but tell a version. */
async function fakePrograms(script: string): Promise<string> {
  const bin = join(await scratchFolder(), 'bin');
  await mkdir(bin);
  for (const program of ['initdb', 'pg_ctl', 'postgres']) {
    await writeFile(join(bin, program), `#!/bin/sh\n${script}\n`);
    await chmod(join(bin, program), 0o755);
  }
  return bin;
}

test.each([
  {
    what: 'a folder without a server',
    bin: () => scratchFolder(),
    message: /has no initdb, pg_ctl, postgres\..*apt-get install/,
  },
  {
    what: 'a version that is too old',
    bin: () => fakePrograms('echo "postgres (PostgreSQL) 14.9 (Debian 14.9-1)"'),
    message: /15 or newer is needed; .* has postgres \(PostgreSQL\) 14\.9/,
  },
  {
    what: 'programs that do not run',
    bin: () => fakePrograms('echo no such library >&2; exit 127'),
    message: /does not run here .*no such library/s,
  },
])('$what is refused, and nothing is made', async ({ bin, message }) => {
  const server = await startServer({ POSTGRES_BIN_DIR: await bin() });
  expect(await server.ended()).toBe(1);
  expect(server.output()).toMatch(message);
  expect(server.output()).not.toContain('    at ');
  expect(existsSync(join(server.dataDir, 'postgres', 'data'))).toBe(false);
});

test('two answers to which PostgreSQL it is are one too many', async () => {
  const server = await startServer({ POSTGRES_BIN_DIR: '/usr/bin', DATABASE_URL: 'postgresql://localhost/x' });
  expect(await server.ended()).toBe(1);
  expect(server.output()).toContain('POSTGRES_BIN_DIR is for the PostgreSQL that this server runs');
});

test.runIf(process.getuid?.() === 0)('programs that the unprivileged user cannot reach are refused', async () => {
  const bin = await fakePrograms('echo "postgres (PostgreSQL) 17.1"');
  await chmod(join(bin, '..'), 0o700);
  const server = await startServer({ POSTGRES_BIN_DIR: bin });
  expect(await server.ended()).toBe(1);
  expect(server.output()).toMatch(/cannot run what is in .*Make the folders above it readable/);
});
