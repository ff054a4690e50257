/** What each variable of the environment may be. */
import { isIP } from 'node:net';
import { OAUTH_PROVIDERS, type OAuthProvider } from '@insforge/contract/oauth.ts';
import { z } from 'zod';

/** Values from examples and other products' compose files. Whoever kept one has published their key. */
const DEMO_SECRETS = new Set([
  'admin',
  'change-me',
  'change-this-password',
  'changeme',
  'dev-secret-please-change-in-production',
  'insforge',
  'password',
  'postgres',
  'secret',
  'super-secret-jwt-token-with-at-least-32-characters-long',
  'your-encryption-key',
  'your-jwt-secret',
  'your-secret-key-here-must-be-32-char-or-above',
  'your-super-secret-jwt-token-with-at-least-32-characters-long',
  'your-super-secret-key-change-this-in-production',
  'your_api_key',
  'your_anon_key',
]);

const notDemo = (value: string) => !DEMO_SECRETS.has(value.toLowerCase().replace(/^(ik|anon)_/, ''));
const DEMO_MESSAGE = 'is a published example value; remove the variable to have one generated, or set your own';

const secret = (minimum: number) =>
  z.string().min(minimum, `must have at least ${minimum} characters`).refine(notDemo, DEMO_MESSAGE).optional();

const httpUrl = z
  .string()
  .refine((value) => URL.canParse(value) && /^https?:$/.test(new URL(value).protocol), 'must be an http(s) URL')
  // As URLs are compared: host in small letters, no default port.
  .transform((value) => new URL(value).href.replace(/\/+$/, ''));

/** A key for programs: what follows the prefix; the prefix is added where it is missing. */
const accessKey = (prefix: string) =>
  z
    .string()
    .transform((value) => (value.startsWith(prefix) ? value : prefix + value))
    .refine((value) => /^[a-z]+_[\w-]{16,128}$/.test(value), `must be ${prefix} and 16 to 128 of A-Z a-z 0-9 _ -`)
    .refine(notDemo, DEMO_MESSAGE)
    .optional();

const flag = z.enum(['true', 'false', '1', '0'], 'must be true or false').transform((value) => /true|1/.test(value));

const isProvider = (name: string): name is OAuthProvider => OAUTH_PROVIDERS.some((known) => known === name);

/** `gitlab=https://git.example.com github=…`: where known providers run that are not at their public address. */
const ownHosts = z.string().transform((text, context) => {
  const hosts: Partial<Record<OAuthProvider, string>> = {};
  for (const pair of text.split(/[\s,]+/).filter((part) => part !== '')) {
    const [name = '', url = ''] = pair.split(/=(.*)/s);
    const { success, data } = httpUrl.safeParse(url);
    if (isProvider(name) && success) hosts[name] = data;
    else context.addIssue(`must be a list of provider=URL with the providers ${OAUTH_PROVIDERS.join(', ')}`);
  }
  return hosts;
});

const PROXY_RANGES = new Set(['loopback', 'linklocal', 'uniquelocal']);
const PROXY_MESSAGE =
  'must be none, a list of addresses, of networks such as 10.0.0.0/8, and of loopback, linklocal and uniquelocal, or the number of proxies (1 to 9)';

/** A prefix of 0 would be everybody. */
function isProxy(text: string): boolean {
  const [address = '', prefix] = text.split(/\/(.*)/s);
  const family = isIP(address);
  if (prefix === undefined) return family !== 0 || PROXY_RANGES.has(text);
  return family !== 0 && /^[1-9]\d{0,2}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128);
}

/** Whose word counts on where a request comes from. */
const trustedProxies = z.string().transform((text, context): readonly string[] | number => {
  if (text === 'none') return [];
  if (/^[1-9]$/.test(text)) return Number(text);
  const proxies = text.split(/[\s,]+/).filter((part) => part !== '');
  if (proxies.length > 0 && proxies.every(isProxy)) return proxies;
  context.addIssue(PROXY_MESSAGE);
  return z.NEVER;
});

const VariablesSchema = z.object({
  OAUTH_OWN_HOSTS: ownHosts.optional(),
  PORT: z.coerce.number('must be a number').int().min(0).max(65_535).default(7130),
  HOST: z.string().default('127.0.0.1'),
  API_BASE_URL: httpUrl.optional(),
  DATA_DIR: z.string().default('./.insforge-data'),
  DATABASE_URL: z
    .string()
    .refine((value) => /^postgres(ql)?:\/\//.test(value) && URL.canParse(value), 'must be a postgresql:// URL')
    .optional(),
  POSTGRES_BIN_DIR: z.string().optional(),
  JWT_SECRET: secret(32),
  ENCRYPTION_KEY: secret(16),
  ROOT_ADMIN_USERNAME: z.string().min(1).default('admin'),
  ROOT_ADMIN_PASSWORD: secret(8),
  ACCESS_API_KEY: accessKey('ik_'),
  ACCESS_ANON_KEY: accessKey('anon_'),
  // Files go to an S3 bucket when one is named. Each variable may also be called AWS_…, as other tools do.
  S3_BUCKET: z.string().optional(),
  AWS_S3_BUCKET: z.string().optional(),
  S3_REGION: z.string().optional(),
  AWS_REGION: z.string().optional(),
  S3_ACCESS_KEY_ID: z.string().optional(),
  AWS_ACCESS_KEY_ID: z.string().optional(),
  S3_SECRET_ACCESS_KEY: z.string().optional(),
  AWS_SECRET_ACCESS_KEY: z.string().optional(),
  AWS_SESSION_TOKEN: z.string().optional(),
  S3_ENDPOINT_URL: httpUrl.optional(),
  S3_FORCE_PATH_STYLE: flag.optional(),
  S3_KEY_PREFIX: z
    .string()
    .regex(/^[\w!.*'()/-]*$/, 'must be a path of letters, digits and !.*()-_')
    .default(''),
  S3_USE_PRESIGNED_URLS: flag.default(true),
  ALLOW_PRIVATE_NETWORK: flag.default(false),
  CAPTCHA_VERIFY_URL: httpUrl.optional(),
  TRUST_PROXY: trustedProxies.default(['loopback']),
  MAIL_LIMIT_PER_IP: z.coerce.number('must be a number').int().min(0).default(100),
  // Named as PostgREST names them.
  PGRST_DB_AGGREGATES_ENABLED: flag.default(true),
  PGRST_DB_PLAN_ENABLED: flag.default(false),
  PGRST_SERVER_TIMING_ENABLED: flag.default(false),
  PGRST_DB_MAX_ROWS: z.coerce.number('must be a number').int().min(1).optional(),
  PGRST_DB_EXTRA_SEARCH_PATH: z
    .string()
    .default('public')
    .transform((text) =>
      text
        .split(',')
        .map((name) => name.trim())
        .filter((name) => name !== ''),
    ),
  UPLOAD_IDLE_TIMEOUT_MS: z.coerce.number('must be a number').int().min(100).max(600_000).default(30_000),
});

export const EnvironmentSchema = VariablesSchema.refine((env) => !env.POSTGRES_BIN_DIR || !env.DATABASE_URL, {
  path: ['POSTGRES_BIN_DIR'],
  message: 'is for the PostgreSQL that this server runs, and DATABASE_URL names another: set one of them',
});
