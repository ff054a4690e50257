import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { access, chown, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client, type ClientConfig } from 'pg';
import { socketPath } from '#platform/data-dir.ts';
import { StartupError } from '#platform/errors.ts';
import type { Logger } from '#platform/log.ts';
import { bundledPostgres, type Installation, POSTGRES_ENV } from './binaries.ts';
import { type PostgresHome, preparePostgresHome } from './os-user.ts';

const run = promisify(execFile);

/** A PostgreSQL of our own, running as a child process. */
export interface PostgresCluster {
  /** How to connect as the superuser: over a socket that only its folder's owner can reach. */
  connection: ClientConfig;
  /** Resolves when a cluster that was just created is safe from a loss of power; to be awaited before serving. */
  durable: Promise<void>;
  /** Ends sessions, writes a checkpoint and waits for the process to be gone. */
  stop(): Promise<void>;
}

export interface ClusterOptions {
  dataDir: string;
  /** Of the superuser; given to initdb on the first start. */
  password: string;
  database: string;
  /** The programs of a PostgreSQL of this machine; absent: the bundled one. */
  binDir?: string | undefined;
  log: Logger;
}

/**
 * The longest that PostgreSQL may take to replay its log after a crash. While it does, it answers
 * "the database system is starting up" and we wait.
 */
const RECOVERY_MS = 120_000;
/** Once it has given up that often before its first "ready", waiting longer will not help. */
const MAX_LAUNCHES = 25;
const RELAUNCH_MS = 200;

const SETTINGS = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  password_encryption: 'scram-sha-256',
  max_connections: '100',
  shared_buffers: '128MB',
  // A laptop is the usual machine: no helper processes that idle, no compiled plans for millisecond queries.
  max_logical_replication_workers: '0',
  jit: 'off',
  random_page_cost: '1.1',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

/** Settings that older versions do not know. */
const settingsOf = ({ major }: Installation) => ({ ...SETTINGS, ...(major >= 18 ? { io_method: 'sync' } : {}) });

/** Creates the cluster where there is none yet, starts it, and keeps it running until `stop`. */
export async function startPostgres(options: ClusterOptions): Promise<PostgresCluster> {
  const { dataDir, password, database, log } = options;
  const home = await preparePostgresHome(dataDir, options.binDir);
  const cluster = join(home.folder, 'data');
  await requireSameMajor(home, cluster);
  await stopOrphan(home, cluster);
  const { durable } = await ensureCluster(home, cluster, password);
  await removeAttempts(home);
  const socketDir = await socketFolder(home);
  const connection: ClientConfig = { host: socketDir, port: 5432, user: 'postgres', password, database };
  const logFile = await open(join(dataDir, 'postgres.log'), 'a', 0o600);

  let stopping = false;
  let launches = 0;
  let child: ChildProcess;
  const launch = () => {
    launches++;
    const settings = Object.entries({ ...settingsOf(home.installation), unix_socket_directories: socketDir });
    const args = ['-D', cluster, '-p', '5432', ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])];
    // In a process group of its own: Ctrl-C must reach us first, so that requests can finish.
    child = spawn(join(home.installation.bin, 'postgres'), args, {
      ...childOptions(home),
      detached: true,
      stdio: ['ignore', logFile.fd, logFile.fd],
    });
    child.once('exit', (code, signal) => {
      if (stopping) return;
      log.error({ code, signal }, 'postgres.exited');
      // Its children hold the shared memory for a moment after it was killed; it refuses to start until then.
      setTimeout(() => !stopping && launch(), RELAUNCH_MS);
    });
  };
  launch();
  await untilReady(connection, () => launches < MAX_LAUNCHES).catch(async (error: unknown) => {
    stopping = true;
    child.kill('SIGINT');
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError(`PostgreSQL did not start (${reason}). Its log is ${join(dataDir, 'postgres.log')}.`, {
      cause: error,
    });
  });

  return {
    connection,
    durable,
    async stop() {
      stopping = true;
      if (child.exitCode === null && child.signalCode === null) {
        const gone = once(child, 'exit');
        child.kill('SIGINT'); // "fast" shutdown: https://www.postgresql.org/docs/current/server-shutdown.html
        await gone;
      }
      await logFile.close();
    },
  };
}

