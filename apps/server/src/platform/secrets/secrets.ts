import type { Db, SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { StartupError } from '#platform/errors.ts';
import type { Cipher } from './cipher.ts';

/** Any constant works, as long as every server of this kind uses the same. */
const SECRETS_LOCK = 7_130_002;

interface SecretRow {
  key: string;
  value_ciphertext: string;
  expires_at: Date | null;
}

/** A secret in clear text, and until when it counts. */
export interface Secret {
  key: string;
  value: string;
  expiresAt: Date | null;
}

/** Reads the active, unexpired secrets whose key is in `keys` or starts with one of them and `_OLD_`. */
export async function readSecrets(
  tx: Pick<SystemTx, 'query'>,
  cipher: Cipher,
  keys: readonly string[],
): Promise<Secret[]> {
  const rows = await tx.query<SecretRow>(sql`
    select key, value_ciphertext, expires_at from system.secrets
    where regexp_replace(key, '_OLD_[0-9]+$', '') = any(${keys})
      and is_active and (expires_at is null or expires_at > now())`);
  return rows.map((row) => ({ key: row.key, value: cipher.decrypt(row.value_ciphertext), expiresAt: row.expires_at }));
}

/** Stores a secret that belongs to the platform: users may read but not change it. */
export async function writeReservedSecret(tx: SystemTx, cipher: Cipher, key: string, value: string): Promise<void> {
  await tx.query(sql`
    insert into system.secrets (key, value_ciphertext, is_reserved) values (${key}, ${cipher.encrypt(value)}, true)
    on conflict (key) do update
    set value_ciphertext = excluded.value_ciphertext, is_active = true, is_reserved = true, expires_at = null`);
}

/**
 * Makes sure that the reserved secrets exist: what is stored stays, what is missing is made, and what the
 * environment gives replaces what is stored. Servers that start together take turns and agree.
 * @param wanted by key: the value from the environment, or how to make one
 * @throws StartupError when the stored secrets were encrypted with another key
 */
export async function ensureSecrets(
  db: Db,
  cipher: Cipher,
  wanted: Readonly<Record<string, { given?: string | undefined; make: () => string | Promise<string> }>>,
): Promise<Record<string, string>> {
  return db.system.tx(async (tx) => {
    await tx.query(sql`select pg_advisory_xact_lock(${SECRETS_LOCK})`);
    const keys = Object.keys(wanted);
    const rows = await tx.query<SecretRow>(sql`
      select key, value_ciphertext, expires_at from system.secrets where key = any(${keys}) and is_active`);
    const values: Record<string, string> = {};
    for (const { key, value_ciphertext } of rows) values[key] = decryptOrExplain(cipher, key, value_ciphertext);
    for (const [key, { given, make }] of Object.entries(wanted)) {
      const value = given ?? values[key] ?? (await make());
      if (value !== values[key]) await writeReservedSecret(tx, cipher, key, value);
      values[key] = value;
    }
    return values;
  });
}

function decryptOrExplain(cipher: Cipher, key: string, ciphertext: string): string {
  try {
    return cipher.decrypt(ciphertext);
  } catch (cause) {
    throw new StartupError(
      `The database holds secrets (${key}) that were encrypted with another key. Start with the ENCRYPTION_KEY (or, where none was set, the JWT_SECRET) that this database was first started with.`,
      { cause },
    );
  }
}
