import type { UserTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

/** A column that rows can be written to. */
export interface TargetColumn {
  name: string;
  type: string;
  default: string | null;
}

/** The table that rows go to. */
export interface Target {
  schema: string;
  name: string;
  /** Quoted for SQL. */
  sql: Sql;
  columns: TargetColumn[];
}

/**
 * Finds a table.
 * @param table in public, or with its schema in front
 * @throws AppError DATABASE_NOT_FOUND
 */
export async function findTarget(tx: Pick<UserTx, 'query'>, table: string, schema?: string): Promise<Target> {
  const dot = schema === undefined ? table.indexOf('.') : -1;
  const inSchema = schema ?? (dot < 0 ? 'public' : table.slice(0, dot));
  const name = dot < 0 ? table : table.slice(dot + 1);
  const [found] = await tx.query<{ columns: TargetColumn[] }>(sql`
    select coalesce(json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
      'default', pg_get_expr(d.adbin, d.adrelid)) order by a.attnum) filter (where a.attnum is not null), '[]') as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where n.nspname = ${inSchema} and c.relname = ${name} and c.relkind in ('r', 'p', 'v', 'f')
    group by c.oid`);
  if (!found) throw new AppError('DATABASE_NOT_FOUND', `There is no table ${table}`);
  return { schema: inSchema, name, sql: sql.id(inSchema, name), columns: found.columns };
}

/**
 * The columns of a target by name.
 * @throws AppError when one is not there
 */
export function pickColumns({ name: table, columns }: Target, names: readonly string[]): TargetColumn[] {
  return names.map((name) => {
    const column = columns.find((each) => each.name === name);
    if (column) return column;
    throw new AppError('DATABASE_VALIDATION_ERROR', `The table ${table} has no column ${JSON.stringify(name)}`, {
      nextActions: `It has: ${columns.map((each) => each.name).join(', ')}.`,
    });
  });
}
