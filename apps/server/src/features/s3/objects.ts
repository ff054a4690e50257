import {
  copyObject as copyStoredObject,
  deleteObjects as deleteStoredObjects,
  deleteVersion,
  getObject as getStoredObject,
  headObject as headStoredObject,
  isKnown,
  putObject as putStoredObject,
  readVersion,
  type StoredObject,
} from '#features/storage/index.ts';
import { quoteEtag, type S3Context, type S3Reply, xmlReply } from './context.ts';
import { explainMissingSource, readCopySource } from './copy-source.ts';
import { S3Error } from './errors.ts';
import {
  checkConditions,
  checksumHeaders,
  expectedBy,
  objectHeaders,
  readMetadata,
  readRange,
} from './object-headers.ts';
import { readDocument } from './payload.ts';
import { headerOf, type S3Request } from './request.ts';
import { readTags, readTagsHeader, writeTags } from './tagging.ts';
import { childrenOf, parseXml, textOf, type XmlNode, type XmlValue } from './xml.ts';

type ByteRange = { start: number; end: number };

export async function getObject(context: S3Context): Promise<S3Reply> {
  const { storage, actor, request } = context;
  const { bucket, key } = request;
  const wanted = { bucket, key, skipBytes: isKnown((name) => headerOf(request, name)) };
  let range: ByteRange | undefined;
  const { object, body } = await getStoredObject(storage, actor, wanted, (found) => {
    range = select(request, found);
    return range;
  });
  return { ...describe(request, object, range), body };
}

export async function headObject({ storage, actor, request }: S3Context): Promise<S3Reply> {
  const object = await headStoredObject(storage, actor, request.bucket, request.key);
  return describe(request, object, select(request, object));
}

/** Which bytes of an object a request asks for, if it still wants any. */
function select(request: S3Request, object: StoredObject): ByteRange | undefined {
  checkConditions(request, object);
  const part = request.query.get('partNumber');
  if (part !== undefined && (part !== '1' || object.etag?.includes('-'))) {
    throw new S3Error('NotImplemented', 'Parts of an object cannot be had by their number. Use the Range header.');
  }
  return readRange(headerOf(request, 'range'), object.size);
}

function describe(request: S3Request, object: StoredObject, range: ByteRange | undefined): S3Reply {
  const { start, end } = range ?? { start: 0, end: object.size - 1 };
  return {
    status: range ? 206 : 200,
    headers: {
      ...objectHeaders(object, request),
      'content-length': String(end - start + 1),
      'content-range': range && `bytes ${start}-${end}/${object.size}`,
    },
  };
}

export async function putObject({ storage, actor, request, payload }: S3Context): Promise<S3Reply> {
  const tags = readTagsHeader(request);
  const metadata = readMetadata(request);
  const stored = await putStoredObject(storage, actor, {
    bucket: request.bucket,
    key: request.key,
    body: payload.read(),
    mimeType: headerOf(request, 'content-type'),
    announcedSize: payload.size,
    atMost: payload.size,
    metadata,
    expected: expectedBy(request),
    verify: () => {
      const checksum = payload.checksum();
      return checksum ? { ...metadata, checksums: { [checksum.algorithm]: checksum.value } } : metadata;
    },
  });
  if (tags.length > 0) await storage.db.system.tx((tx) => writeTags(tx, request, tags));
  return { headers: { etag: quoteEtag(stored.etag), ...checksumHeaders(stored.metadata?.checksums) } };
}

export async function copyObject({ storage, actor, request }: S3Context): Promise<S3Reply> {
  const from = readCopySource(request);
  const to = { bucket: request.bucket, key: request.key };
  const replaces = (header: string) => isReplacing(headerOf(request, header), header);
  const [newMetadata, newTags] = [replaces('x-amz-metadata-directive'), replaces('x-amz-tagging-directive')];
  const isUnchanged = from.bucket === to.bucket && from.key === to.key && !newMetadata && !newTags;
  const tags = newTags ? readTagsHeader(request) : await readTags(storage.db.system, from);
  // From here on, what is missing is the source.
  await storage.buckets.get(to.bucket);
  const stored = await copyStoredObject(storage, actor, {
    from,
    to,
    amend(source) {
      checkConditions(request, source, 'x-amz-copy-source-');
      if (isUnchanged) {
        throw new S3Error('InvalidRequest', 'An object can be copied to itself only to change its metadata or tags');
      }
      return newMetadata ? describeAnew(request, source) : {};
    },
    expected: expectedBy(request),
  }).catch(explainMissingSource(from));
  if (tags.length > 0) await storage.db.system.tx((tx) => writeTags(tx, to, tags));
  return xmlReply('CopyObjectResult', [
    ['LastModified', stored.uploadedAt.toISOString()],
    ['ETag', quoteEtag(stored.etag)],
    ...checksumNodes(stored),
  ]);
}

