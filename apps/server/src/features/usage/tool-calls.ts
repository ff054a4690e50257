import type { RecordUsage, UsageListSchema, UsageQuerySchema } from '@insforge/contract/usage.ts';
import type { z } from 'zod';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';

type ToolCall = z.infer<typeof UsageListSchema>['records'][number];

export async function recordToolCall(tx: Pick<SystemTx, 'query'>, { tool_name, success }: RecordUsage): Promise<void> {
  await tx.query(sql`insert into system.mcp_usage (tool_name, success) values (${tool_name}, ${success})`);
}

/** The latest calls, newest first. */
export async function listToolCalls(
  tx: Pick<SystemTx, 'query'>,
  { limit, success }: z.infer<typeof UsageQuerySchema>,
): Promise<ToolCall[]> {
  const rows = await tx.query<Omit<ToolCall, 'created_at'> & { created_at: Date }>(sql`
    select tool_name, success, created_at from system.mcp_usage
    where success = ${success} order by created_at desc limit ${limit}`);
  return rows.map((row) => ({ ...row, created_at: row.created_at.toISOString() }));
}
