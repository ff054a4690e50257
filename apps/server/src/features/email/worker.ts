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
  const closing = new AbortController();
  let running: Promise<void> | undefined;
  let isWoken = false;
  let timer: NodeJS.Timeout | undefined;
  let sweptAt = 0;

  /** Sends until nothing is due. Whoever finds a message calls a helper, so that an idle server asks once. */
  const sendAll = async (helpers: number): Promise<void> => {
    let help: Promise<void> | undefined;
    try {
      while (!closing.signal.aborted) {
        const message = await claimMessage(db.system);
        if (!message) return;
        if (helpers > 0) help ??= sendAll(helpers - 1);
        // It may fail before anybody waits for it; whoever waits still hears of it.
        help?.catch(() => {});
        await deliver(options, message, closing.signal);
      }
    } finally {
      await help;
    }
  };
  const run = async () => {
    try {
      while (isWoken && !closing.signal.aborted) {
        isWoken = false;
        await sendAll(MESSAGES_AT_ONCE - 1);
      }
      if (Date.now() - sweptAt > MAX_IDLE_SECONDS * 1000) {
        sweptAt = Date.now();
        await sweepMessages(db.system);
      }
      sleep((await secondsToNext(db.system)) ?? MAX_IDLE_SECONDS);
    } catch (error) {
      log.warn({ err: error }, 'email.queue_failed');
      sleep(AFTER_FAILURE_SECONDS);
    }
  };
  const sleep = (seconds: number) => {
    clearTimeout(timer);
    if (closing.signal.aborted) return;
    timer = setTimeout(wake, Math.max(0.1, Math.min(seconds, MAX_IDLE_SECONDS)) * 1000).unref();
  };
  const wake = () => {
    isWoken = true;
    running ??= run().finally(() => {
      running = undefined;
      if (isWoken && !closing.signal.aborted) wake();
    });
  };

  listener.on(MAIL_CHANNEL, wake);
  return {
    wake,
    async close() {
      clearTimeout(timer);
      isWoken = false;
      const patience = new AbortController();
      const timeout = delay(CLOSE_PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => {});
      await Promise.race([running, timeout]);
      patience.abort();
      closing.abort();
      await running;
    },
  };
}

async function deliver(options: WorkerOptions, message: ClaimedMessage, closing: AbortSignal): Promise<void> {
  const { db, log } = options;
  const sending = await readSending(db.system, options);
  if (!sending.server) return db.system.tx((tx) => captureMessage(tx, message));
  const outcomes = await attempt(options, message, sending, closing);
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
  closing: AbortSignal,
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
  const signal = AbortSignal.any([closing, AbortSignal.timeout(SMTP_PATIENCE_MS)]);
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
