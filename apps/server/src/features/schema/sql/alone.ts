import type { Db, UserDoor, UserTx } from '#platform/db/db.ts';
import type { RawResult } from '#platform/db/raw-query.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { ParsedStatement } from './parse.ts';
import { withPosition } from './run.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Statements that PostgreSQL does not run in a transaction, by kind. */
const ALONE: Readonly<Record<string, (node: Fields) => boolean>> = {
  IndexStmt: ({ concurrent }) => concurrent === true,
  DropStmt: ({ concurrent }) => concurrent === true,
  ReindexStmt: ({ kind, params }) =>
    !['REINDEX_OBJECT_INDEX', 'REINDEX_OBJECT_TABLE'].includes(String(kind)) || hasOption(params, 'concurrently'),
  VacuumStmt: ({ is_vacuumcmd }) => is_vacuumcmd === true,
  ClusterStmt: ({ relation }) => relation === undefined,
  AlterTableStmt: ({ cmds }) =>
    (cmds as { AlterTableCmd?: { def?: { PartitionCmd?: { concurrent?: boolean } } } }[]).some(
      ({ AlterTableCmd }) => AlterTableCmd?.def?.PartitionCmd?.concurrent,
    ),
};

const hasOption = (options: unknown, name: string) =>
  Array.isArray(options) && options.some(({ DefElem }) => DefElem?.defname === name);

/**
 * The statement that has to run outside of a transaction, if the script is one.
 * @throws AppError when it is not the only one, or is to be undone
 */
export function findAlone(
  statements: readonly ParsedStatement[],
  { dryRun }: { dryRun: boolean },
): ParsedStatement | undefined {
  const found = statements.find(({ kind, node }) => ALONE[kind]?.(node));
  if (!found) return undefined;
  const what = found.text.split(/\s+/).slice(0, 3).join(' ');
  if (statements.length > 1) {
    throw new AppError('DATABASE_VALIDATION_ERROR', `"${what} …" does not run in a transaction, and the others do`, {
      nextActions: 'Send it by itself: as a request, or a migration, of its own.',
    });
  }
  if (dryRun) {
    throw new AppError('DATABASE_VALIDATION_ERROR', `"${what} …" does not run in a transaction: it cannot be undone`, {
      nextActions: 'Try it without CONCURRENTLY, which builds the same index.',
    });
  }
  return found;
}

/** Building an index while others write takes its time; the client can end it by leaving. */
export const ALONE_DEADLINE_MS = 10 * 60_000;

/** A statement that runs outside of transactions, the text it was sent in, and which surface it came from. */
export interface Alone {
  sql: string;
  statement: ParsedStatement;
  source: string;
}

/** Runs such a statement as the admin. An index that could not be finished is removed. */
export function runAlone(db: Db, alone: Alone, signal: AbortSignal): Promise<RawResult> {
  return runCleanly(db.as({ role: 'project_admin' }), alone, signal);
}

/** The same with the rights of the owner. */
export function runAloneAsOwner(db: Db, alone: Alone, signal: AbortSignal): Promise<RawResult> {
  return runCleanly(db.system, alone, signal);
}

interface Door {
  tx<Result>(work: (tx: Pick<UserTx, 'query'>) => Promise<Result>): Promise<Result>;
  alone: UserDoor['alone'];
}

async function runCleanly(
  door: Door,
  { sql: script, statement, source }: Alone,
  signal: AbortSignal,
): Promise<RawResult> {
  const settings = {
    search_path: 'public',
    statement_timeout: String(ALONE_DEADLINE_MS),
    'insforge.change_source': source,
  };
  const before = new Set(await door.tx(listInvalidIndexes));
  try {
    return await door.alone(statement.text, settings, signal);
  } catch (error) {
    const broken = (await door.tx(listInvalidIndexes)).filter((name) => !before.has(name));
    for (const name of broken) await door.alone(`drop index concurrently if exists ${name}`, settings);
    throw withPosition(error, script, statement, { index: 0, count: 1 });
  }
}

/** What a CREATE INDEX CONCURRENTLY leaves behind when it fails, quoted for SQL. */
async function listInvalidIndexes(tx: Pick<UserTx, 'query'>): Promise<string[]> {
  const rows = await tx.query<{ name: string }>(sql`
    select format('%I.%I', n.nspname, c.relname) as name
    from pg_index i join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
    where not i.indisvalid and system.is_exposed_schema(n.nspname)`);
  return rows.map(({ name }) => name);
}
