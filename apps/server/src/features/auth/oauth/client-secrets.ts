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

/** Replaces the value of a client secret. */
export async function replaceClientSecret(tx: SystemTx, cipher: Cipher, id: string, value: string): Promise<void> {
  await tx.query(sql`update system.secrets set value_ciphertext = ${cipher.encrypt(value)} where id = ${id}`);
}

/** To be called after the configuration is gone, which refers to it. */
export async function deleteClientSecret(tx: SystemTx, id: string | null): Promise<void> {
  if (id) await tx.query(sql`delete from system.secrets where id = ${id} and is_reserved`);
}

/**
 * The ciphertext of the client secret of a configuration under the alias c. Admins may write to the tables of
 * configurations in SQL; pointing one of them at another secret must not bring that to light.
 */
export const SECRET_CIPHERTEXT: Sql = sql`(
  select s.value_ciphertext from system.secrets s where s.id = c.secret_id and right(s.key, 14) = '_CLIENT_SECRET'
) as ciphertext`;
