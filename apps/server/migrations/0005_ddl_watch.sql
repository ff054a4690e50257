-- Tables in public are born with row level security, and every DDL, from whatever surface, tells the
-- servers to reload what they know of the schema. Event triggers need a superuser; where there are none,
-- the platform's own surfaces end each change with system.enable_rls_on_new_tables().

create function system.reload_postgrest_schema() returns void language sql as $$
  select pg_notify('pgrst', 'reload schema')
$$;

-- What has changed in the developer's schemas, and how: what no migration did is drift.
create table system.schema_changes (
  id bigint generated always as identity primary key,
  made_at timestamptz not null default now(),
  -- migration:<version>, raw-sql, tables-api, …; null for what came past this server
  source text,
  command text not null,
  object_type text,
  object text,
  statement text
);

create function system.record_schema_change(command text, object_type text, object text, statement text)
returns void language sql set search_path = pg_catalog, pg_temp as $$
  insert into system.schema_changes (source, command, object_type, object, statement)
  values (nullif(current_setting('insforge.change_source', true), ''), command, object_type, object,
    -- These carry passwords.
    case when object_type not in ('user mapping', 'server', 'subscription') then
      left(coalesce(nullif(current_setting('insforge.owner_statement', true), ''), statement), 20000) end)
$$;
revoke execute on function system.record_schema_change(text, text, text, text) from public;

-- Where there are no event triggers, the platform's surfaces tell what they have done.
create function system.note_schema_changes(statements text[]) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from pg_event_trigger where evtname = 'insforge_on_ddl_end' and evtenabled in ('O', 'A')) then
    perform system.record_schema_change('DDL', '', null, statement) from unnest(statements) as statement;
  end if;
end $$;

create function system.on_ddl_end() returns event_trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
  created record;
begin
  -- What the platform does by itself comes here too, and is no news.
  if current_setting('insforge.is_housekeeping', true) is distinct from 'on' then
    perform system.record_schema_change(d.command_tag, d.object_type, d.object_identity, current_query())
    from pg_event_trigger_ddl_commands() d
    where not d.in_extension
      -- The parts of a CREATE TABLE are not told one by one.
      and (d.command_tag = tg_tag or d.object_type not in ('index', 'sequence', 'table constraint', 'default value'))
      and case when d.object_type = 'schema' then system.is_exposed_schema(d.object_identity)
        when d.schema_name is null then session_user = 'authenticator' or current_setting('insforge.change_source', true) <> ''
        else system.is_exposed_schema(d.schema_name) end;
  end if;
  if coalesce((select auto_enable_rls from system.database_config), true) then
    for created in
      select distinct objid from pg_event_trigger_ddl_commands()
      where command_tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') and schema_name = 'public'
        and object_type in ('table', 'partitioned table')
    loop
      perform set_config('insforge.is_housekeeping', 'on', true);
      execute format('alter table %s enable row level security', created.objid::regclass);
      perform set_config('insforge.is_housekeeping', '', true);
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
  perform system.record_schema_change(tg_tag, d.object_type, d.object_identity, current_query())
  from pg_event_trigger_dropped_objects() d
  where d.original and not d.is_temporary
    and case when d.object_type = 'schema' then system.is_exposed_schema(d.object_identity)
      when d.schema_name is null then session_user = 'authenticator' or current_setting('insforge.change_source', true) <> ''
      else system.is_exposed_schema(d.schema_name) end;
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
