import type { UserTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';

/** Something that one CREATE statement makes, and that others may need to be there first. */
export interface DumpObject {
  /** `catalogue:oid`. */
  id: string;
  kind:
    | 'enum'
    | 'composite'
    | 'domain'
    | 'range'
    | 'sequence'
    | 'table'
    | 'view'
    | 'materialized view'
    | 'routine'
    | 'aggregate';
  oid: string;
  schema: string;
  name: string;
  /** Quoted for SQL, with its schema; of a function with its arguments. */
  identity: string;
  /** True for views and what needs one: they are made when the keys of the tables are there. */
  needsViews: boolean;
}

type Listed = Omit<DumpObject, 'needsViews'>;

/** Which objects are wanted, by their schema and name. */
export interface Wanted {
  /** Absent: all. */
  tables: readonly string[] | undefined;
  functions: boolean;
  sequences: boolean;
  views: boolean;
}

/** Names in public or with their schema in front, as a condition on the two columns. */
function isNamed(schema: Sql, name: Sql, tables: readonly string[]): Sql {
  return sql`(${schema} = 'public' and ${name} = any(${tables}) or ${schema} || '.' || ${name} = any(${tables}))`;
}

/** Not a member of an extension, and not made by something else, as the constructors of a range type are. */
const standsAlone = (catalogue: string, oid: Sql) => sql`not exists (
  select from pg_depend e where e.classid = ${sql.raw(`'${catalogue}'::regclass`)} and e.objid = ${oid} and e.deptype in ('e', 'i') and e.refobjid <> e.objid)`;

/** Lists the objects of the developer's schemas, in the order in which they can be made. */
export async function listObjects(tx: UserTx, wanted: Wanted): Promise<DumpObject[]> {
  const only = (schema: Sql, name: Sql) =>
    wanted.tables === undefined ? sql`true` : isNamed(schema, name, wanted.tables);
  const kinds = ['r', 'p', ...(wanted.views ? ['v', 'm'] : []), ...(wanted.sequences ? ['S'] : [])];
  const relations = await tx.query<Listed>(sql`
    select 'pg_class:' || c.oid as id, c.oid::text as oid, n.nspname as schema, c.relname as name,
      format('%I.%I', n.nspname, c.relname) as identity,
      case c.relkind when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'materialized view' else 'table' end as kind
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = any(${kinds}) and system.is_exposed_schema(n.nspname) and ${standsAlone('pg_class', sql`c.oid`)}
      -- The sequence of an identity column comes with it (it is internal); that of a serial one goes with its table.
      and case when c.relkind = 'S' and exists (
          select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'a')
        then exists (
          select from pg_depend d join pg_class t on t.oid = d.refobjid join pg_namespace tn on tn.oid = t.relnamespace
          where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'a' and ${only(sql`tn.nspname`, sql`t.relname`)})
        else ${only(sql`n.nspname`, sql`c.relname`)} end
    order by c.oid`);
  if (wanted.tables !== undefined) return sortByNeed(tx, relations);
  const types = await tx.query<Listed>(sql`
    select 'pg_type:' || t.oid as id, t.oid::text as oid, n.nspname as schema, t.typname as name,
      format('%I.%I', n.nspname, t.typname) as identity,
      case t.typtype when 'e' then 'enum' when 'd' then 'domain' when 'r' then 'range' else 'composite' end as kind
    from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
    where (t.typtype in ('e', 'd', 'r') or t.typtype = 'c' and c.relkind = 'c')
      and system.is_exposed_schema(n.nspname) and ${standsAlone('pg_type', sql`t.oid`)}
    order by t.oid`);
  const routines = wanted.functions
    ? await tx.query<Listed>(sql`
        select 'pg_proc:' || f.oid as id, f.oid::text as oid, n.nspname as schema, f.proname as name,
          format('%I.%I(%s)', n.nspname, f.proname, pg_get_function_identity_arguments(f.oid)) as identity,
          case f.prokind when 'a' then 'aggregate' else 'routine' end as kind
        from pg_proc f join pg_namespace n on n.oid = f.pronamespace
        where system.is_exposed_schema(n.nspname) and ${standsAlone('pg_proc', sql`f.oid`)}
        order by f.oid`)
    : [];
  return sortByNeed(tx, [...types, ...routines, ...relations]);
}

/** What needs something comes after it; otherwise the order of creation. What needs each other stays as it is. */
async function sortByNeed(tx: UserTx, objects: readonly Listed[]): Promise<DumpObject[]> {
  const needs = new Map<string, string[]>();
  for (const { id, needed } of await readNeeds(tx)) needs.set(id, [...(needs.get(id) ?? []), needed]);
  const byId = new Map(objects.map((object) => [object.id, object]));
  const sorted = new Map<string, DumpObject>();
  const seen = new Set<string>();
  for (const root of [...objects].sort((a, b) => Number(a.oid) - Number(b.oid))) {
    if (seen.has(root.id)) continue;
    seen.add(root.id);
    // Depth first without recursion: an object is added when all it needs has been.
    const path = [{ id: root.id, open: [...(needs.get(root.id) ?? [])] }];
    for (let last = path.at(-1); last; last = path.at(-1)) {
      const next = last.open.pop();
      if (next === undefined) {
        const object = byId.get(last.id);
        if (object) {
          const needsViews =
            object.kind.endsWith('view') || (needs.get(last.id) ?? []).some((id) => sorted.get(id)?.needsViews);
          sorted.set(last.id, { ...object, needsViews: needsViews && object.kind !== 'table' });
        }
        path.pop();
      } else if (!seen.has(next)) {
        seen.add(next);
        path.push({ id: next, open: [...(needs.get(next) ?? [])] });
      }
    }
  }
  return [...sorted.values()];
}

/** Who needs whom, by the identifiers of `listObjects`. Defaults and constraints are made later, so they do not count. */
function readNeeds(tx: UserTx): Promise<{ id: string; needed: string }[]> {
  return tx.query<{ id: string; needed: string }>(sql`
    with named as (
      select
        case d.classid
          when 'pg_rewrite'::regclass then 'pg_class:' || (select ev_class from pg_rewrite where oid = d.objid)
          when 'pg_attrdef'::regclass then 'pg_class:' || (
            select ad.adrelid from pg_attrdef ad join pg_attribute a on a.attrelid = ad.adrelid and a.attnum = ad.adnum
            where ad.oid = d.objid and a.attgenerated <> '')
          when 'pg_constraint'::regclass then 'pg_type:' || (select nullif(contypid, 0) from pg_constraint where oid = d.objid)
          when 'pg_class'::regclass then case (select relkind from pg_class where oid = d.objid)
            when 'c' then 'pg_type:' || (select reltype from pg_class where oid = d.objid)
            when 'S' then null
            else 'pg_class:' || d.objid end
          when 'pg_type'::regclass then 'pg_type:' || d.objid
          when 'pg_proc'::regclass then 'pg_proc:' || d.objid
        end as id,
        case d.refclassid
          when 'pg_class'::regclass then 'pg_class:' || d.refobjid
          when 'pg_proc'::regclass then 'pg_proc:' || d.refobjid
          when 'pg_type'::regclass then (
            select case when r.relkind is not null and r.relkind <> 'c' then 'pg_class:' || r.oid else 'pg_type:' || t.oid end
            from pg_type given
            join pg_type t on t.oid = case when given.typcategory = 'A' and given.typelem <> 0 then given.typelem else given.oid end
            left join pg_class r on r.oid = t.typrelid
            where given.oid = d.refobjid)
        end as needed
      from pg_depend d
      where d.deptype in ('n', 'a') and d.refobjid >= 16384)
    select distinct id, needed from named where id is not null and needed is not null and id <> needed`);
}
