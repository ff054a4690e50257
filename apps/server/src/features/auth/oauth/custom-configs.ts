import {
  type CreateCustomOAuthConfig,
  type CustomOAuthConfig,
  OAUTH_PROVIDERS,
  type ProfileMapping,
  ProfileMappingSchema,
  type UpdateCustomOAuthConfig,
} from '@insforge/contract/oauth.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { deleteClientSecret, replaceClientSecret, SECRET_CIPHERTEXT, storeClientSecret } from './client-secrets.ts';
import { checkCompleteness } from './endpoints.ts';

type StoredCustomConfig = Omit<CustomOAuthConfig, 'callbackUrl'>;
type Row = Omit<StoredCustomConfig, 'createdAt' | 'updatedAt' | 'profile'> & {
  createdAt: Date;
  updatedAt: Date;
  profile: unknown;
};

/** Setting -> column of auth.custom_oauth_configs. */
const COLUMNS = {
  name: 'name',
  clientId: 'client_id',
  discoveryEndpoint: 'discovery_endpoint',
  authorizeUrl: 'authorize_url',
  tokenUrl: 'token_url',
  userinfoUrl: 'userinfo_url',
  scopes: 'scopes',
  profile: 'profile',
  trustEmail: 'trust_email',
} as const satisfies Partial<Record<keyof UpdateCustomOAuthConfig, string>>;

/** Of auth.custom_oauth_configs under the alias c. */
const CONFIG = sql.join([
  ...Object.entries(COLUMNS).map(([setting, column]) => sql`c.${sql.id(column)} as ${sql.id(setting)}`),
  sql`c.id, c.key, c.created_at as "createdAt", c.updated_at as "updatedAt"`,
]);

const toConfig = ({ createdAt, updatedAt, profile, ...row }: Row): StoredCustomConfig => ({
  ...row,
  profile: ProfileMappingSchema.nullable().catch(null).parse(profile),
  createdAt: createdAt.toISOString(),
  updatedAt: updatedAt.toISOString(),
});

const unknownProvider = (key: string) =>
  new AppError('AUTH_OAUTH_CONFIG_NOT_FOUND', `There is no custom provider ${key}`, {
    nextActions: 'An admin adds it with POST /api/auth/oauth/custom/configs.',
  });

const secretKeyOf = (key: string) => `CUSTOM_OAUTH_${key}_CLIENT_SECRET`;

export async function listCustomConfigs(tx: Pick<SystemTx, 'query'>): Promise<StoredCustomConfig[]> {
  return (await tx.query<Row>(sql`select ${CONFIG} from auth.custom_oauth_configs c order by c.key`)).map(toConfig);
}

/** A configuration with its secret. @throws AppError AUTH_OAUTH_CONFIG_NOT_FOUND */
export async function readCustomConfig(
  tx: Pick<SystemTx, 'one'>,
  cipher: Cipher,
  key: string,
): Promise<StoredCustomConfig & { clientSecret: string | null }> {
  const row = await tx.one<Row & { ciphertext: string | null }>(sql`
    select ${CONFIG}, ${SECRET_CIPHERTEXT} from auth.custom_oauth_configs c where c.key = ${key}`);
  if (!row) throw unknownProvider(key);
  const { ciphertext, ...config } = row;
  return { ...toConfig(config), clientSecret: ciphertext && cipher.decrypt(ciphertext) };
}

/** Identities are stored under these names, so that nobody else may go by them. */
const TAKEN_KEYS = new Set<string>([...OAUTH_PROVIDERS, 'email', 'configs']);

/** @throws AppError INVALID_INPUT, AUTH_OAUTH_CONFIG_ALREADY_EXISTS */
export async function createCustomConfig(
  tx: SystemTx,
  cipher: Cipher,
  create: CreateCustomOAuthConfig,
): Promise<StoredCustomConfig> {
  const { key, name, clientId, clientSecret } = create;
  if (TAKEN_KEYS.has(key)) {
    throw new AppError('INVALID_INPUT', `key: ${key} is the name of something else`, {
      nextActions: `Choose another key, such as my-${key}. Known providers are configured with POST /api/auth/oauth/configs.`,
    });
  }
  checkCompleteness(create);
  const { discoveryEndpoint, authorizeUrl, tokenUrl, userinfoUrl, scopes, profile, trustEmail = false } = create;
  const isTaken = await tx.one(sql`select from auth.custom_oauth_configs where key = ${key}`);
  const secretId = isTaken ? undefined : await storeClientSecret(tx, cipher, secretKeyOf(key), clientSecret);
  const row =
    secretId &&
    (await tx.one<Row>(sql`
      insert into auth.custom_oauth_configs as c (key, name, client_id, secret_id, discovery_endpoint,
        authorize_url, token_url, userinfo_url, scopes, profile, trust_email)
      values (${key}, ${name}, ${clientId}, ${secretId}, ${discoveryEndpoint},
        ${authorizeUrl}, ${tokenUrl}, ${userinfoUrl}, ${scopes}, ${asJson(profile)}::jsonb, ${trustEmail})
      on conflict (key) do nothing
      returning ${CONFIG}`));
  if (row) return toConfig(row);
  throw new AppError('AUTH_OAUTH_CONFIG_ALREADY_EXISTS', `There is a custom provider ${key} already`, {
    nextActions: `Change it with PUT /api/auth/oauth/custom/${key}/config.`,
  });
}

/** Changes what `update` names; null takes a setting away. @throws AppError AUTH_OAUTH_CONFIG_NOT_FOUND, INVALID_INPUT */
export async function updateCustomConfig(
  tx: SystemTx,
  cipher: Cipher,
  key: string,
  { clientSecret, ...update }: UpdateCustomOAuthConfig,
): Promise<StoredCustomConfig> {
  const before = await readCustomConfig(tx, cipher, key);
  checkCompleteness({ ...before, ...update });
  const changes = Object.entries(COLUMNS)
    .map(([setting, column]) => ({ setting, column, value: update[setting as keyof typeof COLUMNS] }))
    .filter(({ value }) => value !== undefined)
    .map(({ setting, column, value }) =>
      setting === 'profile'
        ? sql`profile = ${asJson(value as ProfileMapping | null)}::jsonb`
        : sql`${sql.id(column)} = ${value}`,
    );
  const row = await tx.one<Row & { secretId: string }>(sql`
    update auth.custom_oauth_configs c set ${sql.join([...changes, sql`key = key`])}
    where key = ${key} returning ${CONFIG}, c.secret_id as "secretId"`);
  if (!row) throw unknownProvider(key);
  const { secretId, ...config } = row;
  if (clientSecret !== undefined) {
    const secret = { id: secretId, key: secretKeyOf(key), value: clientSecret };
    const id = await replaceClientSecret(tx, cipher, secret);
    await tx.query(sql`update auth.custom_oauth_configs set secret_id = ${id} where key = ${key}`);
  }
  return toConfig(config);
}

/** Users who came in this way keep their accounts. @throws AppError AUTH_OAUTH_CONFIG_NOT_FOUND */
export async function deleteCustomConfig(tx: SystemTx, key: string): Promise<void> {
  const row = await tx.one<{ secretId: string }>(sql`
    delete from auth.custom_oauth_configs where key = ${key} returning secret_id as "secretId"`);
  if (!row) throw unknownProvider(key);
  await deleteClientSecret(tx, row.secretId);
}

const asJson = (profile: ProfileMapping | null | undefined) => (profile ? JSON.stringify(profile) : null);
