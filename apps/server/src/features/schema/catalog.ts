import type {
  FunctionListSchema,
  IndexListSchema,
  PolicyListSchema,
  SchemaListSchema,
  TriggerListSchema,
} from '@insforge/contract/schema.ts';
import type { z } from 'zod';
import type { UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';

type Reader = Pick<UserTx, 'query'>;

/** The schemas of the database; those of the platform are marked. */
export async function listSchemas(tx: Reader): Promise<z.infer<typeof SchemaListSchema>> {
  const schemas = await tx.query<z.infer<typeof SchemaListSchema>['schemas'][number]>(sql`
    select n.nspname as name, pg_get_userbyid(n.nspowner) as owner, not system.is_exposed_schema(n.nspname) as "isProtected",
      (select count(*)::int from pg_class c where c.relnamespace = n.oid and c.relkind in ('r', 'p')) as "tableCount"
    from pg_namespace n
    where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    order by 3, n.nspname <> 'public', n.nspname`);
  return { schemas };
}

/** The functions of a schema that no extension brought. */
export async function listFunctions(tx: Reader, schema: string): Promise<z.infer<typeof FunctionListSchema>> {
  const functions = await tx.query<z.infer<typeof FunctionListSchema>['functions'][number]>(sql`
    select f.proname as "functionName", f.prokind as kind,
      case when f.prokind = 'a' then format('AGGREGATE %s', f.oid::regprocedure) else pg_get_functiondef(f.oid) end as "functionDef"
    from pg_proc f join pg_namespace n on n.oid = f.pronamespace
    where n.nspname = ${schema} and not exists (
      select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = f.oid and d.deptype = 'e')
    order by 1, pg_get_function_identity_arguments(f.oid)`);
  return { functions };
}

/** The indexes of a schema, or of one table of it. */
export async function listIndexes(
  tx: Reader,
  schema: string,
  table?: string,
): Promise<z.infer<typeof IndexListSchema>> {
  const indexes = await tx.query<z.infer<typeof IndexListSchema>['indexes'][number]>(sql`
    select c.relname as "tableName", x.relname as "indexName", pg_get_indexdef(i.indexrelid) as "indexDef",
      i.indisunique as "isUnique", i.indisprimary as "isPrimary"
    from pg_index i join pg_class c on c.oid = i.indrelid join pg_class x on x.oid = i.indexrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${schema} and ${onTable(table)} and c.relkind in ('r', 'p', 'm')
    order by 1, 2`);
  return { indexes };
}

/** The policies of a schema, or of one table of it. */
export async function listPolicies(
  tx: Reader,
  schema: string,
  table?: string,
): Promise<z.infer<typeof PolicyListSchema>> {
  const policies = await tx.query<z.infer<typeof PolicyListSchema>['policies'][number]>(sql`
    select c.relname as "tableName", p.polname as "policyName",
      case p.polcmd when 'r' then 'SELECT' when 'a' then 'INSERT' when 'w' then 'UPDATE' when 'd' then 'DELETE' else 'ALL' end as cmd,
      array(select case role when 0 then 'public' else pg_get_userbyid(role)::text end
        from unnest(p.polroles) as role order by 1) as roles,
      pg_get_expr(p.polqual, p.polrelid) as qual, pg_get_expr(p.polwithcheck, p.polrelid) as "withCheck"
    from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = ${schema} and ${onTable(table)}
    order by 1, 2`);
  return { policies };
}

/** The triggers of a schema, or of one table of it; one entry for each event, as in information_schema. */
export async function listTriggers(
  tx: Reader,
  schema: string,
  table?: string,
): Promise<z.infer<typeof TriggerListSchema>> {
  const triggers = await tx.query<z.infer<typeof TriggerListSchema>['triggers'][number]>(sql`
    select c.relname as "tableName", t.tgname as "triggerName",
      case when t.tgtype & 2 <> 0 then 'BEFORE' when t.tgtype & 64 <> 0 then 'INSTEAD OF' else 'AFTER' end as "actionTiming",
      event.name as "eventManipulation",
      case when t.tgtype & 1 <> 0 then 'ROW' else 'STATEMENT' end as "actionOrientation",
      substring(pg_get_triggerdef(t.oid) from ' WHEN \\((.*)\\) EXECUTE ') as "actionCondition",
      'EXECUTE FUNCTION ' || substring(pg_get_triggerdef(t.oid) from ' EXECUTE FUNCTION (.*)$') as "actionStatement"
    from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_namespace n on n.oid = c.relnamespace
    join (values (4, 'INSERT'), (8, 'DELETE'), (16, 'UPDATE'), (32, 'TRUNCATE')) as event (bit, name)
      on t.tgtype & event.bit <> 0
    where n.nspname = ${schema} and ${onTable(table)} and not t.tgisinternal
    order by 1, 2, event.bit`);
  return { triggers };
}

const onTable = (table: string | undefined) => (table === undefined ? sql`true` : sql`c.relname = ${table}`);
