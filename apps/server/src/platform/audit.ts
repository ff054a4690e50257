import type { FastifyRequest } from 'fastify';
import type { Db, SystemTx } from './db/db.ts';
import { sql } from './db/sql.ts';
import { addressOf } from './http/caller.ts';

/** One thing that an admin did. `action` and `module` are UPPER_SNAKE; `details` have camelCase keys. */
export interface AuditEntry {
  action: string;
  module: 'AUTH' | 'DATABASE' | 'EMAIL' | 'SECRETS' | 'STORAGE';
  details: Record<string, unknown>;
}

/** Writes the audit log. Pass the transaction of the change where there is one, so that both commit or neither. */
export async function audit(
  tx: Pick<SystemTx, 'query'> | Db['system'],
  request: FastifyRequest,
  { action, module, details }: AuditEntry,
): Promise<void> {
  await tx.query(sql`
    insert into system.audit_logs (actor, action, module, details, ip_address)
    values (${request.caller.actor}, ${action}, ${module}, ${JSON.stringify(details)}::jsonb, ${addressOf(request)})`);
}