/** What a copy is said to be, instead of its source. Its bytes, and so their checksums, are the same. */
function describeAnew(request: S3Request, source: StoredObject) {
  return {
    mimeType: headerOf(request, 'content-type') ?? 'application/octet-stream',
    metadata: { ...readMetadata(request), checksums: source.metadata?.checksums ?? {} },
  };
}

function isReplacing(directive: string | undefined, header: string): boolean {
  if (directive === undefined || directive === 'COPY') return false;
  if (directive === 'REPLACE') return true;
  throw new S3Error('InvalidArgument', `${header} must be COPY or REPLACE`);
}

function checksumNodes({ metadata }: StoredObject): XmlNode[] {
  return Object.entries(metadata?.checksums ?? {}).map(([algorithm, value]) => [`Checksum${algorithm}`, value]);
}

/** Gone is gone: without a condition, a key that was not there is no error. */
export async function deleteObject({ storage, actor, request }: S3Context): Promise<S3Reply> {
  const { bucket, key } = request;
  await storage.buckets.get(bucket);
  const version = headerOf(request, 'if-match');
  if (version === undefined) await deleteStoredObjects(storage, actor, bucket, [key]);
  else {
    const problem = await deleteIfMatch(storage, actor, { bucket, key, version });
    if (problem) throw problem;
  }
  return { status: 204 };
}

/** @returns why it was not deleted */
async function deleteIfMatch(
  storage: S3Context['storage'],
  actor: S3Context['actor'],
  { bucket, key, version }: { bucket: string; key: string; version: string },
): Promise<S3Error | undefined> {
  const found = await deleteVersion(storage, actor, { bucket, key, expected: readVersion(version) });
  if (found === 'nothing') return new S3Error('NoSuchKey', undefined, { Key: key });
  return found === 'another' ? new S3Error('PreconditionFailed', undefined, { Condition: 'If-Match' }) : undefined;
}

const MAX_DELETED = 1000;

interface WantedDelete {
  key: string;
  /** The ETag it must have. */
  version: string | undefined;
  problem: S3Error | undefined;
}

export async function deleteObjects({ storage, actor, request, payload }: S3Context): Promise<S3Reply> {
  const document = await parseXml(await readDocument(payload), 'Delete');
  const wanted = childrenOf(document, 'Object').map(readDelete);
  const isComplete = wanted.every(({ key }) => key !== '');
  if (wanted.length === 0 || wanted.length > MAX_DELETED || !isComplete) throw new S3Error('MalformedXML');
  const { bucket } = request;
  await storage.buckets.get(bucket);
  const possible = wanted.filter(({ problem }) => !problem);
  const keys = possible.filter(({ version }) => version === undefined).map(({ key }) => key);
  await deleteStoredObjects(storage, actor, bucket, keys);
  for (const one of possible) {
    const { key, version } = one;
    if (version !== undefined) one.problem = await deleteIfMatch(storage, actor, { bucket, key, version });
  }
  const isQuiet = textOf(document, 'Quiet') === 'true';
  const nodes = wanted.flatMap(({ key, problem }): XmlNode[] => {
    if (problem)
      return [
        [
          'Error',
          [
            ['Key', key],
            ['Code', problem.code],
            ['Message', problem.message],
          ],
        ],
      ];
    return isQuiet ? [] : [['Deleted', [['Key', key]]]];
  });
  return xmlReply('DeleteResult', nodes);
}

/** Conditions that only directory buckets know. */
const UNKNOWN_CONDITIONS = ['LastModifiedTime', 'Size'];

function readDelete(object: XmlValue): WantedDelete {
  return { key: textOf(object, 'Key') ?? '', version: textOf(object, 'ETag'), problem: problemOf(object) };
}

function problemOf(object: XmlValue): S3Error | undefined {
  const versionId = textOf(object, 'VersionId') ?? '';
  if (versionId !== '' && versionId !== 'null') return new S3Error('NoSuchVersion');
  if (UNKNOWN_CONDITIONS.every((name) => textOf(object, name) === undefined)) return undefined;
  return new S3Error('NotImplemented', 'Deletes take an ETag, and no other condition');
}
