import type { SchemaWarning } from '@insforge/contract/schema.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { RULES } from './rules.ts';

/** More than this is a review, not an answer. */
const MAX_WARNINGS = 25;

interface Finding {
  index: number;
  object: string;
  fix: string;
}

/**
 * What the rules find in the objects that this transaction has made or changed. A row of the catalogue was
 * touched when it was written by this transaction or after it began.
 */
export async function findWarnings(tx: Pick<SystemTx, 'query'>): Promise<SchemaWarning[]> {
  const found = RULES.map(
    ({ find }, index) => sql`
      select ${sql.raw(String(index))} as index, object, fix
      from (${find((xmin) => sql`age(${xmin}) <= (select age from began)`)}) as findings`,
  );
  const findings = await tx.query<Finding>(sql`
    with began as materialized (select age(pg_current_xact_id_if_assigned()::xid)),
    exposed as materialized (select oid, nspname from pg_namespace where system.is_exposed_schema(nspname))
    select index, object, fix from (${sql.join(found, ' union all ')}) as findings
    order by index, object limit ${sql.raw(String(MAX_WARNINGS))}`);
  return findings.flatMap(({ index, object, fix }) => {
    const rule = RULES[index];
    return rule ? [{ rule: rule.id, severity: rule.severity, object, consequence: rule.consequence, fix }] : [];
  });
}
