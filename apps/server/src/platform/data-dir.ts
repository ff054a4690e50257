import { createHash } from 'node:crypto';
import { access, constants, mkdir, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { StartupError } from './errors.ts';

/** The data folder, held by this process until it ends. */
export interface DataDir {
  release(): Promise<void>;
}

/** macOS allows 103 bytes for a socket's path; PostgreSQL appends up to 20 to its folder. */
const MAX_SOCKET_PATH = 80;

/** A path for a socket that belongs to `folder`: in it, or, where that would be too long, in the temporary folder. */
export function socketPath(folder: string, name: string): string {
  const near = join(folder, name);
  if (Buffer.byteLength(near) <= MAX_SOCKET_PATH) return near;
  return join(tmpdir(), `insforge-${createHash('sha256').update(near).digest('hex').slice(0, 16)}`);
}

/**
 * Creates the data folder and takes it for this process. The lock is a socket that listens: it answers as
 * long as its owner lives and is dead with it, also after kill -9.
 * @throws StartupError when the folder cannot be written or another server uses it
 */
export async function openDataDir(path: string): Promise<DataDir> {
  try {
    await mkdir(path, { recursive: true, mode: 0o711 });
    await access(path, constants.W_OK | constants.X_OK);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new StartupError(
      `The data folder ${path} cannot be written (${reason}). Set DATA_DIR to a folder that this user may write to, or change its permissions.`,
      { cause },
    );
  }
  const lock = socketPath(path, 'server.lock');
  let server = await listen(lock);
  if (!server && !(await isAnswering(lock))) {
    await rm(lock, { force: true });
    server = await listen(lock);
  }
  if (!server) {
    throw new StartupError(
      `Another InsForge server is running on the data folder ${path}. Stop it first, or give this one a folder of its own with DATA_DIR (and a PORT).`,
    );
  }
  const held = server;
  return { release: () => new Promise((resolve) => held.close(() => resolve())) };
}

/** Resolves to undefined when something is bound to the path already. */
function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(new StartupError(`The data folder cannot be locked: ${error.message}`, { cause: error }));
    });
    server.listen(path, () => resolve(server.unref()));
  });
}

function isAnswering(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
