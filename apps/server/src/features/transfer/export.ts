import type { Export } from '@insforge/contract/transfer.ts';
import {
  listFunctions,
  listIndexes,
  listPolicies,
  listTables,
  listTriggers,
  rowsAsJson,
} from '#features/schema/index.ts';
import type { Db, UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { dumpDatabase } from './dump/dump.ts';
import { findTarget } from './target.ts';

/** What one answer holds; a larger database is exported as a stream. */
export interface ExportAnswer {
  format: 'sql' | 'json';
  data: unknown;
  content: string;
  tables: string[];
  timestamp: string;
  truncatedTables?: string[];
}

const SETTINGS = { search_path: 'public', transaction_isolation: 'repeatable read', statement_timeout: '60000' };

/** Exports tables and what belongs to them in one answer, so many rows of each. */
export function exportDatabase(db: Db, request: Export): Promise<ExportAnswer> {
  return db.as({ role: 'project_admin' }).tx(async (tx) => {
    const tables = request.tables ?? (await listTables(tx));
    for (const table of tables) await findTarget(tx, table);
    const timestamp = new Date().toISOString();
    const truncatedTables = request.includeData ? await findLarger(tx, tables, request.rowLimit) : [];
    const data =
      request.format === 'sql' ? await asSql(tx, request, tables) : await asJson(tx, request, tables, timestamp);
    return {
      format: request.format,
      data,
      content: typeof data === 'string' ? data : JSON.stringify(data, null, 2),
      tables,
      timestamp,
      ...(truncatedTables.length > 0 ? { truncatedTables } : {}),
    };
  }, SETTINGS);
}

async function findLarger(tx: UserTx, tables: readonly string[], rowLimit: number): Promise<string[]> {
  const larger: string[] = [];
  for (const table of tables) {
    const target = await findTarget(tx, table);
    const row = await tx.one(sql`select from ${target.sql} offset ${rowLimit} limit 1`);
    if (row) larger.push(table);
  }
  return larger;
}

async function asSql(tx: UserTx, request: Export, tables: readonly string[]): Promise<string> {
  const pieces: string[] = [];
  const options = {
    tables: request.includeFunctions || request.includeViews ? request.tables : tables,
    data: request.includeData,
    rowLimit: request.rowLimit,
    functions: request.includeFunctions,
    sequences: request.includeSequences,
    views: request.includeViews,
    policies: true,
    triggers: request.includeFunctions,
    grants: false,
    users: false,
  };
  for await (const piece of dumpDatabase(tx, options)) pieces.push(piece.toString());
  return pieces.join('');
}

async function asJson(tx: UserTx, request: Export, tables: readonly string[], timestamp: string) {
  const entries = await Promise.all(tables.map(async (name) => [name, await tableAsJson(tx, request, name)] as const));
  return {
    timestamp,
    tables: Object.fromEntries(entries),
    functions: request.includeFunctions ? (await listFunctions(tx, 'public')).functions : [],
    sequences: request.includeSequences ? await listSequences(tx) : [],
    views: request.includeViews ? await listViews(tx) : [],
  };
}

async function tableAsJson(tx: UserTx, { includeData, rowLimit }: Export, name: string) {
  const { schema, name: table, sql: target } = await findTarget(tx, name);
  const columns = await tx.query<{ columnName: string }>(sql`
    select column_name as "columnName", data_type as "dataType", character_maximum_length as "characterMaximumLength",
      is_nullable as "isNullable", column_default as "columnDefault"
    from information_schema.columns where table_schema = ${schema} and table_name = ${table} order by ordinal_position`);
  const foreignKeys = await tx.query(sql`
    select k.conname as "constraintName", own.attname as "columnName", k.confrelid::regclass::text as "foreignTableName",
      other.attname as "foreignColumnName", k.confdeltype as "deleteRule", k.confupdtype as "updateRule"
    from pg_constraint k cross join unnest(k.conkey, k.confkey) as pair (own, other)
    join pg_attribute own on own.attrelid = k.conrelid and own.attnum = pair.own
    join pg_attribute other on other.attrelid = k.confrelid and other.attnum = pair.other
    where k.contype = 'f' and k.conrelid = ${`"${schema}"."${table.replaceAll('"', '""')}"`}::regclass`);
  const [security] = await tx.query<{ rls: boolean }>(sql`
    select c.relrowsecurity as rls from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${schema} and c.relname = ${table}`);
  const rows = includeData
    ? rowsAsJson(await tx.run(`select * from ${target.text.join('')} limit ${rowLimit}`))
    : undefined;
  return {
    schema: columns,
    indexes: (await listIndexes(tx, schema, table)).indexes.map(({ indexName, indexDef, isUnique, isPrimary }) => ({
      indexname: indexName,
      indexdef: indexDef,
      isUnique,
      isPrimary,
    })),
    foreignKeys,
    rlsEnabled: security?.rls ?? false,
    policies: (await listPolicies(tx, schema, table)).policies.map(({ policyName, ...policy }) => ({
      policyname: policyName,
      ...policy,
    })),
    triggers: (await listTriggers(tx, schema, table)).triggers,
    ...(rows === undefined ? {} : { rows: JSON.parse(rows) as unknown[] }),
  };
}

function listSequences(tx: UserTx) {
  return tx.query(sql`
    select c.relname as "sequenceName", seqstart::text as "startValue", seqincrement::text as increment,
      seqmin::text as "minValue", seqmax::text as "maxValue", case when seqcycle then 'YES' else 'NO' end as cycle
    from pg_sequence s join pg_class c on c.oid = s.seqrelid where c.relnamespace = 'public'::regnamespace order by 1`);
}

function listViews(tx: UserTx) {
  return tx.query(sql`
    select relname as "viewName", pg_get_viewdef(oid) as definition from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('v', 'm') order by 1`);
}
