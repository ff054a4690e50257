/** The catalogue queries behind the schema cache. They run with an empty search_path, so that names come qualified. */
import { sql } from '#platform/db/sql.ts';

/** Schemas of the platform itself: never served, whatever is granted on them. */
const INTERNAL_SCHEMAS = [
  'ai',
  'auth',
  'compute',
  'deployments',
  'email',
  'functions',
  'memory',
  'payments',
  'realtime',
  'schedules',
  'storage',
  'system',
];

export interface SchemaRow {
  oid: number;
  name: string;
  comment: string | null;
}

export const exposedSchemas = sql`
  select n.oid, n.nspname::text as name, obj_description(n.oid, 'pg_namespace') as comment
  from pg_namespace n
  where n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and not n.nspname = any (${INTERNAL_SCHEMAS})
    and not exists (
      select from pg_depend d
      where d.classid = 'pg_namespace'::regclass and d.objid = n.oid and d.deptype = 'e'
    )
  order by n.nspname <> 'public', n.nspname`;

export interface TypeRow {
  oid: number;
  name: string;
  short: string;
  schema: string;
  kind: string;
  category: string;
  relation: number;
  base: number;
  labels: string[] | null;
}

/** With the type modifier -1 `character` and `bit` are of any length; without one they would be of length 1. */
export const types = sql`
  select t.oid, format_type(t.oid, -1) as name, t.typname::text as short, n.nspname::text as schema,
    t.typtype::text as kind, t.typcategory::text as category, t.typbasetype as base, t.typrelid as relation,
    case t.typtype when 'e' then (
      select json_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid
    ) end as labels
  from pg_type t join pg_namespace n on n.oid = t.typnamespace
  where n.nspname not in ('information_schema', 'pg_toast')`;

export interface RelationRow {
  oid: number;
  schema: string;
  name: string;
  kind: string;
  rowtype: number;
  events: number;
  runs_code: boolean;
  comment: string | null;
}

/** The body of a trigger that stamps a row with the time, which most tables have. */
const STAMP = String.raw`^\s*begin\s+new\.("\w+"|\w+)\s*:?=\s*(now\(\)|current_timestamp)\s*;\s*return\s+new\s*;\s*end\s*;?\s*$`;

/**
 * 28 in `events`: insert (8), update (4), delete (16), by nature or by INSTEAD OF triggers.
 * A write reaches partitions, what inherits, what references by a key that cascades, and what is below a view.
 */
export const relations = (schemas: number[]) => sql`
  with recursive reaches (above, below) as (
    select inhparent, inhrelid from pg_inherits
    union all
    select confrelid, conrelid from pg_constraint
    where contype = 'f' and (confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd'))
    union all
    select r.ev_class, d.refobjid
    from pg_rewrite r
    join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
  ), own_code (relation) as (
    select t.tgrelid from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_language l on l.oid = p.prolang
    where not t.tgisinternal and t.tgenabled <> 'D' and not (l.lanname = 'plpgsql' and p.prosrc ~* ${STAMP})
    union
    select ev_class from pg_rewrite where rulename <> '_RETURN'
  ), code (relation) as (
    select relation from own_code union select r.above from code join reaches r on r.below = code.relation
  )
  select c.oid, n.nspname::text as schema, c.relname::text as name, c.relkind::text as kind, c.reltype as rowtype,
    case when c.relkind in ('r', 'p') then 28 when c.relkind = 'm' then 0
      else pg_relation_is_updatable(c.oid, true) end as events,
    c.oid in (select relation from code) as runs_code,
    obj_description(c.oid, 'pg_class') as comment
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'v', 'm', 'f', 'p') and not c.relispartition and n.oid = any (${schemas})
  order by n.nspname, c.relname`;

export interface ColumnRow {
  relation: number;
  number: number;
  name: string;
  type: string;
  type_oid: number;
  not_null: boolean;
  default: string | null;
  generated: boolean;
  max_length: number | null;
  comment: string | null;
}

/** Columns of relations and of composite types, which functions may return. */
export const columns = (schemas: number[]) => sql`
  select a.attrelid as relation, a.attnum::int as number, a.attname::text as name,
    format_type(a.atttypid, a.atttypmod) as type, a.atttypid as type_oid, a.attnotnull as not_null,
    case
      when a.attidentity <> '' then
        format('nextval(%L::regclass)', pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname))
      when a.atthasdef then pg_get_expr(d.adbin, d.adrelid)
      else pg_get_expr(t.typdefaultbin, 0)
    end as default,
    a.attgenerated <> '' or a.attidentity = 'a' as generated,
    case when a.atttypid in (1042, 1043) and a.atttypmod > 4 then a.atttypmod - 4 end as max_length,
    x.description as comment
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  left join pg_type t on t.oid = a.atttypid and t.typtype = 'd'
  left join pg_description x on x.objoid = c.oid and x.objsubid = a.attnum and x.classoid = 'pg_class'::regclass
  where c.relkind in ('r', 'v', 'm', 'f', 'p', 'c') and not c.relispartition
    and (n.oid = any (${schemas}) or (c.relkind = 'c' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'))
  order by a.attrelid, a.attnum`;

export interface ConstraintRow {
  name: string;
  kind: string;
  relation: number;
  target: number;
  columns: number[];
  target_columns: number[] | null;
}

