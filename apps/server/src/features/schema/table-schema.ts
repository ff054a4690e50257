import type { TableSchema } from '@insforge/contract/schema.ts';
import type { UserTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';
import { API_TYPES } from './columns.ts';
import { listTableOverviews } from './row-counts.ts';

/** A table as the tables API shows it, and the names of its triggers. */
export type Table = Omit<TableSchema, 'recordCount'> & { triggers: string[] };

interface TableRow {
  rls: boolean;
  columns: {
    name: string;
    type: string;
    nullable: boolean;
    unique: boolean;
    primary: boolean;
    default: string | null;
  }[];
  foreign_keys: TableSchema['foreignKeys'];
  triggers: string[];
}

/** Reads a table; undefined where there is none. */
export async function readTable(
  tx: Pick<UserTx, 'one'>,
  schema: string,
  tableName: string,
): Promise<Table | undefined> {
  const row = await tx.one<TableRow>(sql`
    select c.relrowsecurity as rls,
      (select coalesce(jsonb_agg(jsonb_build_object(
          'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'nullable', not a.attnotnull,
          'default', pg_get_expr(d.adbin, d.adrelid),
          'primary', exists (
            select from pg_index i where i.indrelid = c.oid and i.indisprimary and a.attnum = any (i.indkey)),
          'unique', exists (
            select from pg_index i
            where i.indrelid = c.oid and i.indisunique and i.indpred is null and i.indkey::text = a.attnum::text)
        ) order by a.attnum), '[]')
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
      (select coalesce(jsonb_agg(jsonb_build_object(
          'constraintName', k.conname,
          'referenceTable', case when rn.nspname = 'public' then r.relname else rn.nspname || '.' || r.relname end,
          'referenceColumns', (
            select jsonb_agg(jsonb_build_object('sourceColumn', s.attname, 'referenceColumn', t.attname) order by pair.place)
            from unnest(k.conkey, k.confkey) with ordinality as pair (own, other, place)
            join pg_attribute s on s.attrelid = k.conrelid and s.attnum = pair.own
            join pg_attribute t on t.attrelid = k.confrelid and t.attnum = pair.other),
          'onDelete', ${actionOf('confdeltype')}, 'onUpdate', ${actionOf('confupdtype')}) order by k.conname), '[]')
        from pg_constraint k join pg_class r on r.oid = k.confrelid join pg_namespace rn on rn.oid = r.relnamespace
        where k.conrelid = c.oid and k.contype = 'f') as foreign_keys,
      array(select t.tgname::text from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal order by 1) as triggers
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${schema} and c.relname = ${tableName} and c.relkind in ('r', 'p')`);
  return (
    row && {
      tableName,
      columns: row.columns.map((column) => ({
        columnName: column.name,
        type: API_TYPES[column.type] ?? column.type,
        isNullable: column.nullable,
        isUnique: column.unique,
        isPrimaryKey: column.primary,
        ...(column.default === null ? {} : { defaultValue: column.default }),
      })),
      foreignKeys: row.foreign_keys,
      rlsEnabled: row.rls,
      triggers: row.triggers,
    }
  );
}

function actionOf(column: 'confdeltype' | 'confupdtype'): Sql {
  return sql`case k.${sql.id(column)} when 'c' then 'CASCADE' when 'n' then 'SET NULL' when 'd' then 'SET DEFAULT'
    when 'r' then 'RESTRICT' else 'NO ACTION' end`;
}

/** A table of public with the number of its rows, as the API answers it. */
export async function toTableSchema(tx: UserTx, { triggers: _triggers, ...table }: Table): Promise<TableSchema> {
  const [overview] = await listTableOverviews(tx, { schema: 'public', table: table.tableName });
  return { ...table, recordCount: overview?.rows ?? 0 };
}