/** A cluster is for the versions that begin with the same number, and must not be touched by others. */
async function requireSameMajor({ folder, installation }: PostgresHome, cluster: string): Promise<void> {
  if (await exists(join(folder, 'creating'))) return;
  const found = await readFile(join(cluster, 'PG_VERSION'), 'utf8').catch(() => undefined);
  if (found === undefined || Number.parseInt(found, 10) === installation.major) return;
  throw new StartupError(
    `The data folder holds a cluster of PostgreSQL ${found.trim()}, and ${installation.bin} is version ${installation.version}. Set POSTGRES_BIN_DIR to the programs of version ${found.trim()} (the bundled PostgreSQL, without that variable, is ${bundledPostgres().version}). To change the version, save GET /api/database/export with the old one, and send the file to POST /api/database/advance/import of a server with an empty DATA_DIR and the new one.`,
  );
}

/**
 * Creates the cluster where there is none. As long as the mark beside it exists it is not safely on disk, and
 * nobody has been served from it: only then may it be thrown away.
 * @returns when it is safely on disk, which takes its time beside the rest of a first start
 */
async function ensureCluster(
  home: PostgresHome,
  cluster: string,
  password: string,
): Promise<{ durable: Promise<void> }> {
  const mark = join(home.folder, 'creating');
  if (await exists(mark)) await rm(cluster, { recursive: true, force: true });
  else if (await exists(join(cluster, 'PG_VERSION'))) return { durable: Promise.resolve() };
  const file = await open(mark, 'w');
  await file.sync();
  await file.close();
  // Each attempt has a folder of its own: the initdb of a server that was killed goes on writing into its.
  const attempt = join(home.folder, `${ATTEMPT}${randomBytes(4).toString('hex')}`);
  await initialise(home, attempt, password);
  await rename(attempt, cluster);
  const durable = run(join(home.installation.bin, 'initdb'), ['--sync-only', '-D', cluster], childOptions(home)).then(
    () => rm(mark),
  );
  durable.catch(() => {}); // its awaiter reports it
  return { durable };
}

const ATTEMPT = 'initdb-';

async function removeAttempts(home: PostgresHome): Promise<void> {
  const names = (await readdir(home.folder)).filter((name) => name.startsWith(ATTEMPT));
  // One that is still being written to goes at the next start.
  for (const name of names) await rm(join(home.folder, name), { recursive: true, force: true }).catch(() => {});
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

async function initialise(home: PostgresHome, cluster: string, password: string): Promise<void> {
  const passwordFile = `${cluster}.password`;
  const args = ['-D', cluster, '-U', 'postgres', '--pwfile', passwordFile, '-A', 'scram-sha-256', '-E', 'UTF8'];
  args.push(...localeOf(home.installation), '--no-instructions', '--no-sync');
  try {
    await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
    if (home.user) await chown(passwordFile, home.user.uid, home.user.gid);
    await run(join(home.installation.bin, 'initdb'), args, childOptions(home));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError(`PostgreSQL could not create its cluster in ${cluster}: ${reason.trim()}`, { cause: error });
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/** UTF-8 in the order of its code points, which no update of the machine ever changes. */
const localeOf = ({ major }: Installation) =>
  major >= 17 ? ['--locale-provider=builtin', '--builtin-locale=C.UTF-8', '--no-locale'] : ['--locale=C.UTF-8'];

/** A server that was killed leaves its PostgreSQL running. It holds the cluster, so it has to go first. */
async function stopOrphan(home: PostgresHome, cluster: string): Promise<void> {
  const pidFile = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => undefined);
  if (pidFile === undefined) return;
  // Fails when the process is gone already; PostgreSQL then removes the stale file itself.
  await run(
    join(home.installation.bin, 'pg_ctl'),
    ['stop', '-D', cluster, '-m', 'fast', '-w', '-t', '60'],
    childOptions(home),
  ).catch(() => {});
}

async function socketFolder(home: PostgresHome): Promise<string> {
  const folder = socketPath(home.folder, 'run');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (home.user) await chown(folder, home.user.uid, home.user.gid);
  return folder;
}

const childOptions = ({ user }: PostgresHome) => ({ ...user, cwd: '/', env: POSTGRES_ENV });

async function untilReady(connection: ClientConfig, isHopeful: () => boolean): Promise<void> {
  const deadline = Date.now() + RECOVERY_MS;
  for (;;) {
    try {
      return await ensureDatabase(connection);
    } catch (error) {
      if (Date.now() > deadline || !isHopeful() || !isStarting(error)) throw error;
      await sleep(10);
    }
  }
}

/** No socket yet, not listening yet, or still replaying the log (57P03). */
function isStarting(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', '57P03'].includes(String(error.code))
  );
}

async function ensureDatabase(connection: ClientConfig): Promise<void> {
  const client = new Client({ ...connection, database: 'postgres' });
  client.on('error', () => {});
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [connection.database]);
    if (!rowCount) await client.query(`create database ${client.escapeIdentifier(connection.database ?? '')}`);
  } finally {
    await client.end();
  }
}
