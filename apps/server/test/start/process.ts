import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, readlink, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseEnv } from 'node:util';
import { onTestFinished } from 'vitest';

const ROOT = new URL('../../../../', import.meta.url).pathname;

/** A server started as its user starts it: in a process of its own, with an environment and a data folder. */
export interface ServerProcess {
  url: string;
  dataDir: string;
  child: ChildProcess;
  /** What it has printed so far, both streams. */
  output(): string;
  /** Waits until it answers as healthy. */
  ready(): Promise<void>;
  /** Waits for its end; resolves to the exit code, or the signal that ended it. */
  ended(): Promise<number | string>;
  kill(signal: 'SIGTERM' | 'SIGKILL'): void;
  credentials(): Promise<Record<string, string | undefined>>;
}

export async function scratchFolder(mode = 0o711): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'insforge-process-'));
  await chmod(folder, mode);
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (typeof address !== 'object' || !address) throw new Error('no port');
  return address.port;
}

/**
 * Starts the server. It is stopped, with the PostgreSQL it may have started, when the test has finished.
 * @param flags for Node.js
 */
export async function startServer(
  environment: Record<string, string>,
  flags: readonly string[] = [],
): Promise<ServerProcess> {
  const port = environment.PORT ?? String(await freePort());
  const dataDir = environment.DATA_DIR ?? join(await scratchFolder(), 'data');
  const child = spawn(process.execPath, [...flags, 'apps/server/src/main.js'], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, ...environment, PORT: port, DATA_DIR: dataDir },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const exit = once(child, 'close').then(([code, signal]) => code ?? signal);
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  onTestFinished(async () => {
    if (isRunning()) child.kill('SIGTERM');
    await exit;
    await removeMoved(dataDir);
  });
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    dataDir,
    child,
    output: () => output,
    async ready() {
      for (;;) {
        const healthy = await fetch(`${url}/api/health`).then(
          ({ ok }) => ok,
          () => false,
        );
        if (healthy) return;
        if (!isRunning()) throw new Error(`the server ended: ${output}`);
        await sleep(20);
      }
    },
    ended: () => exit,
    kill: (signal) => void child.kill(signal),
    credentials: async () => parseEnv(await readFile(join(dataDir, 'credentials.env'), 'utf8')),
  };
}

/** Where root's PostgreSQL cannot live in a data folder, a link there says where it does. */
async function removeMoved(dataDir: string): Promise<void> {
  const moved = await readlink(join(dataDir, 'postgres')).catch(() => undefined);
  if (moved !== undefined) await rm(dirname(moved), { recursive: true, force: true });
}

/** The process id of the PostgreSQL that serves a data folder. */
export async function postgresPid(dataDir: string): Promise<number> {
  const [pid] = (await readFile(join(dataDir, 'postgres', 'data', 'postmaster.pid'), 'utf8')).split('\n');
  return Number(pid);
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
