import type { Delivery, DeliveryQuery } from '@insforge/contract/email.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';

type DeliveryRow = Omit<Delivery, 'nextAttemptAt' | 'createdAt' | 'updatedAt'> & {
  nextAttemptAt: Date | null;
  createdAt: Date;
  updatedAt: Date;
};

/** What became of the mails, newest first: one line for each recipient. */
export async function listDeliveries(
  tx: Pick<SystemTx, 'query' | 'one'>,
  { to, status, limit, offset }: DeliveryQuery,
): Promise<{ data: Delivery[]; total: number }> {
  const matching = sql`
    from email.deliveries d join email.messages m on m.id = d.message_id
    where m.status <> 'decoy' and (${to ?? null}::text is null or lower(d.recipient) = ${to ?? null})
      and (${status ?? null}::text is null or d.status = ${status ?? null})`;
  const rows = await tx.query<DeliveryRow>(sql`
    select m.id as "messageId", m.kind, d.recipient, d.status, d.reason, m.attempts, m.subject,
      case when d.status = 'queued' then m.next_attempt_at end as "nextAttemptAt", m.created_at as "createdAt",
      d.updated_at as "updatedAt"
    ${matching} order by m.created_at desc, m.id, d.recipient limit ${limit} offset ${offset}`);
  const counted = await tx.one<{ total: number }>(sql`select count(*)::float8 as total ${matching}`);
  return { data: rows.map(toDelivery), total: counted?.total ?? 0 };
}

function toDelivery({ nextAttemptAt, createdAt, updatedAt, ...delivery }: DeliveryRow): Delivery {
  return {
    ...delivery,
    nextAttemptAt: nextAttemptAt?.toISOString() ?? null,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  };
}
