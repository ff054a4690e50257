import { SMTP_PORTS, type SmtpConfig, type SmtpConfigUpdate, type SmtpSettings } from '@insforge/contract/email.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { checkSmtp, type SmtpServer } from '#platform/mail/smtp.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';

/** What reading and using the settings takes. */
export interface SmtpOptions {
  cipher: Cipher;
  /** Mail servers of the developer's own machine or network may be used. */
  allowPrivateNetwork: boolean;
}

type ConfigRow = Omit<SmtpConfig, 'hasPassword' | 'createdAt' | 'updatedAt'> & {
  passwordEncrypted: string;
  createdAt: Date;
  updatedAt: Date;
};

const CONFIG = sql`
  id, enabled, host, port, username, password_encrypted as "passwordEncrypted", sender_email as "senderEmail",
  sender_name as "senderName", min_interval_seconds as "minIntervalSeconds", created_at as "createdAt",
  updated_at as "updatedAt"`;

async function readRow(tx: Pick<SystemTx, 'one'>): Promise<ConfigRow> {
  const row = await tx.one<ConfigRow>(sql`select ${CONFIG} from email.config`);
  if (!row) throw new Error('email.config is empty');
  return row;
}

function toConfig({ passwordEncrypted, createdAt, updatedAt, ...config }: ConfigRow): SmtpConfig {
  return {
    ...config,
    hasPassword: passwordEncrypted !== '',
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  };
}

/** The settings, without the password. */
export async function readSmtpConfig(tx: Pick<SystemTx, 'one'>): Promise<SmtpConfig> {
  return toConfig(await readRow(tx));
}

/** The settings as `GET /api/metadata` shows them. */
export async function readSmtpSettings(tx: Pick<SystemTx, 'one'>): Promise<SmtpSettings> {
  const { id, createdAt, updatedAt, ...settings } = await readSmtpConfig(tx);
  return settings;
}

/** How mail leaves at the moment; without a server it does not. */
export interface Sending {
  server: SmtpServer | undefined;
  sender: { name: string; address: string };
}

/** Reads how to send, with the password in clear text. */
export async function readSending(tx: Pick<SystemTx, 'one'>, options: SmtpOptions): Promise<Sending> {
  const row = await readRow(tx);
  return {
    server: row.enabled ? toServer(row, decryptPassword(row, options.cipher), options) : undefined,
    sender: { name: row.senderName, address: row.senderEmail },
  };
}

const decryptPassword = ({ passwordEncrypted }: ConfigRow, cipher: Cipher) =>
  passwordEncrypted === '' ? '' : cipher.decrypt(passwordEncrypted);

function toServer(
  { host, port, username }: Pick<ConfigRow, 'host' | 'port' | 'username'>,
  password: string,
  { allowPrivateNetwork }: SmtpOptions,
): SmtpServer {
  return { host, port, username, password, allowPrivate: allowPrivateNetwork };
}

/** Checks the new settings by logging in with them. @throws AppError INVALID_INPUT, EMAIL_SMTP_CONNECTION_FAILED */
export async function tryOut(tx: Pick<SystemTx, 'one'>, update: SmtpConfigUpdate, options: SmtpOptions): Promise<void> {
  const isKnownPort = SMTP_PORTS.some((port) => port === update.port);
  if (!isKnownPort && !options.allowPrivateNetwork) {
    throw new AppError('INVALID_INPUT', `port: must be one of ${SMTP_PORTS.join(', ')}`, {
      nextActions: FOR_DEVELOPMENT,
    });
  }
  if (!update.enabled) return;
  const row = await readRow(tx);
  if (!update.password && row.passwordEncrypted !== '' && !isSameHost(row.host, update.host)) {
    throw new AppError('INVALID_INPUT', `password: is required, because the stored one was given for ${row.host}`, {
      nextActions: 'Send the password of the new host along. A stored one is not sent to another host.',
    });
  }
  const password = update.password || decryptPassword(row, options.cipher);
  try {
    await checkSmtp(toServer(update, password, options));
  } catch (cause) {
    throw explain(update, cause);
  }
}

const isSameHost = (one: string, other: string) => one.toLowerCase() === other.toLowerCase();

const FOR_DEVELOPMENT =
  'For a mail server on your own machine or network, start with ALLOW_PRIVATE_NETWORK=true; then any port will do.';

/** Error code of the connection -> what it most likely means. */
const PROBLEMS: Record<string, string> = {
  EAUTH: 'it refuses the username or the password',
  EDNS: 'there is no such host',
  ENOTFOUND: 'there is no such host',
  ETIMEDOUT: 'it does not answer in time; the port may be closed by a firewall',
  ECONNREFUSED: 'nothing listens on that port',
  ETLS: 'TLS cannot be agreed on; port 465 speaks TLS from the start, the others begin without',
  ESOCKET: 'the connection broke; port 465 speaks TLS from the start, the others begin without',
};

function explain({ host, port }: SmtpConfigUpdate, cause: unknown): AppError {
  const error: Error & { code?: string } = cause instanceof Error ? cause : new Error(String(cause));
  if (error.code === 'EPRIVATE') {
    return new AppError('INVALID_INPUT', `host: ${error.message}`, { cause, nextActions: FOR_DEVELOPMENT });
  }
  const problem = PROBLEMS[error.code ?? ''];
  const reason = error.message.slice(0, 300);
  return new AppError(
    'EMAIL_SMTP_CONNECTION_FAILED',
    `${host}:${port} cannot be used: ${problem ? `${problem} (${reason})` : reason}`,
    { cause },
  );
}

/** Stores the settings. An absent or empty password leaves the stored one, as long as the host stays. */
export async function updateSmtpConfig(
  tx: Pick<SystemTx, 'one'>,
  { password, ...update }: SmtpConfigUpdate,
  { cipher }: SmtpOptions,
): Promise<SmtpConfig> {
  const encrypted = password ? cipher.encrypt(password) : null;
  const row = await tx.one<ConfigRow>(sql`
    update email.config set
      enabled = ${update.enabled}, host = ${update.host}, port = ${update.port}, username = ${update.username},
      password_encrypted = coalesce(${encrypted},
        case when lower(host) = lower(${update.host}) then password_encrypted else '' end),
      sender_email = ${update.senderEmail},
      sender_name = ${update.senderName}, min_interval_seconds = ${update.minIntervalSeconds}, updated_at = now()
    returning ${CONFIG}`);
  if (!row) throw new Error('email.config is empty');
  return toConfig(row);
}
