import { createHmac, randomBytes } from 'node:crypto';
import { Client, type ClientConfig } from 'pg';
import type { Config } from '../config.ts';
import { openDataDir } from './data-dir.ts';
import { AUTHENTICATOR, ensureAuthenticator } from './db/authenticator.ts';
import { createDb, type Db } from './db/db.ts';
import { createListener, type Listener } from './db/listener.ts';
import { migrate } from './db/migrate.ts';
import { StartupError } from './errors.ts';
import { createGuards, type Guards } from './http/caller.ts';
import type { Logger } from './log.ts';
import { OLDEST_POSTGRES } from './postgres/binaries.ts';
import { startPostgres } from './postgres/cluster.ts';
import { type Cipher, createCipher } from './secrets/cipher.ts';
import { readCredentials, writeCredentials } from './secrets/credentials-file.ts';
import { ensureSecrets } from './secrets/secrets.ts';
import { ACCESS_KEYS, type AccessKeys, createAccessKeys, makeAccessKey } from './tokens/access-keys.ts';
import { type AccessTokens, createAccessTokens, makeSigningKey } from './tokens/access-tokens.ts';

/** What every feature stands on. */
export interface Platform {
  db: Db;
  /** How the owner connects, for programs that need a connection of their own. */
  database: DatabaseAddress;
  listener: Listener;
  cipher: Cipher;
  keys: AccessKeys;
  tokens: AccessTokens;
  guards: Guards;
  /** Signs refresh tokens and CSRF tokens; third parties may sign access tokens with it. */
  jwtSecret: string;
  adminPassword: string;
  /** What this database login cannot do, and what follows; said once at start. */
  warnings: string[];
  /** Closes what was opened, last first. */
  close(): Promise<void>;
}

/** Where the database is, and how its owner gets in. */
export interface DatabaseAddress {
  /** A name, or the folder of a socket. */
  host: string;
  port: number;
  name: string;
  user: string;
  password: string;
  /** As libpq calls it: `disable`, `require`, `verify-full`. */
  sslmode: string;
  /** True for the PostgreSQL that this server has started. */
  isBundled: boolean;
  /** Its programs, where they are known. */
  binDir: string | undefined;
}

const STATEMENT_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;

