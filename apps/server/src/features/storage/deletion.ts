import { sql } from '#platform/db/sql.ts';
import { type ExpectedVersion, isExpected } from './expectations.ts';
import { isStorable } from './keys.ts';
import { type Actor, asActor, named, type Storage } from './storage.ts';

/**
 * Deletes those of the keys that the actor may delete.
 * @returns the keys that were deleted; the others are missing or hidden
 */
export async function deleteObjects(
  storage: Storage,
  actor: Actor,
  bucket: string,
  keys: readonly string[],
): Promise<string[]> {
  const rows = await asActor(storage, actor, `delete from bucket "${bucket}"`, (tx) =>
    tx.query<{ key: string }>(sql`
      delete from storage.objects where bucket = ${bucket} and key = any(${keys.filter(isStorable)}) returning key`),
  );
  storage.collectGarbage();
  return rows.map(({ key }) => key);
}

/**
 * Deletes an object where it is still what is expected; the database decides both in one step.
 * @returns what was found
 */
export async function deleteVersion(
  storage: Storage,
  actor: Actor,
  { bucket, key, expected }: { bucket: string; key: string; expected: ExpectedVersion },
): Promise<'expected' | 'another' | 'nothing'> {
  if (!isStorable(key)) return 'nothing';
  const [found] = await asActor(storage, actor, `delete ${named(bucket, key)}`, (tx) =>
    tx.query<{ wasDeleted: boolean; wasThere: boolean }>(sql`
      with deleted as (
        delete from storage.objects found where ${isExpected(bucket, key, expected)} returning 1)
      select exists (select from deleted) as "wasDeleted",
        exists (select from storage.objects where bucket = ${bucket} and key = ${key}) as "wasThere"`),
  );
  if (!found?.wasDeleted) return found?.wasThere ? 'another' : 'nothing';
  storage.collectGarbage();
  return 'expected';
}
