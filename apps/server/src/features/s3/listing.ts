import { listObjects as listStorageObjects, type ObjectListing } from '#features/storage/index.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { OWNER, quoteEtag, type S3Context, type S3Reply, xmlReply } from './context.ts';
import { S3Error } from './errors.ts';
import type { S3Request } from './request.ts';
import { uriEncode } from './sigv4.ts';
import type { XmlNode } from './xml.ts';

const MAX_KEYS = 1000;

/** What the three listings have in common. */
interface Listing {
  prefix: string;
  delimiter: string;
  limit: number;
  /** As S3 wants names in the answer: as they are, or percent-encoded where the client asks for it. */
  encode: (name: string) => string;
  page: ObjectListing;
}

/** ListObjectsV2. */
export async function listObjectsV2(context: S3Context): Promise<S3Reply> {
  const { request, cipher } = context;
  const { query } = request;
  const token = query.get('continuation-token');
  const startAfter = query.get('start-after') ?? '';
  const place = { bucket: request.bucket, prefix: query.get('prefix') ?? '', delimiter: query.get('delimiter') ?? '' };
  const startAt = token === undefined ? undefined : openToken(cipher, token, place);
  const listing = await readPage(context, { startAfter, startAt });
  const { page, encode } = listing;
  return xmlReply('ListBucketResult', [
    ...describe(request, listing),
    ['KeyCount', page.objects.length + page.folders.length],
    ['ContinuationToken', token],
    ['NextContinuationToken', page.next === undefined ? undefined : sealToken(cipher, { ...place, next: page.next })],
    ['StartAfter', query.has('start-after') ? encode(startAfter) : undefined],
    ...entries(listing, { hasOwner: query.get('fetch-owner') === 'true' }),
  ]);
}

/** ListObjects, the first version. */
export async function listObjects(context: S3Context): Promise<S3Reply> {
  const { request } = context;
  const marker = request.query.get('marker') ?? '';
  const listing = await readPage(context, { startAfter: marker, startAt: undefined });
  const { page, encode } = listing;
  return xmlReply('ListBucketResult', [
    ...describe(request, listing),
    ['Marker', encode(marker)],
    ['NextMarker', page.next === undefined ? undefined : encode(lastOf(page))],
    ...entries(listing, { hasOwner: true }),
  ]);
}

/** ListObjectVersions: every object has one version, whose id is null. */
export async function listObjectVersions(context: S3Context): Promise<S3Reply> {
  const { request } = context;
  const marker = request.query.get('key-marker') ?? '';
  const listing = await readPage(context, { startAfter: marker, startAt: undefined });
  const { page, encode } = listing;
  return xmlReply('ListVersionsResult', [
    ...describe(request, listing),
    ['KeyMarker', encode(marker)],
    ['VersionIdMarker', request.query.get('version-id-marker') ?? ''],
    ['NextKeyMarker', page.next === undefined ? undefined : encode(lastOf(page))],
    ['NextVersionIdMarker', page.next === undefined ? undefined : 'null'],
    ...entries(listing, {
      hasOwner: true,
      name: 'Version',
      version: [
        ['VersionId', 'null'],
        ['IsLatest', true],
      ],
    }),
  ]);
}

async function readPage(
  { storage, request }: S3Context,
  { startAfter, startAt }: { startAfter: string; startAt: string | undefined },
): Promise<Listing> {
  const { bucket, query } = request;
  const prefix = query.get('prefix') ?? '';
  const delimiter = query.get('delimiter') ?? '';
  const limit = readLimit(request, 'max-keys', MAX_KEYS);
  const { system } = storage.db;
  await storage.buckets.get(bucket);
  const page = await listStorageObjects(system, { bucket, prefix, delimiter, startAfter, startAt, limit });
  return { prefix, delimiter, limit, page, encode: readEncoding(request) };
}

/** A number from 0 to the limit of S3; more is not an error but is not given. */
export function readLimit({ query }: S3Request, name: string, most: number): number {
  const text = query.get(name);
  if (text === undefined || text === '') return most;
  if (!/^\d{1,9}$/.test(text)) throw new S3Error('InvalidArgument', `${name} must be a number from 0 to 2147483647`);
  return Math.min(Number(text), most);
}

/** How names are to be written into the answer. */
export function readEncoding({ query }: S3Request): (name: string) => string {
  const encoding = query.get('encoding-type');
  if (encoding === undefined || encoding === '') return (name) => name;
  if (encoding !== 'url') throw new S3Error('InvalidArgument', 'encoding-type must be url');
  return (name) => uriEncode(name).replaceAll('%2F', '/');
}

function describe({ bucket, query }: S3Request, { prefix, delimiter, limit, page, encode }: Listing): XmlNode[] {
  return [
    ['Name', bucket],
    ['Prefix', encode(prefix)],
    ['Delimiter', delimiter === '' ? undefined : encode(delimiter)],
    ['MaxKeys', limit],
    ['EncodingType', query.get('encoding-type')],
    ['IsTruncated', page.next !== undefined],
  ];
}

function entries(
  { page, encode }: Listing,
  { hasOwner, name = 'Contents', version = [] }: { hasOwner: boolean; name?: string; version?: readonly XmlNode[] },
): XmlNode[] {
  return [
    ...page.objects.map((object): XmlNode => {
      const algorithms = Object.keys(object.metadata?.checksums ?? {});
      return [
        name,
        [
          ['Key', encode(object.key)],
          ...version,
          ['LastModified', object.uploadedAt.toISOString()],
          ['ETag', quoteEtag(object.etag)],
          ...algorithms.map((algorithm): XmlNode => ['ChecksumAlgorithm', algorithm]),
          ['Size', object.size],
          ['StorageClass', 'STANDARD'],
          ['Owner', hasOwner ? OWNER : undefined],
        ],
      ];
    }),
    ...page.folders.map((folder): XmlNode => ['CommonPrefixes', [['Prefix', encode(folder)]]]),
  ];
}

/** The greatest name of a page, objects and folders together. */
function lastOf({ objects, folders }: ObjectListing): string {
  const [key, folder] = [objects.at(-1)?.key ?? '', folders.at(-1) ?? ''];
  return Buffer.compare(Buffer.from(key), Buffer.from(folder)) > 0 ? key : folder;
}

interface Place {
  bucket: string;
  prefix: string;
  delimiter: string;
}

/** A token says where a listing goes on. Nobody else can make one, and it is good for that listing only. */
function sealToken(cipher: Cipher, place: Place & { next: string }): string {
  return Buffer.from(cipher.encrypt(JSON.stringify(place)).replaceAll(':', ''), 'hex').toString('base64url');
}

function openToken(cipher: Cipher, token: string, { bucket, prefix, delimiter }: Place): string {
  const hex = Buffer.from(token, 'base64url').toString('hex');
  try {
    const place = JSON.parse(cipher.decrypt([hex.slice(0, 32), hex.slice(32, 64), hex.slice(64)].join(':')));
    if (place.bucket === bucket && place.prefix === prefix && place.delimiter === delimiter) return place.next;
  } catch {
    // A token that was changed or made up is told from one of another listing by nobody.
  }
  throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect', {
    ArgumentName: 'continuation-token',
  });
}
