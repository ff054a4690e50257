import type { SystemTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';

/**
 * Stores the client secret of a new configuration and returns its id. A developer may have a secret of the same
 * name for their functions; that one is not ours to change.
 */
export async function storeClientSecret(tx: SystemTx, cipher: Cipher, key: string, value: string): Promise<string> {
  for (const name of [key, `OAUTH_${key}`]) {
    const row = await tx.one<{ id: string }>(sql`
      insert into system.secrets as s (key, value_ciphertext, is_reserved)
      values (${name}, ${cipher.encrypt(value)}, true)
      on conflict (key) do update
      set value_ciphertext = excluded.value_ciphertext, is_active = true, expires_at = null
      where s.is_reserved
      returning id`);
    if (row) return row.id;
  }
  throw new Error(`the secret ${key} could not be stored`);
}

/**
 * Admins may write to the tables of configurations in SQL. One that they pointed at another secret of the platform
 * must neither bring that to light nor change it.
 */
const IS_CLIENT_SECRET = sql`is_reserved and right(key, 14) = '_CLIENT_SECRET'`;

/** Replaces a client secret and returns the id under which it is now. */
export async function replaceClientSecret(
  tx: SystemTx,
  cipher: Cipher,
  { id, key, value }: { id: string | null; key: string; value: string },
): Promise<string> {
  const replaced = await tx.one<{ id: string }>(sql`
    update system.secrets set value_ciphertext = ${cipher.encrypt(value)} where id = ${id} and ${IS_CLIENT_SECRET}
    returning id`);
  return replaced?.id ?? storeClientSecret(tx, cipher, key, value);
}

/** To be called after the configuration is gone, which refers to it. */
export async function deleteClientSecret(tx: SystemTx, id: string | null): Promise<void> {
  await tx.query(sql`delete from system.secrets where id = ${id} and ${IS_CLIENT_SECRET}`);
}

/** The ciphertext of the client secret of a configuration under the alias c. */
export const SECRET_CIPHERTEXT: Sql = sql`(
  select value_ciphertext from system.secrets where id = c.secret_id and ${IS_CLIENT_SECRET}
) as ciphertext`;
