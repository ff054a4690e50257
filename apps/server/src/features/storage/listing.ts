import { type Sql, sql } from '#platform/db/sql.ts';
import { afterKey, afterPrefix, nextCharacter } from './keys.ts';
import { OBJECT_COLUMNS, type ObjectRow, type StoredObject, toStoredObject } from './object-row.ts';
import type { StorageTx } from './storage.ts';

export interface ListRequest {
  bucket: string;
  /** Text that keys begin with; never a pattern. */
  prefix?: string | undefined;
  /** Keys that have it after the prefix are summed up as one folder up to and including it. */
  delimiter?: string | undefined;
  /** Only what comes after this key, or after all that is in this folder. */
  startAfter?: string | undefined;
  /** Where the page before ended: its `next`. Wins over `startAfter`. */
  startAt?: string | undefined;
  /** Objects and folders together. */
  limit: number;
}

export interface ObjectListing {
  objects: StoredObject[];
  /** Folders, each with the delimiter at its end. */
  folders: string[];
  /** What to pass as `startAt` for the next page; undefined at the end. */
  next: string | undefined;
}

/** What the transaction may see of a bucket, in byte order of the keys, from a point on. Costs what the page costs. */
export async function listObjects(tx: StorageTx, request: ListRequest): Promise<ObjectListing> {
  const { bucket, prefix = '', delimiter, limit } = request;
  const range = keyRange(prefix, request.startAt ?? startOf(request));
  if (range === undefined || limit < 1) return { objects: [], folders: [], next: undefined };
  const rows = delimiter
    ? await tx.query<EntryRow>(folderWalk(bucket, prefix, delimiter, range, limit + 1))
    : await tx.query<EntryRow>(sql`
        select null as folder, ${OBJECT_COLUMNS} from storage.objects o
        where o.bucket = ${bucket} and ${within(range)} order by o.key limit ${limit + 1}`);
  const page = rows.slice(0, limit);
  const last = rows.length > limit ? page.at(-1) : undefined;
  return {
    objects: page.filter(({ folder }) => folder === null).map((row) => toStoredObject(bucket, row)),
    folders: page.flatMap(({ folder }) => folder ?? []),
    next: last && (last.folder === null ? afterKey(last.key) : afterPrefix(last.folder)),
  };
}

function startOf({ prefix = '', delimiter = '', startAfter = '' }: ListRequest): string {
  if (startAfter === '') return '';
  const isFolder = folderOf(startAfter, prefix, delimiter) === startAfter;
  return (isFolder ? afterPrefix(startAfter) : undefined) ?? afterKey(startAfter);
}

/** The folder that a key is summed up in: up to and including the first delimiter after the prefix. */
export function folderOf(key: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === '' || !key.startsWith(prefix)) return undefined;
  const end = key.indexOf(delimiter, prefix.length);
  return end < 0 ? undefined : key.slice(0, end + delimiter.length);
}

type EntryRow = ObjectRow & { folder: string | null };

/** Keys from `from` on and before `before`. */
interface KeyRange {
  from: string;
  before: string | undefined;
}

/** The keys that begin with `prefix` and come at or after `startAt`. Undefined where there can be none. */
function keyRange(prefix: string, startAt: string): KeyRange | undefined {
  const before = prefix === '' ? undefined : afterPrefix(prefix);
  const from = isBefore(prefix, startAt) ? startAt : prefix;
  return before !== undefined && !isBefore(from, before) ? undefined : { from, before };
}

const isBefore = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;

/** A condition on `o.key` that the primary key's index answers, also under row level security. */
function within({ from, before }: KeyRange): Sql {
  return before === undefined ? sql`o.key >= ${from}` : sql`o.key >= ${from} and o.key < ${before}`;
}

/** The condition for a prefix alone. */
export function beginsWith(prefix: string): Sql {
  return prefix === '' ? sql`true` : within({ from: prefix, before: afterPrefix(prefix) });
}

/**
 * One step of the index for each entry: after a folder, the walk goes on behind everything in it, however
 * much that is.
 */
function folderWalk(bucket: string, prefix: string, delimiter: string, range: KeyRange, limit: number): Sql {
  const start = [...prefix].length + 1;
  const found = sql`position(${delimiter}::text in substr(o.key, ${start}::int))`;
  const folder = sql`case when ${found} > 0
    then left(o.key, ${start}::int - 1 + ${found} + char_length(${delimiter}::text) - 1) end collate "C"`;
  // What follows a folder begins with it, save for the last character of the delimiter.
  const following = nextCharacter([...delimiter].at(-1) ?? '') ?? '';
  const before = range.before === undefined ? sql`true` : sql`o.key < ${range.before}`;
  return sql`
    with recursive walk as (
      (select 1 as step, o.key, ${folder} as folder from storage.objects o
       where o.bucket = ${bucket} and ${within(range)} order by o.key limit 1)
      union all
      select w.step + 1, n.key, n.folder from walk w cross join lateral (
        select o.key, ${folder} as folder from storage.objects o
        where o.bucket = ${bucket} and ${before} and o.key >= case when w.folder is null
          then w.key || ${afterKey('')}::text else left(w.folder, -1) || ${following}::text end
        order by o.key limit 1) n
      where w.step < ${limit}::int
    )
    select w.folder, w.key as entry, ${OBJECT_COLUMNS}
    from walk w left join storage.objects o on w.folder is null and o.bucket = ${bucket} and o.key = w.key
    order by w.step`;
}
