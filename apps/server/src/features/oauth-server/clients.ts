import { randomBytes } from 'node:crypto';
import {
  type CreateOAuthClient,
  isHttps,
  type OAuthClient,
  type UpdateOAuthClient,
} from '@insforge/contract/oauth-server.ts';
import type { AdapterPayload } from 'oidc-provider';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';

type Tx = Pick<SystemTx, 'query' | 'one'>;

type Metadata = Partial<AdapterPayload>;

interface ClientRow {
  id: string;
  name: string;
  secret: string | null;
  metadata: Metadata;
  isDynamic: boolean;
  createdAt: Date;
  updatedAt: Date;
}

const CLIENT = sql`
  id, name, secret_ciphertext as secret, metadata, is_dynamic as "isDynamic", created_at as "createdAt",
  updated_at as "updatedAt"`;

const CLIENT_ID = /^clf_[\w-]{16,64}$/;
export const makeClientId = () => `clf_${randomBytes(18).toString('base64url')}`;
export const makeClientSecret = () => randomBytes(32).toString('base64url');

function toClient({ id, name, metadata, isDynamic, createdAt, updatedAt }: ClientRow): OAuthClient {
  return {
    clientId: id,
    name,
    redirectUris: [...(metadata.redirect_uris ?? [])],
    scopes: (metadata.scope ?? '').split(' ').filter(Boolean),
    homepageUrl: metadata.client_uri ?? null,
    isPublic: metadata.token_endpoint_auth_method === 'none',
    isDynamic,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
  };
}

/**
 * Native programs may have addresses of their own scheme, and any port of this machine (RFC 8252, section 7); the
 * protocol wants to know which kind it is.
 */
export const kindOf = (redirectUris: readonly string[]) => (redirectUris.every(isHttps) ? 'web' : 'native');

export async function listClients(tx: Tx): Promise<OAuthClient[]> {
  const rows = await tx.query<ClientRow>(sql`select ${CLIENT} from auth.oauth_clients order by created_at desc, id`);
  return rows.map(toClient);
}

/** @throws AppError NOT_FOUND */
export async function readClient(tx: Tx, id: string): Promise<OAuthClient> {
  const row = await tx.one<ClientRow>(sql`select ${CLIENT} from auth.oauth_clients where id = ${id}`);
  if (!row) throw unknownClient(id);
  return toClient(row);
}

/** Registers a program. The secret is given away this once. */
export async function createClient(
  tx: Tx,
  cipher: Cipher,
  { name, redirectUris, scopes, homepageUrl, isPublic, authMethod }: CreateOAuthClient,
): Promise<OAuthClient & { clientSecret?: string }> {
  const secret = isPublic ? undefined : makeClientSecret();
  const metadata: Metadata = {
    redirect_uris: redirectUris,
    scope: scopes.join(' '),
    application_type: kindOf(redirectUris),
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: isPublic ? 'none' : authMethod,
    ...(homepageUrl === null ? {} : { client_uri: homepageUrl }),
  };
  const row = await tx.one<ClientRow>(sql`
    insert into auth.oauth_clients (id, name, secret_ciphertext, metadata)
    values (${makeClientId()}, ${name}, ${secret === undefined ? null : cipher.encrypt(secret)},
      ${JSON.stringify(metadata)}::jsonb)
    returning ${CLIENT}`);
  if (!row) throw new Error('the client was not stored');
  return { ...toClient(row), ...(secret === undefined ? {} : { clientSecret: secret }) };
}

/** Changes what the update names. @throws AppError NOT_FOUND */
export async function updateClient(
  tx: Tx,
  id: string,
  { name, redirectUris, scopes, homepageUrl }: UpdateOAuthClient,
): Promise<OAuthClient> {
  const changes: Metadata = {
    ...(redirectUris ? { redirect_uris: redirectUris, application_type: kindOf(redirectUris) } : {}),
    ...(scopes ? { scope: scopes.join(' ') } : {}),
    ...(homepageUrl ? { client_uri: homepageUrl } : {}),
  };
  const base = homepageUrl === null ? sql`metadata - 'client_uri'` : sql`metadata`;
  const row = await tx.one<ClientRow>(sql`
    update auth.oauth_clients
    set name = coalesce(${name ?? null}::text, name), metadata = ${base} || ${JSON.stringify(changes)}::jsonb
    where id = ${id} returning ${CLIENT}`);
  if (!row) throw unknownClient(id);
  return toClient(row);
}

/** Replaces the secret at once. @throws AppError NOT_FOUND, INVALID_INPUT */
export async function rotateClientSecret(tx: Tx, cipher: Cipher, id: string): Promise<string> {
  const { isPublic } = await readClient(tx, id);
  if (isPublic) throw new AppError('INVALID_INPUT', 'A public client has no secret');
  const secret = makeClientSecret();
  await tx.query(sql`update auth.oauth_clients set secret_ciphertext = ${cipher.encrypt(secret)} where id = ${id}`);
  return secret;
}

/** Deletes a program, with all that users granted to it. @throws AppError NOT_FOUND */
export async function deleteClient(tx: Tx, id: string): Promise<void> {
  const deleted = await tx.one(sql`delete from auth.oauth_clients where id = ${id} returning 1`);
  if (!deleted) throw unknownClient(id);
}

/** A program as the protocol knows it, secret included. */
export async function findClientMetadata(tx: Tx, cipher: Cipher, id: string): Promise<AdapterPayload | undefined> {
  // PostgreSQL takes not every text.
  if (!CLIENT_ID.test(id)) return undefined;
  const row = await tx.one<ClientRow>(sql`select ${CLIENT} from auth.oauth_clients where id = ${id}`);
  if (!row) return undefined;
  const { name, secret, metadata } = row;
  const clientSecret = secret === null ? {} : { client_secret: cipher.decrypt(secret) };
  return { ...metadata, ...clientSecret, client_id: id, client_name: name };
}

/** What turns the text around that a name stands in, or breaks it. */
const UNRULY = /[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu;

/** Stores a program that registered itself. */
export async function storeDynamicClient(
  tx: Tx,
  cipher: Cipher,
  { client_id: id, client_secret: secret, client_name: name, ...metadata }: AdapterPayload,
): Promise<void> {
  const shown = String(name ?? '')
    .replace(UNRULY, '')
    .trim()
    .slice(0, 100);
  await tx.query(sql`
    insert into auth.oauth_clients (id, name, secret_ciphertext, metadata, is_dynamic)
    values (${id}, ${shown || 'A program without a name'},
      ${typeof secret === 'string' ? cipher.encrypt(secret) : null}, ${JSON.stringify(metadata)}::jsonb, true)
    on conflict (id) do nothing`);
}

const unknownClient = (id: string) =>
  new AppError('NOT_FOUND', `There is no OAuth client ${id}`, {
    nextActions: 'List them with GET /api/oauth/v1/clients.',
  });
