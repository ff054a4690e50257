import type { Blobs } from '#platform/blobs/blobs.ts';
import { type Statement, type TextRow, toStatement } from '#platform/db/batch.ts';
import type { Claims, Db, SystemTx } from '#platform/db/db.ts';
import type { RowWrite } from '#platform/db/groups.ts';
import { Sql } from '#platform/db/sql.ts';
import { AppError, isDatabaseError, wasUndone } from '#platform/errors.ts';
import type { BucketCache } from './bucket-cache.ts';

/** What every function on files works with. */
export interface Storage {
  readonly db: Db;
  readonly blobs: Blobs;
  readonly buckets: BucketCache;
  /** Has the blobs deleted that no row points at any more. Returns at once. */
  collectGarbage(): void;
}

/** A transaction of either door. Which one it is decides what the database lets it do. */
export type StorageTx = Pick<SystemTx, 'query' | 'one'>;

/** Who acts on files, and by which way in. */
export interface Actor {
  /** `project_admin` acts as the platform; everybody else under row level security. */
  readonly claims: Claims;
  readonly via: 'rest' | 's3' | 'dashboard';
  /** Of an S3 client. */
  readonly accessKeyId?: string;
}

/** An object in a message. */
export const named = (bucket: string, key: string) => `"${key}" in bucket "${bucket}"`;

export function isAdmin({ claims }: Actor): boolean {
  return claims.role === 'project_admin';
}

/** What `uploaded_by` says of this actor's files. */
export function uploaderOf(actor: Actor): string | null {
  return isAdmin(actor) ? null : (actor.claims.sub ?? null);
}

/**
 * A transaction with the rights of the actor.
 * @param deed what is being done, for the message of a refusal: `write "a.txt" in bucket "photos"`
 * @throws AppError STORAGE_PERMISSION_DENIED when the policies refuse it
 */
export async function asActor<Result>(
  { db }: Storage,
  actor: Actor,
  deed: string,
  work: (tx: StorageTx) => Promise<Result>,
): Promise<Result> {
  if (isAdmin(actor)) return db.system.tx(work);
  return db.as(actor.claims).tx(work).catch(explainDenial(actor, deed));
}

/**
 * One statement that reads with the rights of the actor, in one round trip. Values travel as text and come back as text.
 * @throws as `asActor`
 */
export async function readAsActor({ db }: Storage, actor: Actor, deed: string, sql: Sql): Promise<TextRow[]> {
  const statement: Statement = { ...toStatement(sql), kind: 'read' };
  if (isAdmin(actor)) return db.system.text(statement);
  return db.as(actor.claims).text(statement).catch(explainDenial(actor, deed));
}

/** A row of `storage.objects`, written with the rights of the actor; undefined where the statement did not write it. */
export async function writeAsActor(
  { db }: Storage,
  actor: Actor,
  { bucket, key }: { bucket: string; key: string },
  write: RowWrite | Sql,
): Promise<TextRow | undefined> {
  const door = isAdmin(actor) ? db.system : db.as(actor.claims);
  const written = write instanceof Sql ? door.text(toStatement(write)).then(([row]) => row) : door.grouped(write);
  return written.catch(explainDenial(actor, `write ${named(bucket, key)}`));
}

/** For `catch`: says in the words of storage that the policies refuse something. */
export function explainDenial(actor: Actor, deed: string): (error: unknown) => never {
  return (error) => {
    throw isDenied(error) ? permissionDenied(actor, deed, error) : error;
  };
}

const INSUFFICIENT_PRIVILEGE = '42501';

export function isDenied(error: unknown): boolean {
  return isDatabaseError(error) && error.code === INSUFFICIENT_PRIVILEGE;
}

export function permissionDenied({ claims }: Actor, deed: string, cause?: unknown): AppError {
  return new AppError('STORAGE_PERMISSION_DENIED', `You do not have permission to ${deed}`, {
    cause,
    nextActions:
      claims.role === 'anon'
        ? 'Sign in: only signed-in users reach files by other ways than a public URL.'
        : 'An admin can open the bucket: PUT /api/storage/buckets/{bucket}/policies {"preset":"owner-only"}, or a policy on storage.objects.',
  });
}

/**
 * True when a failed transaction is known not to have been committed. When the connection broke during the
 * commit nobody knows, and the bytes that its row may point at must stay.
 */
export function isRolledBack(error: unknown): boolean {
  return error instanceof AppError || wasUndone(error);
}
