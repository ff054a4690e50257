import type { RelationKind } from '@insforge/contract/schema.ts';
import type { UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

export const COMMANDS = ['select', 'insert', 'update', 'delete'] as const;
export type Command = (typeof COMMANDS)[number];

/** A policy, and which of the roles it is for. */
export interface Policy {
  name: string;
  /** `*` stands for all commands. */
  command: Command | '*';
  roles: string[];
  permissive: boolean;
  using: string | null;
  check: string | null;
}

/** What the catalogue says about who may do what with a table or view. */
export interface TableAccess {
  kind: RelationKind;
  rls: boolean;
  /** Role -> command -> true, false, or the columns that it has a grant for. */
  grants: Record<string, Record<Command, boolean | string[]>>;
  /** Roles for which row level security does not hold. */
  bypass: string[];
  policies: Policy[];
  /** What a view can do at all. */
  updatable: Record<Command, boolean>;
  /** For a view that reads with its caller's rights: what it reads. Null for one that reads with its owner's. */
  reads: { schema: string; name: string }[] | null;
  owner: string;
}

/** @throws AppError DATABASE_NOT_FOUND */
export async function readTableAccess(tx: UserTx, schema: string, table: string): Promise<TableAccess> {
  const access = await tx.one<TableAccess>(sql`
    with roles as (select oid, rolname, rolbypassrls from pg_roles where rolname in ('anon', 'authenticated', 'project_admin'))
    select case c.relkind when 'r' then 'table' when 'p' then 'partitioned table' when 'f' then 'foreign table'
        when 'v' then 'view' else 'materialized view' end as kind,
      c.relrowsecurity as rls, pg_get_userbyid(c.relowner)::text as owner,
      (select jsonb_object_agg(role.rolname, (select jsonb_object_agg(command, case
          when not has_schema_privilege(role.oid, n.oid, 'usage') then 'false'
          when has_table_privilege(role.oid, c.oid, command) then 'true'
          when command = 'delete' or not has_any_column_privilege(role.oid, c.oid, command) then 'false'
          else (select jsonb_agg(a.attname order by a.attnum) from pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and has_column_privilege(role.oid, c.oid, a.attnum, command)) end)
        from unnest(${[...COMMANDS]}::text[]) as command)) from roles role) as grants,
      array(select rolname::text from roles role
        where rolbypassrls or not c.relforcerowsecurity and pg_has_role(role.oid, c.relowner, 'usage')) as bypass,
      (select coalesce(jsonb_agg(jsonb_build_object('name', p.polname, 'permissive', p.polpermissive,
          'command', case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else '*' end,
          'roles', array(select role.rolname from roles role, unnest(p.polroles) as given
            where given = 0 or pg_has_role(role.oid, given, 'usage')),
          'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)) order by p.polname), '[]')
        from pg_policy p where p.polrelid = c.oid) as policies,
      (select jsonb_build_object('select', true, 'insert', bits & 8 > 0, 'update', bits & 4 > 0, 'delete', bits & 16 > 0)
        from pg_relation_is_updatable(c.oid, true) as bits) as updatable,
      case when exists (select from pg_options_to_table(c.reloptions)
          where option_name = 'security_invoker' and option_value in ('true', 'on', '1', 'yes')) then (
        select coalesce(jsonb_agg(distinct jsonb_build_object('schema', tn.nspname, 'name', t.relname)), '[]')
        from pg_rewrite r join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid
          and d.refclassid = 'pg_class'::regclass and d.refobjid <> c.oid
        join pg_class t on t.oid = d.refobjid join pg_namespace tn on tn.oid = t.relnamespace
        where r.ev_class = c.oid and t.relkind in ('r', 'p', 'v', 'm', 'f')) end as reads
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${schema} and c.relname = ${table} and c.relkind in ('r', 'p', 'v', 'm', 'f')`);
  if (access) return access;
  throw new AppError('DATABASE_NOT_FOUND', `There is no table ${schema === 'public' ? table : `${schema}.${table}`}`);
}
