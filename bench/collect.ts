import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** Where Node.js listens for debuggers once it has got SIGUSR1. */
const INSPECTOR = 'http://127.0.0.1:9229/json';

/** Has a Node.js process throw away its garbage, so that what is left is memory in use. */
export async function collectGarbage(child: ChildProcess): Promise<void> {
  child.kill('SIGUSR1');
  const socket = new WebSocket(await debuggerUrl());
  await once(socket, 'open');
  const answered = once(socket, 'message');
  socket.send(JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' }));
  await answered;
  socket.close();
}

async function debuggerUrl(): Promise<string> {
  for (;;) {
    const reply = await fetch(INSPECTOR).catch(() => undefined);
    const targets = ((await reply?.json()) ?? []) as { webSocketDebuggerUrl: string }[];
    if (targets[0]) return targets[0].webSocketDebuggerUrl;
    await sleep(5);
  }
}