/** Of all user schemas: a served view may stand on tables that are not served. */
export const constraints = sql`
  select k.conname::text as name, k.contype::text as kind, k.conrelid as relation, k.confrelid as target,
    k.conkey as columns, k.confkey as target_columns
  from pg_constraint k join pg_class c on c.oid = k.conrelid
  where k.contype in ('p', 'u', 'f') and k.conparentid = 0 and not c.relispartition
  order by k.conname, k.conrelid`;

export interface ViewRow {
  oid: number;
  definition: string;
}

export const views = sql`
  select r.ev_class as oid, r.ev_action::text as definition
  from pg_rewrite r
  join pg_class c on c.oid = r.ev_class
  join pg_namespace n on n.oid = c.relnamespace
  where r.rulename = '_RETURN' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`;

export interface RoutineRow {
  oid: number;
  schema: string;
  name: string;
  returns: number;
  is_set: boolean;
  rows: number;
  volatility: string;
  variadic: number;
  defaults: number;
  names: string[] | null;
  modes: string[] | null;
  inputs: number[];
  all_types: number[] | null;
  settings: string[] | null;
  comment: string | null;
}

export const routines = (schemas: number[]) => sql`
  select p.oid, n.nspname::text as schema, p.proname::text as name, p.prorettype as returns, p.proretset as is_set,
    p.prorows::float8 as rows, p.provolatile::text as volatility, p.provariadic as variadic,
    p.pronargdefaults::int as defaults, p.proargnames as names, p.proargmodes::text[] as modes,
    p.proargtypes::oid[] as inputs, p.proallargtypes as all_types, p.proconfig as settings, x.description as comment
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace
  left join pg_description x on x.objoid = p.oid and x.classoid = 'pg_proc'::regclass and x.objsubid = 0
  where p.prokind = 'f' and n.oid = any (${schemas})
    and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
  order by n.nspname, p.proname, p.oid`;

export interface RoleSettingRow {
  role: string;
  name: string;
  value: string;
}

export const roleSettings = sql`
  select r.rolname::text as role, split_part(s.setting, '=', 1) as name,
    substring(s.setting from position('=' in s.setting) + 1) as value
  from pg_db_role_setting d
  join pg_roles r on r.oid = d.setrole
  cross join lateral unnest(d.setconfig) as s (setting)
  left join pg_settings g on g.name = split_part(s.setting, '=', 1)
  where r.rolname in ('anon', 'authenticated', 'project_admin')
    and d.setdatabase in (0, (select oid from pg_database where datname = current_database()))
    and (g.context is null or g.context = 'user' or has_parameter_privilege(r.oid, g.name, 'set')) and split_part(s.setting, '=', 1) not in ('role', 'search_path')
  order by d.setdatabase`;

export interface CastRow {
  source: number;
  target: number;
  function: string;
}

/** Casts between domains and text, json or jsonb. */
export const representations = sql`
  select c.castsource as source, c.casttarget as target, format('%I.%I', n.nspname, p.proname) as function
  from pg_cast c
  join pg_proc p on p.oid = c.castfunc
  join pg_namespace n on n.oid = p.pronamespace
  join pg_type s on s.oid = c.castsource
  join pg_type t on t.oid = c.casttarget
  where c.castcontext = 'i'
    and ((s.typtype = 'd' and t.oid in ('json'::regtype, 'text'::regtype))
      or (t.typtype = 'd' and s.oid in ('json'::regtype, 'text'::regtype)))`;

export interface MediaHandlerRow {
  media_type: string;
  aggregate: string;
  argument: number;
  is_any: boolean;
  domain: number;
}

/** Aggregates that return a domain named like a media type. */
export const mediaHandlers = (schemas: number[]) => sql`
  select t.typname::text as media_type, format('%I.%I', n.nspname, p.proname) as aggregate,
    p.proargtypes[0] as argument, p.proargtypes[0] = 'anyelement'::regtype as is_any, t.oid as domain
  from pg_aggregate a
  join pg_proc p on p.oid = a.aggfnoid
  join pg_namespace n on n.oid = p.pronamespace
  join pg_type t on t.oid = case when p.prorettype = 'anyelement'::regtype then a.aggtranstype else p.prorettype end
  where t.typtype = 'd' and t.typname like '%/%' and p.pronargs = 1 and n.oid = any (${schemas})`;

/** Settings by which SQL of the project talks with a request. */
export interface MentionsRow {
  request: boolean;
  response: boolean;
}

/**
 * Whether any SQL of the project mentions `response.`, or `request.` with something else than `jwt` after it:
 * in the text of functions, or as a constant in the stored expressions of views, policies and defaults, where
 * the catalogue keeps constants as decimal bytes.
 */
export const mentions = sql`
  with sources (text) as (
    select p.prosrc from pg_proc p
    where p.oid >= 16384 and not exists (
      select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e'
    )
  ), expressions (tree) as (
    select prosqlbody::text from pg_proc where prosqlbody is not null and oid >= 16384
    union all select polqual::text from pg_policy union all select polwithcheck::text from pg_policy
    union all select adbin::text from pg_attrdef
    union all select ev_action::text from pg_rewrite where oid >= 16384
    union all select tgqual::text from pg_trigger where tgqual is not null
  )
  select
    exists (select from sources where text ~ 'request\\.(?!jwt)')
      or exists (select from expressions where tree ~ ' 114 101 113 117 101 115 116 46 (?!106 119 116)') as request,
    exists (select from sources where text ~ 'response\\.')
      or exists (select from expressions where tree ~ ' 114 101 115 112 111 110 115 101 46 ') as response`;
