import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseEnv } from 'node:util';

const ROOT = new URL('..', import.meta.url).pathname;

/** A process under measurement that listens on `url`. */
export interface Measured {
  url: string;
  child: ChildProcess;
  stop(): Promise<void>;
}

export async function scratchFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'insforge-bench-'));
  await chmod(folder, 0o711);
  return folder;
}

export const removeFolder = (folder: string) => rm(folder, { recursive: true, force: true });

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (typeof address !== 'object' || !address) throw new Error('no port');
  return address.port;
}

/** Runs a program of this repository until its health answers. */
export async function startProgram(file: string, env: Record<string, string>, health: string): Promise<Measured> {
  const port = await freePort();
  const child = spawn(process.execPath, [file], {
    cwd: ROOT,
    env: { PATH: process.env.PATH, ...env, PORT: String(port) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const url = `http://127.0.0.1:${port}`;
  while (
    !(await fetch(url + health).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (child.exitCode !== null) throw new Error(`${file} ended`);
    await sleep(5);
  }
  return {
    url,
    child,
    async stop() {
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
    },
  };
}

export const startServer = (dataDir: string) =>
  startProgram('apps/server/src/main.js', { DATA_DIR: dataDir }, '/api/health');

export async function readKeys(dataDir: string): Promise<Record<string, string | undefined>> {
  return parseEnv(await readFile(join(dataDir, 'credentials.env'), 'utf8'));
}

/** A server of its own for a measurement, and how the owner of its database connects. */
export interface Fresh {
  server: Measured;
  keys: Record<string, string | undefined>;
  database: { host: string; user: string; password: string; database: string };
  /** Where files of the measurement may lie. */
  folder: string;
}

/** Runs `work` on a fresh server, which is gone afterwards. */
export async function withServer<Result>(work: (fresh: Fresh) => Promise<Result>): Promise<Result> {
  const folder = await scratchFolder();
  const dataDir = join(folder, 'data');
  const server = await startServer(dataDir);
  try {
    const keys = await readKeys(dataDir);
    const host = join(dataDir, 'postgres', 'run');
    const database = { host, user: 'postgres', password: keys.POSTGRES_PASSWORD ?? '', database: 'insforge' };
    return await work({ server, keys, database, folder });
  } finally {
    await server.stop();
    await removeFolder(folder);
  }
}
