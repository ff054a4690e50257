/** Rows of any table for the admin who edits them by hand: whole rows, found by words, named by their key. */

import { type Sql, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { contentRange } from './grammar/range.ts';
import { qualifiedName } from './query/qualified-name.ts';
import { type Column, findRelation, type Relation, type Schema } from './schema/types.ts';

/** The values of a primary key, by column. */
export type Key = Readonly<Record<string, unknown>>;

export interface ListOptions {
  readonly limit: number;
  readonly offset: number;
  readonly search: string | undefined;
  readonly sort: readonly { readonly column: string; readonly direction: 'asc' | 'desc' }[];
  readonly filter: { readonly column: string; readonly value: string } | undefined;
}

/** Finds a table of the API, or says that there is none. */
export function requireRelation(schema: Schema, schemaName: string, name: string): Relation {
  const relation = findRelation(schema, schemaName, name);
  if (!relation) throw new AppError('DATABASE_NOT_FOUND', `Table ${schemaName}.${name} does not exist`);
  return relation;
}

function requireColumn(relation: Relation, name: string): Column {
  const column = relation.columns.get(name);
  if (!column) {
    throw new AppError('DATABASE_INVALID_PARAMETER', `Table ${relation.name} has no column ${name}`, {
      nextActions: `It has these: ${[...relation.columns.keys()].join(', ')}`,
    });
  }
  return column;
}

const NOTHING = sql.raw('');

/** A page of rows as one JSON text, and how many there are on all pages. */
export function listRows(relation: Relation, { limit, offset, search, sort, filter }: ListOptions): Sql {
  const conditions = [
    ...(search ? [matches(relation, search)] : []),
    ...(filter ? [equals(relation, filter.column, filter.value)] : []),
  ];
  const from = sql`${qualifiedName(relation)} t${conditions.length > 0 ? sql` where ${sql.join(conditions, ' and ')}` : NOTHING}`;
  const keys = relation.primaryKey.map((column) => ({ column, direction: 'asc' as const }));
  const order = [...sort, ...keys.filter(({ column }) => !sort.some((term) => term.column === column))].map(
    ({ column, direction }) =>
      sql`t.${sql.id(requireColumn(relation, column).name)} ${sql.raw(direction === 'desc' ? 'desc' : 'asc')}`,
  );
  return sql`
    select coalesce(json_agg(r.*), '[]'), count(*), (select count(*) from ${from})
    from (select t.* from ${from}${order.length > 0 ? sql` order by ${sql.join(order)}` : NOTHING} limit ${limit} offset ${offset}) r`;
}

/** The Content-Range of a page that `listRows` returned. */
export function rangeOf(offset: number, count: string | null | undefined, total: string | null | undefined): string {
  return contentRange(offset, Number(count), Number(total));
}

/** The words anywhere in any column. */
function matches(relation: Relation, search: string): Sql {
  const pattern = `%${search.replace(/[\\%_]/g, '\\$&')}%`;
  const columns = [...relation.columns.keys()].map((name) => sql`t.${sql.id(name)}::text ilike ${pattern}`);
  return columns.length > 0 ? sql`(${sql.join(columns, ' or ')})` : sql`false`;
}

function equals(relation: Relation, column: string, value: string): Sql {
  return sql`t.${sql.id(requireColumn(relation, column).name)} = ${value}`;
}

/** One row by the value of a column, as JSON. */
export function findRow(relation: Relation, column: string, value: string): Sql {
  return sql`select row_to_json(t.*) from ${qualifiedName(relation)} t where ${equals(relation, column, value)} limit 1`;
}

/** Inserts rows and returns them as one JSON text. Columns that no row mentions get their defaults. */
export function insertRows(relation: Relation, rows: readonly Record<string, unknown>[]): Sql {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))].map((name) => requireColumn(relation, name).name);
  if (names.length === 0 && rows.length > 1)
    throw new AppError('INVALID_INPUT', 'Rows of defaults are added one at a time');
  const list = sql.join(names.map((name) => sql.id(name)));
  const source =
    names.length > 0
      ? sql`(${list}) select ${list} from json_populate_recordset(null::${qualifiedName(relation)}, ${JSON.stringify(rows)}::json)`
      : sql`default values`;
  return sql`
    with w as (insert into ${qualifiedName(relation)} ${source} returning *)
    select coalesce(json_agg(w.*), '[]') from w`;
}

/** Changes the row of a key and returns it as JSON; no row when there is none. */
export function updateRow(relation: Relation, key: Key, data: Record<string, unknown>): Sql {
  const names = Object.keys(data).map((name) => requireColumn(relation, name).name);
  if (names.length === 0) throw new AppError('INVALID_INPUT', 'data must name at least one column');
  const assignments = names.map((name) => sql`${sql.id(name)} = d.${sql.id(name)}`);
  return sql`
    with w as (
      update ${qualifiedName(relation)} t set ${sql.join(assignments)}
      from json_populate_record(null::${qualifiedName(relation)}, ${JSON.stringify(data)}::json) d,
        json_populate_record(null::${qualifiedName(relation)}, ${JSON.stringify(key)}::json) k
      where ${hasKey(relation, [key])} returning t.*)
    select row_to_json(w.*) from w`;
}

/** Deletes the rows of some keys and returns how many there were. */
export function deleteRows(relation: Relation, keys: readonly Key[]): Sql {
  return sql`
    with w as (
      delete from ${qualifiedName(relation)} t
      using json_populate_recordset(null::${qualifiedName(relation)}, ${JSON.stringify(keys)}::json) k
      where ${hasKey(relation, keys)} returning 1)
    select count(*) from w`;
}

/** A row must be named by its whole primary key and nothing else. */
function hasKey({ name, primaryKey }: Relation, keys: readonly Key[]): Sql {
  if (primaryKey.length === 0) {
    throw new AppError('DATABASE_VALIDATION_ERROR', `Table ${name} has no primary key to tell its rows apart`, {
      nextActions: `Add one: ALTER TABLE "${name}" ADD PRIMARY KEY (...), or change rows with raw SQL.`,
    });
  }
  for (const key of keys) {
    const isWhole =
      Object.keys(key).length === primaryKey.length && primaryKey.every((column) => Object.hasOwn(key, column));
    if (!isWhole) throw new AppError('INVALID_INPUT', `pkKeys must be the primary key: ${primaryKey.join(', ')}`);
  }
  return sql.join(
    primaryKey.map((column) => sql`t.${sql.id(column)} = k.${sql.id(column)}`),
    ' and ',
  );
}
