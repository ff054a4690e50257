import type { Db, SystemTx, UserTx } from '#platform/db/db.ts';
import type { RawResult, ReadLimits } from '#platform/db/raw-query.ts';
import { AppError, type DatabaseError, isDatabaseError, toAppError } from '#platform/errors.ts';
import type { Refusal } from './guards.ts';
import { isOwnerStatement, runAsOwner } from './owner-statements.ts';
import { nodesOf, type ParsedStatement, type Position, positionAt } from './parse.ts';

/** SQL as it came, read and cut into statements. */
export interface Script {
  sql: string;
  statements: readonly ParsedStatement[];
  params?: readonly unknown[];
  limits?: ReadLimits;
}

/**
 * Runs the statements of an admin one after the other and returns the result of the last one that has rows,
 * else of the last one.
 * @throws AppError that names statement, line and column
 */
export async function runScript(db: Db, tx: UserTx, script: Script): Promise<RawResult> {
  return runEach(script, async (statement, values) => {
    if (!isOwnerStatement(statement)) return tx.run(statement.text, values, script.limits);
    await runAsOwner(db, tx, statement.text);
    return { command: '', rowCount: null, fields: [], rows: [], isComplete: true };
  });
}

/** The same with the rights of the owner. */
export async function runScriptAsOwner(tx: SystemTx, script: Script): Promise<RawResult> {
  return runEach(script, (statement, values) => tx.run(statement.text, values, script.limits));
}

/** The same as whoever the transaction belongs to, with nothing passed on. */
export async function runScriptAs(tx: UserTx, script: Script): Promise<RawResult> {
  return runEach(script, (statement, values) => tx.run(statement.text, values, script.limits));
}

async function runEach(
  { sql, statements, params = [] }: Script,
  run: (statement: ParsedStatement, values: readonly unknown[]) => Promise<RawResult>,
): Promise<RawResult> {
  let result: RawResult | undefined;
  for (const [index, statement] of statements.entries()) {
    try {
      const next = await run(statement, params.slice(0, countParameters(statement, params.length)));
      if (next.fields.length > 0 || !result?.fields.length) result = next;
    } catch (error) {
      throw withPosition(error, sql, statement, { index, count: statements.length });
    }
  }
  if (!result) throw new AppError('DATABASE_VALIDATION_ERROR', 'The SQL has no statement');
  return result;
}

/**
 * How many of the parameters a statement uses: PostgreSQL refuses values that it has no place for.
 * @throws AppError when there are too few
 */
function countParameters({ node }: ParsedStatement, given: number): number {
  let highest = 0;
  for (const { ParamRef } of nodesOf(node)) {
    const { number = 0 } = (ParamRef ?? {}) as { number?: number };
    highest = Math.max(highest, number);
  }
  if (highest <= given) return highest;
  throw new AppError('DATABASE_INVALID_PARAMETER', `The SQL uses $${highest}, but params has ${given} values`);
}

const MISSING_EXTENSION = /^extension "([^"]+)" is not available$/;

/** What PostgreSQL says about an extension helps only those who know which PostgreSQL it is. */
function extensionAdvice(message: string): string | undefined {
  const name = MISSING_EXTENSION.exec(message)?.[1];
  return (
    name &&
    `The PostgreSQL behind this server does not have ${name}; SELECT name FROM pg_available_extensions lists what it has. Install it where PostgreSQL runs (Debian and Ubuntu: vector is in postgresql-<version>-pgvector). The bundled PostgreSQL takes no more: start the server with POSTGRES_BIN_DIR=/usr/lib/postgresql/<version>/bin and an empty DATA_DIR, or with the DATABASE_URL of a PostgreSQL that has it.`
  );
}

/** SQLSTATE -> what usually helps. */
const ADVICE: Readonly<Record<string, string>> = {
  '23502': 'Give the column a value, or a default.',
  '23503': 'Insert the row that is referred to first, or delete what refers to this one.',
  '23505': 'Find the row that is in the way with a SELECT, or insert with ON CONFLICT.',
  '23514': 'Look the condition up with GET /api/metadata/{table}.',
  '42501': 'project_admin may change what is in public and in schemas it made. GET /api/database/schemas lists them.',
  '42601': 'Correct the syntax at the position given.',
  '42704': 'See what there is with GET /api/database/catalog?format=markdown; its enums are types as well.',
  '42703': 'See the columns with GET /api/metadata/{table}.',
  '42710': 'It exists already: use IF NOT EXISTS, or drop it first.',
  '42883': 'Check name and argument types; casts help (::uuid). GET /api/database/functions lists your functions.',
  '42P01': 'List the tables with GET /api/database/tables; other schemas need their name in front (shop.orders).',
  '42P07': 'It exists already: use CREATE … IF NOT EXISTS, or ALTER it.',
  '25006': 'The request is readOnly: leave that out to write.',
  '2D000': 'Blocks and procedures cannot commit here: all statements are one transaction.',
  '2BP01': 'Other objects depend on it: drop them first, or add CASCADE to drop them along.',
  '25P02': 'An earlier statement failed.',
};

/** What to do about an error of a statement, as far as it is a usual one. */
export function adviceFor({ code, message, hint }: DatabaseError): string | undefined {
  return extensionAdvice(message) ?? hint ?? ADVICE[code];
}

const MAX_QUOTED = 500;

/** Tells where in the whole text a statement failed, and what to do. */
export function withPosition(
  error: unknown,
  sql: string,
  statement: ParsedStatement,
  { index, count }: { index: number; count: number },
): unknown {
  if (!isDatabaseError(error)) return error;
  const known = toAppError(error);
  if (known.status >= 500) return error;
  const position = positionOf(error.position, sql, statement);
  const { position: _inStatement, ...details } = known.details ?? {};
  return new AppError(known.code, `${known.message} (line ${position.line}, column ${position.column})`, {
    status: known.status,
    cause: error,
    nextActions: adviceFor(error) ?? known.nextActions,
    details: {
      ...details,
      ...position,
      statement: abridge(statement.text),
      ...(count > 1 ? { statementIndex: index + 1, statementCount: count } : {}),
    },
  });
}

/** PostgreSQL counts characters from one, in the statement it was given. */
function positionOf(position: string | undefined, sql: string, { text, offset }: ParsedStatement): Position {
  const characters = Number(position ?? 1) - 1;
  const units = [...text].slice(0, characters).join('').length;
  return positionAt(sql, offset + units);
}

/** The error for a statement that is not run. */
export function toRefusalError(
  refusal: Refusal,
  sql: string,
  { code, status }: { code: 'FORBIDDEN' | 'DATABASE_FORBIDDEN'; status?: number },
): AppError {
  const position = positionAt(sql, refusal.statement.offset);
  return new AppError(code, `Not run: ${refusal.reason} (line ${position.line}, column ${position.column})`, {
    ...(status === undefined ? {} : { status }),
    nextActions: refusal.nextActions,
    details: { ...position, statement: abridge(refusal.statement.text) },
  });
}

/** The beginning of a text, for an answer or the audit log. */
export function abridge(text: string, length = MAX_QUOTED): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}
