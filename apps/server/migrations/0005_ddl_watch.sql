-- Tables in public are born with row level security, and every DDL, from whatever surface, tells the
-- servers to reload what they know of the schema. Event triggers need a superuser; without one the
-- platform's own surfaces call system.enable_rls_on_new_tables() themselves.

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
  perform pg_notify('pgrst', 'reload schema');
end $$;

create function system.on_drop() returns event_trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('pgrst', 'reload schema');
end $$;

do $$
begin
  create event trigger insforge_on_ddl_end on ddl_command_end execute function system.on_ddl_end();
  create event trigger insforge_on_drop on sql_drop execute function system.on_drop();
exception when insufficient_privilege then
  raise warning 'event triggers need a superuser, and % is none: row level security is switched on only for tables made through this server, and a schema changed by other tools is noticed only after NOTIFY pgrst, ''reload schema''. Fix: run the first start once as a superuser', current_user;
end $$;
