import {
  type Expected,
  type ObjectMetadata,
  readExpected,
  type StoredObject,
  withoutScript,
} from '#features/storage/index.ts';
import { CHECKSUM_ALGORITHMS, checksumHeader } from './checksums.ts';
import { quoteEtag, type S3Reply } from './context.ts';
import { S3Error } from './errors.ts';
import { headerOf, headerValue, hoisted, type S3Request } from './request.ts';

const MAX_USER_METADATA_BYTES = 2048;
const USER_PREFIX = 'x-amz-meta-';

/** Headers that are stored with an object and sent back with it, and the query parameter that replaces each. */
const STORED_HEADERS = {
  'cache-control': 'response-cache-control',
  'content-disposition': 'response-content-disposition',
  'content-encoding': 'response-content-encoding',
  'content-language': 'response-content-language',
  expires: 'response-expires',
} as const;

/** What an upload says about its object. */
export function readMetadata(request: S3Request): ObjectMetadata {
  const headers: Record<string, string> = {};
  for (const name of Object.keys(STORED_HEADERS)) {
    const value = name === 'content-encoding' ? readEncoding(request) : headerOf(request, name);
    if (value) headers[name] = value;
  }
  const user: Record<string, string> = {};
  for (const name of [
    ...request.headers.keys(),
    ...(request.query.has('X-Amz-Signature') ? hoisted(request).keys() : []),
  ]) {
    if (name.startsWith(USER_PREFIX)) user[name.slice(USER_PREFIX.length)] = headerOf(request, name) ?? '';
  }
  const size = Object.entries(user).reduce((sum, pair) => sum + pair.join('').length, 0);
  if (size > MAX_USER_METADATA_BYTES) throw new S3Error('MetadataTooLarge');
  return { headers, user };
}

/** The coding of the object itself, without that of the transfer. */
function readEncoding(request: S3Request): string {
  const codings = (headerOf(request, 'content-encoding') ?? '').split(',').map((coding) => coding.trim());
  return codings.filter((coding) => coding !== '' && coding.toLowerCase() !== 'aws-chunked').join(', ');
}

/** The headers that checksums are told in; none where there are none. */
export function checksumHeaders(checksums: Record<string, string> | undefined): Record<string, string> {
  const found = CHECKSUM_ALGORITHMS.flatMap((algorithm) => {
    const value = checksums?.[algorithm];
    return value === undefined ? [] : [[checksumHeader(algorithm), value] as const];
  });
  const [first] = found;
  return first ? { ...Object.fromEntries(found), 'x-amz-checksum-type': checksumTypeOf(first[1]) } : {};
}

/** That of the parts has their number at its end, and base64 has no hyphen. */
export const checksumTypeOf = (value: string) => (value.includes('-') ? 'COMPOSITE' : 'FULL_OBJECT');

/**
 * Presigned URLs are opened in browsers, on the origin that the dashboard lives on: what is shown has no scripts, no
 * network and no origin, and a script is text. Only the viewer of a PDF does not work in a sandbox, and it has none of these either.
 */
const SANDBOX = "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self' data:; sandbox";

/** The headers of an object, as GetObject and HeadObject send them. */
export function objectHeaders(object: StoredObject, request: S3Request): NonNullable<S3Reply['headers']> {
  const { headers = {}, user = {}, checksums } = object.metadata ?? {};
  const override = (name: string) => {
    const value = request.query.get(name);
    return value === undefined ? undefined : headerValue(value);
  };
  const stored = Object.entries(STORED_HEADERS).map(([name, parameter]) => [
    name,
    override(parameter) ?? headers[name],
  ]);
  const type = override('response-content-type') ?? object.mimeType ?? 'application/octet-stream';
  const wantsChecksum = headerOf(request, 'x-amz-checksum-mode')?.toUpperCase() === 'ENABLED';
  return {
    ...Object.fromEntries(stored),
    ...Object.fromEntries(Object.entries(user).map(([name, value]) => [USER_PREFIX + name, value])),
    ...(wantsChecksum && !request.headers.has('range') ? checksumHeaders(checksums) : {}),
    'content-type': request.query.has('X-Amz-Signature') ? withoutScript(type) : type,
    etag: quoteEtag(object.etag),
    'last-modified': object.uploadedAt.toUTCString(),
    'accept-ranges': 'bytes',
    'x-content-type-options': 'nosniff',
    'content-security-policy': /^application\/pdf\b/i.test(type) ? undefined : SANDBOX,
  };
}

/** Conditions in headers of these names; those on the source of a copy have a prefix. */
export function checkConditions(request: S3Request, object: StoredObject, prefix = ''): void {
  const header = (name: string) => headerOf(request, prefix + name);
  const seconds = Math.floor(object.uploadedAt.getTime() / 1000);
  const secondsOf = (text: string | undefined) => Math.floor(Date.parse(text ?? '') / 1000);
  const [match, noneMatch] = [header('if-match'), header('if-none-match')];
  const [modified, unmodified] = [secondsOf(header('if-modified-since')), secondsOf(header('if-unmodified-since'))];
  // https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2: an ETag is better than a date.
  const isStale = match === undefined ? seconds > unmodified : !matches(match, object);
  if (isStale)
    throw new S3Error('PreconditionFailed', undefined, {
      Condition: match === undefined ? 'If-Unmodified-Since' : 'If-Match',
    });
  const isFresh = noneMatch === undefined ? seconds <= modified : matches(noneMatch, object);
  if (!isFresh) return;
  if (prefix !== '')
    throw new S3Error('PreconditionFailed', undefined, {
      Condition: noneMatch === undefined ? 'If-Modified-Since' : 'If-None-Match',
    });
  throw new S3Error('NotModified');
}

/** The condition of a write, which the database decides together with it. */
export function expectedBy(request: S3Request): Expected | undefined {
  const [match, noneMatch] = [headerOf(request, 'if-match'), headerOf(request, 'if-none-match')];
  if (noneMatch !== undefined && (noneMatch !== '*' || match !== undefined)) {
    throw new S3Error('NotImplemented', 'Writes take If-None-Match: *, or If-Match, and no other condition');
  }
  return readExpected(match, noneMatch);
}

function matches(list: string, { etag }: StoredObject): boolean {
  const etags = list.split(',').map((item) =>
    item
      .trim()
      .replace(/^W\//, '')
      .replace(/^"(.*)"$/, '$1'),
  );
  return etags.includes('*') || (etag !== null && etags.includes(etag));
}

/** The one range that is asked for. Absent where there is none, or one that HTTP says to ignore. */
export function readRange(text: string | undefined, size: number): { start: number; end: number } | undefined {
  const [, first, last] = /^bytes=(\d*)-(\d*)$/.exec(text?.trim() ?? '') ?? [];
  if (first === undefined || last === undefined || (first === '' && last === '')) return undefined;
  if (first !== '' && last !== '' && Number(last) < Number(first)) return undefined;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1);
  if (start >= size || (first === '' && Number(last) === 0)) {
    throw new S3Error('InvalidRange', undefined, { RangeRequested: text ?? '', ActualObjectSize: size });
  }
  return { start, end };
}
