import type { ListObjectsQuery } from '@insforge/contract/storage.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { beginsWith, listObjects } from './listing.ts';
import { OBJECT_COLUMNS, type ObjectRow, type StoredObject, toStoredObject } from './object-row.ts';
import type { StorageTx } from './storage.ts';

/** A page of a bucket as the REST listing shows it. */
export interface ObjectPage {
  objects: StoredObject[];
  folders: string[] | undefined;
  total: number;
  isTotalExact: boolean;
  /** The `startAfter` of the next page. */
  nextStartAfter: string | undefined;
}

/** Beyond a page, so many are counted: a listing costs the same however much a bucket holds. */
const COUNTED = 10_000;

const ORDERS = { key: sql`o.key`, size: sql`o.size`, uploadedAt: sql`o.uploaded_at` };

/** What the transaction may see of a bucket. */
export async function readPage(tx: StorageTx, bucket: string, query: ListObjectsQuery): Promise<ObjectPage> {
  return query.delimiter || query.startAfter ? readFrom(tx, bucket, query) : readAt(tx, bucket, query);
}

/** By byte order of the keys from a key on, with or without folders. */
async function readFrom(tx: StorageTx, bucket: string, query: ListObjectsQuery): Promise<ObjectPage> {
  const { prefix, delimiter, startAfter, limit, sort, order, offset, search } = query;
  if (sort !== 'key' || order !== 'asc' || offset > 0 || search) {
    throw new AppError(
      'STORAGE_INVALID_PARAMETER',
      'delimiter and startAfter go with prefix and limit only, not with sort, order, offset or search',
      { nextActions: 'Page with startAfter=<nextStartAfter of the page before>.' },
    );
  }
  const { objects, folders, next } = await listObjects(tx, { bucket, prefix, delimiter, startAfter, limit });
  const last = [objects.at(-1)?.key ?? '', folders.at(-1) ?? ''].sort((a, b) =>
    Buffer.compare(Buffer.from(a), Buffer.from(b)),
  );
  return {
    objects,
    folders: delimiter ? folders : undefined,
    total: objects.length + folders.length,
    isTotalExact: next === undefined && startAfter === '',
    nextStartAfter: next === undefined ? undefined : last.at(-1),
  };
}

async function readAt(tx: StorageTx, bucket: string, query: ListObjectsQuery): Promise<ObjectPage> {
  const { prefix, search, sort, order, limit, offset } = query;
  const searched = search ? sql`position(lower(${search}) in lower(o.key)) > 0` : sql`true`;
  const where = sql`o.bucket = ${bucket} and ${beginsWith(prefix)} and ${searched}`;
  const direction = order === 'desc' ? sql`desc` : sql`asc`;
  const rows = await tx.query<ObjectRow>(sql`
    select ${OBJECT_COLUMNS} from storage.objects o where ${where}
    order by ${ORDERS[sort]} ${direction}, o.key ${direction} limit ${limit} offset ${offset}`);
  const isLast = rows.length < limit && (rows.length > 0 || offset === 0);
  const bound = offset + limit + COUNTED;
  const counted = isLast
    ? { total: offset + rows.length }
    : await tx.one<{ total: number }>(sql`
        select count(*)::float8 as total from (select from storage.objects o where ${where} limit ${bound}) counted`);
  const total = counted?.total ?? 0;
  return {
    objects: rows.map((row) => toStoredObject(bucket, row)),
    folders: undefined,
    total,
    isTotalExact: total < bound,
    nextStartAfter: undefined,
  };
}
