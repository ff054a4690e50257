import type { ByteRange } from '#platform/blobs/blobs.ts';
import { type Sql, sql } from '#platform/db/sql.ts';
import { essenceOf, isSameFamily, UNKNOWN_TYPE } from './media-types.ts';

/** What is served: a version of an object, or an image made from one. */
export interface Version {
  /** With its quotes. */
  etag: string;
  modifiedAt: Date;
  mimeType: string;
  detectedType: string | null;
}

/** Types a browser may show, and what the first bytes must be for it. Text has no such bytes. */
const INLINE_TYPES: Readonly<Record<string, 'same-family' | 'same' | 'unknown'>> = {
  'application/json': 'unknown',
  'application/pdf': 'same',
  'audio/*': 'same-family',
  'image/*': 'same-family',
  'text/csv': 'unknown',
  'text/markdown': 'unknown',
  'text/plain': 'unknown',
  'video/*': 'same-family',
};

/**
 * Types that a browser runs, or that it runs when it is asked for a script or a frame. Everything ending in
 * `+xml` or `/xml` can carry script as well.
 */
const ACTIVE_TYPES = new Set([
  'application/hta',
  'application/x-shockwave-flash',
  'application/xml-dtd',
  'application/xslt',
  'message/rfc822',
  'multipart/related',
  'multipart/x-mixed-replace',
  'text/cache-manifest',
  'text/html',
  'text/x-component',
  'text/xsl',
]);

/** With `nosniff`, a browser runs nothing else that a page has as its script. */
const SCRIPT = /^(application|text)\/(x-)?(ecma|java|j|live|vb)script/i;

function isActive(type: string): boolean {
  return ACTIVE_TYPES.has(type) || SCRIPT.test(type) || /[+/]xml$/.test(type) || /^model\/.*xml/.test(type);
}

/**
 * The type that active content may be shown as: a script as text. No sandbox of its own would keep a page of this
 * origin from running it.
 */
export function withoutScript(mimeType: string): string {
  return SCRIPT.test(essenceOf(mimeType).trim()) ? 'text/plain; charset=utf-8' : mimeType;
}

/** How a file may be shown. */
export interface Presentation {
  contentType: string;
  disposition: 'inline' | 'attachment';
}

/**
 * What an uploader says is shown only where it is harmless and the bytes do not contradict it. What a browser
 * could run is a download of unknown type, unless the bucket's admin wants it shown.
 */
export function present(
  { mimeType, detectedType }: Pick<Version, 'mimeType' | 'detectedType'>,
  inlineActive: boolean,
): Presentation {
  const type = essenceOf(mimeType);
  if (isActive(type) || (detectedType !== null && isActive(detectedType))) {
    if (inlineActive && isActive(type)) return { contentType: withoutScript(mimeType), disposition: 'inline' };
    return { contentType: UNKNOWN_TYPE, disposition: 'attachment' };
  }
  const family = `${type.split('/', 1)[0]}/*`;
  const rule = INLINE_TYPES[type] ?? INLINE_TYPES[family];
  if (rule === undefined) return { contentType: mimeType, disposition: 'attachment' };
  const agrees =
    rule === 'unknown'
      ? detectedType === null
      : rule === 'same'
        ? detectedType === type
        : isSameFamily(type, detectedType);
  return agrees
    ? { contentType: mimeType, disposition: 'inline' }
    : { contentType: UNKNOWN_TYPE, disposition: 'attachment' };
}

/** What a file is called when it is saved. */
export function nameOf({ key }: { key: string }): string {
  return key.split('/').at(-1) || 'file';
}

