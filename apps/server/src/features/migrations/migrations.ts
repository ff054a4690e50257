import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CreateMigration, Migration } from '@insforge/contract/migrations.ts';
import {
  ALONE_DEADLINE_MS,
  type Change,
  changeSchema,
  findAlone,
  findRefusal,
  type ParsedStatement,
  parseSql,
  runAlone,
  runAsOwner,
  runScript,
  type SchemaDoor,
  toRefusalError,
  withDeadline,
} from '#features/schema/index.ts';
import type { SystemTx, UserTx } from '#platform/db/db.ts';
import { quoteLiteral, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

interface MigrationRow extends Omit<Migration, 'createdAt'> {
  created_at: Date;
}

const SELECTED = sql`select version, name, statements, created_at from system.custom_migrations`;

/** Every applied migration, oldest first. */
export async function listMigrations(tx: Pick<SystemTx, 'query'>): Promise<Migration[]> {
  const rows = await tx.query<MigrationRow>(sql`${SELECTED} order by version::numeric`);
  return rows.map(toMigration);
}

const toMigration = ({ created_at, ...rest }: MigrationRow): Migration => ({
  ...rest,
  createdAt: created_at.toISOString(),
});

/** What the record of changes says of a migration, before its version. */
export const MIGRATION_SOURCE = 'migration:';

/**
 * Applies a migration: its statements and its line in the ledger are one transaction. Those that arrive
 * together take turns.
 * @param left raised when whoever asked has gone
 */
export async function applyMigration(
  door: SchemaDoor,
  { version, name, sql: text, dryRun }: CreateMigration,
  left: AbortSignal,
): Promise<Change<Migration>> {
  const statements = await readMigration(text);
  const alone = findAlone(statements, { dryRun });
  const entry = {
    version: BigInt(version).toString(),
    name,
    statements,
    checksum: createHash('sha256').update(text).digest('hex'),
  };
  const source = `${MIGRATION_SOURCE}${entry.version}`;
  const texts = statements.map((statement) => statement.text);
  const run = (signal: AbortSignal) => async (tx: UserTx) => {
    await takeTurn(tx, signal);
    await requireNewer(tx, entry);
    // On a connection of its own while this one keeps the turn: the ledger follows once it has worked.
    if (alone) await runAlone(door.db, { sql: text, statement: alone, source }, signal);
    else await runScript(door.db, tx, { sql: text, statements });
    await runAsOwner(door.db, tx, ledgerEntry(entry));
    const row = await tx.one<MigrationRow>(sql`${SELECTED} where version = ${entry.version}`);
    if (!row) throw new Error(`the migration ${entry.version} is not in the ledger`);
    return toMigration(row);
  };
  return withDeadline(
    left,
    (signal) => changeSchema(door, run(signal), { source, statementsOf: () => texts, dryRun, signal }),
    alone ? ALONE_DEADLINE_MS : undefined,
  );
}

/** Lets works run one after the other, so that those that wait in this server hold no connection. */
export function createTurns(): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return turn;
  };
}

const TURN_MS = 30_000;
const RETRY_MS = 50;

/**
 * Waits until no other migration runs, on any server. It asks again and again: a statement that waits would
 * keep a snapshot, for which CREATE INDEX CONCURRENTLY in the other migration would wait in turn.
 */
async function takeTurn(tx: UserTx, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + TURN_MS;
  for (;;) {
    const turn = await tx.one<{ mine: boolean }>(sql`
      select pg_try_advisory_xact_lock(hashtext('system.custom_migrations')) as mine`);
    if (turn?.mine) return;
    if (Date.now() > deadline) {
      throw new AppError('UPSTREAM_FAILURE', 'Another migration is being applied', {
        nextActions: 'Wait until it is listed by GET /api/database/migrations, and send this one again.',
      });
    }
    await sleep(RETRY_MS, undefined, { signal });
  }
}

/**
 * Reads the text of a migration.
 * @throws AppError DATABASE_FORBIDDEN for statements that a migration may not contain
 */
export async function readMigration(text: string): Promise<ParsedStatement[]> {
  const statements = await parseSql(text);
  if (statements.length === 0) throw new AppError('DATABASE_VALIDATION_ERROR', 'The migration has no statement');
  const refusal = findRefusal(statements);
  if (!refusal) return statements;
  throw toRefusalError(refusal, text, {
    code: 'DATABASE_FORBIDDEN',
    ...(refusal.isTransactionControl ? { status: 400 } : {}),
  });
}

async function requireNewer(tx: UserTx, { version, checksum }: LedgerEntry): Promise<void> {
  const latest = await tx.one<{ version: string; name: string }>(sql`
    select version, name from system.custom_migrations order by version::numeric desc limit 1`);
  if (!latest || BigInt(version) > BigInt(latest.version)) return;
  const same = await tx.one<{ name: string; checksum: string | null }>(sql`
    select name, checksum from system.custom_migrations where version::numeric = ${version}::numeric`);
  const message = !same
    ? `The version ${version} is not newer than the latest applied migration ${latest.version} (${latest.name})`
    : same.checksum === checksum
      ? `The migration ${version} (${same.name}) is applied already, with exactly this text`
      : `The version ${version} is taken by the migration ${same.name}, with another text`;
  throw new AppError('DATABASE_MIGRATION_ALREADY_EXISTS', message, {
    nextActions:
      same?.checksum === checksum
        ? 'There is nothing to do.'
        : `Applied migrations do not change: put what is new into one with a version greater than ${latest.version}.`,
    details: { latestVersion: latest.version },
  });
}

interface LedgerEntry {
  version: string;
  name: string;
  statements: readonly ParsedStatement[];
  checksum: string;
}

/** The ledger is the owner's to write, so that an admin's SQL cannot make it lie. */
function ledgerEntry({ version, name, statements, checksum }: LedgerEntry): string {
  const texts = statements.map((statement) => quoteLiteral(terminated(statement)));
  const values = [quoteLiteral(version), quoteLiteral(name), `array[${texts.join(', ')}]`, quoteLiteral(checksum)];
  return `insert into system.custom_migrations (version, name, statements, checksum) values (${values.join(', ')})`;
}

/** With the comments in front and the semicolon, which a comment at the end must not swallow. */
export function terminated({ comment, text }: ParsedStatement): string {
  const lines = comment === '' ? text : `${comment}\n${text}`;
  return text.slice(text.lastIndexOf('\n') + 1).includes('--') ? `${lines}\n;` : `${lines};`;
}
