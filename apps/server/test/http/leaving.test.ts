import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';
import { makeBucket, objectPath } from '../storage/files.ts';

const INFO = pino.levels.values.info ?? 0;
const JSON_TYPE = { 'content-type': 'application/json' };
/** As many as there are connections for requests, beside the lanes. */
const CONNECTIONS = 18;
const HOLD = '/api/database/rpc/hold';

interface Line {
  level: number;
  msg: string;
  err?: { message: string };
}

async function startLogging(env: Record<string, string> = {}) {
  const lines: Line[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const server = await startApp(env, { log });
  await server.listen();
  const abandoned = () => lines.filter(({ msg }) => msg === 'request.abandoned');
  const alarming = () => lines.filter(({ level }) => level > INFO);
  return { server, abandoned, alarming };
}

/** Sends a request, or its beginning, over a socket of its own; returns when the server has seen it. */
async function ask({ app }: TestApp, request: string, headers: Record<string, string>, body = '') {
  const address = app.server.address();
  if (typeof address !== 'object' || !address) throw new Error('the server does not listen');
  const seen = once(app.server, 'request') as Promise<[unknown, ServerResponse]>;
  const socket = connect(address.port, '127.0.0.1');
  const all = { host: 'x', 'x-api-key': SECRETS.ACCESS_API_KEY, 'content-length': String(body.length), ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`${request} HTTP/1.1\r\n${lines.join('')}\r\n${body}`);
  const [, response] = await seen;
  return {
    socket,
    /** Goes away, and waits until the server knows. */
    async leave() {
      const noticed = once(response, 'close');
      socket.destroy();
      await noticed;
    },
  };
}

test.each([
  { what: 'rows', request: 'POST /api/database/records/notes' },
  { what: 'settings', request: 'PUT /api/storage/config' },
])('who goes away while they send $what is no alarm', async ({ request }) => {
  const { server, abandoned, alarming } = await startLogging();
  const client = await ask(server, request, { ...JSON_TYPE, 'content-length': '1000', expect: '100-continue' });
  await once(client.socket, 'data');
  await client.leave();
  await expect.poll(abandoned).toHaveLength(1);
  expect(alarming()).toEqual([]);
});

const COUNT_HELD = "select from pg_stat_activity where wait_event = 'advisory' and datname = current_database()";

/** Makes a function that waits for as long as it is held up. */
async function makeHold({ sql, as }: TestApp, handler = '') {
  await sql(`
    create function hold() returns void language plpgsql volatile as $$ begin
      perform pg_advisory_xact_lock_shared(1); ${handler} end $$`);
  await expect.poll(async () => (await as('anon').post(HOLD)).status).toBe(204);
  await sql('select pg_advisory_lock(1)');
}

test('who goes away while a function runs is no alarm', async () => {
  const { server, abandoned, alarming } = await startLogging();
  await makeHold(server);
  const client = await ask(server, `POST ${HOLD}`, JSON_TYPE, '{}');
  await expect.poll(() => server.sql(COUNT_HELD)).toHaveLength(1);
  await client.leave();
  await expect.poll(abandoned).toHaveLength(1);
  expect(await server.sql(COUNT_HELD)).toEqual([]);
  expect(alarming()).toEqual([]);
});

test('what fails for a reason of its own is an alarm, though its client has gone', async () => {
  const { server, alarming } = await startLogging();
  await makeHold(server, "exception when query_canceled then raise 'broken' using errcode = 'XX000';");
  const client = await ask(server, `POST ${HOLD}`, JSON_TYPE, '{}');
  await expect.poll(() => server.sql(COUNT_HELD)).toHaveLength(1);
  await client.leave();
  await expect.poll(alarming).toMatchObject([{ msg: 'request.failed', err: { message: 'broken' } }]);
});

test('who goes away while they wait for a connection to the database is no alarm', async () => {
  const { server, abandoned, alarming } = await startLogging();
  await makeHold(server);
  const others = Array.from({ length: CONNECTIONS }, () => server.as('anon').post(HOLD));
  await expect.poll(() => server.sql(COUNT_HELD)).toHaveLength(CONNECTIONS);
  const client = await ask(server, `POST ${HOLD}`, JSON_TYPE, '{}');
  await client.leave();
  await server.sql('select pg_advisory_unlock(1)');
  expect(new Set((await Promise.all(others)).map(({ status }) => status))).toEqual(new Set([204]));
  await expect.poll(abandoned).toHaveLength(1);
  expect(alarming()).toEqual([]);
});

test('who goes away while they upload or download is no alarm', async () => {
  const { server, alarming } = await startLogging();
  await makeBucket(server, 'b');
  const path = objectPath('b', 'f');
  expect((await server.as('admin').put(path, Buffer.alloc(40_000_000))).status).toBe(200);
  const download = await ask(server, `GET ${path}`, {});
  await once(download.socket, 'data');
  await download.leave();
  for (const type of ['text/plain', 'multipart/form-data; boundary=x']) {
    const headers = { 'content-type': type, 'content-length': '100000' };
    const upload = await ask(server, `PUT ${path}`, headers, 'x'.repeat(70_000));
    await upload.leave();
  }
  await server.app.close();
  expect(alarming()).toEqual([]);
});

test.each([
  { what: 'JSON', request: 'POST /api/database/records/notes', headers: JSON_TYPE },
  {
    what: 'a form',
    request: 'POST /api/oauth/v1/token',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  },
])('who sends half of $what and then nothing is cut off', async ({ request, headers }) => {
  const { server, alarming } = await startLogging({ UPLOAD_IDLE_TIMEOUT_MS: '100' });
  const { socket } = await ask(server, request, { ...headers, 'content-length': '1000' }, '{"a":');
  const [answer] = await once(socket, 'data');
  expect(String(answer)).toMatch(/^HTTP\/1.1 408 /);
  await once(socket, 'close');
  expect(alarming()).toEqual([]);
});

test('who sends slowly, but goes on, is waited for', async () => {
  const { server } = await startLogging({ UPLOAD_IDLE_TIMEOUT_MS: '100' });
  const body = JSON.stringify({ maxFileSizeMb: 77 });
  const { socket } = await ask(server, 'PUT /api/storage/config', {
    ...JSON_TYPE,
    'content-length': String(body.length),
  });
  const answered = once(socket, 'data');
  for (const character of body) {
    socket.write(character);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const [answer] = await answered;
  expect(String(answer)).toMatch(/^HTTP\/1.1 200 /);
});
