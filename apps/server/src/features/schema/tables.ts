import {
  type CreateTable,
  type ForeignKey,
  MAX_IDENTIFIER_BYTES,
  type NewColumn,
  type UpdateTable,
} from '@insforge/contract/schema.ts';
import type { UserTx } from '#platform/db/db.ts';
import { compile, type Sql, sql } from '#platform/db/sql.ts';
import { AppError, isDatabaseError, toAppError } from '#platform/errors.ts';
import { columnDefinition, defaultAsSql, typeAsSql } from './columns.ts';
import { columnForeignKeys, foreignKeyConstraint, truncate } from './foreign-keys.ts';
import { adviceFor } from './sql/run.ts';
import { readTable, type Table } from './table-schema.ts';

/** Columns that every table of this API has by itself. */
export const AUTO_FIELDS = ['id', 'created_at', 'updated_at'] as const;
const RESERVED: ReadonlySet<string> = new Set(AUTO_FIELDS);

/** The names of the tables in public. */
export async function listTables(tx: Pick<UserTx, 'query'>): Promise<string[]> {
  const rows = await tx.query<{ name: string }>(sql`
    select relname as name from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
    order by relname`);
  return rows.map(({ name }) => name);
}

/** Creates a table with id, created_at and updated_at around its columns. Returns the SQL that did it. */
export async function createTable(tx: UserTx, wanted: CreateTable): Promise<string[]> {
  const { tableName, columns, foreignKeys, rlsEnabled } = wanted;
  refuseReserved(columns);
  refuseRepeated(columns);
  if (await readTable(tx, 'public', tableName)) {
    throw new AppError('DATABASE_DUPLICATE', `The table ${tableName} exists already`, {
      nextActions: `Change it with PATCH /api/database/tables/${encodeURIComponent(tableName)}/schema, or choose another name.`,
    });
  }
  const table = sql.id('public', tableName);
  const keys = [...columnForeignKeys(columns), ...foreignKeys];
  const primaryKey = columns.filter(({ isPrimaryKey }) => isPrimaryKey).map(({ columnName }) => sql.id(columnName));
  const parts = [
    ...(primaryKey.length > 0 ? [] : [sql`id uuid primary key default gen_random_uuid()`]),
    ...(await Promise.all(columns.map((column) => columnDefinition(column, keys)))),
    sql`created_at timestamptz default now()`,
    sql`updated_at timestamptz default now()`,
    ...(primaryKey.length > 0 ? [sql`primary key (${sql.join(primaryKey)})`] : []),
    ...keys.map(foreignKeyConstraint),
  ];
  return run(tx, [
    sql`create table ${table} (${sql.join(parts, ',\n  ')})`,
    // Said in both cases: the database's own default can be either.
    sql`alter table ${table} ${sql.raw(rlsEnabled ? 'enable' : 'disable')} row level security`,
    sql`create trigger ${sql.id(triggerName(tableName))} before update on ${table}
  for each row execute function system.update_updated_at()`,
  ]);
}

/** Which automatic columns a new table gets: a primary key of the caller's own takes the place of id. */
export function autoFieldsOf({ columns }: Pick<CreateTable, 'columns'>): string[] {
  return AUTO_FIELDS.filter((name) => name !== 'id' || !columns.some(({ isPrimaryKey }) => isPrimaryKey));
}

export async function dropTable(tx: UserTx, tableName: string): Promise<string[]> {
  await requireTable(tx, tableName);
  // Foreign keys of other tables go with it, as they would have nothing to refer to; views would hold it back.
  return run(tx, [...(await incomingKeys(tx, tableName)), sql`drop table ${sql.id('public', tableName)}`]);
}

async function incomingKeys(tx: UserTx, tableName: string): Promise<Sql[]> {
  const keys = await tx.query<{ schema: string; table: string; name: string }>(sql`
    select n.nspname as schema, c.relname as table, k.conname as name
    from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
    where k.contype = 'f' and k.conparentid = 0 and k.conrelid <> k.confrelid
      and k.confrelid = ${quotedName(tableName)}::regclass`);
  return keys.map(
    ({ schema, table, name }) => sql`alter table ${sql.id(schema, table)} drop constraint ${sql.id(name)}`,
  );
}

