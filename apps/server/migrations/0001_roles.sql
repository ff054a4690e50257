-- The roles that requests run as, the schemas of the platform, and who may do what in public.
-- Written to run as a superuser or as an owner with CREATEROLE; what the latter cannot have is
-- raised as a WARNING that names the consequence, and the server repeats it at start.

do $$
declare
  name text;
begin
  foreach name in array array['anon', 'authenticated', 'project_admin'] loop
    begin
      if not exists (select from pg_roles where rolname = name) then
        execute format('create role %I nologin noinherit', name);
      end if;
    exception when duplicate_object or unique_violation then
      null; -- another database of this cluster is being migrated at the same time
    end;
  end loop;

  begin
    if not (select rolbypassrls from pg_roles where rolname = 'project_admin') then
      alter role project_admin bypassrls;
    end if;
  exception when insufficient_privilege then
    raise warning 'project_admin cannot get BYPASSRLS from %: the API key reads tables owned by other roles only as far as their policies allow. Fix: as a superuser, ALTER ROLE project_admin BYPASSRLS', current_user;
  end;

  -- Default privileges for project_admin, and handing objects to it, need its rights. Whoever creates a role
  -- may grant it, but from PostgreSQL 16 on does not have its rights by itself.
  if not pg_has_role(current_user, 'project_admin', 'usage') then
    execute format('grant project_admin to %I', current_user);
  end if;
end $$;

do $$
begin
  execute format('grant create on database %I to project_admin', current_database());
  if not has_database_privilege('project_admin', current_database(), 'create') then
    raise insufficient_privilege;
  end if;
exception when insufficient_privilege then
  raise warning 'project_admin cannot get CREATE on this database from %: the API key cannot create schemas. Fix: as the owner, GRANT CREATE ON DATABASE ... TO project_admin', current_user;
end $$;

do $$
begin
  grant usage on schema public to anon, authenticated;
  grant usage, create on schema public to project_admin;
  if not has_schema_privilege('project_admin', 'public', 'create') then
    raise insufficient_privilege;
  end if;
exception when insufficient_privilege then
  raise warning 'project_admin cannot get CREATE on schema public from %: no table can be created through the API. Fix: as its owner, GRANT USAGE, CREATE ON SCHEMA public TO project_admin', current_user;
end $$;

create schema if not exists auth;
create schema if not exists system;
grant usage on schema auth to public, anon, authenticated, project_admin;
grant usage on schema system to project_admin;

alter default privileges in schema public grant select, insert, update, delete on tables to anon, authenticated;
alter default privileges in schema public grant all on tables to project_admin;
alter default privileges in schema public grant usage, select on sequences to anon, authenticated;
alter default privileges in schema public grant all on sequences to project_admin;
alter default privileges in schema public grant execute on functions to project_admin;
alter default privileges for role project_admin in schema public
  grant select, insert, update, delete on tables to anon, authenticated;
alter default privileges for role project_admin in schema public
  grant usage, select on sequences to anon, authenticated;
alter default privileges in schema auth grant select on tables to project_admin;
alter default privileges in schema system grant select on tables to project_admin;
