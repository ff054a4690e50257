import { execFile } from 'node:child_process';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { PGVECTOR_BIN, requirePgvector } from '../pgvector.ts';
import { scratchFolder, startServer } from '../start/process.ts';
import { comparable, DATA, SCHEMA } from './project.ts';

const run = promisify(execFile);

/** A server on the PostgreSQL of the machine, and what its admin asks. */
async function startProject(binDir = PGVECTOR_BIN) {
  const server = await startServer({ POSTGRES_BIN_DIR: binDir });
  await server.ready();
  const { ACCESS_API_KEY = '' } = await server.credentials();
  const headers = { 'x-api-key': ACCESS_API_KEY };
  const get = async (path: string) => {
    const reply = await fetch(`${server.url}/api/${path}`, { headers });
    return { status: reply.status, text: await reply.text() };
  };
  const sql = async (query: string, surface = 'rawsql') => {
    const json = { ...headers, 'content-type': 'application/json' };
    const request = { method: 'POST', headers: json, body: JSON.stringify({ query }) };
    const reply = await fetch(`${server.url}/api/database/advance/${surface}`, request);
    const text = await reply.text();
    expect([reply.status, text]).toEqual([200, text]);
  };
  const dump = async (query = '') => {
    const { status, text } = await get(`database/export?${query}`);
    expect([status, text]).toEqual([200, text]);
    return text;
  };
  const restore = async (text: string) => {
    const body = new FormData();
    body.append('file', new Blob([text]), 'dump.sql');
    const reply = await fetch(`${server.url}/api/database/advance/import`, { method: 'POST', headers, body });
    const answer = await reply.text();
    expect([reply.status, answer]).toEqual([200, answer]);
  };
  const fill = async () => {
    await sql(SCHEMA);
    await sql(DATA);
    const id = '00000000-0000-0000-0000-0000000000aa';
    const users = `insert into auth.users (id, email, password) values ('${id}', 'alice@example.com', 'hash')`;
    await sql(`${users}; update posts set editor = '${id}' where id = 1`, 'rawsql/unrestricted');
  };
  return { server, get, sql, dump, restore, fill };
}

test('pg_dump writes the dump where it is new enough, and it restores by our import and by psql', async ({ skip }) => {
  requirePgvector(skip);
  const from = await startProject();
  await from.sql('create extension vector');
  await from.fill();
  const text = await from.dump();
  expect(text).toContain('Dumped by pg_dump version 17');
  expect(text).not.toContain('POSTGRES_PASSWORD');
  const ours = comparable(await from.dump('tool=insforge'));

  const imported = await startProject();
  await imported.restore(text);
  expect(comparable(await imported.dump('tool=insforge'))).toEqual(ours);

  const restored = await startProject();
  const file = join(await scratchFolder(), 'dump.sql');
  await writeFile(file, text);
  const { connectionURL } = JSON.parse((await restored.get('metadata/database-connection-string')).text);
  const { POSTGRES_PASSWORD: PGPASSWORD } = await restored.server.credentials();
  const args = [
    connectionURL.replace(':********', ''),
    '-v',
    'ON_ERROR_STOP=1',
    '--single-transaction',
    '-q',
    '-f',
    file,
  ];
  await run(join(PGVECTOR_BIN, 'psql'), args, { env: { PATH: process.env.PATH, PGPASSWORD } });
  expect(comparable(await restored.dump('tool=insforge'))).toEqual(ours);
});

test('parts that pg_dump has switches for, and those it has none for', async ({ skip }) => {
  requirePgvector(skip);
  const from = await startProject();
  await from.fill();
  const bare = await from.dump('data=false&grants=false');
  expect(bare).toContain('Dumped by pg_dump');
  for (const word of ['COPY ', 'INSERT INTO auth.users', 'GRANT ', 'OWNER TO']) expect(bare).not.toContain(word);
  for (const part of [
    'functions=false',
    'views=false',
    'policies=false',
    'triggers=false',
    'sequences=false',
    'tables=posts',
  ]) {
    expect(await from.dump(part)).not.toContain('Dumped by pg_dump');
  }
});

test.for([
  { what: 'is too old', script: 'echo "pg_dump (PostgreSQL) 16.9"', status: 200, text: 'CREATE TABLE public.notes' },
  { what: 'is none', script: 'exit 1', status: 200, text: 'CREATE TABLE public.notes' },
  {
    what: 'fails',
    script: 'if [ "$1" = --version ]; then echo "pg_dump (PostgreSQL) 17.1"; else echo no luck >&2; exit 1; fi',
    status: 503,
    text: 'pg_dump failed: no luck',
  },
])('a pg_dump that $what', async ({ script, status, text }, { skip }) => {
  requirePgvector(skip);
  const bin = join(await scratchFolder(), 'bin');
  await mkdir(bin);
  for (const program of ['initdb', 'pg_ctl', 'postgres'])
    await symlink(join(PGVECTOR_BIN, program), join(bin, program));
  await writeFile(join(bin, 'pg_dump'), `#!/bin/sh\n${script}\n`);
  await chmod(join(bin, 'pg_dump'), 0o755);
  const project = await startProject(bin);
  await project.sql('create table notes ()');
  const reply = await project.get('database/export');
  expect(reply.status).toBe(status);
  expect(reply.text).toContain(text);
  if (status !== 200) expect(reply.text).toContain('tool=insforge');
});
