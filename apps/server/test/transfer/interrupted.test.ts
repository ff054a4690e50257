import { once } from 'node:events';
import { type ClientRequest, request } from 'node:http';
import { expect, test } from 'vitest';
import { startApp, type TestApp } from '../harness.ts';
import { startServer } from '../start/process.ts';

const TABLE = 'create table notes (id int primary key, title text not null)';

/** Begins to send a file to a listening server, and leaves the rest to the caller. */
function beginUpload(url: string, path: string, type: string, apiKey: string, size?: number): ClientRequest {
  const headers = { 'x-api-key': apiKey, 'content-type': type, ...(size ? { 'content-length': size } : {}) };
  // The connection is broken off on purpose.
  return request(`${url}/api/database/${path}`, { method: 'POST', headers }).on('error', () => {});
}

async function startFilled(): Promise<{ app: TestApp; url: string; apiKey: string }> {
  const app = await startApp();
  expect((await app.as('admin').post('/api/database/advance/rawsql', { query: TABLE })).status).toBe(200);
  const { SECRETS } = await import('../config.ts');
  return { app, url: await app.listen(), apiKey: SECRETS.ACCESS_API_KEY };
}

const progress = async ({ as }: TestApp) => (await as('admin').get('/api/database/import')).body.imports;
const csv = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => `${from + index},title ${from + index}\n`).join('');

/** What still runs for somebody in the database of an app. */
const busy = ({ sql }: TestApp) =>
  sql(`select query from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()
    and xact_start is not null`);

test.each([
  { type: 'text/csv', path: 'import/notes', body: `id,title\n${csv(1, 20_000)}` },
  { type: 'text/csv', path: 'import/notes?onError=skip', body: `id,title\n${csv(1, 20_000)}` },
  { type: 'text/csv', path: 'import/notes?upsertKey=id&truncate=true', body: `id,title\n${csv(1, 20_000)}` },
  { type: 'application/x-ndjson', path: 'import/notes', body: '{"id": 2, "title": "b"}\n'.repeat(20_000) },
])('a client that leaves in the middle of $path leaves nothing', async ({ type, path, body }) => {
  const { app, url, apiKey } = await startFilled();
  await app.sql(`insert into notes values (0, 'kept')`);
  const upload = beginUpload(url, path, type, apiKey);
  upload.write(body);
  await expect.poll(() => progress(app)).toMatchObject([{ table: 'notes', phase: 'reading', totalBytes: null }]);
  upload.destroy();
  await expect.poll(() => busy(app)).toEqual([]);
  expect(await app.sql('select * from notes')).toEqual([{ id: 0, title: 'kept' }]);
  expect(await progress(app)).toEqual([]);
  const whole = await app
    .as('admin')
    .post('/api/database/import/notes', `id,title\n${csv(1, 10)}`, { 'content-type': 'text/csv' });
  expect(whole.body).toMatchObject({ rowsImported: 10 });
});

test('how far an import has come is known while it runs', async () => {
  const { app, url, apiKey } = await startFilled();
  const [first, second] = [`id,title\n${csv(1, 50_000)}`, csv(50_001, 60_000)];
  const upload = beginUpload(url, 'import/notes', 'text/csv', apiKey, first.length + second.length);
  upload.write(first);
  await expect
    .poll(async () => (await progress(app))[0])
    .toMatchObject({
      table: 'notes',
      totalBytes: first.length + second.length,
      rows: expect.toSatisfy((rows) => rows > 40_000),
    });
  const replied = once(upload, 'response');
  upload.end(second);
  const [reply] = await replied;
  expect(reply.statusCode).toBe(200);
  reply.resume();
  expect(await app.sql('select count(*)::int as n from notes')).toEqual([{ n: 60_000 }]);
  for (const [who, status] of [
    ['nobody', 401],
    ['anon', 403],
  ] as const) {
    expect((await app.as(who).get('/api/database/import')).status).toBe(status);
  }
});

test('a reader that leaves ends the export', async () => {
  const { app, url, apiKey } = await startFilled();
  await app.sql(`insert into notes select n, repeat('x', 200) from generate_series(1, 200000) n`);
  for (const path of ['export/notes?format=csv', 'export/notes?format=json', 'export']) {
    const leaving = new AbortController();
    const reply = await fetch(`${url}/api/database/${path}`, {
      headers: { 'x-api-key': apiKey },
      signal: leaving.signal,
    });
    const reader = reply.body?.getReader();
    await reader?.read();
    expect(await busy(app)).toHaveLength(1);
    leaving.abort();
    await expect.poll(() => busy(app)).toEqual([]);
  }
});

test('after kill -9 of the server in the middle of an import there is nothing of it', async () => {
  const server = await startServer({});
  await server.ready();
  const { ACCESS_API_KEY = '' } = await server.credentials();
  const headers = { 'x-api-key': ACCESS_API_KEY, 'content-type': 'application/json' };
  const query = async (url: string, text: string) => {
    const body = JSON.stringify({ query: text });
    return (await fetch(`${url}/api/database/advance/rawsql`, { method: 'POST', headers, body })).json();
  };
  await query(server.url, TABLE);
  const upload = beginUpload(server.url, 'import/notes', 'text/csv', ACCESS_API_KEY);
  upload.write(`id,title\n${csv(1, 50_000)}`);
  const rows = async () => {
    const reply = await fetch(`${server.url}/api/database/import`, { headers });
    return ((await reply.json()) as { imports: { rows: number }[] }).imports[0]?.rows;
  };
  await expect.poll(rows).toBeGreaterThan(10_000);
  server.kill('SIGKILL');
  await server.ended();
  const again = await startServer({ DATA_DIR: server.dataDir });
  await again.ready();
  expect(await query(again.url, 'select count(*)::int as n from notes')).toMatchObject({ rows: [{ n: 0 }] });
});
