import { setTimeout as delay } from 'node:timers/promises';
import type { Db } from '#platform/db/db.ts';
import type { Listener } from '#platform/db/listener.ts';
import type { Logger } from '#platform/log.ts';
import { SMTP_PATIENCE_MS, type SmtpMessage, type SmtpOutcome, sendBySmtp } from '#platform/mail/smtp.ts';
import { openPayload, type Payload } from './outbox.ts';
import {
  type ClaimedMessage,
  captureMessage,
  claimMessage,
  MAIL_CHANNEL,
  secondsToNext,
  settleMessage,
  sweepMessages,
} from './queue.ts';
import { readSending, type Sending, type SmtpOptions } from './smtp-config.ts';

interface WorkerOptions extends SmtpOptions {
  db: Db;
  listener: Listener;
  log: Logger;
}

export interface Worker {
  /** Looks for messages to send; also called by every NOTIFY. */
  wake(): void;
  /** Lets what is being sent finish, for a while; what does not is sent again by the next server. */
  close(): Promise<void>;
}

const MESSAGES_AT_ONCE = 3;
const MAX_IDLE_SECONDS = 60;
const AFTER_FAILURE_SECONDS = 5;
const CLOSE_PATIENCE_MS = 5_000;

/** Sends what the queue holds. Any number of servers may do so at once. */
export function createWorker(options: WorkerOptions): Worker {
  const { db, listener, log } = options;
  const outOfPatience = new AbortController();
  const lanes = new Set<Promise<void>>();
  let isClosing = false;
  let isMissed = false;
  let timer: NodeJS.Timeout | undefined;
  let sweptAt = 0;

  /** Starts to look for messages, beside what is being sent: one slow mail server must not hold up the others. */
  const wake = () => {
    if (isClosing) return;
    if (lanes.size === MESSAGES_AT_ONCE) {
      isMissed = true;
      return;
    }
    const lane = work().finally(() => {
      lanes.delete(lane);
      if (!isMissed) return;
      isMissed = false;
      wake();
    });
    lanes.add(lane);
  };
  const work = async () => {
    try {
      while (!isClosing) {
        const message = await claimMessage(db.system);
        if (!message) break;
        // Where there is one, there may be more.
        wake();
        await deliver(options, message, outOfPatience.signal);
      }
      if (!isClosing) await rest();
    } catch (error) {
      log.warn({ err: error }, 'email.queue_failed');
      sleep(AFTER_FAILURE_SECONDS);
    }
  };
  const rest = async () => {
    if (Date.now() - sweptAt > MAX_IDLE_SECONDS * 1000) {
      sweptAt = Date.now();
      await sweepMessages(db.system);
    }
    sleep((await secondsToNext(db.system)) ?? MAX_IDLE_SECONDS);
  };
  const sleep = (seconds: number) => {
    clearTimeout(timer);
    if (isClosing) return;
    timer = setTimeout(wake, Math.max(0.1, Math.min(seconds, MAX_IDLE_SECONDS)) * 1000).unref();
  };

  listener.on(MAIL_CHANNEL, wake);
  return {
    wake,
    async close() {
      isClosing = true;
      clearTimeout(timer);
      const patience = new AbortController();
      const timeout = delay(CLOSE_PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => {});
      await Promise.race([Promise.all(lanes), timeout]);
      patience.abort();
      outOfPatience.abort();
      await Promise.all(lanes);
    },
  };
}

async function deliver(options: WorkerOptions, message: ClaimedMessage, cutOff: AbortSignal): Promise<void> {
  const { db, log } = options;
  const sending = await readSending(db.system, options);
  if (!sending.server) return db.system.tx((tx) => captureMessage(tx, message));
  const outcomes = await attempt(options, message, sending, cutOff);
  await db.system.tx((tx) => settleMessage(tx, message, outcomes));
  // Neither who nor what: both are personal.
  const { id: messageId, kind, attempts } = message;
  for (const status of ['deferred', 'failed'] as const) {
    const some = outcomes.find((outcome) => outcome.status === status);
    if (some) log.warn({ messageId, kind, attempts, reason: some.reason }, `email.${status}`);
  }
}

async function attempt(
  { cipher }: WorkerOptions,
  message: ClaimedMessage,
  { server, sender }: Sending,
  cutOff: AbortSignal,
): Promise<SmtpOutcome[]> {
  const giveUp = (reason: string): SmtpOutcome[] =>
    message.recipients.map((recipient) => ({ recipient, status: 'failed', reason }));
  if (message.isTooLate || !server) return giveUp('it could not be delivered before it lost its use');
  let payload: Payload;
  try {
    payload = openPayload(cipher, message.payload);
  } catch {
    return giveUp('it was encrypted with another key');
  }
  const signal = AbortSignal.any([cutOff, AbortSignal.timeout(SMTP_PATIENCE_MS)]);
  return sendBySmtp(server, toSmtp(message, payload, sender), signal);
}

function toSmtp(message: ClaimedMessage, payload: Payload, sender: Sending['sender']): SmtpMessage {
  const { fromName, to, cc, replyTo, subject, html, text } = payload;
  const domain = sender.address.slice(sender.address.lastIndexOf('@') + 1);
  return {
    messageId: `<${message.id}@${domain}>`,
    date: message.createdAt,
    from: { name: fromName ?? sender.name, address: sender.address },
    to,
    cc,
    replyTo,
    subject,
    html,
    text,
    // Keeps out-of-office replies away (RFC 3834).
    headers: message.kind === 'raw' ? {} : { 'Auto-Submitted': 'auto-generated' },
    recipients: message.recipients,
  };
}