/** `attachment; filename="…"; filename*=UTF-8''…` (https://www.rfc-editor.org/rfc/rfc6266) */
export function contentDisposition(disposition: Presentation['disposition'], name: string): string {
  const plain = name.replace(/[^\x20-\x7e]|["\\%]/g, '_');
  const exact = encodeURIComponent(name.toWellFormed()).replace(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `${disposition}; filename="${plain}"${plain === name ? '' : `; filename*=UTF-8''${exact}`}`;
}

/**
 * Should a browser show a file after all, it has no scripts, no plugins, no network and no origin in there. Only
 * the viewer of a PDF does not work in a sandbox; scripts of a PDF cannot reach pages anyway.
 */
export function contentSecurityPolicy({ contentType, disposition }: Presentation): string | undefined {
  if (disposition === 'inline' && essenceOf(contentType) === 'application/pdf') return undefined;
  return "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; media-src 'self' data:; sandbox";
}

export type RequestHeaders = Readonly<Record<string, string | string[] | undefined>>;

export const headerOf = (headers: RequestHeaders) => (name: string) =>
  typeof headers[name] === 'string' ? headers[name] : undefined;

const seconds = (date: Date) => Math.floor(date.getTime() / 1000);
const parseDate = (text: string) => Math.floor(Date.parse(text) / 1000);

/** True where a list such as `"a", "b"`, or `*`, names the entity. */
function names(list: string, etag: string): boolean {
  return list.trim() === '*' || list.split(',').some((entry) => entry.trim() === etag);
}

/**
 * The conditions of https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2, in its order.
 * @returns the status to answer with, or undefined to go on
 */
export function evaluateConditions(headers: RequestHeaders, { etag, modifiedAt }: Version): 304 | 412 | undefined {
  const header = headerOf(headers);
  const ifMatch = header('if-match');
  const ifUnmodifiedSince = header('if-unmodified-since');
  if (ifMatch !== undefined) {
    if (!names(ifMatch, etag)) return 412;
  } else if (ifUnmodifiedSince !== undefined && seconds(modifiedAt) > parseDate(ifUnmodifiedSince)) return 412;
  const ifNoneMatch = header('if-none-match');
  const ifModifiedSince = header('if-modified-since');
  // If-Match compares strongly, so that a weak tag names nothing; this one weakly.
  if (ifNoneMatch !== undefined) return names(ifNoneMatch.replaceAll('W/"', '"'), etag) ? 304 : undefined;
  if (ifModifiedSince !== undefined && seconds(modifiedAt) <= parseDate(ifModifiedSince)) return 304;
  return undefined;
}

/**
 * True of the row `o` of an object that a client has already, who is going to hear so and needs no bytes. A guess that
 * costs nothing; the conditions are evaluated with the row. Undefined where no condition is.
 */
export function isKnown(header: (name: string) => string | undefined): Sql | undefined {
  const ifNoneMatch = header('if-none-match');
  if (ifNoneMatch !== undefined) return sql`strpos(${ifNoneMatch}, o.etag) > 0`;
  const since = parseDate(header('if-modified-since') ?? '');
  return Number.isNaN(since) ? undefined : sql`extract(epoch from o.uploaded_at) < ${since + 1}::float8`;
}

/**
 * The part that a Range header asks for. Undefined: everything, also for what we do not serve in parts (several
 * ranges at once, other units, nonsense), as https://www.rfc-editor.org/rfc/rfc9110#section-14.2 allows.
 */
export function rangeOf(
  headers: RequestHeaders,
  version: Version,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const { range, 'if-range': ifRange } = headers;
  if (typeof range !== 'string') return undefined;
  if (typeof ifRange === 'string' && !isUnchanged(ifRange, version)) return undefined;
  const [, first = '', last = ''] = /^bytes=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(range) ?? [];
  if (first === '') {
    if (last === '') return undefined;
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  const start = Number(first);
  if (last !== '' && Number(last) < start) return undefined;
  if (start >= size) return 'unsatisfiable';
  return { start, end: last === '' ? size - 1 : Math.min(Number(last), size - 1) };
}

/** If-Range compares strongly: a weak tag never matches. */
function isUnchanged(ifRange: string, { etag, modifiedAt }: Version): boolean {
  return ifRange.startsWith('"') ? ifRange === etag : parseDate(ifRange) === seconds(modifiedAt);
}
