import { resolve } from 'node:path';
import { OAUTH_PROVIDERS, type OAuthProvider } from '@insforge/contract/oauth.ts';
import type { z } from 'zod';
import { StartupError } from '#platform/errors.ts';
import packageJson from '../package.json' with { type: 'json' };
import { EnvironmentSchema } from './variables.ts';

/** What the records API offers, for whoever runs the server to decide. */
export interface RecordsConfig {
  readonly areAggregatesEnabled: boolean;
  /** Everybody may ask for query plans, which tell of data that policies hide. */
  readonly arePlansPublic: boolean;
  readonly hasServerTiming: boolean;
  /** The most rows that one read returns. Absent: any number. */
  readonly maxRows: number | undefined;
  /** Schemas where SQL looks for names after the one of the request. */
  readonly extraSearchPath: readonly string[];
}

/** Where the bytes of files go, and how long an upload or a download may stand still. */
export interface StorageConfig {
  /** Absent: files lie in the data folder. */
  readonly s3: S3Config | undefined;
  /** The region that S3 clients of this server sign for. */
  readonly region: string;
  readonly idleTimeoutMs: number;
}

/** An S3-compatible store, and how to get in. */
export interface S3Config {
  readonly bucket: string;
  readonly region: string;
  /** Absent: Amazon's. */
  readonly endpoint: string | undefined;
  readonly forcePathStyle: boolean;
  /** Absent: the usual places of the AWS tools, such as the role of the machine. */
  readonly credentials:
    | { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string | undefined }
    | undefined;
  /** What the names of our objects begin with. */
  readonly keyPrefix: string;
  /** True: clients exchange bytes with the store itself. */
  readonly usePresignedUrls: boolean;
}

/** Providers to sign in with, as far as the environment knows them. */
interface OAuthConfig {
  /** Configured with the first start that brings them; from then on, admins change them. */
  readonly credentials: Partial<Record<OAuthProvider, { clientId: string; clientSecret: string }>>;
  readonly ownHosts: Partial<Record<OAuthProvider, string>>;
}

/** Everything that the environment decides, parsed once and handed down in slices. */
export interface Config {
  readonly version: string;
  readonly host: string;
  readonly port: number;
  /** The URL under which clients reach this server, without a trailing slash. */
  readonly apiBaseUrl: string;
  /** `API_BASE_URL` as it was given. Absent: links in answers name the host that the client asked. */
  readonly publicUrl: string | undefined;
  /** Absolute path. */
  readonly dataDir: string;
  /** Absent: the server runs a PostgreSQL of its own in the data folder. */
  readonly databaseUrl: string | undefined;
  /** The folder with the programs of that PostgreSQL. Absent: the bundled ones. */
  readonly postgresBinDir: string | undefined;
  readonly adminUsername: string;
  /** Servers that an admin names may be on this machine or its network. Otherwise only public ones are called. */
  readonly allowPrivateNetwork: boolean;
  /** Where captcha tokens are checked instead of at the provider, such as through a proxy of one's own. */
  readonly captchaVerifyUrl: string | undefined;
  /** Whose X-Forwarded-For, -Proto and -Host count: addresses and networks, or how many proxies there are on the way. */
  readonly trustedProxies: readonly string[] | number;
  /** How many mails with codes or links one network address may ask for in 15 minutes; 0 for any number. */
  readonly mailLimitPerIp: number;
  readonly storage: StorageConfig;
  readonly records: RecordsConfig;
  readonly oauth: OAuthConfig;
  /** Secrets that the environment gives; what is absent is generated on the first start. */
  readonly given: {
    readonly jwtSecret: string | undefined;
    readonly encryptionKey: string | undefined;
    readonly adminPassword: string | undefined;
    readonly apiKey: string | undefined;
    readonly anonKey: string | undefined;
  };
}

/**
 * Reads the configuration from environment variables; empty ones count as absent.
 * @throws StartupError that lists every problem at once
 */
