import type { Db } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';

/** The buckets as `GET /api/metadata` shows them to an admin. */
export interface StorageMetadata {
  buckets: { name: string; public: boolean; createdAt: string; objectCount: number }[];
  totalSizeInGB: number;
}

const BYTES_PER_GB = 1024 ** 3;

export async function readStorageMetadata({ system }: Pick<Db, 'system'>): Promise<StorageMetadata> {
  const rows = await system.query<{
    name: string;
    public: boolean;
    createdAt: Date;
    objectCount: number;
    bytes: number;
  }>(
    sql`
      select b.name, coalesce(b.public, false) as public, b.created_at as "createdAt",
        count(o.key)::float8 as "objectCount", coalesce(sum(o.size), 0)::float8 as bytes
      from storage.buckets b left join storage.objects o on o.bucket = b.name
      group by b.name order by b.name collate "C"`,
  );
  return {
    buckets: rows.map(({ bytes, createdAt, ...bucket }) => ({ ...bucket, createdAt: createdAt.toISOString() })),
    totalSizeInGB: rows.reduce((sum, { bytes }) => sum + bytes, 0) / BYTES_PER_GB,
  };
}

/** The same for a page of Markdown: a line for each bucket. */
export function storageAsMarkdown({ buckets }: StorageMetadata): string[] {
  return buckets.map(
    (bucket) => `- ${bucket.name}: ${bucket.public ? 'public' : 'private'}, ${bucket.objectCount} objects`,
  );
}
