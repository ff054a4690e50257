/**
 * Sends prepared requests over plain sockets and throws away what comes back, so that as little as possible of the
 * machine goes to the client. Reads a Load from stdin, writes how many requests a second were answered to stdout.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';

export interface Load {
  port: number;
  connections: number;
  /** For so long it is not counted: a server that had nothing to do has given its memory back. */
  uncounted: number;
  /** And then for so long. No request begins after that; the last ones are waited for. */
  seconds: number;
  /** No more requests than this. */
  atMost: number;
  /** Request lines with their headers, taken in turn. */
  heads: string[];
  /** How many bytes follow each of them. */
  bodyBytes: number;
}

import { BYTES } from './storage-targets.ts';

const load: Load = JSON.parse(await text(process.stdin));
let sent = 0;
if (load.uncounted > 0) await measure(load.uncounted);
process.stdout.write(String(await measure(load.seconds)));

/** How many requests a second are answered. */
async function measure(seconds: number): Promise<number> {
  const first = sent;
  const began = performance.now();
  const isOver = () => sent >= load.atMost || performance.now() - began > seconds * 1000;
  await Promise.all(Array.from({ length: load.connections }, () => sendAll(isOver)));
  return ((sent - first) * 1000) / (performance.now() - began);
}

async function sendAll(isOver: () => boolean): Promise<void> {
  const socket = connect(load.port, '127.0.0.1');
  await once(socket, 'connect');
  const answers = readAnswers(socket);
  while (!isOver()) {
    const head = load.heads[sent++ % load.heads.length] ?? '';
    const answer = answers.next();
    await send(socket, head);
    const { value: status } = await answer;
    if (status !== 200 && status !== 201) throw new Error(`${head.split('\r\n', 1)} was answered with ${status}`);
  }
  socket.destroy();
}

async function send(socket: Socket, head: string): Promise<void> {
  if (load.bodyBytes <= BYTES.length) {
    socket.write(Buffer.concat([Buffer.from(head), BYTES.subarray(0, load.bodyBytes)]));
    return;
  }
  socket.write(head);
  for (let left = load.bodyBytes; left > 0; left -= BYTES.length) {
    if (!socket.write(BYTES.subarray(0, left))) await once(socket, 'drain');
  }
}

/** The status of each answer, as soon as its last byte is there. */
async function* readAnswers(socket: Socket): AsyncGenerator<number> {
  let head = '';
  let left = -1;
  let status = 0;
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    let start = 0;
    if (left < 0) {
      head += chunk.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) continue;
      start = chunk.length - (head.length - (end + 4));
      status = Number(head.slice(9, 12));
      left = Number(/^content-length: (\d+)/im.exec(head.slice(0, end))?.[1] ?? 0);
      head = '';
    }
    left -= chunk.length - start;
    if (left > 0) continue;
    left = -1;
    yield status;
  }
}
