import type { Client } from 'pg';
import { isDatabaseError } from '#platform/errors.ts';

/** Something that only a superuser or the owner of an object can give, and that the platform can do without. */
interface Right {
  /** A query of one boolean: true when it is missing. */
  missing: string;
  /** What gives it, where this login may. */
  give: (database: string) => string;
  /** What follows without it, and how to have it. */
  consequence: string;
}

const RIGHTS: readonly Right[] = [
  {
    missing: `select not rolbypassrls from pg_roles where rolname = 'project_admin'`,
    give: () => 'alter role project_admin bypassrls',
    consequence:
      'The API key reads tables owned by other roles only as far as their policies allow, because project_admin has no BYPASSRLS. Fix, as a superuser: ALTER ROLE project_admin BYPASSRLS',
  },
  {
    missing: `select not rolbypassrls from pg_roles where rolname = 'project_reader'`,
    give: () => 'alter role project_reader bypassrls',
    consequence:
      'Read-only SQL sees only rows that policies show to everybody, because project_reader has no BYPASSRLS. Fix, as a superuser: ALTER ROLE project_reader BYPASSRLS',
  },
  {
    missing: `select not has_database_privilege('project_admin', current_database(), 'create')`,
    give: (database) => `grant create on database ${database} to project_admin`,
    consequence:
      'The API key cannot create schemas. Fix, as the owner of the database: GRANT CREATE ON DATABASE … TO project_admin',
  },
  {
    missing: `select not has_schema_privilege('project_admin', 'public', 'create')`,
    give: () => 'grant usage, create on schema public to project_admin',
    consequence:
      'No table can be created through the API, because project_admin may not create in the schema public. Fix, as its owner: GRANT USAGE, CREATE ON SCHEMA public TO project_admin',
  },
  {
    missing: `select not has_schema_privilege('anon', 'public', 'usage') or not has_schema_privilege('authenticated', 'public', 'usage')`,
    give: () => 'grant usage on schema public to anon, authenticated',
    consequence:
      'Users reach no table in the schema public. Fix, as its owner: GRANT USAGE ON SCHEMA public TO anon, authenticated',
  },
  {
    missing: `select count(*) < 3 from pg_event_trigger where evtname like 'insforge\\_on\\_%'`,
    give: () => `
      drop event trigger if exists insforge_on_ddl_end, insforge_on_drop, insforge_on_drop_owned;
      create event trigger insforge_on_ddl_end on ddl_command_end execute function system.on_ddl_end();
      create event trigger insforge_on_drop on sql_drop execute function system.on_drop();
      create event trigger insforge_on_drop_owned on ddl_command_start when tag in ('DROP OWNED')
        execute function system.on_drop_owned()`,
    consequence: `Row level security is switched on only for tables made through this server, and a schema changed by other tools is noticed only after NOTIFY pgrst, 'reload schema': event triggers need a superuser. Fix: start the server once with a superuser in DATABASE_URL`,
  },
];

/** insufficient_privilege; PostgreSQL 15 reports a GRANT that did nothing as 01007, a mere warning. */
const REFUSED = '42501';

/**
 * Takes the rights that are missing, as far as this login can give them. Looked at on every start, so that
 * what an administrator mends later is noticed.
 * @returns for each that cannot be had: the consequence and the fix
 */
export async function ensureRights(client: Client): Promise<string[]> {
  const warnings: string[] = [];
  for (const { missing, give, consequence } of RIGHTS) {
    if (!(await isMissing(client, missing))) continue;
    try {
      await client.query(give(client.escapeIdentifier(client.database ?? '')));
    } catch (error) {
      if (!isDatabaseError(error) || error.code !== REFUSED) throw error;
    }
    if (await isMissing(client, missing)) warnings.push(consequence);
  }
  return warnings;
}

async function isMissing(client: Client, query: string): Promise<boolean> {
  const { rows } = await client.query<[boolean]>({ text: query, rowMode: 'array' });
  return rows[0]?.[0] ?? true;
}
