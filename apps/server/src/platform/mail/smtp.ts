import type { SMTPTransportOptions } from 'nodemailer/lib/smtp-transport';
import { connectTo, isPublicAddress } from '#platform/outgoing/addresses.ts';

/** A mail server, and how to log in there. */
export interface SmtpServer {
  host: string;
  port: number;
  username: string;
  /** Empty: no login. */
  password: string;
  /** For a mail server on the developer's own machine or network, which may also do without a certificate. */
  allowPrivate: boolean;
}

/** A mail as it leaves. */
export interface SmtpMessage {
  /** Stays the same when the message is sent again, so that the receiving side can tell that it is the same. */
  messageId: string;
  date: Date;
  from: { name: string; address: string };
  to: string[];
  cc: string[];
  replyTo: string | undefined;
  subject: string;
  html: string;
  text: string;
  headers: Record<string, string>;
  /** To whom it goes this time: a part of to, cc and those who got a blind copy. */
  recipients: string[];
}

/** What became of a message for one recipient. `deferred` may work later, `failed` never will. */
export interface SmtpOutcome {
  recipient: string;
  status: 'accepted' | 'deferred' | 'failed';
  reason: string | undefined;
}

/** The port on which TLS comes first. On the others, the connection is upgraded. */
const IMPLICIT_TLS_PORT = 465;
const CONNECT_TIMEOUT_MS = 10_000;
const HANDSHAKE_TIMEOUT_MS = 15_000;
const SEND_TIMEOUT_MS = 45_000;
const MAX_REASON_LENGTH = 300;

/** How long `sendBySmtp` takes at most. */
export const SMTP_PATIENCE_MS = CONNECT_TIMEOUT_MS + SEND_TIMEOUT_MS;

/** Goes as far as the login, and leaves again. @throws with what the server or the network said */
export async function checkSmtp(server: SmtpServer): Promise<void> {
  const transport = await openTransport(server);
  try {
    await transport.verify();
  } finally {
    transport.close();
  }
}

/** Sends one message. Never throws: whatever goes wrong is the outcome for the recipients it goes wrong for. */
export async function sendBySmtp(
  server: SmtpServer,
  message: SmtpMessage,
  signal: AbortSignal = AbortSignal.timeout(SEND_TIMEOUT_MS),
): Promise<SmtpOutcome[]> {
  const { recipients, ...mail } = message;
  let rejected: SmtpError[] = [];
  let failure: SmtpError | undefined;
  try {
    const transport = await openTransport(server);
    const info = await transport.sendMail({
      ...mail,
      to: mail.to.map(asAddress),
      cc: mail.cc.map(asAddress),
      envelope: { from: asAddress(mail.from.address), to: recipients.map(asAddress) },
      signal,
      disableFileAccess: true,
      disableUrlAccess: true,
    });
    rejected = info.rejectedErrors ?? [];
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
    rejected = failure.rejectedErrors ?? [];
  }
  return recipients.map((recipient) => {
    // The only one is meant, however the address is spelt in the error.
    const own = recipients.length === 1 ? rejected[0] : rejected.find((one) => one.recipient === recipient);
    const error = own ?? failure;
    if (!error) return { recipient, status: 'accepted', reason: undefined };
    return { recipient, status: isFinal(error) ? 'failed' : 'deferred', reason: describe(error) };
  });
}

/** What nodemailer adds to its errors. */
interface SmtpError extends Error {
  code?: string | undefined;
  responseCode?: number | undefined;
  recipient?: string | undefined;
  rejectedErrors?: SmtpError[] | undefined;
}

/** The server refused this recipient or this message for good. A refused login is for the admin to mend. */
function isFinal({ code, responseCode = 0 }: SmtpError): boolean {
  return (code === 'EENVELOPE' || code === 'EMESSAGE') && responseCode >= 500;
}

function describe({ message, code }: SmtpError): string {
  return (code && !message.includes(code) ? `${message} (${code})` : message).slice(0, MAX_REASON_LENGTH);
}

/** As an object an address is taken as it is, and not parsed as a list of them. */
const asAddress = (address: string) => ({ name: '', address });

async function openTransport(server: SmtpServer) {
  // Loaded at first use: a server that sends no mail does without its memory.
  const { createTransport } = await import('nodemailer');
  const { host, port, username, password, allowPrivate } = server;
  const secure = port === IMPLICIT_TLS_PORT;
  const options: SMTPTransportOptions = {
    host,
    port,
    secure,
    ...(password === '' ? {} : { auth: { user: username, pass: password } }),
    greetingTimeout: HANDSHAKE_TIMEOUT_MS,
    connectionTimeout: HANDSHAKE_TIMEOUT_MS,
    socketTimeout: SEND_TIMEOUT_MS,
    socketCloseTimeout: 0,
    getSocket: (_options, done) => {
      connectTo({ host, port, allowPrivate, timeoutMs: CONNECT_TIMEOUT_MS }).then(
        (connection) => {
          // Nobody but a server nearby may be spoken to in clear text or with a certificate of its own making.
          const isPublic = isPublicAddress(connection.remoteAddress ?? '');
          done(null, { connection, requireTLS: isPublic && !secure, tls: { rejectUnauthorized: isPublic } });
        },
        (error: Error) => done(error, false),
      );
    },
  };
  return createTransport(options);
}
