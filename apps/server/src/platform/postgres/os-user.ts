import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, readFile, stat, symlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { StartupError } from '#platform/errors.ts';
import { bundledPostgres, copyPostgres, type Installation, installedPostgres, POSTGRES_ENV } from './binaries.ts';

const run = promisify(execFile);

/** The operating-system user that PostgreSQL runs as; undefined means as ourselves. */
export interface OsUser {
  uid: number;
  gid: number;
}

/** Which PostgreSQL it is, where its cluster is, and as whom it runs. */
export interface PostgresHome {
  user: OsUser | undefined;
  installation: Installation;
  /** The folder that holds the cluster and the socket; belongs to `user`, mode 0700. */
  folder: string;
}

/** Where a server that root started keeps what its unprivileged PostgreSQL cannot reach in the data folder. */
const ROOT_HOME = '/var/lib/insforge';

/**
 * Decides where PostgreSQL lives. It refuses to run as root, so under root it runs as an unprivileged user:
 * in the data folder if that user can get there, else in /var/lib/insforge with a link in the data folder.
 * @param binDir the programs of a PostgreSQL of this machine; absent: the bundled one
 */
export async function preparePostgresHome(dataDir: string, binDir: string | undefined): Promise<PostgresHome> {
  const folder = join(dataDir, 'postgres');
  if (process.getuid?.() !== 0) {
    const installation = binDir === undefined ? bundledPostgres() : await installedPostgres(binDir);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return { user: undefined, installation, folder };
  }
  const user = await unprivilegedUser(folder);
  const installation = binDir === undefined ? await reachableBundle(user) : await reachable(user, binDir);
  if (await canEnter(user, dataDir)) {
    await own(folder, user);
    return { user, installation, folder };
  }
  const moved = join(ROOT_HOME, createHash('sha256').update(dataDir).digest('hex').slice(0, 12), 'postgres');
  await mkdir(dirname(moved), { recursive: true, mode: 0o755 });
  await own(moved, user);
  await symlink(moved, folder).catch(ignoreExisting);
  return { user, installation, folder: moved };
}

/** The bundled PostgreSQL, or a copy of it where the user cannot read the original. */
async function reachableBundle(user: OsUser): Promise<Installation> {
  const { root, ...bundled } = bundledPostgres();
  if (await canRun(user, bundled)) return bundled;
  await mkdir(ROOT_HOME, { recursive: true, mode: 0o755 });
  const copy = join(ROOT_HOME, `postgresql-${bundled.version}`);
  await copyPostgres(root, copy);
  return { ...bundled, bin: join(copy, 'bin') };
}

async function reachable(user: OsUser, binDir: string): Promise<Installation> {
  const installation = await installedPostgres(binDir);
  if (await canRun(user, installation)) return installation;
  throw new StartupError(
    `POSTGRES_BIN_DIR: the user with the id ${user.uid}, as whom PostgreSQL runs when root starts the server, cannot run what is in ${binDir}. Make the folders above it readable, or start the server as another user.`,
  );
}

async function own(folder: string, user: OsUser): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await chmod(folder, 0o700);
  await chown(folder, user.uid, user.gid);
}

function ignoreExisting(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
}

/** Who owns the cluster already; else the user `postgres` where there is one; else `nobody`. */
async function unprivilegedUser(folder: string): Promise<OsUser> {
  const owner = await stat(folder).catch(() => undefined);
  if (owner && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  for (const name of ['postgres', 'nobody']) {
    const [, , uid, gid] = lines.find(([user]) => user === name) ?? [];
    if (uid && gid) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new StartupError(
    'PostgreSQL refuses to run as root, and this machine has neither a user "postgres" nor "nobody". Start the server as another user, or set DATABASE_URL to an existing PostgreSQL.',
  );
}

const canEnter = (user: OsUser, folder: string) => tries(user, '/bin/sh', ['-c', 'cd "$1"', 'sh', folder]);
const canRun = (user: OsUser, { bin }: Installation) => tries(user, join(bin, 'postgres'), ['--version']);

async function tries(user: OsUser, file: string, args: string[]): Promise<boolean> {
  return run(file, args, { ...user, cwd: '/', env: POSTGRES_ENV }).then(
    () => true,
    () => false,
  );
}
