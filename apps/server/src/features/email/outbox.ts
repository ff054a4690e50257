import type { RawEmail, TemplateType } from '@insforge/contract/email.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { htmlToText } from '#platform/mail/html-to-text.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { insertMessage } from './queue.ts';
import { renderTemplate } from './templates.ts';

/** A mail that the platform writes itself. */
interface TemplateMail {
  template: TemplateType;
  to: string;
  variables: Record<string, string>;
  /** It is not sent any more after this: the code in it has expired. */
  validForSeconds: number;
  /** Does the same work and sends nothing: for addresses that nobody is to learn anything about. */
  isDecoy?: boolean;
}

/** Accepts mail for sending. Nothing is sent in the request: a mail is accepted when the transaction commits. */
export interface Outbox {
  queueTemplate(tx: SystemTx, mail: TemplateMail): Promise<void>;
  /** @throws AppError TOO_MANY_REQUESTS when one of the recipients was written to just now */
  queueRaw(tx: SystemTx, mail: RawEmail): Promise<void>;
}

/** What is stored of a message, encrypted, until it is out. */
export interface Payload {
  /** Absent: the configured one. */
  fromName?: string | undefined;
  to: string[];
  cc: string[];
  bcc: string[];
  replyTo?: string | undefined;
  subject: string;
  html: string;
  text: string;
  variables: Record<string, string>;
}

const RAW_VALID_FOR_SECONDS = 24 * 3600;

export function createOutbox(cipher: Cipher): Outbox {
  const seal = (payload: Payload) => cipher.encrypt(JSON.stringify(payload));
  return {
    async queueTemplate(tx, { template, to, variables, validForSeconds, isDecoy = false }) {
      const content = await renderTemplate(tx, template, variables);
      const payload = seal({ ...content, to: [to], cc: [], bcc: [], variables });
      await insertMessage(tx, { kind: template, subject: null, payload, recipients: [to], validForSeconds, isDecoy });
    },

    async queueRaw(tx, { to, cc = [], bcc = [], from, replyTo, subject, html }) {
      const recipients = [...new Set([...to, ...cc, ...bcc])];
      await checkInterval(tx, recipients);
      const text = htmlToText(html);
      const payload = seal({ fromName: from || undefined, to, cc, bcc, replyTo, subject, html, text, variables: {} });
      const validForSeconds = RAW_VALID_FOR_SECONDS;
      await insertMessage(tx, { kind: 'raw', subject, payload, recipients, validForSeconds, isDecoy: false });
    },
  };
}

/** Reads what `createOutbox` stored. */
export function openPayload(cipher: Cipher, ciphertext: string): Payload {
  return JSON.parse(cipher.decrypt(ciphertext)) as Payload;
}

/**
 * Nobody is written to more often than the settings say. Mails of the platform itself do not count, or the
 * answer would tell who has just been sent a code.
 */
async function checkInterval(tx: SystemTx, recipients: readonly string[]): Promise<void> {
  const settings = await tx.one<{ seconds: number }>(sql`
    select min_interval_seconds as seconds from email.config where enabled and min_interval_seconds > 0`);
  if (!settings) return;
  const { seconds } = settings;
  const addresses = [...new Set(recipients.map((address) => address.toLowerCase()))].sort();
  const free = await tx.query<{ address: string }>(sql`
    insert into email.recipients as r (address) select unnest(${addresses}::text[])
    on conflict (address) do update set last_mail_at = now()
    where r.last_mail_at <= now() - make_interval(secs => ${seconds})
    returning address`);
  const refused = addresses.filter((address) => !free.some((row) => row.address === address));
  if (refused.length === 0) return;
  const wait = await tx.one<{ seconds: number }>(sql`
    select ceil(extract(epoch from max(last_mail_at) + make_interval(secs => ${seconds}) - now()))::float8 as seconds
    from email.recipients where address = any(${refused})`);
  const retryAfterSeconds = Math.max(1, wait?.seconds ?? seconds);
  throw new AppError(
    'TOO_MANY_REQUESTS',
    `${refused.slice(0, 3).join(', ')}${refused.length > 3 ? ` and ${refused.length - 3} others` : ''} may be written to once in ${seconds} seconds; nothing was sent`,
    {
      nextActions: `Try again in ${retryAfterSeconds} seconds. An admin can change minIntervalSeconds with PUT /api/auth/smtp-config.`,
      details: { retryAfterSeconds, recipients: refused },
    },
  );
}
