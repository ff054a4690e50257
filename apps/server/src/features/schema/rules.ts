import type { SchemaWarning } from '@insforge/contract/schema.ts';
import { type Sql, sql } from '#platform/db/sql.ts';

/**
 * One thing that can be wrong with a schema. `find` answers with the columns object and fix, for the objects
 * whose catalogue row `isTouched` accepts; it may use `exposed`, the schemas that the data API serves.
 */
export interface Rule {
  id: string;
  severity: SchemaWarning['severity'];
  consequence: string;
  find: (isTouched: (xmin: Sql) => Sql) => Sql;
}

const RELATION = sql`format('%I.%I', n.nspname, c.relname)`;
const POLICY = sql`format('policy %I on %I.%I', p.polname, n.nspname, c.relname)`;
const ROUTINE = sql`format('%I.%I(%s)', n.nspname, f.proname, pg_get_function_identity_arguments(f.oid))`;

/** Anybody, or anybody signed in, may do something with the relation as far as grants go. */
const IS_GRANTED = sql`(
  has_table_privilege('anon', c.oid, 'select, insert, update, delete')
  or has_table_privilege('authenticated', c.oid, 'select, insert, update, delete'))`;

/** Who owns a row, as a condition: by the column that refers to auth.users, else by a usual name, else unknown. */
const OWN_ROWS = sql`coalesce((
  select format('(select auth.uid()) = %I', a.attname) from pg_attribute a
  left join pg_constraint k on k.conrelid = c.oid and k.contype = 'f' and k.conkey = array[a.attnum]
    and k.confrelid = 'auth.users'::regclass
  where a.attrelid = c.oid and a.atttypid = 'uuid'::regtype and not a.attisdropped
    and (k.oid is not null or a.attname in ('user_id', 'owner_id', 'author_id', 'created_by', 'owner'))
  order by k.oid is null, a.attnum limit 1), 'true')`;

const APPLIES_TO_ANON = sql`p.polpermissive and (p.polroles @> array[0::oid] or p.polroles @> array['anon'::regrole::oid])`;
const POLICIES = sql`
  pg_policy p join pg_class c on c.oid = p.polrelid join exposed n on n.oid = c.relnamespace`;
const USING = sql`pg_get_expr(p.polqual, p.polrelid)`;
const CHECK = sql`pg_get_expr(p.polwithcheck, p.polrelid)`;

const PER_ROW_CALL = sql`'(?<!SELECT )auth\\.(uid|jwt|role|email)\\(\\)'`;
const ONCE = sql`'(select auth.\\1())'`;

