import { type KeyObject, randomBytes, randomInt } from 'node:crypto';
import type { S3AccessKey, S3AccessKeyWithSecret } from '@insforge/contract/s3.ts';
import type { Db, SystemTx } from '#platform/db/db.ts';
import type { Listener } from '#platform/db/listener.ts';
import { type Sql, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import type { Signature } from './signature.ts';
import { signingKey } from './sigv4.ts';

const MAX_KEYS = 50;
/** Any constant works, as long as every server of this kind uses the same. */
const KEYS_LOCK = 7_130_150;
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';

type Row = Omit<S3AccessKey, 'createdAt' | 'lastUsedAt'> & { createdAt: Date; lastUsedAt: Date | null };

const COLUMNS: Sql = sql`
  id, access_key_id as "accessKeyId", description, created_at as "createdAt", last_used_at as "lastUsedAt"`;

const toKey = (row: Row): S3AccessKey => ({
  ...row,
  createdAt: row.createdAt.toISOString(),
  lastUsedAt: row.lastUsedAt?.toISOString() ?? null,
});

/** All keys, the newest first, without their secrets. */
export async function listAccessKeys(tx: Pick<SystemTx, 'query'>): Promise<S3AccessKey[]> {
  const rows = await tx.query<Row>(sql`
    select ${COLUMNS} from storage.s3_access_keys order by created_at desc, id`);
  return rows.map(toKey);
}

/**
 * Makes a key. Its secret is in the answer and nowhere else in clear text.
 * @throws AppError S3_ACCESS_KEY_LIMIT_EXCEEDED
 */
export async function createAccessKey(
  tx: SystemTx,
  cipher: Cipher,
  description: string | null,
): Promise<S3AccessKeyWithSecret> {
  // Else two requests at once could both be the fiftieth.
  await tx.query(sql`select pg_advisory_xact_lock(${KEYS_LOCK})`);
  const count = await tx.one<{ keys: number }>(sql`select count(*)::int as keys from storage.s3_access_keys`);
  if ((count?.keys ?? 0) >= MAX_KEYS) {
    throw new AppError('S3_ACCESS_KEY_LIMIT_EXCEEDED', `There are ${MAX_KEYS} S3 access keys, which is the limit`);
  }
  const accessKeyId = `INSF${Array.from({ length: 16 }, () => ALPHABET[randomInt(ALPHABET.length)]).join('')}`;
  const secretAccessKey = randomBytes(30).toString('base64url');
  const row = await tx.one<Row>(sql`
    insert into storage.s3_access_keys (access_key_id, secret_access_key_encrypted, description)
    values (${accessKeyId}, ${cipher.encrypt(secretAccessKey)}, ${description}) returning ${COLUMNS}`);
  if (!row) throw new Error('an insert returned no row');
  return { ...toKey(row), secretAccessKey };
}

/**
 * Revokes a key.
 * @throws AppError S3_ACCESS_KEY_NOT_FOUND
 */
export async function deleteAccessKey(tx: Pick<SystemTx, 'one'>, id: string): Promise<{ accessKeyId: string }> {
  const row = await tx.one<{ accessKeyId: string }>(sql`
    delete from storage.s3_access_keys where id = ${id} returning access_key_id as "accessKeyId"`);
  if (!row) throw new AppError('S3_ACCESS_KEY_NOT_FOUND', 'There is no S3 access key of this id');
  return row;
}

type Scope = Pick<Signature, 'accessKeyId' | 'date' | 'region' | 'service'>;

/** The secrets of the keys, for verifying signatures. */
export interface AccessKeyRing {
  /** What the holder of a key signs with in a scope; undefined where there is no such key, or none any more. */
  signingKeyOf(scope: Scope): Promise<KeyObject | undefined>;
  /** Notes that a request was signed with the key. Returns at once. */
  touch(accessKeyId: string): void;
  /** To be called when a key was made or revoked by this server. Others hear of it from the database. */
  forget(): void;
  close(): Promise<void>;
}

const CHANNEL = 'insforge_s3_access_keys';
/** A missed notification must not keep a revoked key alive for longer than this. */
const MAX_AGE_MS = 15_000;
/** An unknown key makes the server look whether it is a new one, but not more often than this. */
const MISS_INTERVAL_MS = 1_000;
const MAX_SIGNING_KEYS = 200;
/** `last_used_at` is good to know, but not worth a write for every request. */
const TOUCH_INTERVAL_MS = 60_000;

/** Keeps the keys, fifty at most, in memory. */
export function createAccessKeyRing(db: Db, cipher: Cipher, listener: Listener): AccessKeyRing {
  let secrets: ReadonlyMap<string, string> = new Map();
  let signingKeys = new Map<string, KeyObject>();
  let loadedAt = 0;
  let loading: Promise<void> | undefined;
  let announcements = 0;
  const touchedAt = new Map<string, number>();
  const touching = new Set<Promise<void>>();

  const load = async () => {
    const heard = announcements;
    const rows = await db.system.query<{ id: string; secret: string }>(sql`
      select access_key_id as id, secret_access_key_encrypted as secret from storage.s3_access_keys`);
    secrets = new Map(rows.map(({ id, secret }) => [id, cipher.decrypt(secret)]));
    signingKeys = new Map();
    // What was revoked while this was being read may still be in it.
    loadedAt = heard === announcements ? Date.now() : 0;
  };
  const reload = async (): Promise<void> => {
    loading ??= load().finally(() => {
      loading = undefined;
    });
    await loading;
    if (loadedAt === 0) await reload();
  };
  const forget = () => {
    announcements++;
    loadedAt = 0;
  };
  listener.on(CHANNEL, forget);

  /** Four HMACs make it, and every request of a day needs the same one. */
  const derive = (scope: Scope): KeyObject | undefined => {
    const secret = secrets.get(scope.accessKeyId);
    if (secret === undefined) return undefined;
    const name = [scope.accessKeyId, scope.date, scope.region].join('/');
    const key = signingKeys.get(name) ?? signingKey(secret, scope);
    // Who signs decides on the scope, so there could be any number of them.
    if (signingKeys.size >= MAX_SIGNING_KEYS) signingKeys.clear();
    signingKeys.set(name, key);
    return key;
  };

  return {
    forget,
    async signingKeyOf(scope) {
      if (Date.now() - loadedAt > MAX_AGE_MS) await reload();
      const key = derive(scope);
      if (key !== undefined || Date.now() - loadedAt < MISS_INTERVAL_MS) return key;
      await reload();
      return derive(scope);
    },
    touch(accessKeyId) {
      const now = Date.now();
      if (now - (touchedAt.get(accessKeyId) ?? 0) < TOUCH_INTERVAL_MS) return;
      touchedAt.set(accessKeyId, now);
      const touched: Promise<void> = db.system
        .query(sql`update storage.s3_access_keys set last_used_at = now() where access_key_id = ${accessKeyId}`)
        .then(
          () => {},
          () => void touchedAt.delete(accessKeyId),
        )
        .finally(() => touching.delete(touched));
      touching.add(touched);
    },
    async close() {
      await Promise.all(touching);
    },
  };
}
