import type { DatabaseConfigSchema, UpdateDatabaseConfigSchema } from '@insforge/contract/schema.ts';
import type { z } from 'zod';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';

type DatabaseConfig = z.infer<typeof DatabaseConfigSchema>;

/** Setting -> column of system.database_config. */
const COLUMNS = { autoEnableRls: 'auto_enable_rls' } as const satisfies Record<keyof DatabaseConfig, string>;

const SELECTED = sql.join(
  Object.entries(COLUMNS).map(([setting, column]) => sql`${sql.id(column)} as ${sql.id(setting)}`),
);

/** The settings of the database that admins change. */
export async function readDatabaseConfig(tx: Pick<SystemTx, 'one'>): Promise<DatabaseConfig> {
  const row = await tx.one<DatabaseConfig>(sql`select ${SELECTED} from system.database_config`);
  if (!row) throw new Error('system.database_config has lost its row');
  return row;
}

/** Changes the settings that `update` names. */
export async function updateDatabaseConfig(
  tx: SystemTx,
  update: z.infer<typeof UpdateDatabaseConfigSchema>,
): Promise<DatabaseConfig> {
  for (const [setting, column] of Object.entries(COLUMNS)) {
    const value = update[setting as keyof DatabaseConfig];
    if (value !== undefined) await tx.query(sql`update system.database_config set ${sql.id(column)} = ${value}`);
  }
  return readDatabaseConfig(tx);
}
