import { headObject, type StorageTx } from '#features/storage/index.ts';
import { sql } from '#platform/db/sql.ts';
import { type S3Context, type S3Reply, xmlReply } from './context.ts';
import { S3Error } from './errors.ts';
import { readDocument } from './payload.ts';
import { headerOf, type S3Request } from './request.ts';
import { childrenOf, parseXml, textOf, type XmlNode } from './xml.ts';

export type Tag = readonly [key: string, value: string];
type ObjectName = Pick<S3Request, 'bucket' | 'key'>;

const MAX_TAGS = 10;
const MAX_KEY_LENGTH = 128;
const MAX_VALUE_LENGTH = 256;

export async function getObjectTagging({ storage, actor, request }: S3Context): Promise<S3Reply> {
  await headObject(storage, actor, request.bucket, request.key);
  const tags = await readTags(storage.db.system, request);
  const nodes = tags.map(
    ([key, value]): XmlNode => [
      'Tag',
      [
        ['Key', key],
        ['Value', value],
      ],
    ],
  );
  return xmlReply('Tagging', [['TagSet', nodes]]);
}

export async function putObjectTagging({ storage, actor, request, payload }: S3Context): Promise<S3Reply> {
  const [set, ...more] = childrenOf(await parseXml(await readDocument(payload), 'Tagging'), 'TagSet');
  if (set === undefined || more.length > 0) throw new S3Error('MalformedXML');
  const tags = childrenOf(set, 'Tag').map((tag): Tag => [textOf(tag, 'Key') ?? '', textOf(tag, 'Value') ?? '']);
  checkTags(tags);
  await headObject(storage, actor, request.bucket, request.key);
  await storage.db.system.tx((tx) => writeTags(tx, request, tags));
  return {};
}

export async function deleteObjectTagging({ storage, actor, request }: S3Context): Promise<S3Reply> {
  await headObject(storage, actor, request.bucket, request.key);
  await storage.db.system.tx((tx) => writeTags(tx, request, []));
  return { status: 204 };
}

/** The tags that an upload brings along, as x-amz-tagging has them: `a=1&b=2`. */
export function readTagsHeader(request: S3Request): Tag[] {
  const tags = [...new URLSearchParams(headerOf(request, 'x-amz-tagging') ?? '')];
  checkTags(tags);
  return tags;
}

function checkTags(tags: readonly Tag[]): void {
  if (tags.length > MAX_TAGS) throw new S3Error('InvalidTag', `An object has ${MAX_TAGS} tags at most`);
  if (new Set(tags.map(([key]) => key)).size < tags.length) {
    throw new S3Error('InvalidTag', 'Cannot provide multiple Tags with the same key');
  }
  const isWrong = tags.some(
    ([key, value]) =>
      key === '' || key.length > MAX_KEY_LENGTH || value.length > MAX_VALUE_LENGTH || `${key}${value}`.includes('\0'),
  );
  if (isWrong) throw new S3Error('InvalidTag', 'A tag needs a key of 1 to 128 characters and a value of up to 256');
}

export async function readTags(tx: StorageTx, { bucket, key }: ObjectName): Promise<Tag[]> {
  const rows = await tx.query<{ name: string; value: string }>(sql`
    select tag_key as name, tag_value as value from storage.object_tags
    where bucket = ${bucket} and key = ${key} order by tag_key collate "C"`);
  return rows.map(({ name, value }) => [name, value]);
}

/** Replaces the tags of an object. One that was deleted meanwhile gets none. */
export async function writeTags(tx: StorageTx, { bucket, key }: ObjectName, tags: readonly Tag[]): Promise<void> {
  await tx.query(sql`select from storage.objects where bucket = ${bucket} and key = ${key} for key share`);
  await tx.query(sql`delete from storage.object_tags where bucket = ${bucket} and key = ${key}`);
  await tx.query(sql`
    insert into storage.object_tags (bucket, key, tag_key, tag_value)
    select o.bucket, o.key, t.name, t.value
    from storage.objects o, unnest(${tags.map(([name]) => name)}::text[], ${tags.map(([, value]) => value)}::text[]) t(name, value)
    where o.bucket = ${bucket} and o.key = ${key}`);
}
