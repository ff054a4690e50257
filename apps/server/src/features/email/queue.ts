import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import type { SmtpOutcome } from '#platform/mail/smtp.ts';

/** Tells every server that there is something to send. */
export const MAIL_CHANNEL = 'insforge_mail';

/** Longer than one attempt may take: whoever has not answered by then is dead, and another server takes over. */
const LEASE_SECONDS = 90;
/** How long after its first, second … attempt a message is tried again; from then on the last one counts. */
const BACKOFF_SECONDS = [5, 30, 120, 300, 900, 1800, 3600];

const KEPT = { captured: { days: 7, messages: 500 }, sent: { days: 30, messages: 10_000 } } as const;

interface NewMessage {
  kind: string;
  subject: string | null;
  payload: string;
  recipients: readonly string[];
  /** After this the message is of no use. */
  validForSeconds: number;
  /** Costs what a message costs, and is none. */
  isDecoy: boolean;
}

/** Accepts a message: from the commit of `tx` on it is not lost. Without a mail server it is captured. */
export async function insertMessage(tx: Pick<SystemTx, 'query'>, message: NewMessage): Promise<void> {
  const { kind, subject, payload, recipients, validForSeconds, isDecoy } = message;
  await tx.query(sql`
    with settings as (
      select case when ${isDecoy}::boolean then 'decoy' when enabled then 'queued' else 'captured' end as status
      from email.config
    ), message as (
      insert into email.messages (status, kind, subject, payload_ciphertext, not_after)
      select status, ${kind}, ${subject}, ${payload}, now() + make_interval(secs => ${validForSeconds}) from settings
      returning id, status
    ), deliveries as (
      insert into email.deliveries (message_id, recipient, status)
      select id, recipient, case status when 'captured' then 'captured' else 'queued' end
      from message, unnest(${recipients}::text[]) as recipient
    )
    select pg_notify(${MAIL_CHANNEL}, '') from message`);
}

/** A message that this server has taken on. */
export interface ClaimedMessage {
  id: string;
  kind: string;
  /** Counting this one. Tells this claim from a later one of another server. */
  attempts: number;
  payload: string;
  createdAt: Date;
  isTooLate: boolean;
  /** Those who have neither got nor refused it. */
  recipients: string[];
}

/** Takes on the message that has waited longest, if one is due. No two servers get the same. */
export async function claimMessage(tx: Pick<SystemTx, 'one'>): Promise<ClaimedMessage | undefined> {
  return tx.one<ClaimedMessage & Record<string, unknown>>(sql`
    update email.messages m
    set attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => ${LEASE_SECONDS})
    where id = (
      select id from email.messages where status = 'queued' and next_attempt_at <= now()
      order by next_attempt_at limit 1 for update skip locked
    )
    returning id, kind, attempts, payload_ciphertext as payload, created_at as "createdAt",
      now() > not_after as "isTooLate",
      array(select recipient from email.deliveries where message_id = m.id and status = 'queued') as recipients`);
}

/** Records what became of a claimed message, and when the rest of it is tried again. */
export async function settleMessage(
  tx: SystemTx,
  { id, attempts }: Pick<ClaimedMessage, 'id' | 'attempts'>,
  outcomes: readonly SmtpOutcome[],
): Promise<void> {
  const claimed = await tx.one(sql`
    select id from email.messages where id = ${id} and attempts = ${attempts} and status = 'queued' for update`);
  // Somebody else has taken over: this server was thought to be dead.
  if (!claimed) return;
  const results = outcomes.map(({ recipient, status, reason }) => ({
    recipient,
    status: status === 'deferred' ? 'queued' : status,
    reason,
  }));
  await tx.query(sql`
    update email.deliveries d set status = o.status, reason = o.reason, updated_at = now()
    from jsonb_to_recordset(${JSON.stringify(results)}::jsonb) as o (recipient text, status text, reason text)
    where d.message_id = ${id} and d.recipient = o.recipient`);
  const seconds = BACKOFF_SECONDS[attempts - 1] ?? BACKOFF_SECONDS.at(-1);
  await tx.query(sql`
    with rest as (select count(*) as count from email.deliveries where message_id = ${id} and status = 'queued')
    update email.messages set
      status = case when rest.count > 0 then 'queued' else 'sent' end,
      payload_ciphertext = case when rest.count > 0 then payload_ciphertext end,
      next_attempt_at = now() + make_interval(secs => ${seconds})
    from rest where id = ${id}`);
}

/** Puts a claimed message into the development mailbox: the mail server was switched off meanwhile. */
export async function captureMessage(tx: SystemTx, { id }: Pick<ClaimedMessage, 'id'>): Promise<void> {
  await tx.query(sql`update email.messages set status = 'captured' where id = ${id} and status = 'queued'`);
  await tx.query(sql`
    update email.deliveries set status = 'captured', reason = null, updated_at = now()
    where message_id = ${id} and status = 'queued'`);
}

/** In how many seconds the next message is due; undefined when none waits. */
export async function secondsToNext(tx: Pick<SystemTx, 'one'>): Promise<number | undefined> {
  const row = await tx.one<{ seconds: number | null }>(sql`
    select extract(epoch from min(next_attempt_at) - now())::float8 as seconds
    from email.messages where status = 'queued'`);
  return row?.seconds ?? undefined;
}

/** Deletes what is too old or too much to keep. */
export async function sweepMessages(tx: Pick<SystemTx, 'query'>): Promise<void> {
  const excess = Object.entries(KEPT).map(
    ([status, { days, messages }]) => sql`
      (status = ${status} and created_at < now() - make_interval(days => ${days}))
      or id in (select id from email.messages where status = ${status} order by created_at desc offset ${messages})`,
  );
  await tx.query(sql`delete from email.messages where status = 'decoy' or ${sql.join(excess, ' or ')}`);
  await tx.query(sql`delete from email.recipients where last_mail_at < now() - interval '1 day'`);
}
