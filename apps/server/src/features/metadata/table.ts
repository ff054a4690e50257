import type { TableMetadata } from '@insforge/contract/metadata.ts';
import { listIndexes, listPolicies, listTableOverviews, listTriggers } from '#features/schema/index.ts';
import type { UserTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

/**
 * Everything about one table.
 * @param name in public, or with its schema in front
 * @throws AppError DATABASE_NOT_FOUND
 */
export async function readTableMetadata(tx: UserTx, name: string): Promise<TableMetadata> {
  const [schema, table, overview] = await findTable(tx, name);
  const [columns, foreignKeys] = [await readColumns(tx, schema, table), await readForeignKeys(tx, schema, table)];
  const { indexes } = await listIndexes(tx, schema, table);
  const { policies } = await listPolicies(tx, schema, table);
  const { triggers } = await listTriggers(tx, schema, table);
  return {
    schema: columns,
    indexes: indexes.map(({ indexName, indexDef, isUnique, isPrimary }) => ({
      indexname: indexName,
      indexdef: indexDef,
      isUnique,
      isPrimary,
    })),
    foreignKeys,
    rlsEnabled: overview.rlsEnabled,
    policies: policies.map(({ tableName: _, policyName, ...policy }) => ({ policyname: policyName, ...policy })),
    triggers: triggers.map(({ tableName: _, ...trigger }) => trigger),
    recordCount: overview.rows,
  };
}

async function findTable(tx: UserTx, name: string) {
  const dot = name.indexOf('.');
  const candidates = [['public', name], ...(dot > 0 ? [[name.slice(0, dot), name.slice(dot + 1)]] : [])];
  for (const [schema = '', table = ''] of candidates) {
    const [overview] = await listTableOverviews(tx, { schema, table });
    if (overview) return [schema, table, overview] as const;
  }
  throw new AppError('DATABASE_NOT_FOUND', `There is no table ${name}`);
}

/** An unquoted table as the argument of a comparison: where the catalogue row is this table's. */
const isTable = (schema: string, table: string): Sql =>
  sql`n.nspname = ${schema} and c.relname = ${table} and c.relkind in ('r', 'p')`;

function readColumns(tx: UserTx, schema: string, table: string) {
  return tx.query<TableMetadata['schema'][number]>(sql`
    select a.attname as "columnName",
      case when a.atttypmod > 4 and t.typname in ('varchar', 'bpchar') then format_type(a.atttypid, null)
        else format_type(a.atttypid, a.atttypmod) end as "dataType",
      case when a.atttypmod > 4 and t.typname in ('varchar', 'bpchar') then a.atttypmod - 4 end as "characterMaximumLength",
      case when a.attnotnull then 'NO' else 'YES' end as "isNullable",
      pg_get_expr(d.adbin, d.adrelid) as "columnDefault"
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where ${isTable(schema, table)} and a.attnum > 0 and not a.attisdropped
    order by a.attnum`);
}

function readForeignKeys(tx: UserTx, schema: string, table: string) {
  const rule = (column: Sql) => sql`
    case ${column} when 'c' then 'CASCADE' when 'n' then 'SET NULL' when 'd' then 'SET DEFAULT'
      when 'r' then 'RESTRICT' else 'NO ACTION' end`;
  return tx.query<TableMetadata['foreignKeys'][number]>(sql`
    select k.conname as "constraintName", own.attname as "columnName",
      case when rn.nspname = 'public' then r.relname else rn.nspname || '.' || r.relname end as "foreignTableName",
      other.attname as "foreignColumnName",
      ${rule(sql`k.confdeltype`)} as "deleteRule", ${rule(sql`k.confupdtype`)} as "updateRule"
    from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
    join pg_class r on r.oid = k.confrelid join pg_namespace rn on rn.oid = r.relnamespace
    cross join unnest(k.conkey, k.confkey) with ordinality as pair (own, other, place)
    join pg_attribute own on own.attrelid = k.conrelid and own.attnum = pair.own
    join pg_attribute other on other.attrelid = k.confrelid and other.attnum = pair.other
    where ${isTable(schema, table)} and k.contype = 'f'
    order by k.conname, pair.place`);
}
