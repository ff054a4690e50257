import { RAW_SQL_LIMITS, type RawSql, type SchemaWarning } from '@insforge/contract/schema.ts';
import type { Db } from '#platform/db/db.ts';
import type { RawResult } from '#platform/db/raw-query.ts';
import { AppError } from '#platform/errors.ts';
import { changeSchema, changeSchemaAsOwner, type SchemaDoor } from './changes.ts';
import { ALONE_DEADLINE_MS, findAlone, runAlone, runAloneAsOwner } from './sql/alone.ts';
import { withDeadline } from './sql/deadline.ts';
import { findRefusal, findUnrestrictedRefusal } from './sql/guards.ts';
import { type ParsedStatement, parseSql, type StatementKind } from './sql/parse.ts';
import { rowsAsJson } from './sql/rows.ts';
import { runScript, runScriptAsOwner, type Script, toRefusalError } from './sql/run.ts';

/** What raw SQL did. */
export interface RawSqlOutcome {
  result: RawResult;
  warnings: SchemaWarning[];
}

/** Statements that leave the schema as it is, unless a function that they call does not. */
const DATA_STATEMENTS: ReadonlySet<StatementKind> = new Set<StatementKind>([
  'SelectStmt',
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'ExplainStmt',
  'VariableShowStmt',
]);

/**
 * Runs SQL as the admin: what project_admin may do, and the few things that are passed on to the owner.
 * @param left raised when whoever asked has gone
 */
export async function runRawSql(door: SchemaDoor, request: RawSql, left: AbortSignal): Promise<RawSqlOutcome> {
  const script = await readScript(request);
  const refusal = findRefusal(script.statements);
  if (refusal) throw toRefusalError(refusal, request.query, { code: 'FORBIDDEN' });
  if (request.readOnly) {
    const result = await withDeadline(left, (signal) => runReadOnly(door.db, script, signal));
    return { result, warnings: [] };
  }
  const alone = request.explain ? undefined : findAlone(script.statements, request);
  if (alone)
    return finishAlone(door, left, (signal) =>
      runAlone(door.db, { sql: request.query, statement: alone, source: SOURCE }, signal),
    );
  return withDeadline(left, (signal) =>
    changeSchema(door, (tx) => runScript(door.db, tx, script), optionsFor(script, request, signal)),
  );
}

/** Both hold by themselves: the role has no right to write, and the transaction refuses whoever has. */
const READ_ONLY = { search_path: 'public', role: 'project_reader', transaction_read_only: 'on' };

function runReadOnly(db: Db, script: Script, signal: AbortSignal): Promise<RawResult> {
  return db.as({ role: 'project_admin' }).tx((tx) => runScript(db, tx, script), READ_ONLY, signal);
}

/** Runs SQL with the rights of the owner. */
export async function runUnrestrictedSql(door: SchemaDoor, request: RawSql, left: AbortSignal): Promise<RawSqlOutcome> {
  if (request.readOnly) {
    throw new AppError('INVALID_INPUT', 'readOnly: the owner of the database cannot be kept from writing', {
      nextActions: 'Send it to POST /api/database/advance/rawsql.',
    });
  }
  const script = await readScript(request);
  const refusal = findUnrestrictedRefusal(script.statements);
  if (refusal) throw toRefusalError(refusal, request.query, { code: 'FORBIDDEN' });
  const alone = request.explain ? undefined : findAlone(script.statements, request);
  if (alone)
    return finishAlone(door, left, (signal) =>
      runAloneAsOwner(door.db, { sql: request.query, statement: alone, source: SOURCE }, signal),
    );
  return withDeadline(left, (signal) =>
    changeSchemaAsOwner(door, (tx) => runScriptAsOwner(tx, script), optionsFor(script, request, signal)),
  );
}

async function finishAlone(
  { reloadSchema }: SchemaDoor,
  left: AbortSignal,
  work: (signal: AbortSignal) => Promise<RawResult>,
): Promise<RawSqlOutcome> {
  const result = await withDeadline(left, work, ALONE_DEADLINE_MS);
  await reloadSchema();
  return { result, warnings: [] };
}

async function readScript({ query, params, explain, maxRows }: RawSql): Promise<Script> {
  const statements = await parseSql(query);
  if (statements.length === 0) throw new AppError('DATABASE_VALIDATION_ERROR', 'The query has no statement');
  return {
    sql: query,
    statements: explain ? [asExplain(statements)] : statements,
    params,
    limits: { maxRows, maxBytes: RAW_SQL_LIMITS.maxBytes },
  };
}

function asExplain(statements: readonly ParsedStatement[]): ParsedStatement {
  const [statement, ...more] = statements;
  if (!statement || more.length > 0) {
    throw new AppError('DATABASE_VALIDATION_ERROR', 'explain takes one statement at a time');
  }
  const prefix = 'explain ';
  return { ...statement, text: prefix + statement.text, offset: statement.offset - prefix.length };
}

const SOURCE = 'raw-sql';

function optionsFor({ statements }: Script, { explain, dryRun }: RawSql, signal: AbortSignal) {
  const changes = explain ? [] : statements.filter(({ kind }) => !DATA_STATEMENTS.has(kind));
  return {
    dryRun,
    signal,
    source: SOURCE,
    isSchemaChange: changes.length > 0,
    statementsOf: () => changes.map(({ text }) => text),
  };
}

/** The answer as JSON text. Values never pass through JavaScript numbers, so none loses a digit. */
export function toReply({ result, warnings }: RawSqlOutcome, { dryRun, maxRows }: RawSql): string {
  const { rows, fields, isComplete, rowCount } = result;
  const more = {
    ...(isComplete ? {} : { truncated: truncation(rows.length, maxRows) }),
    ...(dryRun ? { dryRun } : {}),
    ...(warnings.length > 0 ? { warnings } : {}),
  };
  const head = { rowCount: isComplete ? rowCount : rows.length, fields, ...more };
  return `{"rows":${rowsAsJson(result)},${JSON.stringify(head).slice(1)}`;
}

function truncation(rowsReturned: number, maxRows: number) {
  const limit =
    rowsReturned >= maxRows ? `maxRows is ${maxRows}` : `an answer has at most ${RAW_SQL_LIMITS.maxBytes} bytes`;
  return {
    rowsReturned,
    reason: `There are more rows: ${limit}. Add LIMIT and OFFSET or a WHERE, or send a greater maxRows (at most ${RAW_SQL_LIMITS.maxRows.max}).`,
  };
}
