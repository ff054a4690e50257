import { S3Error } from './errors.ts';

/** What a client asks of the gateway: the parts of the HTTP request that the signature and the operations look at. */
export interface S3Request {
  readonly method: string;
  /** As it was sent, still percent-encoded, without the query. This is what was signed. */
  readonly path: string;
  /** Empty: the request is about the service. */
  readonly bucket: string;
  /** Decoded once. Empty: the request is about the bucket. */
  readonly key: string;
  readonly query: ReadonlyMap<string, string>;
  /** By lower-case name, all values in the order in which they came. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
}

export const GATEWAY_PATH = '/storage/v1/s3';
const MAX_KEY_BYTES = 1024;

/** Headers that mean one thing only. Sent twice, two readers could each believe another one. */
const SINGLE = new Set([
  'authorization',
  'content-encoding',
  'content-length',
  'content-md5',
  'content-type',
  'date',
  'host',
  'if-match',
  'if-none-match',
  'range',
]);

const mayRepeat = (name: string) => !SINGLE.has(name) && (!name.startsWith('x-amz-') || name.startsWith('x-amz-meta-'));

/**
 * Takes a request apart. Nothing is trusted yet.
 * @param rawHeaders names and values in turn, as Node.js has them before it merges and drops doubled ones
 * @throws S3Error for what no signature could make unambiguous
 */
export function readRequest(method: string, url: string, rawHeaders: readonly string[]): S3Request {
  const mark = url.indexOf('?');
  const path = mark < 0 ? url : url.slice(0, mark);
  const [bucket, key] = readPath(path);
  return {
    method,
    path,
    bucket,
    key,
    query: mark < 0 ? new Map() : readQuery(url.slice(mark + 1)),
    headers: readHeaders(rawHeaders),
  };
}

/** Parts the path before it decodes it, so that a %2F in a bucket's place is never a separator. */
function readPath(path: string): [string, string] {
  const rest = path.slice(GATEWAY_PATH.length + 1);
  const slash = rest.indexOf('/');
  const bucket = decode(slash < 0 ? rest : rest.slice(0, slash));
  const key = slash < 0 ? '' : decode(rest.slice(slash + 1));
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) throw new S3Error('KeyTooLongError');
  return [bucket, key];
}

function readQuery(text: string): Map<string, string> {
  const query = new Map<string, string>();
  for (const pair of text.split('&')) {
    if (pair === '') continue;
    const equals = pair.indexOf('=');
    const name = decodeQuery(equals < 0 ? pair : pair.slice(0, equals));
    if (query.has(name)) throw new S3Error('InvalidArgument', `The query parameter ${name} appears twice`);
    query.set(name, equals < 0 ? '' : decodeQuery(pair.slice(equals + 1)));
  }
  return query;
}

function readHeaders(raw: readonly string[]): Map<string, string[]> {
  const headers = new Map<string, string[]>();
  for (let index = 0; index + 1 < raw.length; index += 2) {
    const name = (raw[index] ?? '').toLowerCase();
    const values = headers.get(name);
    if (!values) headers.set(name, [raw[index + 1] ?? '']);
    else if (mayRepeat(name)) values.push(raw[index + 1] ?? '');
    else throw new S3Error('InvalidArgument', `The header ${name} appears twice`);
  }
  return headers;
}

function decode(text: string): string {
  try {
    const decoded = decodeURIComponent(text);
    // No name has it, and PostgreSQL takes no text with it.
    if (!decoded.includes('\0')) return decoded;
  } catch {}
  throw new S3Error('InvalidURI');
}

const decodeQuery = (text: string) => decode(text.replaceAll('+', ' '));

/**
 * The value of a header. A presigned URL may carry any header that begins with x-amz- as a query parameter
 * instead, in any case of letters; it is signed there as well.
 */
export function headerOf(request: S3Request, name: string): string | undefined {
  const values = request.headers.get(name);
  if (values) return values.map((value) => value.trim()).join(',');
  if (!name.startsWith('x-amz-') || !request.query.has('X-Amz-Signature')) return undefined;
  return hoisted(request).get(name);
}

/**
 * The query parameters that stand for headers, by lower-case name.
 * @throws S3Error for what no header can say: it would be stored and could never be sent back
 */
export function hoisted({ query }: S3Request): ReadonlyMap<string, string> {
  const headers = new Map<string, string>();
  for (const [name, value] of query) {
    const lower = name.toLowerCase();
    if (!lower.startsWith('x-amz-')) continue;
    if (!HEADER_NAME.test(lower)) throw new S3Error('InvalidArgument', 'A query parameter is no name of a header');
    headers.set(lower, headerValue(value));
  }
  return headers;
}

const HEADER_NAME = /^[\w!#$%&'*+.^`|~-]+$/;

/**
 * A value that is to be sent as a header.
 * @throws S3Error
 */
export function headerValue(text: string): string {
  if (/^[\t\x20-\x7e\x80-\xff]*$/.test(text)) return text;
  throw new S3Error('InvalidArgument', 'A header value cannot have line breaks, or characters beyond ISO-8859-1');
}
