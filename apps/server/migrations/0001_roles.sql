-- The roles that requests run as, the schemas of the platform, and who may do what in public. Runs as a
-- superuser or as an owner with CREATEROLE; what only the former can give is in platform/db/rights.ts.

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

  -- Default privileges for project_admin, and handing objects to it, need its rights. Whoever creates a role
  -- may grant it, but from PostgreSQL 16 on does not have its rights by itself.
  if not pg_has_role(current_user, 'project_admin', 'usage') then
    execute format('grant project_admin to %I', current_user);
  end if;
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
