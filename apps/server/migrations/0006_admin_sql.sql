-- What the SQL surfaces of an admin stand on: which schemas are the developer's, the few statements that
-- run with the owner's rights, and who owns what such statements leave behind.

create function system.is_exposed_schema(p_schema text) returns boolean language sql stable
set search_path = pg_catalog, pg_temp as $$
  select p_schema is not null
    and p_schema !~ '^pg_'
    and p_schema not in (
      'information_schema', 'ai', 'auth', 'compute', 'deployments', 'email', 'functions', 'memory', 'payments',
      'realtime', 'schedules', 'storage', 'system')
    and not exists (
      select from pg_namespace n join pg_depend d on d.classid = 'pg_namespace'::regclass and d.objid = n.oid
      where n.nspname = p_schema and d.deptype = 'e')
$$;

-- A statement that the server has parsed and found to be one of those that may run as the owner (an
-- extension, a policy on a table of the platform, a row of the migration ledger). The server writes it here
-- on its own login, and the admin's transaction takes it from here: the change is part of that transaction,
-- yet nobody but the server decides what the owner executes.
create table system.owner_statements (
  id uuid primary key default gen_random_uuid(),
  backend_pid integer not null,
  statement text not null,
  created_at timestamptz not null default now()
);
revoke all on system.owner_statements from project_admin;

-- Whatever the caller's session is set to, the text is read here as the server's parser has read it.
create function system.run_owner_statement(ticket uuid) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp set standard_conforming_strings = on as $$
declare
  text_to_run text;
begin
  delete from system.owner_statements t
  where t.id = ticket and t.backend_pid = pg_backend_pid() and t.created_at > clock_timestamp() - interval '1 minute'
  returning t.statement into text_to_run;
  if not found then
    raise insufficient_privilege using message = 'there is no such statement for this session';
  end if;
  -- The names in it mean what they mean to its author. Ends with this function.
  set local search_path = public;
  perform set_config('insforge.owner_statement', text_to_run, true);
  execute text_to_run;
  perform set_config('insforge.owner_statement', '', true);
end $$;
revoke execute on function system.run_owner_statement(uuid) from public;
grant execute on function system.run_owner_statement(uuid) to project_admin;

-- Objects that the owner made in public become the developer's. Members of extensions stay where they are.
create function system.reassign_public_objects_to_project_admin() returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
declare
  command text;
begin
  perform set_config('insforge.is_housekeeping', 'on', true);
  for command in
    select format('alter %s %I.%I owner to project_admin',
      case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence'
        when 'f' then 'foreign table' when 'c' then 'type' else 'table' end, 'public', c.relname)
    from pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f', 'c')
      and c.relowner <> 'project_admin'::regrole
      -- A sequence that belongs to a column follows its table.
      and not exists (select from pg_depend d
        where d.deptype = 'e' and (d.classid, d.objid) in (
            ('pg_class'::regclass, c.oid), ('pg_type'::regclass, c.reltype))
          or d.deptype in ('a', 'i') and c.relkind = 'S' and d.classid = 'pg_class'::regclass and d.objid = c.oid)
    union all
    select format('alter routine %s owner to project_admin', p.oid::regprocedure)
    from pg_proc p
    where p.pronamespace = 'public'::regnamespace and p.proowner <> 'project_admin'::regrole
      and not exists (select from pg_depend d
        where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
    union all
    select format('alter %s %I.%I owner to project_admin',
      case t.typtype when 'd' then 'domain' else 'type' end, 'public', t.typname)
    from pg_type t
    where t.typnamespace = 'public'::regnamespace and t.typtype in ('e', 'd', 'r')
      and t.typowner <> 'project_admin'::regrole
      and not exists (select from pg_depend d
        where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
  loop
    execute command;
  end loop;
  perform set_config('insforge.is_housekeeping', '', true);
end $$;
revoke execute on function system.reassign_public_objects_to_project_admin() from public;
