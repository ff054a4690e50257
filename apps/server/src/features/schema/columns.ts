import type { ColumnType, ForeignKey, NewColumn } from '@insforge/contract/schema.ts';
import { quoteLiteral, type Sql, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { loadParser, nodesOf } from './sql/parse.ts';

/** The types that the tables API names itself. A NOT NULL column without a default gets the one given here. */
const TYPES: Readonly<Record<ColumnType, { sql: Sql; default?: Sql }>> = {
  string: { sql: sql`text` },
  date: { sql: sql`date`, default: sql`now()` },
  datetime: { sql: sql`timestamptz`, default: sql`now()` },
  integer: { sql: sql`integer` },
  float: { sql: sql`double precision` },
  boolean: { sql: sql`boolean`, default: sql`false` },
  uuid: { sql: sql`uuid`, default: sql`gen_random_uuid()` },
  json: { sql: sql`jsonb` },
};

/** What PostgreSQL calls a type -> what the tables API calls it. */
export const API_TYPES: Readonly<Record<string, ColumnType>> = {
  text: 'string',
  date: 'date',
  'timestamp with time zone': 'datetime',
  integer: 'integer',
  'double precision': 'float',
  boolean: 'boolean',
  uuid: 'uuid',
  jsonb: 'json',
};

type Fields = Readonly<Record<string, unknown>>;

const apiType = (type: string) => (Object.hasOwn(TYPES, type) ? TYPES[type as ColumnType] : undefined);

/**
 * A column as CREATE TABLE and ADD COLUMN want it.
 * @param keys the foreign keys that are made with it
 */
export async function columnDefinition(column: NewColumn, keys: readonly ForeignKey[]): Promise<Sql> {
  const parts = [sql.id(column.columnName), await typeAsSql(column.type)];
  if (!column.isNullable) parts.push(sql`not null`);
  if (column.isUnique && !column.isPrimaryKey) parts.push(sql`unique`);
  const value = await defaultOf(column, keys);
  if (value) parts.push(sql`default (${value})`);
  return sql.join(parts, ' ');
}

async function defaultOf(column: NewColumn, keys: readonly ForeignKey[]): Promise<Sql | undefined> {
  const { columnName, type, isNullable, defaultValue } = column;
  if (defaultValue !== undefined) return defaultValue === null ? undefined : defaultAsSql(defaultValue);
  // A random reference would point at nothing.
  const refers = keys.some(({ referenceColumns }) => referenceColumns.some((pair) => pair.sourceColumn === columnName));
  return isNullable || refers ? undefined : apiType(type)?.default;
}

/**
 * The type of a column: one of the API's names, or a type of PostgreSQL.
 * @throws AppError when the text is anything but one type
 */
export async function typeAsSql(type: string): Promise<Sql> {
  const known = apiType(type);
  if (known) return known.sql;
  const cast = (await onlyExpression(`cast(null as ${type})`))?.TypeCast as
    | { arg?: { A_Const?: { isnull?: boolean } }; typeName?: { setof?: boolean; pct_type?: boolean } }
    | undefined;
  // The NULL that was put in is still what is cast, so all of the text is the name of the type.
  if (cast?.arg?.A_Const?.isnull && !cast.typeName?.setof && !cast.typeName?.pct_type) return sql.raw(type.trim());
  throw new AppError('DATABASE_VALIDATION_ERROR', `${JSON.stringify(type)} is no type of a column`, {
    nextActions: `Use one of ${Object.keys(TYPES).join(', ')}, or a type of PostgreSQL such as varchar(20), numeric(10,2) or text[].`,
  });
}

/** Nodes that make a default SQL; a text without any of them is the value itself. */
const EXPRESSION_NODES = ['FuncCall', 'SQLValueFunction', 'TypeCast', 'A_ArrayExpr', 'MinMaxExpr', 'CoalesceExpr'];
/** A default may not refer to anything, so a text with one of these is not meant as an expression. */
const REFERENCES = ['ColumnRef', 'SubLink', 'ParamRef', 'A_Indirection', 'NamedArgExpr'];

/** A default: SQL where it is a function call, a cast or a quoted literal, else the value. */
export async function defaultAsSql(value: string | number | boolean): Promise<Sql> {
  const text = String(value);
  const expression = typeof value === 'string' ? await onlyArgument(text) : undefined;
  return expression && isMeantAsSql(expression) ? sql.raw(text.trim()) : sql.raw(quoteLiteral(text));
}

/** The tree of a text that is exactly one expression: as the only argument of a call it cannot get out of the parentheses. */
async function onlyArgument(text: string): Promise<Fields | undefined> {
  const { FuncCall } = (await onlyExpression(`probe(${text})`)) ?? {};
  if (!FuncCall) return undefined;
  const { funcname, args, funcformat, location, ...others } = FuncCall as Fields;
  return isSameName(funcname, 'probe') && Array.isArray(args) && args.length === 1 && Object.keys(others).length === 0
    ? args[0]
    : undefined;
}

function isMeantAsSql(expression: Fields): boolean {
  let hasExpression = false;
  for (const node of nodesOf(expression)) {
    if (REFERENCES.some((kind) => kind in node)) return false;
    if (isSameName(node.funcname, 'set_config')) {
      throw new AppError('DATABASE_VALIDATION_ERROR', 'A default must not call set_config()');
    }
    const { A_Const: constant } = node as { A_Const?: { sval?: unknown; isnull?: boolean } };
    if (EXPRESSION_NODES.some((kind) => kind in node) || constant?.sval || constant?.isnull) hasExpression = true;
  }
  return hasExpression;
}

const isSameName = (name: unknown, expected: string) => Array.isArray(name) && name.at(-1)?.String?.sval === expected;

const COMMENTS = new Set(['SQL_COMMENT', 'C_COMMENT']);

/**
 * The parse tree of a text that is exactly one expression; undefined for anything else. No comments: an open
 * one would swallow what is put behind the text.
 */
async function onlyExpression(text: string): Promise<Fields | undefined> {
  if (text.includes('\0')) return undefined;
  const { parseSync, scanSync } = await loadParser();
  const select = `select ${text}`;
  try {
    if (scanSync(select).tokens.some(({ tokenName }) => COMMENTS.has(tokenName))) return undefined;
    const [statement, ...more] = parseSync(select).stmts ?? [];
    const { SelectStmt } = (statement?.stmt ?? {}) as { SelectStmt?: Fields };
    if (more.length > 0 || !SelectStmt) return undefined;
    const { targetList, limitOption, op, ...others } = SelectStmt;
    if (Object.keys(others).length > 0 || op !== 'SETOP_NONE' || !Array.isArray(targetList)) return undefined;
    return targetList.length === 1 && targetList[0].ResTarget.name === undefined
      ? targetList[0].ResTarget.val
      : undefined;
  } catch {
    return undefined; // not SQL at all
  }
}
