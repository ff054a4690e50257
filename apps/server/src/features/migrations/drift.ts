import type { Drift } from '@insforge/contract/migrations.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { MIGRATION_SOURCE } from './migrations.ts';

/** More than this is read in the table itself. */
const MAX_CHANGES = 200;

interface ChangeRow {
  id: string;
  made_at: Date;
  source: string | null;
  commands: string[];
  objects: string[];
  statement: string | null;
}

/**
 * What has changed in the schema since the last migration, and not by one. Whoever writes it into a migration
 * (with IF NOT EXISTS where it is there already) has it everywhere again.
 */
export async function readDrift(tx: Pick<SystemTx, 'query' | 'one'>): Promise<Drift> {
  const latest = await tx.one<{ version: string; name: string; created_at: Date }>(sql`
    select version, name, created_at from system.custom_migrations order by version::numeric desc limit 1`);
  const rows = await tx.query<ChangeRow>(sql`
    select min(id) as id, made_at, source, statement, array_agg(distinct command) as commands,
      array_remove(array_agg(distinct object), null) as objects
    from system.schema_changes
    where made_at > ${latest?.created_at ?? new Date(0)} and coalesce(source, '') not like ${`${MIGRATION_SOURCE}%`}
    group by made_at, source, statement
    order by 1 limit ${MAX_CHANGES}`);
  const changes = rows.map(({ made_at, source, commands, objects, statement }) => ({
    madeAt: made_at.toISOString(),
    source: source ?? 'elsewhere',
    commands,
    objects,
    statement,
  }));
  return {
    latestMigration: latest ? { version: latest.version, name: latest.name } : null,
    changes,
    ...(changes.length > 0 ? { sql: asMigration(changes), nextActions: NEXT } : {}),
  };
}

const NEXT =
  'Put the SQL into a migration file, so that other environments get it; write IF NOT EXISTS where it is applied here already.';

function asMigration(changes: Drift['changes']): string {
  return changes.flatMap(({ statement }) => (statement ? [`${statement.replace(/;\s*$/, '')};`] : [])).join('\n\n');
}
