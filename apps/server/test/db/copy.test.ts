import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { Client, type Connection } from 'pg';
import { expect, inject, onTestFinished, test } from 'vitest';
import { CopyTo } from '../../src/platform/db/copy.ts';

function message(type: string, body: string): Buffer {
  const bytes = Buffer.alloc(5 + Buffer.byteLength(body));
  bytes.write(type);
  bytes.writeUInt32BE(bytes.length - 1, 1);
  bytes.write(body, 5);
  return bytes;
}

const READY = message('Z', 'T');
const NEXT = message('C', 'the answer to the next query');
/** An answer with rows of all lengths, and with messages between them that are for somebody else. */
const ROWS = ['one\n', '', 'two\n', `${'x'.repeat(300)}\n`, 'd\n', 'five\n'];
const OTHERS = [message('H', '\0\0\0'), message('N', 'a notice'), message('S', 'a setting'), message('c', '')];
const ANSWER = [
  OTHERS[0],
  ...ROWS.slice(0, 3).map((row) => message('d', row)),
  OTHERS[1],
  message('d', ROWS[3] ?? ''),
  OTHERS[2],
  ...ROWS.slice(4).map((row) => message('d', row)),
  OTHERS[3],
  message('C', 'COPY 6'),
  READY,
  NEXT,
].map((part) => part ?? Buffer.alloc(0));

/** A COPY on a connection whose other end is the test. `heard` is what the listener before it got. */
function submitted() {
  const socket = new PassThrough({ highWaterMark: 1024 * 1024 });
  const heard: Buffer[] = [];
  const copy = new CopyTo('copy t to stdout');
  socket.on('data', (data: Buffer) => {
    heard.push(Buffer.from(data));
    if (data.includes(READY)) copy.handleReadyForQuery();
  });
  copy.submit({ stream: socket, query: () => {} } as unknown as Connection);
  return { socket, heard, copy };
}

const bytes = Buffer.concat(ANSWER);
const cuts = Array.from({ length: bytes.length - 1 }, (_, index) => [
  bytes.subarray(0, index + 1),
  bytes.subarray(index + 1),
]);

test('messages may be cut anywhere: rows come out in order, the others reach who listened before', async () => {
  const single = Array.from(bytes, (byte) => Buffer.from([byte]));
  for (const chunks of [[bytes], single, ...cuts]) {
    const { socket, heard, copy } = submitted();
    for (const chunk of chunks) socket.emit('data', Buffer.from(chunk));
    expect(await text(copy.stream)).toBe(ROWS.join(''));
    expect(Buffer.concat(heard)).toEqual(Buffer.concat([...OTHERS, ...ANSWER.slice(-3)]));
  }
});

async function connect(): Promise<Client> {
  const client = new Client({ ...inject('postgres'), database: 'postgres' });
  client.on('error', () => {});
  await client.connect();
  onTestFinished(() => client.end());
  return client;
}

const copy = (client: Client, query: string) => client.query(new CopyTo(`copy (${query}) to stdout`)).stream;
const MANY = `select n, repeat('x', 100) from generate_series(1, 100000) n`;
const many = () => Array.from({ length: 100_000 }, (_, index) => `${index + 1}\t${'x'.repeat(100)}\n`).join('');

test('what was handed out stays as it is while more comes', async () => {
  const pieces: Buffer[] = [];
  for await (const piece of copy(await connect(), MANY)) pieces.push(piece);
  expect(Buffer.concat(pieces).toString()).toBe(many());
});

test('a row of many megabytes', async () => {
  const whole = await text(copy(await connect(), `select repeat('x', 50 * 1024 * 1024)`));
  expect(whole.length).toBe(50 * 1024 * 1024 + 1);
});

test('a reader that waits makes the server wait, and loses nothing', async () => {
  const client = await connect();
  const other = await connect();
  const pid = await client.query('select pg_backend_pid() as pid');
  const stream = copy(client, MANY);
  const waits = async () =>
    (await other.query('select wait_event from pg_stat_activity where pid = $1', [pid.rows[0].pid])).rows[0].wait_event;
  await expect.poll(waits).toBe('ClientWrite');
  expect(stream.readableLength).toBeLessThan(1024 * 1024);
  expect(await text(stream)).toBe(many());
});

test('notices between the rows, and queries queued behind them', async () => {
  const client = await connect();
  const notices: unknown[] = [];
  client.on('notice', ({ message }) => notices.push(message));
  await client.query(
    `create function pg_temp.told(n int) returns int language plpgsql as $$ begin raise notice 'row %', n; return n; end $$`,
  );
  const first = copy(client, 'select pg_temp.told(n) from generate_series(1, 3) n');
  const second = copy(client, 'select 7');
  const after = client.query('select 8 as n');
  expect([await text(first), await text(second), (await after).rows]).toEqual(['1\n2\n3\n', '7\n', [{ n: 8 }]]);
  expect(notices).toEqual(['row 1', 'row 2', 'row 3']);
});

test('an error between the rows ends the stream, not the connection', async () => {
  const client = await connect();
  for (const query of ['select 1 / (50000 - n) from generate_series(1, 100000) n', 'select wrong']) {
    await expect(text(copy(client, query))).rejects.toHaveProperty('severity', 'ERROR');
    expect((await client.query('select 8 as n')).rows).toEqual([{ n: 8 }]);
  }
});

test('a reader that goes away ends the COPY in the database; one that went before it began starts none', async () => {
  const client = await connect();
  const other = await connect();
  const { rows } = await client.query('select pg_backend_pid() as pid');
  const endless = copy(client, 'select generate_series(1, 1000000000)');
  await once(endless, 'readable');
  endless.destroy();
  await expect(client.query('select 1')).rejects.toThrow();
  await expect
    .poll(async () => (await other.query('select from pg_stat_activity where pid = $1', [rows[0].pid])).rowCount)
    .toBe(0);

  const blocking = other.query('select pg_sleep(0.01)');
  const unwanted = copy(other, MANY).on('error', () => {});
  unwanted.destroy();
  await blocking;
  expect((await other.query('select 8 as n')).rows).toEqual([{ n: 8 }]);
});

test('a connection that breaks breaks the stream', async () => {
  const client = await connect();
  const other = await connect();
  const { rows } = await client.query('select pg_backend_pid() as pid');
  const stream = copy(client, 'select generate_series(1, 1000000000)');
  await once(stream, 'readable');
  const broken = expect(text(stream)).rejects.toThrow();
  await other.query('select pg_terminate_backend($1)', [rows[0].pid]);
  await broken;
});