/** Opens everything below the features: data folder, PostgreSQL, migrations, secrets, keys, the two logins. */
export async function openPlatform(config: Config, log: Logger): Promise<Platform> {
  const closers: (() => Promise<void>)[] = [];
  const close = async () => {
    for (let closer = closers.pop(); closer; closer = closers.pop()) await closer();
  };
  try {
    const dataDir = await openDataDir(config.dataDir);
    closers.push(() => dataDir.release());
    const { owner, storedKey, durable } = config.databaseUrl
      ? await useDatabase(config.databaseUrl)
      : await startDatabase(config, log, closers);

    const client = await connectOwner(owner);
    closers.push(() => client.end());
    const warnings = await migrate(client);
    const encryptionKey = storedKey ?? (await keyFromDatabase(client, config, warnings));
    const cipher = createCipher(encryptionKey);
    const authenticator = {
      ...owner,
      user: AUTHENTICATOR,
      password: createHmac('sha256', encryptionKey).update('insforge:authenticator').digest('hex'),
    };

    const db = createDb({
      authenticator: { ...authenticator, max: 18, statement_timeout: STATEMENT_TIMEOUT_MS },
      system: { ...owner, max: 8, statement_timeout: STATEMENT_TIMEOUT_MS },
      onError: (error) => log.warn({ reason: error.message }, 'database.connection_lost'),
    });
    closers.push(() => db.close());
    const secrets = await ensureReservedSecrets(db, cipher, config);
    await ensureAuthenticator(client, authenticator);
    closers.splice(closers.length - 2, 1);
    await client.end();

    const listener = createListener(owner, log);
    closers.push(() => listener.close());
    const keys = createAccessKeys(db, cipher, listener);
    const tokens = await createAccessTokens(secrets);
    await writeCredentials(config.dataDir, {
      INSFORGE_URL: config.apiBaseUrl,
      ROOT_ADMIN_USERNAME: config.adminUsername,
      ROOT_ADMIN_PASSWORD: secrets.adminPassword,
      ACCESS_API_KEY: secrets.apiKey,
      ACCESS_ANON_KEY: secrets.anonKey,
    });
    await durable;
    const guards = createGuards(keys, tokens);
    const { jwtSecret, adminPassword } = secrets;
    const database = addressOf(owner, config);
    return { db, database, listener, cipher, keys, tokens, guards, jwtSecret, adminPassword, warnings, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function addressOf(owner: ClientConfig, { databaseUrl, postgresBinDir }: Config): DatabaseAddress {
  const { host = 'localhost', port = 5432, user = '', database: name = user, password, ssl } = owner;
  const isVerified = typeof ssl === 'object' && ssl.rejectUnauthorized === true;
  return {
    host,
    port,
    name,
    user,
    password: typeof password === 'string' ? password : '',
    sslmode: ssl ? (isVerified ? 'verify-full' : 'require') : 'disable',
    isBundled: databaseUrl === undefined,
    binDir: postgresBinDir,
  };
}

interface OpenedDatabase {
  owner: ClientConfig & { connectionTimeoutMillis: number };
  /** Absent where the key is still to be read from the database. */
  storedKey: string | undefined;
  /** Resolves when a database that was just created is on disk. */
  durable?: Promise<void>;
}

async function startDatabase(config: Config, log: Logger, closers: (() => Promise<void>)[]): Promise<OpenedDatabase> {
  const stored = await readCredentials(config.dataDir);
  const { encryptionKey, jwtSecret } = config.given;
  const key = encryptionKey ?? stored.ENCRYPTION_KEY ?? jwtSecret ?? randomBytes(32).toString('hex');
  const password = stored.POSTGRES_PASSWORD ?? randomBytes(24).toString('hex');
  // On disk before anything is encrypted with it.
  await writeCredentials(config.dataDir, { ENCRYPTION_KEY: key, POSTGRES_PASSWORD: password });
  const { dataDir, postgresBinDir: binDir } = config;
  const postgres = await startPostgres({ dataDir, password, database: 'insforge', binDir, log });
  closers.push(() => postgres.stop());
  return {
    owner: { ...postgres.connection, connectionTimeoutMillis: CONNECT_TIMEOUT_MS },
    storedKey: key,
    durable: postgres.durable,
  };
}

async function useDatabase(url: string): Promise<OpenedDatabase> {
  const { hostname, port, pathname, username, password, searchParams } = new URL(url);
  const sslmode = searchParams.get('sslmode');
  return {
    owner: {
      host: searchParams.get('host') ?? decodeURIComponent(hostname),
      port: Number(port || 5432),
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
      database: decodeURIComponent(pathname.slice(1)) || decodeURIComponent(username),
      ...(sslmode && sslmode !== 'disable' ? { ssl: { rejectUnauthorized: sslmode.startsWith('verify') } } : {}),
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    },
    storedKey: undefined,
  };
}

async function connectOwner(owner: ClientConfig): Promise<Client> {
  const client = new Client(owner);
  client.on('error', () => {});
  try {
    await client.connect();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message || String(cause.cause ?? cause) : String(cause);
    throw new StartupError(
      `The database at ${owner.host}:${owner.port}/${owner.database} cannot be reached (${reason}). Check DATABASE_URL and that PostgreSQL runs, or remove DATABASE_URL to have one started here.`,
      { cause },
    );
  }
  const { rows } = await client.query<{ version: string; super: boolean; createrole: boolean }>(`
    select current_setting('server_version_num') as version, rolsuper as super, rolcreaterole as createrole
    from pg_roles where rolname = current_user`);
  const [{ version, super: isSuper, createrole } = { version: '0', super: false, createrole: false }] = rows;
  const problem =
    Number(version) < OLDEST_POSTGRES * 10_000
      ? `PostgreSQL ${OLDEST_POSTGRES} or newer is needed; this one is ${Math.floor(Number(version) / 10_000)}.`
      : !isSuper && !createrole
        ? `The login ${owner.user} may not create roles. Grant it once, as a superuser: ALTER ROLE "${owner.user}" CREATEROLE.`
        : undefined;
  if (problem === undefined) return client;
  await client.end();
  throw new StartupError(problem);
}

/**
 * Servers that share a database share its key: the one they were all given, or else one that is kept in the
 * database itself.
 */
async function keyFromDatabase(client: Client, { given }: Config, warnings: string[]): Promise<string> {
  if (given.encryptionKey) return given.encryptionKey;
  const fallback = given.jwtSecret ?? randomBytes(32).toString('hex');
  if (!given.jwtSecret) {
    await client.query('insert into system.keyring (encryption_key) values ($1) on conflict do nothing', [fallback]);
    warnings.push(
      'ENCRYPTION_KEY is not set, so the key is kept in the database beside what it protects: a copy of the database can be decrypted. Fix: set ENCRYPTION_KEY before the first start',
    );
  }
  const { rows } = await client.query<{ encryption_key: string }>('select encryption_key from system.keyring');
  return rows[0]?.encryption_key ?? fallback;
}

interface ReservedSecrets {
  jwtSecret: string;
  adminPassword: string;
  apiKey: string;
  anonKey: string;
  privateKey: string;
  publicKey: string;
  keyId: string;
}

async function ensureReservedSecrets(db: Db, cipher: Cipher, { given }: Config): Promise<ReservedSecrets> {
  let made: ReturnType<typeof makeSigningKey> | undefined;
  const signingKey = () => (made ??= makeSigningKey());
  const values = await ensureSecrets(db, cipher, {
    JWT_SECRET: { given: given.jwtSecret, make: () => randomBytes(32).toString('hex') },
    ROOT_ADMIN_PASSWORD: { given: given.adminPassword, make: () => randomBytes(12).toString('base64url') },
    // The environment only seeds these two: once rotated, an old value must not come back.
    [ACCESS_KEYS.api.secret]: { make: () => given.apiKey ?? makeAccessKey('api') },
    [ACCESS_KEYS.anon.secret]: { make: () => given.anonKey ?? makeAccessKey('anon') },
    JWT_PRIVATE_KEY: { make: async () => (await signingKey()).privateKey },
    JWT_PUBLIC_KEY: { make: async () => (await signingKey()).publicKey },
    JWT_KEY_ID: { make: () => `kid_${randomBytes(16).toString('hex')}` },
  });
  const get = (key: string) => values[key] ?? '';
  return {
    jwtSecret: get('JWT_SECRET'),
    adminPassword: get('ROOT_ADMIN_PASSWORD'),
    apiKey: get(ACCESS_KEYS.api.secret),
    anonKey: get(ACCESS_KEYS.anon.secret),
    privateKey: get('JWT_PRIVATE_KEY'),
    publicKey: get('JWT_PUBLIC_KEY'),
    keyId: get('JWT_KEY_ID'),
  };
}