const quotedName = (tableName: string) => compile(sql.id('public', tableName)).text;

/** Changes a table; the parts are done in the order that lets them work together. */
export async function updateTable(
  tx: UserTx,
  tableName: string,
  change: UpdateTable,
): Promise<{ tableName: string; operations: string[]; sql: string[] }> {
  const table = await requireTable(tx, tableName);
  refuseReserved([...change.addColumns, ...change.updateColumns]);
  refuseReserved(change.dropColumns.map((columnName) => ({ columnName })));
  const newKeys = [...columnForeignKeys(change.addColumns), ...change.addForeignKeys];
  const added = await Promise.all(change.addColumns.map((column) => columnDefinition(column, newKeys)));
  const alter = (action: Sql) => sql`alter table ${sql.id('public', tableName)} ${action}`;
  const statements = [
    ...dropForeignKeys(table, change.dropForeignKeys).map((name) => alter(sql`drop constraint ${sql.id(name)}`)),
    ...change.dropColumns.map((name) => alter(sql`drop column ${sql.id(existingColumn(table, name))}`)),
    ...added.map((definition) => alter(sql`add column ${definition}`)),
    ...(await Promise.all(change.updateColumns.map((column) => alterColumn(table, column)))).flat().map(alter),
    ...newKeys.map((key) => alter(sql`add ${foreignKeyConstraint(key)}`)),
    ...(change.rlsEnabled === undefined
      ? []
      : [alter(sql`${sql.raw(change.rlsEnabled ? 'enable' : 'disable')} row level security`)]),
    ...(change.renameTable ? renameTable(table, change.renameTable.newTableName) : []),
  ];
  if (statements.length === 0) throw new AppError('DATABASE_VALIDATION_ERROR', 'The request changes nothing');
  return {
    tableName: change.renameTable?.newTableName ?? tableName,
    operations: describe(change, newKeys),
    sql: await run(tx, statements),
  };
}

async function alterColumn(table: Table, column: UpdateTable['updateColumns'][number]): Promise<Sql[]> {
  const name = existingColumn(table, column.columnName);
  const alter = (action: Sql) => sql`alter column ${sql.id(name)} ${action}`;
  const actions: Sql[] = [];
  if (column.type !== undefined) {
    const type = await typeAsSql(column.type);
    // A default of the old type may have no way to the new one; what is to count is set below.
    if (column.defaultValue !== undefined) actions.push(alter(sql`drop default`));
    actions.push(alter(sql`type ${type} using ${sql.id(name)}::${type}`));
  }
  if (column.defaultValue === null) actions.push(alter(sql`drop default`));
  else if (column.defaultValue !== undefined) {
    actions.push(alter(sql`set default (${await defaultAsSql(column.defaultValue)})`));
  }
  if (column.isNullable !== undefined) {
    actions.push(alter(sql`${sql.raw(column.isNullable ? 'drop' : 'set')} not null`));
  }
  if (column.newColumnName !== undefined && column.newColumnName !== name) {
    refuseReserved([{ columnName: column.newColumnName }]);
    actions.push(sql`rename column ${sql.id(name)} to ${sql.id(column.newColumnName)}`);
  }
  return actions;
}

function renameTable({ tableName, triggers }: Table, newName: string): Sql[] {
  const trigger = triggerName(tableName);
  return [
    sql`alter table ${sql.id('public', tableName)} rename to ${sql.id(newName)}`,
    ...(triggers.includes(trigger)
      ? [
          sql`alter trigger ${sql.id(trigger)} on ${sql.id('public', newName)} rename to ${sql.id(triggerName(newName))}`,
        ]
      : []),
  ];
}

