import type { DatabaseMetadata, DatabaseStatistics } from '@insforge/contract/metadata.ts';
import { listTableOverviews, type TableOverview } from '#features/schema/index.ts';
import type { UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';

const GIGABYTE = 1024 ** 3;
const HINT = 'Columns, indexes, keys and policies of a table: GET /api/metadata/{table}, or the tool get-table-schema.';

/** `todos` in public, `shop.orders` elsewhere. */
export const displayName = ({ schema, name }: Pick<TableOverview, 'schema' | 'name'>) =>
  schema === 'public' ? name : `${schema}.${name}`;

/** Tables and their sizes, as far as everybody who works on the project wants to know at once. */
export async function readDatabase(tx: UserTx): Promise<{ summary: DatabaseMetadata; tables: TableOverview[] }> {
  const tables = await listTableOverviews(tx);
  const { bytes } = await readSize(tx);
  return {
    tables,
    summary: {
      tables: tables.map((table) => ({ tableName: displayName(table), recordCount: table.rows })),
      totalSizeInGB: bytes / GIGABYTE,
      ...(tables.length > 0 ? { hint: HINT } : {}),
    },
  };
}

/** The same with sizes and sums. */
export async function readStatistics(tx: UserTx): Promise<DatabaseStatistics> {
  const { tables, summary } = await readDatabase(tx);
  const { pretty } = await readSize(tx);
  return {
    ...summary,
    tables: tables.map((table) => ({
      tableName: displayName(table),
      recordCount: table.rows,
      sizeInBytes: table.bytes,
      rlsEnabled: table.rlsEnabled,
      policyCount: table.policies,
    })),
    totalTables: tables.length,
    totalRecords: tables.reduce((sum, { rows }) => sum + rows, 0),
    databaseSize: pretty,
    lastUpdated: new Date().toISOString(),
  };
}

async function readSize(tx: UserTx): Promise<{ bytes: number; pretty: string }> {
  const size = await tx.one<{ bytes: number; pretty: string }>(sql`
    select bytes::float8 as bytes, pg_size_pretty(bytes) as pretty
    from pg_database_size(current_database()) as bytes`);
  return size ?? { bytes: 0, pretty: '0 bytes' };
}
