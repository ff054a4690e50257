import type { UserTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';

/** One line about a table: what a reader wants to know before any detail. */
export interface TableOverview {
  schema: string;
  name: string;
  /** Exact up to EXACT_ROWS, beyond that the estimate of the planner. */
  rows: number;
  bytes: number;
  rlsEnabled: boolean;
  policies: number;
  columns: string[];
}

interface TableRow extends Omit<TableOverview, 'rows'> {
  estimate: number;
  countable: boolean;
  is_empty: boolean;
}

/** Counting that many rows takes a few milliseconds; nobody reads the last digit of more. */
const EXACT_ROWS = 10_000;

/**
 * The tables of the schemas that the data API serves, or only those given.
 * @param only narrows it down to one schema, or to one table of it; materialized views count as tables if asked for
 */
export async function listTableOverviews(
  tx: Pick<UserTx, 'query'>,
  only: { schema?: string; table?: string; materialized?: boolean } = {},
): Promise<TableOverview[]> {
  const tables = await tx.query<TableRow>(sql`
    select n.nspname as schema, c.relname as name, c.relrowsecurity as "rlsEnabled",
      pg_total_relation_size(c.oid)::float8 as bytes,
      (select count(*)::int from pg_policy p where p.polrelid = c.oid) as policies,
      array(select a.attname::text from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as columns,
      has_table_privilege(c.oid, 'select') and has_schema_privilege(n.oid, 'usage') as countable,
      c.relkind = 'r' and pg_relation_size(c.oid) = 0 as is_empty,
      -- As the planner does it: rows per page when last looked at, times the pages there are now.
      greatest(0, case when c.reltuples > 0 and c.relpages > 0
        then c.reltuples / c.relpages * (pg_relation_size(c.oid) / current_setting('block_size')::int)
        else pg_stat_get_live_tuples(c.oid) end)::float8 as estimate
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = any(${only.materialized ? ['r', 'p', 'm'] : ['r', 'p']}) and not c.relispartition
      and ${only.schema === undefined ? sql`system.is_exposed_schema(n.nspname)` : sql`n.nspname = ${only.schema}`}
      and ${only.table === undefined ? sql`true` : sql`c.relname = ${only.table}`}
    order by n.nspname <> 'public', n.nspname, c.relname`);
  const counts = await countUpToLimit(tx, tables);
  return tables.map(({ estimate, countable: _countable, is_empty: _isEmpty, ...table }, index) => {
    const counted = counts.get(index);
    const isExact = counted !== undefined && counted <= EXACT_ROWS;
    return { ...table, rows: isExact ? counted : Math.max(Math.round(estimate), counted ?? 0) };
  });
}

/** Counts, in one statement, the tables that may be small. */
async function countUpToLimit(tx: Pick<UserTx, 'query'>, tables: readonly TableRow[]): Promise<Map<number, number>> {
  const counts = new Map<number, number>();
  const parts: Sql[] = [];
  for (const [index, { schema, name, countable, estimate, is_empty }] of tables.entries()) {
    if (is_empty) counts.set(index, 0);
    else if (countable && estimate <= EXACT_ROWS * 2) {
      parts.push(sql`
        select ${sql.raw(String(index))} as index, count(*)::int as rows
        from (select from ${sql.id(schema, name)} limit ${sql.raw(String(EXACT_ROWS + 1))}) as few`);
    }
  }
  if (parts.length === 0) return counts;
  const rows = await tx.query<{ index: number; rows: number }>(sql.join(parts, ' union all '));
  for (const { index, rows: count } of rows) counts.set(index, count);
  return counts;
}
