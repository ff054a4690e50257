import { sql } from '#platform/db/sql.ts';
import type { StorageTx } from './storage.ts';

export interface StorageSettings {
  id: string;
  maxFileSizeMb: number;
  createdAt: string;
  updatedAt: string;
}

type ConfigRow = { id: string; maxFileSizeMb: number; createdAt: Date; updatedAt: Date };

const COLUMNS = sql`id, max_file_size_mb as "maxFileSizeMb", created_at as "createdAt", updated_at as "updatedAt"`;

/** The settings that count for all buckets. */
export async function readConfig(tx: StorageTx): Promise<StorageSettings> {
  // An import may have brought no row; the defaults are those of the columns.
  const row =
    (await tx.one<ConfigRow>(sql`select ${COLUMNS} from storage.config`)) ??
    (await tx.one<ConfigRow>(sql`insert into storage.config default values returning ${COLUMNS}`));
  if (!row) throw new Error('storage.config has no row');
  return { ...row, createdAt: row.createdAt.toISOString(), updatedAt: row.updatedAt.toISOString() };
}

export async function updateConfig(tx: StorageTx, maxFileSizeMb: number): Promise<StorageSettings> {
  await tx.query(sql`
    insert into storage.config (max_file_size_mb) values (${maxFileSizeMb})
    on conflict ((1)) do update set max_file_size_mb = excluded.max_file_size_mb`);
  return readConfig(tx);
}
