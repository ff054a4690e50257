import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Db } from '#platform/db/db.ts';
import type { Listener } from '#platform/db/listener.ts';
import { sql } from '#platform/db/sql.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { readSecrets, writeReservedSecret } from '#platform/secrets/secrets.ts';

/** The two opaque keys: one for admins' programs, one that names an app without a user. */
export const ACCESS_KEYS = {
  api: { secret: 'API_KEY', prefix: 'ik_' },
  anon: { secret: 'ANON_KEY', prefix: 'anon_' },
} as const;

export type AccessKeyKind = keyof typeof ACCESS_KEYS;

export interface AccessKeys {
  /** True for the current key and for rotated ones within their grace. Compares in constant time. */
  verify(kind: AccessKeyKind, presented: string): Promise<boolean>;
  /** The current key in clear text. */
  current(kind: AccessKeyKind): Promise<string>;
  /** Replaces the key; the old one keeps working for `graceHours`, or stops at once with 0. */
  rotate(kind: AccessKeyKind, graceHours: number): Promise<{ key: string; oldKeyExpiresAt: Date }>;
}

/** Makes a new key of the kind: the prefix and 64 hex digits. */
export function makeAccessKey(kind: AccessKeyKind): string {
  return ACCESS_KEYS[kind].prefix + randomBytes(32).toString('hex');
}

interface KnownKey {
  value: string;
  hash: Buffer;
  expiresAt: number;
}

const CHANNEL = 'insforge_access_keys';
/** Any constant works, as long as every server of this kind uses the same. */
const ROTATION_LOCK = 7_130_003;
/** A missed notification must not keep a revoked key alive for longer than this. */
const MAX_AGE_MS = 60_000;
/** A wrong key makes the server look whether it is a new one, but not more often than this. */
const MISS_INTERVAL_MS = 1_000;

const hash = (key: string) => createHash('sha256').update(key).digest();

/** Keeps the keys in memory; a rotation on any replica is announced to all. */
export function createAccessKeys(db: Db, cipher: Cipher, listener: Listener): AccessKeys {
  const known: Record<AccessKeyKind, KnownKey[]> = { api: [], anon: [] };
  let loadedAt = 0;
  let loading: Promise<void> | undefined;
  let announcements = 0;

  const load = async () => {
    const heard = announcements;
    const secrets = await readSecrets(db.system, cipher, [ACCESS_KEYS.api.secret, ACCESS_KEYS.anon.secret]);
    for (const kind of ['api', 'anon'] as const) {
      const { secret } = ACCESS_KEYS[kind];
      known[kind] = secrets
        .filter(({ key }) => key === secret || key.startsWith(`${secret}_OLD_`))
        .sort((a, b) => a.key.length - b.key.length)
        .map(({ value, expiresAt }) => ({ value, hash: hash(value), expiresAt: expiresAt?.getTime() ?? Infinity }));
    }
    // What was rotated while this was being read may be missing.
    loadedAt = heard === announcements ? Date.now() : 0;
  };
  const reload = async (): Promise<void> => {
    loading ??= load().finally(() => (loading = undefined));
    await loading;
    if (loadedAt === 0) await reload();
  };
  const forget = () => {
    announcements++;
    loadedAt = 0;
  };
  const matches = (kind: AccessKeyKind, presented: Buffer) =>
    known[kind].filter((key) => key.expiresAt > Date.now() && timingSafeEqual(key.hash, presented)).length > 0;

  listener.on(CHANNEL, forget);

  return {
    async verify(kind, presented) {
      const presentedHash = hash(presented);
      if (Date.now() - loadedAt > MAX_AGE_MS) await reload();
      if (matches(kind, presentedHash)) return true;
      if (Date.now() - loadedAt < MISS_INTERVAL_MS) return false;
      await reload();
      return matches(kind, presentedHash);
    },

    async current(kind) {
      await reload();
      const [key] = known[kind];
      if (!key) throw new Error(`there is no active ${kind} key`);
      return key.value;
    },

    async rotate(kind, graceHours) {
      const { secret } = ACCESS_KEYS[kind];
      const key = makeAccessKey(kind);
      const oldKeyExpiresAt = new Date(Date.now() + graceHours * 3_600_000);
      await db.system.tx(async (tx) => {
        // Of two rotations at once, the second must see, and keep alive, the key that the first one made.
        await tx.query(sql`select pg_advisory_xact_lock(${ROTATION_LOCK})`);
        await tx.query(sql`
          update system.secrets
          set key = ${`${secret}_OLD_${Date.now()}`}, expires_at = ${oldKeyExpiresAt}, is_active = ${graceHours > 0}
          where key = ${secret}`);
        await writeReservedSecret(tx, cipher, secret, key);
        await tx.query(sql`select pg_notify(${CHANNEL}, ${kind})`);
      });
      forget();
      await reload();
      return { key, oldKeyExpiresAt };
    },
  };
}
