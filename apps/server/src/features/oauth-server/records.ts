import { createHash } from 'node:crypto';
import type { AdapterPayload } from 'oidc-provider';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';

const SWEPT_AT_A_TIME = 50;

type Tx = Pick<SystemTx, 'query' | 'one'>;

interface RecordRow {
  payload: string;
  consumedAt: Date | null;
}

/** Ids of tokens, codes and browser sessions are credentials. */
const hash = (id: string) => createHash('sha256').update(id).digest('hex');

const RECORD = sql`payload_ciphertext as payload, consumed_at as "consumedAt"`;
const LIVE = sql`(expires_at is null or expires_at > now())`;

/** What counts only as long as the grant that it comes from. */
const OF_A_GRANT = new Set(['AuthorizationCode', 'AccessToken', 'RefreshToken']);

/**
 * Stores what the provider remembers under a name of its own choice, and sweeps some that has expired. Nothing comes
 * of a grant that was ended meanwhile.
 */
export async function storeRecord(
  tx: Tx,
  cipher: Cipher,
  record: { model: string; id: string; payload: AdapterPayload; seconds: number | undefined },
): Promise<void> {
  const { model, id, payload, seconds = null } = record;
  const { clientId = null, grantId = null, uid = null } = payload;
  // A sign-in under way has it only in its result.
  const { login } = (payload.result ?? {}) as { login?: { accountId?: string } };
  const accountId = payload.accountId ?? login?.accountId ?? null;
  const grant = OF_A_GRANT.has(model)
    ? sql`from auth.oauth_records where model = 'Grant' and id_hash = ${hash(String(grantId))} for key share`
    : sql``;
  await tx.query(sql`
    with expired as (
      select model, id_hash from auth.oauth_records where expires_at <= now()
      limit ${SWEPT_AT_A_TIME} for update skip locked
    ), swept as (
      delete from auth.oauth_records r using expired
      where r.model = expired.model and r.id_hash = expired.id_hash and r.id_hash <> ${hash(id)}
    )
    insert into auth.oauth_records (model, id_hash, payload_ciphertext, user_id, client_id, grant_id, uid, expires_at)
    select ${model}, ${hash(id)}, ${cipher.encrypt(JSON.stringify(payload))}, ${accountId}::uuid, ${clientId},
      ${grantId}, ${uid}, now() + make_interval(secs => ${seconds}::float8)
    ${grant}
    on conflict (model, id_hash) do update set payload_ciphertext = excluded.payload_ciphertext,
      user_id = excluded.user_id, client_id = excluded.client_id, grant_id = excluded.grant_id, uid = excluded.uid,
      expires_at = excluded.expires_at`);
}

export async function findRecord(
  tx: Tx,
  cipher: Cipher,
  model: string,
  key: { id: string } | { uid: string },
): Promise<AdapterPayload | undefined> {
  const which = 'id' in key ? sql`id_hash = ${hash(key.id)}` : sql`uid = ${key.uid}`;
  const row = await tx.one<RecordRow>(sql`
    select ${RECORD} from auth.oauth_records where model = ${model} and ${which} and ${LIVE}`);
  if (!row) return undefined;
  const payload: AdapterPayload = JSON.parse(cipher.decrypt(row.payload));
  return row.consumedAt ? { ...payload, consumed: Math.floor(row.consumedAt.getTime() / 1000) } : payload;
}

/**
 * Marks a code or a refresh token as used. A second use ends all that came of it; the provider sees to those that it
 * notices, and this to those that come at the same time as the first.
 * @returns false where somebody else was faster
 */
export async function consumeRecord(tx: Tx, model: string, id: string): Promise<boolean> {
  const used = await tx.one(sql`
    update auth.oauth_records set consumed_at = now()
    where model = ${model} and id_hash = ${hash(id)} and consumed_at is null returning 1`);
  if (used) return true;
  const row = await tx.one<{ grantId: string }>(sql`
    select grant_id as "grantId" from auth.oauth_records where model = ${model} and id_hash = ${hash(id)}`);
  if (row) await endGrant(tx, row.grantId);
  return false;
}

export async function deleteRecord(tx: Tx, model: string, id: string): Promise<void> {
  await tx.query(sql`delete from auth.oauth_records where model = ${model} and id_hash = ${hash(id)}`);
}

/** Ends a grant, with all that came of it. */
export async function endGrant(tx: Tx, grantId: string): Promise<void> {
  // In this order: the first waits for what is being stored under the grant, so that the second finds it.
  await deleteRecord(tx, 'Grant', grantId);
  await tx.query(sql`delete from auth.oauth_records where grant_id = ${grantId}`);
}

/** True while the token has not expired, and neither it nor the grant it came from was withdrawn. */
export async function isTokenLive(tx: Tx, tokenId: string): Promise<boolean> {
  const row = await tx.one(sql`
    select from auth.oauth_records where model = 'AccessToken' and id_hash = ${hash(tokenId)} and ${LIVE}`);
  return row !== undefined;
}

/** The id of what a user last granted to a program. */
export async function findGrantId(
  tx: Tx,
  cipher: Cipher,
  { userId, clientId }: { userId: string; clientId: string },
): Promise<string | undefined> {
  const row = await tx.one<RecordRow>(sql`
    select ${RECORD} from auth.oauth_records
    where model = 'Grant' and user_id = ${userId} and client_id = ${clientId} and ${LIVE}
    order by created_at desc limit 1`);
  const payload: AdapterPayload | undefined = row && JSON.parse(cipher.decrypt(row.payload));
  return payload?.jti;
}

/** Forgets what a user granted to a program in other browsers, where no token of it is left. */
export async function forgetSpentGrants(
  tx: Tx,
  { userId, clientId, keptIds }: { userId: string; clientId: string; keptIds: readonly string[] },
): Promise<void> {
  // An hour: a sign-in under way has no token yet.
  await tx.query(sql`
    delete from auth.oauth_records g
    where model = 'Grant' and user_id = ${userId} and client_id = ${clientId}
      and created_at < now() - interval '1 hour' and id_hash <> all(${keptIds.map(hash)}::text[])
      and id_hash not in (
        select encode(sha256(convert_to(grant_id, 'UTF8')), 'hex') from auth.oauth_records
        where user_id = ${userId} and client_id = ${clientId} and grant_id is not null and ${LIVE})`);
}

/** The programs that a user let in, the latest first. */
export async function listGrants(
  tx: Tx,
  userId: string,
): Promise<{ clientId: string; clientName: string; grantedAt: string }[]> {
  const rows = await tx.query<{ clientId: string; clientName: string; grantedAt: Date }>(sql`
    select c.id as "clientId", c.name as "clientName", min(r.created_at) as "grantedAt"
    from auth.oauth_records r join auth.oauth_clients c on c.id = r.client_id
    where r.model = 'Grant' and r.user_id = ${userId} and ${LIVE}
    group by c.id, c.name order by min(r.created_at) desc, c.id`);
  return rows.map((row) => ({ ...row, grantedAt: row.grantedAt.toISOString() }));
}

/** Takes back all that a user granted to a program: the grants, and the codes and tokens that came of them. */
export async function withdrawGrants(tx: Tx, userId: string, clientId: string): Promise<boolean> {
  // In this order, as in `endGrant`.
  const grants = await tx.query(sql`
    delete from auth.oauth_records
    where user_id = ${userId} and client_id = ${clientId} and model = 'Grant' returning 1`);
  const rest = await tx.query(sql`
    delete from auth.oauth_records
    where user_id = ${userId} and client_id = ${clientId} and model <> 'Session' returning 1`);
  return grants.length + rest.length > 0;
}
