import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, chown, mkdir, readFile, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { StartupError } from '#platform/errors.ts';
import { bundledPostgres, copyPostgres } from './binaries.ts';

const run = promisify(execFile);

/** The operating-system user that PostgreSQL runs as; undefined means as ourselves. */
export interface OsUser {
  uid: number;
  gid: number;
}

/** Where PostgreSQL's programs and its cluster are, and as whom it runs. */
export interface PostgresHome {
  user: OsUser | undefined;
  /** The folder with `bin/`, `lib/` and `share/`. */
  installation: string;
  /** The folder that holds the cluster and the socket; belongs to `user`, mode 0700. */
  folder: string;
}

/** Where a server that root started keeps what its unprivileged PostgreSQL cannot reach in the data folder. */
const ROOT_HOME = '/var/lib/insforge';

/**
 * Decides where PostgreSQL lives. It refuses to run as root, so under root it runs as an unprivileged user:
 * in the data folder if that user can get there, else in /var/lib/insforge with a link in the data folder.
 */
export async function preparePostgresHome(dataDir: string): Promise<PostgresHome> {
  const folder = join(dataDir, 'postgres');
  const { root: installation, version } = bundledPostgres();
  if (process.getuid?.() !== 0) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return { user: undefined, installation, folder };
  }
  const user = await unprivilegedUser(folder);
  const reachable = { dataDir: await canEnter(user, dataDir), installation: await canRun(user, installation) };
  if (reachable.dataDir && reachable.installation) {
    await own(folder, user);
    return { user, installation, folder };
  }
  const home = join(ROOT_HOME, createHash('sha256').update(dataDir).digest('hex').slice(0, 12));
  await mkdir(home, { recursive: true, mode: 0o755 });
  const readable = join(ROOT_HOME, `postgresql-${version}`);
  if (!reachable.installation) await copyPostgres(installation, readable);
  const moved = join(home, 'postgres');
  if (!reachable.dataDir) {
    await own(moved, user);
    await symlink(moved, folder).catch(ignoreExisting);
  } else {
    await own(folder, user);
  }
  return {
    user,
    installation: reachable.installation ? installation : readable,
    folder: reachable.dataDir ? folder : moved,
  };
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
const canRun = (user: OsUser, installation: string) => tries(user, binary(installation), ['--version']);
const binary = (installation: string) => join(installation, 'bin', 'postgres');

async function tries(user: OsUser, file: string, args: string[]): Promise<boolean> {
  return run(file, args, { ...user, cwd: '/' }).then(
    () => true,
    () => false,
  );
}
