import { type Sql, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

/** What must be under a key for a write to happen: nothing, anything, or one of these versions. */
export type Expected = 'nothing' | ExpectedVersion;

/** What must be under a key that is replaced or deleted: anything, or one of these versions. */
export type ExpectedVersion = 'anything' | { etags: readonly string[] };

/**
 * The condition of a write (https://www.rfc-editor.org/rfc/rfc9110#section-13.1). Undefined where there is none.
 * @throws AppError STORAGE_INVALID_PARAMETER for one that nobody checks here, since ignoring it could lose a file
 */
export function readExpected(ifMatch: string | undefined, ifNoneMatch: string | undefined): Expected | undefined {
  if (ifNoneMatch !== undefined && (ifNoneMatch.trim() !== '*' || ifMatch !== undefined)) {
    throw new AppError(
      'STORAGE_INVALID_PARAMETER',
      'Writes take If-None-Match: *, or If-Match, and no other condition',
    );
  }
  if (ifNoneMatch !== undefined) return 'nothing';
  return ifMatch === undefined ? undefined : readVersion(ifMatch);
}

/** What If-Match says. */
export function readVersion(ifMatch: string): ExpectedVersion {
  if (ifMatch.trim() === '*') return 'anything';
  // A weak tag, W/"…", is left as it is: If-Match compares strongly, so it matches nothing.
  const etags = ifMatch.split(',').map((etag) => etag.trim().replace(/^"(.*)"$/, '$1'));
  return { etags };
}

/**
 * The object that is expected, locked: whoever else wants to write or delete it waits, and is then met with what came
 * of this write. None where it is not there, or not of this version.
 */
export function lockExpected(bucket: string, key: string, expected: ExpectedVersion): Sql {
  return sql`
    (select 1 from storage.objects found where ${isExpected(bucket, key, expected)} for update of found)`;
}

/** True for the row `found` that is expected. */
export function isExpected(bucket: string, key: string, expected: ExpectedVersion): Sql {
  const isVersion =
    expected === 'anything'
      ? sql`true`
      : sql`found.etag in (select jsonb_array_elements_text(${JSON.stringify(expected.etags)}::jsonb))`;
  return sql`found.bucket = ${bucket} and found.key = ${key} and ${isVersion}`;
}

export function notAsExpected(): AppError {
  return new AppError('STORAGE_INVALID_PARAMETER', 'The object is not the version that If-Match names', {
    status: 412,
    nextActions: 'Read it again, with its ETag, and decide anew.',
  });
}