/** What every change of the schema is checked for. */
export const RULES: readonly Rule[] = [
  {
    id: 'rls-disabled',
    severity: 'critical',
    consequence: 'Row level security is off: whoever has the public anon key can reach every row, as far as grants go.',
    find: (isTouched) => sql`
      select ${RELATION} as object, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', ${RELATION}) as fix
      from pg_class c join exposed n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and not c.relrowsecurity and ${IS_GRANTED} and ${isTouched(sql`c.xmin`)}`,
  },
  {
    id: 'rls-no-policy',
    severity: 'info',
    consequence: 'There is no policy yet: only the API key reaches the rows; anon and signed-in users see none.',
    find: (isTouched) => sql`
      select ${RELATION} as object, case ${OWN_ROWS}
        when 'true' then format('CREATE POLICY "read" ON %s FOR SELECT TO authenticated USING (true);', ${RELATION})
        else format('CREATE POLICY "own rows" ON %s FOR ALL TO authenticated USING (%s) WITH CHECK (%2$s);',
          ${RELATION}, ${OWN_ROWS}) end as fix
      from pg_class c join exposed n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p') and c.relrowsecurity and ${IS_GRANTED} and ${isTouched(sql`c.xmin`)}
        and not exists (select from pg_policy p where p.polrelid = c.oid)`,
  },
  {
    id: 'rls-permissive',
    severity: 'critical',
    consequence: 'The policy is true for everybody: whoever has the public anon key can change these rows.',
    find: (isTouched) => sql`
      select ${POLICY} as object, format('ALTER POLICY %I ON %s TO authenticated%s%s;', p.polname, ${RELATION},
        case when p.polqual is not null then format(' USING (%s)', ${OWN_ROWS}) end,
        case when p.polcmd <> 'd' then format(' WITH CHECK (%s)', ${OWN_ROWS}) end) as fix
      from ${POLICIES}
      where ${APPLIES_TO_ANON} and ${isTouched(sql`p.xmin`)}
        and (p.polcmd in ('*', 'w', 'd') and ${USING} = 'true' or p.polcmd = 'a' and ${CHECK} = 'true')`,
  },
  {
    id: 'rls-permissive',
    severity: 'info',
    consequence: 'The policy is true for everybody: whoever has the public anon key can read every row.',
    find: (isTouched) => sql`
      select ${POLICY} as object,
        format('ALTER POLICY %I ON %s TO authenticated USING (%s);', p.polname, ${RELATION}, ${OWN_ROWS}) as fix
      from ${POLICIES}
      where ${APPLIES_TO_ANON} and ${isTouched(sql`p.xmin`)} and p.polcmd = 'r' and ${USING} = 'true'`,
  },
  {
    id: 'view-bypasses-rls',
    severity: 'critical',
    consequence:
      'The view reads with the rights of its owner, so row level security does not hold for whoever reads it.',
    find: (isTouched) => sql`
      select ${RELATION} as object, case c.relkind
        when 'v' then format('ALTER VIEW %s SET (security_invoker = true);', ${RELATION})
        else format('REVOKE ALL ON %s FROM anon, authenticated;', ${RELATION}) end as fix
      from pg_class c join exposed n on n.oid = c.relnamespace
      where c.relkind in ('v', 'm') and ${isTouched(sql`c.xmin`)}
        and (has_table_privilege('anon', c.oid, 'select') or has_table_privilege('authenticated', c.oid, 'select'))
        and not exists (
          select from pg_options_to_table(c.reloptions)
          where option_name = 'security_invoker' and option_value in ('true', 'on', '1', 'yes'))
        and exists (
          select from pg_rewrite r
          join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
            and d.refclassid = 'pg_class'::regclass and d.refobjid <> c.oid
          join pg_class t on t.oid = d.refobjid join pg_namespace tn on tn.oid = t.relnamespace
          where r.ev_class = c.oid and t.relkind in ('r', 'p')
            and (t.relrowsecurity
              or tn.oid not in (select oid from exposed) and tn.nspname not in ('pg_catalog', 'information_schema')))`,
  },
  {
    id: 'definer-search-path',
    severity: 'warning',
    consequence:
      'The function runs with the rights of its owner and looks names up in the path of its caller, who can put other objects in their place.',
    find: (isTouched) => sql`
      select ${ROUTINE} as object, format('ALTER ROUTINE %s SET search_path = public, pg_temp;', ${ROUTINE}) as fix
      from pg_proc f join exposed n on n.oid = f.pronamespace
      where f.prosecdef and ${isTouched(sql`f.xmin`)}
        and not exists (select from unnest(f.proconfig) as setting where setting like 'search_path=%')`,
  },
  {
    id: 'dangerous-function',
    severity: 'critical',
    consequence: 'Whoever has the public anon key can call this function, and it writes with the rights of its owner.',
    find: (isTouched) => sql`
      select ${ROUTINE} as object, format('REVOKE EXECUTE ON ROUTINE %s FROM public, anon;', ${ROUTINE}) as fix
      from pg_proc f join exposed n on n.oid = f.pronamespace
      where f.prosecdef and f.provolatile = 'v' and f.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
        and has_function_privilege('anon', f.oid, 'execute') and ${isTouched(sql`f.xmin`)}
        and coalesce(pg_get_function_sqlbody(f.oid), f.prosrc)
          ~* '\\m(insert\\s+into|update|delete\\s+from|truncate|merge\\s+into|drop|alter|grant|execute)\\M'`,
  },
  {
    id: 'missing-fk-index',
    severity: 'info',
    consequence:
      'No index begins with the columns of this foreign key: joins and deletes of the other table scan it whole.',
    find: (isTouched) => sql`
      select format('foreign key %I on %I.%I', k.conname, n.nspname, c.relname) as object,
        format('CREATE INDEX ON %s (%s);', ${RELATION}, (
          select string_agg(quote_ident(a.attname), ', ' order by key.place)
          from unnest(k.conkey) with ordinality key (number, place)
          join pg_attribute a on a.attrelid = c.oid and a.attnum = key.number)) as fix
      from pg_constraint k join pg_class c on c.oid = k.conrelid join exposed n on n.oid = c.relnamespace
      where k.contype = 'f' and ${isTouched(sql`k.xmin`)} and not exists (
        select from pg_index i
        where i.indrelid = c.oid and i.indpred is null
          and (string_to_array(i.indkey::text, ' ')::int2[])[1:cardinality(k.conkey)] @> k.conkey)`,
  },
  {
    id: 'rls-policy-perf',
    severity: 'warning',
    consequence: 'The policy asks who is calling once per row instead of once per query.',
    find: (isTouched) => sql`
      select ${POLICY} as object, format('ALTER POLICY %I ON %s%s%s;', p.polname, ${RELATION},
        ' USING (' || regexp_replace(${USING}, ${PER_ROW_CALL}, ${ONCE}, 'g') || ')',
        ' WITH CHECK (' || regexp_replace(${CHECK}, ${PER_ROW_CALL}, ${ONCE}, 'g') || ')') as fix
      from ${POLICIES}
      where concat_ws(' ', ${USING}, ${CHECK}) ~ ${PER_ROW_CALL} and ${isTouched(sql`p.xmin`)}`,
  },
];