/** Takes names of constraints, and of columns that have exactly one key. */
function dropForeignKeys({ tableName, foreignKeys }: Table, names: readonly string[]): string[] {
  return names.map((name) => {
    if (foreignKeys.some(({ constraintName }) => constraintName === name)) return name;
    const [byColumn, ...others] = foreignKeys.filter(
      ({ referenceColumns: [first, ...more] }) => first?.sourceColumn === name && more.length === 0,
    );
    if (byColumn?.constraintName && others.length === 0) return byColumn.constraintName;
    throw new AppError('DATABASE_NOT_FOUND', `The table ${tableName} has no foreign key ${name}`, {
      nextActions: `It has: ${foreignKeys.map((key) => key.constraintName).join(', ') || 'none'}.`,
    });
  });
}

function existingColumn({ tableName, columns }: Table, name: string): string {
  if (columns.some(({ columnName }) => columnName === name)) return name;
  throw new AppError('DATABASE_VALIDATION_ERROR', `The table ${tableName} has no column ${name}`, {
    nextActions: `It has: ${columns.map((column) => column.columnName).join(', ')}.`,
  });
}

/** @throws AppError DATABASE_NOT_FOUND */
export async function requireTable(tx: Pick<UserTx, 'query' | 'one'>, tableName: string): Promise<Table> {
  const table = await readTable(tx, 'public', tableName);
  if (table) return table;
  throw new AppError('DATABASE_NOT_FOUND', `There is no table ${tableName}`);
}

function refuseReserved(columns: readonly { columnName: string }[]): void {
  const reserved = columns.filter(({ columnName }) => RESERVED.has(columnName));
  if (reserved.length === 0) return;
  throw new AppError(
    'DATABASE_VALIDATION_ERROR',
    `Reserved: ${reserved.map(({ columnName }) => columnName).join(', ')}. Every table has ${AUTO_FIELDS.join(', ')} by itself`,
    { nextActions: 'Leave them out, or use another name.' },
  );
}

function refuseRepeated(columns: readonly NewColumn[]): void {
  const names = columns.map(({ columnName }) => columnName);
  const repeated = names.find((name, index) => names.indexOf(name) !== index);
  if (repeated === undefined) return;
  throw new AppError('DATABASE_VALIDATION_ERROR', `The column ${repeated} is there twice`);
}

const TRIGGER_SUFFIX = '_update_timestamp';

const triggerName = (tableName: string) =>
  truncate(tableName, MAX_IDENTIFIER_BYTES - TRIGGER_SUFFIX.length) + TRIGGER_SUFFIX;

function describe(change: UpdateTable, newKeys: readonly ForeignKey[]): string[] {
  const renamed = change.updateColumns.filter(({ newColumnName }) => newColumnName !== undefined);
  const counts = {
    added: [change.addColumns.length, 'columns'],
    dropped: [change.dropColumns.length, 'columns'],
    renamed: [renamed.length, 'columns'],
    modified: [change.updateColumns.length - renamed.length, 'columns'],
    'added ': [newKeys.length, 'foreign keys'],
    'dropped ': [change.dropForeignKeys.length, 'foreign keys'],
  } as const;
  return [
    ...Object.entries(counts).flatMap(([verb, [count, noun]]) => (count ? [`${verb.trim()} ${count} ${noun}`] : [])),
    ...(change.rlsEnabled === undefined ? [] : [`${change.rlsEnabled ? 'enabled' : 'disabled'} row level security`]),
    ...(change.renameTable ? [`renamed the table to ${change.renameTable.newTableName}`] : []),
  ];
}

async function run(tx: UserTx, statements: readonly Sql[]): Promise<string[]> {
  const texts = statements.map((statement) => `${compile(statement).text};`);
  for (const [index, statement] of statements.entries()) {
    await tx.query(statement).catch((error: unknown) => {
      throw withStatement(error, texts[index]);
    });
  }
  return texts;
}

/** The statement is ours, so where in it the error is says little; what it was for says more. */
function withStatement(error: unknown, statement: string | undefined): unknown {
  if (!isDatabaseError(error)) return error;
  const known = toAppError(error);
  if (known.status >= 500) return error;
  const { position: _ofOurs, ...details } = known.details ?? {};
  return new AppError(known.code, known.message, {
    status: known.status,
    cause: error,
    nextActions: adviceFor(error) ?? known.nextActions,
    details: { ...details, statement },
  });
}
