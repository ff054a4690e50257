-- Tables in public are born with row level security, and every DDL, from whatever surface, tells the
-- servers to reload what they know of the schema. Event triggers need a superuser; where there are none,
-- the platform's own surfaces end each change with system.enable_rls_on_new_tables().

create function system.reload_postgrest_schema() returns void language sql as $$
  select pg_notify('pgrst', 'reload schema')
$$;

create function system.on_ddl_end() returns event_trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
  created record;
begin
  if coalesce((select auto_enable_rls from system.database_config), true) then
    for created in
      select distinct objid from pg_event_trigger_ddl_commands()
      where command_tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') and schema_name = 'public'
        and object_type in ('table', 'partitioned table')
    loop
      execute format('alter table %s enable row level security', created.objid::regclass);
    end loop;
  end if;
  -- The scripts of trusted extensions run as a superuser, in whatever schema the caller names.
  if tg_tag in ('CREATE EXTENSION', 'ALTER EXTENSION') and session_user = 'authenticator' and exists (
    select from pg_extension e join pg_namespace n on n.oid = e.extnamespace
    where n.nspname <> 'pg_catalog' and not system.is_exposed_schema(n.nspname) and e.extowner = 'project_admin'::regrole)
  then
    raise insufficient_privilege using
      message = 'extensions are not for the schemas of the platform', hint = 'Leave SCHEMA out, or name one of yours.';
  end if;
  perform pg_notify('pgrst', 'reload schema');
end $$;

create function system.on_drop() returns event_trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('pgrst', 'reload schema');
end $$;

create function system.on_drop_owned() returns event_trigger language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  if current_user = 'project_admin' then
    raise insufficient_privilege using
      message = 'DROP OWNED would take the rights that the platform gave to project_admin with it',
      hint = 'Drop the objects one by one, or their schema.';
  end if;
end $$;

-- Does nothing where the event trigger has done it already. A table is new when its row for the column
-- ctid, which nothing ever changes, was written by this transaction or after it began.
create function system.enable_rls_on_new_tables() returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
  began xid := pg_current_xact_id_if_assigned()::xid;
  created record;
begin
  if began is null
    or exists (select from pg_event_trigger where evtname = 'insforge_on_ddl_end' and evtenabled in ('O', 'A'))
    or not coalesce((select auto_enable_rls from system.database_config), true)
  then
    return;
  end if;
  for created in
    select c.oid from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum = -1
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relrowsecurity
      and age(a.xmin) <= age(began)
  loop
    execute format('alter table %s enable row level security', created.oid::regclass);
  end loop;
end $$;
