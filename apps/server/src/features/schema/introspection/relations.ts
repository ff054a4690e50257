import type { Relation } from '@insforge/contract/schema.ts';
import type { UserTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';

/** Which tables and views are meant: those of a schema, or some by name, or all that the data API serves. */
export interface Selection {
  schema?: string | undefined;
  /** Names in `public`, or with their schema in front. */
  names?: readonly string[] | undefined;
}

/** What is selected, as a condition on `c` (pg_class) and `n` (pg_namespace). */
export function isSelected({ schema, names }: Selection): Sql {
  const inSchema = schema === undefined ? sql`system.is_exposed_schema(n.nspname)` : sql`n.nspname = ${schema}`;
  return names === undefined
    ? inSchema
    : sql`${inSchema} and (
        c.relname = any(${names}) and n.nspname = ${schema ?? 'public'} or n.nspname || '.' || c.relname = any(${names}))`;
}

const COLUMNS = sql`
  select a.attrelid as relation, jsonb_agg(jsonb_build_object(
    'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'nullable', not a.attnotnull,
    'default', case when a.attgenerated = '' then pg_get_expr(d.adbin, d.adrelid) end,
    'generated', case when a.attgenerated <> '' then 'stored' when a.attidentity = 'a' then 'always'
      when a.attidentity = 'd' then 'by default' end,
    'comment', col_description(a.attrelid, a.attnum)) order by a.attnum) as list
  from selected s join pg_attribute a on a.attrelid = s.oid
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attnum > 0 and not a.attisdropped group by a.attrelid`;

const CONSTRAINTS = sql`
  select k.conrelid as relation, jsonb_agg(jsonb_build_object(
    'name', k.conname, 'definition', pg_get_constraintdef(k.oid),
    'kind', case k.contype when 'p' then 'primary key' when 'u' then 'unique' when 'f' then 'foreign key'
      when 'c' then 'check' else 'exclusion' end) order by k.contype <> 'p', k.conname) as list
  from selected s join pg_constraint k on k.conrelid = s.oid
  where k.contype in ('p', 'u', 'f', 'c', 'x') group by k.conrelid`;

const REFERENCES = sql`
  select k.confrelid as relation,
    jsonb_agg(format('%s: %s', k.conrelid::regclass, pg_get_constraintdef(k.oid)) order by k.conrelid::regclass::text) as list
  from selected s join pg_constraint k on k.confrelid = s.oid
  where k.contype = 'f' and k.conparentid = 0 group by k.confrelid`;

const INDEXES = sql`
  select i.indrelid as relation, jsonb_agg(jsonb_build_object(
    'name', x.relname, 'definition', pg_get_indexdef(i.indexrelid), 'bytes', pg_relation_size(i.indexrelid),
    'valid', i.indisvalid) order by x.relname) as list
  from selected s join pg_index i on i.indrelid = s.oid join pg_class x on x.oid = i.indexrelid
  group by i.indrelid`;

const POLICIES = sql`
  select p.polrelid as relation, jsonb_agg(jsonb_build_object(
    'name', p.polname, 'permissive', p.polpermissive,
    'command', case p.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE' when 'd' then 'DELETE' else 'ALL' end,
    'roles', array(select case role when 0 then 'public' else pg_get_userbyid(role)::text end
      from unnest(p.polroles) as role order by 1),
    'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)) order by p.polname) as list
  from selected s join pg_policy p on p.polrelid = s.oid group by p.polrelid`;

const TRIGGERS = sql`
  select t.tgrelid as relation,
    jsonb_agg(jsonb_build_object('name', t.tgname, 'definition', pg_get_triggerdef(t.oid)) order by t.tgname) as list
  from selected s join pg_trigger t on t.tgrelid = s.oid where not t.tgisinternal group by t.tgrelid`;

/** A table or view without what has to be measured. */
export type Unmeasured = Omit<Relation, 'rows' | 'bytes'>;

/** Everything about the selected tables and views, in one statement. */
export function readRelations(tx: Pick<UserTx, 'query'>, selection: Selection): Promise<Unmeasured[]> {
  const list = (alias: string) => sql`coalesce(${sql.id(alias)}.list, '[]')`;
  return tx.query<Unmeasured>(sql`
    with selected as materialized (
      select c.oid, n.nspname, c.relname, c.relkind, c.relrowsecurity
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'f', 'v', 'm') and not c.relispartition and ${isSelected(selection)}
        and not exists (select from pg_depend e
          where e.classid = 'pg_class'::regclass and e.objid = c.oid and e.deptype = 'e'))
    select s.nspname as schema, s.relname as name, case s.relkind when 'r' then 'table' when 'p' then 'partitioned table'
        when 'f' then 'foreign table' when 'v' then 'view' else 'materialized view' end as kind,
      obj_description(s.oid, 'pg_class') as comment,
      s.relrowsecurity as "rlsEnabled", ${list('columns')} as columns, ${list('constraints')} as constraints,
      ${list('referring')} as "referencedBy", ${list('indexes')} as indexes, ${list('policies')} as policies,
      ${list('triggers')} as triggers,
      case when s.relkind in ('v', 'm') then pg_get_viewdef(s.oid) end as definition
    from selected s
    left join (${COLUMNS}) as columns on columns.relation = s.oid
    left join (${CONSTRAINTS}) as constraints on constraints.relation = s.oid
    left join (${REFERENCES}) as referring on referring.relation = s.oid
    left join (${INDEXES}) as indexes on indexes.relation = s.oid
    left join (${POLICIES}) as policies on policies.relation = s.oid
    left join (${TRIGGERS}) as triggers on triggers.relation = s.oid
    order by s.nspname <> 'public', s.nspname, s.relname`);
}
