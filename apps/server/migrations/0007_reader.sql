-- The role of readOnly SQL: it sees what project_admin sees in the developer's schemas, and may change
-- nothing. The transaction is read only as well, which alone would end with a COMMIT.

do $$
begin
  if not exists (select from pg_roles where rolname = 'project_reader') then
    create role project_reader nologin noinherit;
  end if;
exception when duplicate_object or unique_violation then
  null; -- another database of this cluster is being migrated at the same time
end $$;

grant usage on schema auth to project_reader;
alter default privileges in schema public grant select on tables to project_reader;
alter default privileges in schema public grant select on sequences to project_reader;
alter default privileges for role project_admin grant usage on schemas to project_reader;
alter default privileges for role project_admin grant select on tables to project_reader;
alter default privileges for role project_admin grant select on sequences to project_reader;
alter default privileges for role project_admin grant execute on functions to project_reader;

-- What is there already, as far as it is this login's to give.
do $$
declare
  name text;
begin
  for name in select nspname from pg_namespace where system.is_exposed_schema(nspname) loop
    begin
      if not has_schema_privilege('project_reader', name, 'usage') then
        execute format('grant usage on schema %I to project_reader', name);
      end if;
      execute format('grant select on all tables in schema %I to project_reader', name);
      execute format('grant select on all sequences in schema %I to project_reader', name);
    exception when insufficient_privilege then
      null;
    end;
  end loop;
end $$;
