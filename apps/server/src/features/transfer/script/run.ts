import {
  findRefusal,
  isOwnerStatement,
  type ParsedStatement,
  parseSql,
  runAsOwner,
  toRefusalError,
  withPosition,
} from '#features/schema/index.ts';
import type { Db, UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { Lines } from './lines.ts';
import { type ScriptPart, splitScript } from './split.ts';

type Fields = Readonly<Record<string, unknown>>;

/** What a script did. */
export interface ScriptOutcome {
  statements: number;
  rows: number;
  tables: string[];
  skipped: string[];
  bytes: number;
}

/** Settings that dumps begin with. They would change who waits how long, or are so already. */
const SKIPPED_SETTINGS = new Set([
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'transaction_timeout',
  'client_encoding',
  'standard_conforming_strings',
  'search_path',
  'xmloption',
  'client_min_messages',
  'row_security',
  'default_tablespace',
  'default_table_access_method',
]);

const MAX_SKIPPED = 50;

/** Runs a script as the admin: what psql would run, except for what only the tool that wrote it needs. */
export async function runScriptFile(
  db: Db,
  tx: UserTx,
  source: AsyncIterable<Buffer>,
  { truncate }: { truncate: boolean },
): Promise<ScriptOutcome> {
  const lines = new Lines(source);
  const outcome: ScriptOutcome = { statements: 0, rows: 0, tables: [], skipped: [], bytes: 0 };
  const before = truncate ? new Set(await listTables(tx)) : new Set<string>();
  for await (const part of splitScript(lines)) {
    const statement = await readStatement(part);
    if (!statement && part.kind === 'statement') continue; // only comments
    if (!statement || isSkipped(statement)) {
      if (outcome.skipped.length < MAX_SKIPPED) outcome.skipped.push((statement ?? part).text.slice(0, 100));
      continue;
    }
    const table = tableOf(statement);
    if (table && !outcome.tables.includes(displayName(table))) {
      outcome.tables.push(displayName(table));
      if (before.has(displayName(table))) await tx.query(sql`truncate ${sql.id(table.schema, table.name)}`);
    }
    outcome.rows += await runStatement(db, tx, { part, statement, lines });
    outcome.statements++;
  }
  return { ...outcome, bytes: lines.bytes };
}

async function readStatement({ kind, text, line }: ScriptPart): Promise<ParsedStatement | undefined> {
  if (kind === 'psql') return undefined;
  try {
    const [statement] = await parseSql(text);
    return statement;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    const { line: inText = 1, column } = (error.details ?? {}) as { line?: number; column?: number };
    const inFile = line + inText - 1;
    throw new AppError(error.code, error.message.replace(/ \(line .*\)$/, ` (line ${inFile}, column ${column})`), {
      cause: error,
      nextActions: error.nextActions,
      details: { ...error.details, line: inFile },
    });
  }
}

interface Running {
  part: ScriptPart;
  statement: ParsedStatement;
  lines: Lines;
}

async function runStatement(db: Db, tx: UserTx, { part, statement, lines }: Running): Promise<number> {
  try {
    if (isCopyFromScript(statement)) return await tx.copyFrom(part.text, lines.data());
    const refusal = findRefusal([statement]);
    if (refusal) {
      const { script, placed } = inFile(part, statement);
      throw toRefusalError({ ...refusal, statement: placed }, script, { code: 'FORBIDDEN' });
    }
    if (isOwnerStatement(statement)) {
      await runAsOwner(db, tx, statement.text);
      return 0;
    }
    const { command, rowCount } = await tx.run(statement.text);
    return command === 'INSERT' ? (rowCount ?? 0) : 0;
  } catch (error) {
    const { script, placed } = inFile(part, statement);
    throw withPosition(error, script, placed, { index: 0, count: 1 });
  }
}

/** For errors: lines count from the beginning of the file, not of the statement. */
function inFile({ line, text }: ScriptPart, statement: ParsedStatement) {
  return { script: '\n'.repeat(line - 1) + text, placed: { ...statement, offset: statement.offset + line - 1 } };
}

/** With the rows behind it, and nothing else: a condition could call what statements may not. */
function isCopyFromScript({ kind, node }: ParsedStatement): boolean {
  const { is_from, filename, is_program, whereClause } = node;
  return kind === 'CopyStmt' && is_from === true && filename === undefined && !is_program && whereClause === undefined;
}

function isSkipped({ kind, node }: ParsedStatement): boolean {
  switch (kind) {
    case 'TransactionStmt':
      return ['TRANS_STMT_BEGIN', 'TRANS_STMT_START', 'TRANS_STMT_COMMIT'].includes(String(node.kind));
    case 'VariableSetStmt':
      return SKIPPED_SETTINGS.has(String(node.name));
    case 'SelectStmt':
      return isSearchPathCall(node);
    case 'AlterOwnerStmt':
      return true;
    case 'AlterDefaultPrivilegesStmt':
      return isForAnotherRole(node);
    case 'AlterTableStmt':
      return (node.cmds as { AlterTableCmd?: Fields }[]).every(
        ({ AlterTableCmd }) => AlterTableCmd?.subtype === 'AT_ChangeOwner',
      );
    case 'CreateSchemaStmt':
      return node.schemaname === 'public';
    case 'CommentStmt':
      return node.objtype === 'OBJECT_EXTENSION' || node.objtype === 'OBJECT_SCHEMA';
    default:
      return false;
  }
}

/** `ALTER DEFAULT PRIVILEGES FOR ROLE postgres …`: of what the admin does not make. */
function isForAnotherRole({ options }: Fields): boolean {
  type Option = { DefElem?: { defname: string; arg?: { List?: { items: { RoleSpec?: { rolename?: string } }[] } } } };
  return ((options ?? []) as Option[]).some(
    ({ DefElem }) =>
      DefElem?.defname === 'roles' &&
      DefElem.arg?.List?.items.some(({ RoleSpec }) => RoleSpec?.rolename !== 'project_admin'),
  );
}

/** `SELECT pg_catalog.set_config('search_path', '', false)`, with which dumps make sure of their names. */
function isSearchPathCall({ targetList }: Fields): boolean {
  const [target] = (targetList ?? []) as { ResTarget?: { val?: { FuncCall?: Fields } } }[];
  const { funcname, args } = target?.ResTarget?.val?.FuncCall ?? {};
  const name = (funcname as { String?: { sval?: string } }[] | undefined)?.at(-1)?.String?.sval;
  const [setting] = (args ?? []) as { A_Const?: { sval?: { sval?: string } } }[];
  return name === 'set_config' && setting?.A_Const?.sval?.sval === 'search_path';
}

interface TableName {
  schema: string;
  name: string;
}

const displayName = ({ schema, name }: TableName) => (schema === 'public' ? name : `${schema}.${name}`);

/** The table that a statement makes or fills. */
function tableOf({ kind, node }: ParsedStatement): TableName | undefined {
  if (!['CreateStmt', 'InsertStmt', 'CopyStmt'].includes(kind)) return undefined;
  const { schemaname = 'public', relname } = (node.relation ?? {}) as { schemaname?: string; relname?: string };
  return relname === undefined ? undefined : { schema: schemaname, name: relname };
}

async function listTables(tx: UserTx): Promise<string[]> {
  const rows = await tx.query<TableName>(sql`
    select n.nspname as schema, c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and system.is_exposed_schema(n.nspname)`);
  return rows.map(displayName);
}
