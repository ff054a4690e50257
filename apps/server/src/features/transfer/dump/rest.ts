import type { UserTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';

/** A query whose rows are statements of the dump. */
type Statements = (tables: Sql) => Sql;

async function read(tx: UserTx, query: Sql): Promise<string[]> {
  const rows = await tx.query<{ text: string }>(query);
  return rows.map(({ text }) => text);
}

/** `$1`: the oids of the tables that are in the dump. */
const reader = (statements: Statements) => (tx: UserTx, oids: readonly string[]) =>
  read(tx, statements(sql`any(${oids}::oid[])`));

const NAME = sql`format('%I.%I', n.nspname, c.relname)`;
const TABLES = sql`pg_class c join pg_namespace n on n.oid = c.relnamespace`;

export const readSchemas = (tx: UserTx) =>
  read(
    tx,
    sql`select format('CREATE SCHEMA IF NOT EXISTS %I;', nspname) as text from pg_namespace
      where system.is_exposed_schema(nspname) and nspname <> 'public' order by nspname`,
  );

export const readExtensions = (tx: UserTx) =>
  read(
    tx,
    sql`select format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I;', e.extname, n.nspname) as text
      from pg_extension e join pg_namespace n on n.oid = e.extnamespace
      where system.is_exposed_schema(n.nspname) order by e.oid`,
  );

export const readDefaults = reader(
  (tables) => sql`
    select format('ALTER TABLE ONLY %s ALTER COLUMN %I SET DEFAULT %s;', ${NAME}, a.attname, pg_get_expr(d.adbin, d.adrelid)) as text
    from ${TABLES} join pg_attrdef d on d.adrelid = c.oid
    join pg_attribute a on a.attrelid = c.oid and a.attnum = d.adnum
    where c.oid = ${tables} and a.attgenerated = '' order by c.oid, a.attnum`,
);

export const readSequenceOwners = reader(
  (tables) => sql`
    select format('ALTER SEQUENCE %I.%I OWNED BY %s.%I;', sn.nspname, s.relname, ${NAME}, a.attname) as text
    from pg_depend d join pg_class s on s.oid = d.objid join pg_namespace sn on sn.oid = s.relnamespace
    join pg_class c on c.oid = d.refobjid join pg_namespace n on n.oid = c.relnamespace
    join pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid
    where d.classid = 'pg_class'::regclass and d.deptype = 'a' and s.relkind = 'S' and c.oid = ${tables} order by s.oid`,
);

/** The values that sequences have reached, those of identity columns included. */
export async function readSequenceValues(tx: UserTx, oids: readonly string[]): Promise<string[]> {
  const sequences = await tx.query<{ name: string; identity: string }>(sql`
    select format('%I.%I', n.nspname, c.relname) as name,
      case when d.deptype = 'i' then format('pg_catalog.pg_get_serial_sequence(%L, %L)',
        format('%I.%I', tn.nspname, t.relname), a.attname) else format('%L', format('%I.%I', n.nspname, c.relname)) end as identity
    from ${TABLES} left join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('a', 'i')
      and d.refclassid = 'pg_class'::regclass
    left join pg_class t on t.oid = d.refobjid left join pg_namespace tn on tn.oid = t.relnamespace
    left join pg_attribute a on a.attrelid = t.oid and a.attnum = d.refobjsubid
    where c.relkind = 'S' and system.is_exposed_schema(n.nspname) and (d.refobjid is null or d.refobjid = any(${oids}::oid[]))
    order by c.oid`);
  const values: string[] = [];
  for (const { name, identity } of sequences) {
    values.push(
      ...(await read(
        tx,
        sql`select format('SELECT pg_catalog.setval(%s, %s, %L);', ${identity}::text, last_value, is_called) as text from ${sql.raw(name)}`,
      )),
    );
  }
  return values;
}

const constraints = (kinds: Sql) =>
  reader(
    (tables) => sql`
      select format('ALTER TABLE %s%s ADD CONSTRAINT %I %s;', case when c.relkind = 'p' then '' else 'ONLY ' end,
        ${NAME}, k.conname, pg_get_constraintdef(k.oid)) as text
      from ${TABLES} join pg_constraint k on k.conrelid = c.oid
      where c.oid = ${tables} and k.contype in (${kinds}) and k.conparentid = 0 and (k.conislocal or k.coninhcount = 0)
      order by k.contype <> 'p', k.oid`,
  );

export const readKeys = constraints(sql`'p', 'u'`);
export const readConstraints = constraints(sql`'c', 'x'`);
export const readForeignKeys = constraints(sql`'f'`);

export const readIndexes = reader(
  (tables) => sql`
    -- Made for a partitioned table, an index is made for its partitions too.
    select replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ') || ';' as text
    from pg_index i join pg_class x on x.oid = i.indexrelid
    where i.indrelid = ${tables} and not x.relispartition and (i.indisvalid or x.relkind = 'I')
      and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
    order by x.oid`,
);

/** Triggers of the tables, and the developer's on tables of the platform. */
export const readTriggers = reader(
  (tables) => sql`
    select concat_ws(E'\\n', pg_get_triggerdef(t.oid) || ';', case when t.tgenabled = 'D'
      then format('ALTER TABLE %s DISABLE TRIGGER %I;', ${NAME}, t.tgname) end) as text
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
    join pg_proc f on f.oid = t.tgfoid join pg_namespace fn on fn.oid = f.pronamespace
    where not t.tgisinternal and t.tgparentid = 0 and (c.oid = ${tables}
      or not system.is_exposed_schema(n.nspname) and system.is_exposed_schema(fn.nspname))
    order by t.oid`,
);

export const readRules = reader(
  (tables) => sql`
    select pg_get_ruledef(r.oid) as text from pg_rewrite r where r.ev_class = ${tables} and r.rulename <> '_RETURN' order by r.oid`,
);

/** Row level security of the tables, and where the developer has policies on tables of the platform. */
export const readRowSecurity = reader(
  (tables) => sql`
    select concat_ws(E'\\n',
      format('ALTER TABLE %s %s ROW LEVEL SECURITY;', ${NAME}, case when c.relrowsecurity then 'ENABLE' else 'DISABLE' end),
      case when c.relforcerowsecurity then format('ALTER TABLE %s FORCE ROW LEVEL SECURITY;', ${NAME}) end) as text
    from ${TABLES}
    where c.oid = ${tables} or exists (select from pg_policy p where p.polrelid = c.oid) and n.nspname in ('storage', 'realtime', 'payments')
    order by c.oid`,
);

export const readPolicies = reader(
  (tables) => sql`
    select concat('CREATE POLICY ', quote_ident(p.polname), ' ON ', ${NAME},
      case when not p.polpermissive then ' AS RESTRICTIVE' end,
      ' FOR ', case p.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE' when 'd' then 'DELETE' else 'ALL' end,
      ' TO ', (select string_agg(case role when 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(role)) end, ', ')
        from unnest(p.polroles) as role),
      ' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
      ' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', ';') as text
    from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
    where c.oid = ${tables} or n.nspname in ('storage', 'realtime', 'payments')
    order by p.oid`,
);