export function loadConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const present = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const parsed = EnvironmentSchema.safeParse(present);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `  ${path.join('.')} ${message}`);
    throw new StartupError(`The configuration has problems:\n${problems.join('\n')}`);
  }
  const env = parsed.data;
  return Object.freeze({
    version: packageJson.version,
    host: env.HOST,
    port: env.PORT,
    apiBaseUrl: env.API_BASE_URL ?? `http://localhost:${env.PORT}`,
    publicUrl: env.API_BASE_URL,
    dataDir: resolve(env.DATA_DIR),
    databaseUrl: env.DATABASE_URL,
    postgresBinDir: env.POSTGRES_BIN_DIR && resolve(env.POSTGRES_BIN_DIR),
    adminUsername: env.ROOT_ADMIN_USERNAME,
    allowPrivateNetwork: env.ALLOW_PRIVATE_NETWORK,
    captchaVerifyUrl: env.CAPTCHA_VERIFY_URL,
    trustedProxies: env.TRUST_PROXY,
    mailLimitPerIp: env.MAIL_LIMIT_PER_IP,
    storage: Object.freeze(storageConfig(env)),
    records: Object.freeze({
      areAggregatesEnabled: env.PGRST_DB_AGGREGATES_ENABLED,
      arePlansPublic: env.PGRST_DB_PLAN_ENABLED,
      hasServerTiming: env.PGRST_SERVER_TIMING_ENABLED,
      maxRows: env.PGRST_DB_MAX_ROWS,
      extraSearchPath: env.PGRST_DB_EXTRA_SEARCH_PATH,
    }),
    oauth: Object.freeze({ credentials: oauthCredentials(present), ownHosts: env.OAUTH_OWN_HOSTS ?? {} }),
    given: Object.freeze({
      jwtSecret: env.JWT_SECRET,
      encryptionKey: env.ENCRYPTION_KEY,
      adminPassword: env.ROOT_ADMIN_PASSWORD,
      apiKey: env.ACCESS_API_KEY,
      anonKey: env.ACCESS_ANON_KEY,
    }),
  });
}

const DEFAULT_REGION = 'us-east-2';

function storageConfig(env: z.infer<typeof EnvironmentSchema>): StorageConfig {
  const bucket = env.S3_BUCKET ?? env.AWS_S3_BUCKET;
  const region = env.S3_REGION ?? env.AWS_REGION ?? DEFAULT_REGION;
  // All of one kind: a key of its own must not go with the secret, or the session, of another.
  const isOwn = env.S3_ACCESS_KEY_ID !== undefined || env.S3_SECRET_ACCESS_KEY !== undefined;
  const accessKeyId = isOwn ? env.S3_ACCESS_KEY_ID : env.AWS_ACCESS_KEY_ID;
  const secretAccessKey = isOwn ? env.S3_SECRET_ACCESS_KEY : env.AWS_SECRET_ACCESS_KEY;
  const sessionToken = isOwn ? undefined : env.AWS_SESSION_TOKEN;
  if (bucket && !accessKeyId !== !secretAccessKey) {
    throw new StartupError(
      'The configuration has problems:\n  S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY go together: set both, or neither',
    );
  }
  const s3 = bucket && {
    bucket,
    region,
    endpoint: env.S3_ENDPOINT_URL,
    forcePathStyle: env.S3_FORCE_PATH_STYLE ?? env.S3_ENDPOINT_URL !== undefined,
    credentials: accessKeyId && secretAccessKey ? { accessKeyId, secretAccessKey, sessionToken } : undefined,
    keyPrefix: env.S3_KEY_PREFIX,
    usePresignedUrls: env.S3_USE_PRESIGNED_URLS,
  };
  return { s3: s3 || undefined, region, idleTimeoutMs: env.UPLOAD_IDLE_TIMEOUT_MS };
}

/** GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET, and so on. */
function oauthCredentials(present: Readonly<Record<string, string | undefined>>): OAuthConfig['credentials'] {
  const credentials: OAuthConfig['credentials'] = {};
  for (const name of OAUTH_PROVIDERS) {
    const clientId = present[`${name.toUpperCase()}_CLIENT_ID`];
    const clientSecret = present[`${name.toUpperCase()}_CLIENT_SECRET`];
    if (clientId && clientSecret) credentials[name] = { clientId, clientSecret };
  }
  return credentials;
}
