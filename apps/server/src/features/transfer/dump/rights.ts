import type { UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import type { DumpObject } from './objects.ts';

/** The roles that every project has. Rights of others would have nobody to go to. */
const GRANTEES = sql`(0, 'anon'::regrole, 'authenticated'::regrole, 'project_admin'::regrole, 'project_reader'::regrole)`;

interface Access {
  owner: string;
  follows: boolean;
  /** Null where nobody has changed what is usual. */
  grants: { role: string; rights: string }[] | null;
}

const KEYWORDS: Readonly<Record<DumpObject['kind'], { grant: string; alter: string; catalogue: string }>> = {
  enum: { grant: 'TYPE', alter: 'TYPE', catalogue: 'pg_type' },
  composite: { grant: 'TYPE', alter: 'TYPE', catalogue: 'pg_type' },
  range: { grant: 'TYPE', alter: 'TYPE', catalogue: 'pg_type' },
  domain: { grant: 'DOMAIN', alter: 'DOMAIN', catalogue: 'pg_type' },
  sequence: { grant: 'SEQUENCE', alter: 'SEQUENCE', catalogue: 'pg_class' },
  table: { grant: 'TABLE', alter: 'TABLE', catalogue: 'pg_class' },
  view: { grant: 'TABLE', alter: 'VIEW', catalogue: 'pg_class' },
  'materialized view': { grant: 'TABLE', alter: 'MATERIALIZED VIEW', catalogue: 'pg_class' },
  routine: { grant: 'ROUTINE', alter: 'ROUTINE', catalogue: 'pg_proc' },
  aggregate: { grant: 'FUNCTION', alter: 'AGGREGATE', catalogue: 'pg_proc' },
};

const PREFIX = { pg_type: 'typ', pg_class: 'rel', pg_proc: 'pro' } as const;

/** Who owns an object, and who may do what with it. */
export async function readRights(tx: UserTx, { kind, oid, identity }: DumpObject): Promise<string[]> {
  const { grant, alter, catalogue } = KEYWORDS[kind];
  const prefix = PREFIX[catalogue as keyof typeof PREFIX];
  const access = await tx.one<Access>(sql`
    select pg_get_userbyid(${sql.raw(`${prefix}owner`)})::text as owner,
      exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = ${oid} and d.deptype = 'a'
        and ${kind}::text = 'sequence') as follows,
      case when ${sql.raw(`${prefix}acl`)} is not null then (
      select coalesce(jsonb_agg(jsonb_build_object('role', role, 'rights', rights) order by role), '[]') from (
        select case grantee when 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(grantee)) end as role,
          string_agg(privilege_type, ', ' order by privilege_type) as rights
        from aclexplode(${sql.raw(`${prefix}acl`)})
        where grantee in ${GRANTEES} and grantee <> ${sql.raw(`${prefix}owner`)} group by grantee) as granted) end as grants
    from ${sql.raw(catalogue)} where oid = ${oid}`);
  if (!access) return [];
  // A sequence of a column has the owner of its table, and cannot be given another.
  const owner = access.follows ? [] : [`ALTER ${alter} ${identity} OWNER TO ${access.owner};`];
  if (access.grants === null) return owner;
  return [
    ...owner,
    `REVOKE ALL ON ${grant} ${identity} FROM PUBLIC, anon, authenticated;`,
    ...access.grants.map(({ role, rights }) => `GRANT ${rights} ON ${grant} ${identity} TO ${role};`),
  ];
}

/** Rights on single columns, and on schemas. */
export async function readOtherRights(tx: UserTx, oids: readonly string[]): Promise<string[]> {
  const rows = await tx.query<{ text: string }>(sql`
    select format('GRANT %s (%I) ON TABLE %I.%I TO %s;', g.privilege_type, a.attname, n.nspname, c.relname,
      case g.grantee when 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(g.grantee)) end) as text
    from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
    cross join lateral aclexplode(a.attacl) g
    where c.oid = any(${oids}::oid[]) and not a.attisdropped and g.grantee in ${GRANTEES}
    union all
    select format('GRANT %s ON SCHEMA %I TO %s;', g.privilege_type, n.nspname,
      case g.grantee when 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(g.grantee)) end)
    from pg_namespace n cross join lateral aclexplode(n.nspacl) g
    where system.is_exposed_schema(n.nspname) and n.nspname <> 'public' and g.grantee in ${GRANTEES} and g.grantee <> n.nspowner
    union all
    select format('ALTER SCHEMA %I OWNER TO %I;', nspname, pg_get_userbyid(nspowner)) from pg_namespace
    where system.is_exposed_schema(nspname) and nspname <> 'public'
    order by 1`);
  return rows.map(({ text }) => text);
}

/** What people have written about objects. */
export async function readComments(tx: UserTx, { kind, oid, identity }: DumpObject): Promise<string[]> {
  const { alter, catalogue } = KEYWORDS[kind];
  const rows = await tx.query<{ text: string }>(sql`
    select case d.objsubid when 0 then format('COMMENT ON %s %s IS %L;', ${alter}::text, ${identity}::text, d.description)
      else format('COMMENT ON COLUMN %s.%I IS %L;', ${identity}::text, a.attname, d.description) end as text
    from pg_description d
    left join pg_attribute a on d.classoid = 'pg_class'::regclass and a.attrelid = d.objoid and a.attnum = d.objsubid and d.objsubid > 0
    where d.objoid = ${oid} and d.classoid = ${sql.raw(`'${catalogue}'`)}::regclass order by d.objsubid`);
  return rows.map(({ text }) => text);
}
