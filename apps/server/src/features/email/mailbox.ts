import type { CapturedMail, OutboxQuery } from '@insforge/contract/email.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { openPayload } from './outbox.ts';
import { sweepMessages } from './queue.ts';
import { readSmtpConfig } from './smtp-config.ts';

interface MessageRow {
  id: string;
  kind: string;
  payload: string;
  createdAt: Date;
}

const MESSAGE = sql`m.id, m.kind, m.payload_ciphertext as payload, m.created_at as "createdAt"`;
/** A list is for looking; whoever needs all of a long mail asks for that mail. */
const LISTED_CHARACTERS = 20_000;

const capturedFor = (to: string | undefined) => sql`
  m.status = 'captured' and (${to ?? null}::text is null or exists (
    select from email.deliveries d where d.message_id = m.id and lower(d.recipient) = ${to ?? null}))`;

/** What was captured, newest first. */
export async function listCaptured(
  tx: SystemTx,
  cipher: Cipher,
  { to, limit, offset }: OutboxQuery,
): Promise<{ data: CapturedMail[]; total: number }> {
  await sweepMessages(tx);
  const rows = await tx.query<MessageRow & Record<string, unknown>>(sql`
    select ${MESSAGE} from email.messages m where ${capturedFor(to)}
    order by m.created_at desc, m.id limit ${limit} offset ${offset}`);
  const counted = await tx.one<{ total: number }>(sql`
    select count(*)::float8 as total from email.messages m where ${capturedFor(to)}`);
  const sender = await readSender(tx);
  return { data: rows.map((row) => shorten(toMail(row, cipher, sender))), total: counted?.total ?? 0 };
}

/** @throws AppError NOT_FOUND */
export async function readCaptured(tx: SystemTx, cipher: Cipher, id: string): Promise<CapturedMail> {
  const row = await tx.one<MessageRow & Record<string, unknown>>(sql`
    select ${MESSAGE} from email.messages m where m.id = ${id} and m.status = 'captured'`);
  if (!row) {
    throw new AppError('NOT_FOUND', `There is no mail ${id} in the mailbox`, {
      nextActions: 'List what there is with GET /api/email/outbox.',
    });
  }
  return toMail(row, cipher, await readSender(tx));
}

/** Empties the mailbox, or takes out what went to one address. */
export async function deleteCaptured(tx: Pick<SystemTx, 'query'>, to: string | undefined): Promise<number> {
  const deleted = await tx.query(sql`delete from email.messages m where ${capturedFor(to)} returning id`);
  return deleted.length;
}

async function readSender(tx: Pick<SystemTx, 'one'>): Promise<{ name: string; address: string }> {
  const { senderName, senderEmail } = await readSmtpConfig(tx);
  return { name: senderName || 'InsForge', address: senderEmail || 'no-reply@localhost' };
}

function toMail(
  { id, kind, payload, createdAt }: MessageRow,
  cipher: Cipher,
  sender: { name: string; address: string },
): CapturedMail {
  const { fromName, replyTo, ...content } = openPayload(cipher, payload);
  return {
    id,
    kind,
    from: `${fromName ?? sender.name} <${sender.address}>`,
    replyTo: replyTo ?? null,
    ...content,
    createdAt: createdAt.toISOString(),
  };
}

function shorten(mail: CapturedMail): CapturedMail {
  if (mail.html.length <= LISTED_CHARACTERS) return mail;
  const [html, text] = [mail.html, mail.text].map((long) => long.slice(0, LISTED_CHARACTERS));
  return { ...mail, html: html ?? '', text: text ?? '', isCut: true };
}
