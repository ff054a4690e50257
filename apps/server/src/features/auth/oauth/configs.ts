import {
  type CreateOAuthConfig,
  OAUTH_PROVIDERS,
  type OAuthConfig,
  type OAuthProvider,
  type UpdateOAuthConfig,
} from '@insforge/contract/oauth.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { deleteClientSecret, replaceClientSecret, SECRET_CIPHERTEXT } from './client-secrets.ts';
import { PROVIDERS } from './providers.ts';

interface ConfigRow {
  id: string;
  provider: string;
  clientId: string | null;
  nativeClientIds: string[];
  scopes: string[] | null;
  trustEmail: boolean;
  createdAt: Date | null;
  updatedAt: Date | null;
}

export type StoredConfig = Omit<OAuthConfig, 'callbackUrl'>;

/** Of auth.oauth_configs under the alias c. */
const CONFIG = sql`
  c.id, c.provider, c.client_id as "clientId", c.native_client_ids as "nativeClientIds", c.scopes, c.trust_email as "trustEmail",
  c.created_at as "createdAt", c.updated_at as "updatedAt"`;

const toConfig = ({ createdAt, updatedAt, ...row }: ConfigRow): StoredConfig => ({
  ...row,
  redirectUri: null,
  useSharedKey: false,
  createdAt: (createdAt ?? new Date(0)).toISOString(),
  updatedAt: (updatedAt ?? new Date(0)).toISOString(),
});

const notConfigured = (provider: string) =>
  new AppError('AUTH_OAUTH_CONFIG_NOT_FOUND', `${provider} is not configured`, {
    nextActions: `POST /api/auth/oauth/configs {"provider":"${provider}","clientId":"…","clientSecret":"…"}.`,
  });

export async function listConfigs(tx: Pick<SystemTx, 'query'>): Promise<StoredConfig[]> {
  const rows = await tx.query<ConfigRow>(sql`
    select ${CONFIG} from auth.oauth_configs c where c.provider = any(${OAUTH_PROVIDERS}) order by c.provider`);
  return rows.map(toConfig);
}

/** A configuration with its secret; undefined where there is none. */
export async function findConfig(
  tx: Pick<SystemTx, 'one'>,
  cipher: Cipher,
  provider: OAuthProvider,
): Promise<(StoredConfig & { clientSecret: string | null }) | undefined> {
  const row = await tx.one<ConfigRow & { ciphertext: string | null }>(sql`
    select ${CONFIG}, ${SECRET_CIPHERTEXT} from auth.oauth_configs c where c.provider = ${provider}`);
  if (!row) return undefined;
  const { ciphertext, ...config } = row;
  return { ...toConfig(config), clientSecret: ciphertext && cipher.decrypt(ciphertext) };
}

/** @throws AppError AUTH_OAUTH_CONFIG_NOT_FOUND */
export async function readConfig(tx: Pick<SystemTx, 'one'>, cipher: Cipher, provider: OAuthProvider) {
  const config = await findConfig(tx, cipher, provider);
  if (!config) throw notConfigured(provider);
  return config;
}

/** @throws AppError AUTH_OAUTH_CONFIG_ALREADY_EXISTS */
export async function createConfig(tx: SystemTx, cipher: Cipher, create: CreateOAuthConfig): Promise<StoredConfig> {
  const { provider, clientId, clientSecret } = create;
  const row = await tx.one<ConfigRow>(sql`
    insert into auth.oauth_configs as c (provider, client_id, scopes, native_client_ids, trust_email)
    values (${provider}, ${clientId}, ${create.scopes ?? PROVIDERS[provider].scopes},
      ${create.nativeClientIds ?? []}, ${create.trustEmail ?? false})
    on conflict (provider) do nothing
    returning ${CONFIG}`);
  if (row) {
    if (clientSecret !== undefined) await setClientSecret(tx, cipher, provider, { id: null, value: clientSecret });
    return toConfig(row);
  }
  throw new AppError('AUTH_OAUTH_CONFIG_ALREADY_EXISTS', `${provider} is configured already`, {
    nextActions: `Change it with PUT /api/auth/oauth/${provider}/config.`,
  });
}

/** Changes what `update` names. @throws AppError AUTH_OAUTH_CONFIG_NOT_FOUND */
export async function updateConfig(
  tx: SystemTx,
  cipher: Cipher,
  provider: OAuthProvider,
  { clientId, clientSecret, scopes, nativeClientIds, trustEmail }: UpdateOAuthConfig,
): Promise<StoredConfig> {
  const row = await tx.one<ConfigRow & { secretId: string | null }>(sql`
    update auth.oauth_configs c
    set client_id = coalesce(${clientId}, client_id), scopes = coalesce(${scopes}::text[], scopes),
      native_client_ids = coalesce(${nativeClientIds}::text[], native_client_ids),
      trust_email = coalesce(${trustEmail}, trust_email)
    where provider = ${provider}
    returning ${CONFIG}, c.secret_id as "secretId"`);
  if (!row) throw notConfigured(provider);
  const { secretId, ...config } = row;
  if (clientSecret !== undefined) await setClientSecret(tx, cipher, provider, { id: secretId, value: clientSecret });
  return toConfig(config);
}

async function setClientSecret(
  tx: SystemTx,
  cipher: Cipher,
  provider: OAuthProvider,
  secret: { id: string | null; value: string },
): Promise<void> {
  const key = `${provider.toUpperCase()}_CLIENT_SECRET`;
  const id = await replaceClientSecret(tx, cipher, { ...secret, key });
  await tx.query(sql`update auth.oauth_configs set secret_id = ${id} where provider = ${provider}`);
}

/** Users who came in this way keep their accounts. @throws AppError AUTH_OAUTH_CONFIG_NOT_FOUND */
export async function deleteConfig(tx: SystemTx, provider: OAuthProvider): Promise<void> {
  const row = await tx.one<{ secretId: string | null }>(sql`
    delete from auth.oauth_configs where provider = ${provider} returning secret_id as "secretId"`);
  if (!row) throw notConfigured(provider);
  await deleteClientSecret(tx, row.secretId);
}

export type OAuthCredentials = Partial<Record<OAuthProvider, { clientId: string; clientSecret: string }>>;

/** Configures the providers that the environment names and nobody has configured yet. */
export async function seedConfigs(tx: SystemTx, cipher: Cipher, credentials: OAuthCredentials): Promise<void> {
  for (const provider of OAUTH_PROVIDERS) {
    const given = credentials[provider];
    if (given && !(await findConfig(tx, cipher, provider))) await createConfig(tx, cipher, { provider, ...given });
  }
}
