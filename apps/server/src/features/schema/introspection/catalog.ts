import type { Catalog, CatalogQuery, Relation, RelationSummary } from '@insforge/contract/schema.ts';
import type { UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { listTableOverviews, type TableOverview } from '../row-counts.ts';
import { readRelations, type Selection, type Unmeasured } from './relations.ts';

type Reader = Pick<UserTx, 'query' | 'one'>;

/** A catalogue with all details, before it is cut to what was asked for. */
export type FullCatalog = Omit<Catalog, 'relations'> & { relations: Relation[] };

/**
 * Reads what is in the database.
 * @throws AppError DATABASE_NOT_FOUND for tables that are not there
 */
export async function readCatalog(tx: Reader, query: CatalogQuery): Promise<FullCatalog> {
  const names = query.tables?.split(',').map((name) => name.trim());
  const selection: Selection = { schema: query.schema, names };
  const relations = await measure(tx, await readRelations(tx, selection), selection);
  for (const name of names ?? []) {
    if (!relations.some((relation) => name === relation.name || name === `${relation.schema}.${relation.name}`)) {
      throw new AppError('DATABASE_NOT_FOUND', `There is no table ${name}`);
    }
  }
  const size = await tx.one<{ bytes: number }>(sql`select pg_database_size(current_database())::float8 as bytes`);
  const rest = names === undefined ? await readOthers(tx, query.schema) : { functions: [], enums: [], extensions: [] };
  return { relations, ...rest, databaseBytes: size?.bytes ?? 0 };
}

async function measure(
  tx: Reader,
  relations: readonly Unmeasured[],
  { schema, names }: Selection,
): Promise<Relation[]> {
  const [only, ...more] = names === undefined || relations.length !== 1 ? [] : relations;
  const where =
    only && more.length === 0 ? { schema: only.schema, table: only.name } : schema === undefined ? {} : { schema };
  const overviews = await listTableOverviews(tx, { ...where, materialized: true });
  const key = ({ schema, name }: Pick<TableOverview, 'schema' | 'name'>) => `${schema}\0${name}`;
  const measured = new Map(overviews.map((overview) => [key(overview), overview]));
  return relations.map((relation) => {
    const { rows = 0, bytes = 0 } = measured.get(key(relation)) ?? {};
    return { ...relation, rows, bytes };
  });
}

async function readOthers(tx: Reader, schema: string | undefined) {
  const inSchema = schema === undefined ? sql`system.is_exposed_schema(n.nspname)` : sql`n.nspname = ${schema}`;
  const functions = await tx.query<Catalog['functions'][number]>(sql`
    select n.nspname as schema, f.proname as name, pg_get_function_arguments(f.oid) as arguments,
      coalesce(pg_get_function_result(f.oid), 'void') as returns, l.lanname as language,
      case f.provolatile when 'i' then 'immutable' when 's' then 'stable' else 'volatile' end as volatility,
      f.prosecdef as "securityDefiner", has_function_privilege('anon', f.oid, 'execute') as public
    from pg_proc f join pg_namespace n on n.oid = f.pronamespace join pg_language l on l.oid = f.prolang
    where ${inSchema} and not exists (
      select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = f.oid and d.deptype = 'e')
    order by n.nspname <> 'public', 1, 2, 3`);
  const enums = await tx.query<Catalog['enums'][number]>(sql`
    select n.nspname as schema, t.typname as name, array_agg(e.enumlabel::text order by e.enumsortorder) as values
    from pg_type t join pg_namespace n on n.oid = t.typnamespace join pg_enum e on e.enumtypid = t.oid
    where ${inSchema} group by 1, 2 order by 1, 2`);
  const extensions = await tx.query<Catalog['extensions'][number]>(sql`
    select e.extname as name, e.extversion as version, n.nspname as schema
    from pg_extension e join pg_namespace n on n.oid = e.extnamespace where e.extname <> 'plpgsql' order by 1`);
  return { functions, enums, extensions };
}

/** Leaves out what was not asked for. */
export function summarise(catalog: FullCatalog): Catalog {
  const relations = catalog.relations.map(
    ({ schema, name, kind, rows, bytes, rlsEnabled, policies, columns }): RelationSummary => ({
      schema,
      name,
      kind,
      rows,
      bytes,
      rlsEnabled,
      policies: policies.length,
      columns: columns.map((column) => column.name),
    }),
  );
  return { ...catalog, relations };
}
