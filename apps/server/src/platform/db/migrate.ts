import { readdir, readFile } from 'node:fs/promises';
import type { Client } from 'pg';
import { StartupError } from '#platform/errors.ts';
import { ensureRights } from './rights.ts';

const FOLDER = new URL('../../../migrations/', import.meta.url);

/** Any constant works, as long as every server of this kind uses the same. */
const MIGRATION_LOCK = 7_130_001;

/**
 * Brings the platform's schemas up to date: every file of `migrations/` that the ledger does not list, in
 * order, one transaction each. An advisory lock makes servers that start together take turns.
 * @returns what this login cannot do, and what follows
 * @throws StartupError when the database is newer than this program
 */
export async function migrate(client: Client): Promise<string[]> {
  const names = (await readdir(FOLDER)).filter((file) => file.endsWith('.sql')).sort();
  return inTurn(client, async () => {
    const applied = await readLedger(client);
    const files = names.map((file) => file.slice(0, -'.sql'.length));
    const unknown = [...applied].find((name) => !files.includes(name));
    if (unknown !== undefined) {
      throw new StartupError(
        `The database was set up by a newer InsForge (it lists the migration ${unknown}, which this version does not have). Start that version, or restore an older backup.`,
      );
    }
    for (const name of files) if (!applied.has(name)) await apply(client, name);
    return ensureRights(client);
  });
}

/** Servers that start together on one database take turns. */
export async function inTurn<Result>(client: Client, work: () => Promise<Result>): Promise<Result> {
  await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
  try {
    return await work();
  } finally {
    await client.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK]);
  }
}

async function readLedger(client: Client): Promise<Set<string>> {
  await client.query(`
    create schema if not exists system;
    create table if not exists system.migrations (
      id serial primary key, name varchar(255) not null, run_on timestamp not null)`);
  const { rows } = await client.query<{ name: string }>('select name from system.migrations');
  return new Set(rows.map(({ name }) => name));
}

async function apply(client: Client, name: string): Promise<void> {
  const text = await readFile(new URL(`${name}.sql`, FOLDER), 'utf8');
  await client.query('begin');
  try {
    await client.query(text);
    await client.query('insert into system.migrations (name, run_on) values ($1, now())', [name]);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError(`The migration ${name} failed and was rolled back: ${reason}`, { cause: error });
  }
}
