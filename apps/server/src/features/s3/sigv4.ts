import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { S3Error } from './errors.ts';
import { GATEWAY_PATH, headerOf, type S3Request } from './request.ts';

/*
 * AWS Signature Version 4 as S3 has it: the path is encoded once and never normalised
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, sigv4-query-string-auth.html).
 */

/** What a request says of its own signature. Nothing of it is proven before `verifySignature`. */
export interface Signature {
  /** Where it was found: the Authorization header, or the query of a presigned URL. */
  source: 'header' | 'query';
  accessKeyId: string;
  /** The scope: day, region, service. */
  date: string;
  region: string;
  service: string;
  signedHeaders: readonly string[];
  /** 64 hex digits. */
  signature: string;
  /** YYYYMMDD'T'HHMMSS'Z' */
  timestamp: string;
  /** Of a presigned URL: how long it may be used. */
  expiresSeconds: number | undefined;
  /** What stands for the payload in the canonical request: its SHA-256, or the name of a mode. */
  payload: string;
}

const ALGORITHM = 'AWS4-HMAC-SHA256';
const MAX_SKEW_MS = 15 * 60_000;
const MAX_EXPIRES_SECONDS = 7 * 24 * 3600;

const sha256 = (data: string | Buffer) => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();

/**
 * Finds the signature of a request.
 * @throws S3Error where there is none, more than one, or one that cannot be read
 */
export function readSignature(request: S3Request): Signature {
  const authorization = request.headers.get('authorization')?.[0];
  const isPresigned = request.query.has('X-Amz-Algorithm') || request.query.has('X-Amz-Signature');
  if (request.query.has('AWSAccessKeyId') || authorization?.startsWith('AWS ')) {
    throw new S3Error('InvalidRequest', `Signature version 2 is not supported. Please use ${ALGORITHM}.`);
  }
  if (authorization !== undefined && isPresigned) {
    throw new S3Error(
      'InvalidArgument',
      'Only one authentication is allowed: the Authorization header or the query parameters',
    );
  }
  if (headerOf(request, 'x-amz-security-token') !== undefined) throw new S3Error('InvalidToken');
  if (isPresigned) return readQuerySignature(request);
  if (authorization === undefined) {
    throw new S3Error('AccessDenied', 'This request is not signed. Sign it with an S3 access key (AWS4-HMAC-SHA256).');
  }
  return readHeaderSignature(request, authorization);
}

function readHeaderSignature(request: S3Request, authorization: string): Signature {
  const malformed = (what: string) => new S3Error('AuthorizationHeaderMalformed', what);
  if (!authorization.startsWith(`${ALGORITHM} `)) {
    throw new S3Error('InvalidRequest', `The authorization is not supported. Please use ${ALGORITHM}.`);
  }
  const fields = new Map<string, string>();
  for (const field of authorization.slice(ALGORITHM.length).split(',')) {
    const [, name, value] = /^\s*(\w+)=(\S*)\s*$/.exec(field) ?? [];
    if (!name || value === undefined || fields.has(name)) throw malformed('The authorization header is malformed');
    fields.set(name, value);
  }
  const payload = headerOf(request, 'x-amz-content-sha256');
  if (!payload) throw new S3Error('MissingSecurityHeader', 'The header x-amz-content-sha256 is missing');
  return {
    source: 'header',
    ...readScope(fields.get('Credential') ?? '', malformed),
    signedHeaders: readSignedHeaders(fields.get('SignedHeaders') ?? '', malformed),
    signature: fields.get('Signature') ?? '',
    timestamp: readTimestamp(request),
    expiresSeconds: undefined,
    payload,
  };
}

function readQuerySignature(request: S3Request): Signature {
  const { query } = request;
  const malformed = (what: string) => new S3Error('AuthorizationQueryParametersError', what);
  const parameter = (name: string) => {
    const value = query.get(name);
    if (value) return value;
    throw malformed(
      'Query-string authentication needs X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders and X-Amz-Expires',
    );
  };
  if (parameter('X-Amz-Algorithm') !== ALGORITHM) throw malformed(`X-Amz-Algorithm only supports ${ALGORITHM}`);
  const timestamp = parameter('X-Amz-Date');
  if (parseTimestamp(timestamp) === undefined) throw malformed("X-Amz-Date must be in the form yyyyMMdd'T'HHmmss'Z'");
  const expires = parameter('X-Amz-Expires');
  const expiresSeconds = /^\d{1,9}$/.test(expires) ? Number(expires) : 0;
  if (expiresSeconds < 1 || expiresSeconds > MAX_EXPIRES_SECONDS) {
    throw malformed(`X-Amz-Expires must be a number of seconds from 1 to ${MAX_EXPIRES_SECONDS}`);
  }
  return {
    source: 'query',
    ...readScope(parameter('X-Amz-Credential'), malformed),
    signedHeaders: readSignedHeaders(parameter('X-Amz-SignedHeaders'), malformed),
    signature: parameter('X-Amz-Signature'),
    timestamp,
    expiresSeconds,
    payload: headerOf(request, 'x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD',
  };
}

type Malformed = (what: string) => S3Error;

function readScope(credential: string, malformed: Malformed) {
  const [, accessKeyId, date, region, service, terminator] =
    /^([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/([^/]+)$/.exec(credential) ?? [];
  if (!accessKeyId || !date || !region || service !== 's3' || terminator !== 'aws4_request') {
    throw malformed('The credential must have the form <access key id>/YYYYMMDD/<region>/s3/aws4_request');
  }
  return { accessKeyId, date, region, service };
}

/** The list must be in order and without repetition, so that there is one canonical request and not several. */
function readSignedHeaders(list: string, malformed: Malformed): string[] {
  const names = list.split(';');
  const isCanonical = names.every(
    (name, index) => /^[\w!#$%&'*+.^`|~-]+$/.test(name) && !(name <= (names[index - 1] ?? '')),
  );
  if (!isCanonical || list !== list.toLowerCase()) {
    throw malformed('SignedHeaders must be lower-case names in alphabetical order, separated by semicolons');
  }
  return names;
}

function readTimestamp(request: S3Request): string {
  const sent = headerOf(request, 'x-amz-date');
  if (sent !== undefined && parseTimestamp(sent) !== undefined) return sent;
  const date = sent === undefined ? Date.parse(headerOf(request, 'date') ?? '') : Number.NaN;
  if (Number.isNaN(date)) throw new S3Error('AccessDenied', 'A signed request needs a valid x-amz-date header');
  return new Date(date).toISOString().replace(/[-:]|\.\d+/g, '');
}

function parseTimestamp(timestamp: string): number | undefined {
  const iso = timestamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z');
  const time = iso === timestamp ? Number.NaN : Date.parse(iso);
  return Number.isNaN(time) ? undefined : time;
}

/**
 * Checks what can be checked without the secret: region, time, and that all is signed that must be.
 * @throws S3Error
 */
export function checkSignature(signature: Signature, request: S3Request, region: string, now: number): void {
  if (signature.region !== region) {
    throw new S3Error(
      signature.source === 'header' ? 'AuthorizationHeaderMalformed' : 'AuthorizationQueryParametersError',
      `The region '${signature.region}' is wrong; expecting '${region}'`,
      { Region: region },
    );
  }
  checkTime(signature, now);
  const signed = new Set(signature.signedHeaders);
  const unsigned = [...request.headers.keys()].filter(
    (name) => !signed.has(name) && (name === 'host' || name.startsWith('x-amz-')),
  );
  if (!signed.has('host') || unsigned.length > 0) {
    throw new S3Error('AccessDenied', 'There were headers present in the request which were not signed', {
      HeadersNotSigned: unsigned.join(', ') || 'host',
    });
  }
}

function checkTime({ source, date, timestamp, expiresSeconds = 0 }: Signature, now: number): void {
  const time = parseTimestamp(timestamp) ?? 0;
  const serverTime = new Date(now).toISOString();
  if (!timestamp.startsWith(date)) {
    throw new S3Error(
      source === 'header' ? 'AuthorizationHeaderMalformed' : 'AuthorizationQueryParametersError',
      `The date of the credential, ${date}, is not that of the request, ${timestamp}`,
    );
  }
  if (source === 'header') {
    if (Math.abs(now - time) <= MAX_SKEW_MS) return;
    throw new S3Error('RequestTimeTooSkewed', undefined, {
      RequestTime: timestamp,
      ServerTime: serverTime,
      MaxAllowedSkewMilliseconds: MAX_SKEW_MS,
    });
  }
  if (time - now > MAX_SKEW_MS)
    throw new S3Error('AccessDenied', 'Request is not valid yet', { ServerTime: serverTime });
  if (now > time + expiresSeconds * 1000) {
    const expires = new Date(time + expiresSeconds * 1000).toISOString();
    throw new S3Error('AccessDenied', 'Request has expired', { Expires: expires, ServerTime: serverTime });
  }
}

/** The key that signs within one scope. */
export function signingKey(
  secret: string,
  { date, region, service }: Pick<Signature, 'date' | 'region' | 'service'>,
): Buffer {
  return hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), service), 'aws4_request');
}

const scopeOf = ({ date, region, service }: Signature) => `${date}/${region}/${service}/aws4_request`;

/** RFC 3986: all but the unreserved characters, with upper-case digits. */
export function uriEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

/** The request in the one form that client and server can both derive. */
export function canonicalRequest(
  request: S3Request,
  { signedHeaders, payload }: Pick<Signature, 'signedHeaders' | 'payload'>,
): string {
  const query = [...request.query]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [uriEncode(name), uriEncode(value)] as const)
    .sort(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
  const headers = signedHeaders.map((name) => {
    const values = request.headers.get(name);
    if (!values) throw new S3Error('SignatureDoesNotMatch', `The signed header ${name} is missing`);
    return `${name}:${values.map((value) => value.trim().replace(/\s+/g, ' ')).join(',')}\n`;
  });
  return [request.method, request.path, query, headers.join(''), signedHeaders.join(';'), payload].join('\n');
}

/**
 * Proves that whoever knows the secret signed this very request.
 * @returns what verifies the chunks of a payload that is signed piece by piece
 * @throws S3Error SignatureDoesNotMatch
 */
export function verifySignature(signature: Signature, request: S3Request, key: Buffer): ChunkSigner {
  const attempts = [request, asSignedByS3cmd(request)].map((form) => toSign(form, signature));
  if (!attempts.some(({ stringToSign }) => isEqual(hmac(key, stringToSign), signature.signature))) {
    throw new S3Error('SignatureDoesNotMatch', undefined, {
      AWSAccessKeyId: signature.accessKeyId,
      StringToSign: attempts[0]?.stringToSign ?? '',
      SignatureProvided: signature.signature,
      CanonicalRequest: attempts[0]?.canonical ?? '',
    });
  }
  return createChunkSigner(signature, key);
}

function toSign(request: S3Request, signature: Signature): { canonical: string; stringToSign: string } {
  const canonical = canonicalRequest(request, signature);
  // Headers came as bytes, and Node.js made one character of each.
  const hash = sha256(Buffer.from(canonical, 'latin1'));
  return { canonical, stringToSign: [ALGORITHM, signature.timestamp, scopeOf(signature), hash].join('\n') };
}

/**
 * s3cmd takes the path of an endpoint for a part of the host when it signs, though not when it sends. It says the
 * same: no Host header has a path, and no path that comes here lacks ours.
 */
function asSignedByS3cmd(request: S3Request): S3Request {
  const [host = ''] = request.headers.get('host') ?? [];
  return {
    ...request,
    path: request.path.slice(GATEWAY_PATH.length) || '/',
    headers: new Map(request.headers).set('host', [host + GATEWAY_PATH]),
  };
}

function isEqual(expected: Buffer, given: string): boolean {
  const presented = /^[0-9a-f]{64}$/.test(given) ? Buffer.from(given, 'hex') : Buffer.alloc(expected.length);
  return timingSafeEqual(expected, presented);
}

/**
 * Each signature covers the one before it, so that chunks cannot be cut, swapped or repeated
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html, sigv4-streaming-trailers.html).
 */
export interface ChunkSigner {
  /** @throws S3Error where the chunk with this SHA-256 was not signed to come here */
  chunk(sha256Hex: string, given: string): void;
  /** The same for the trailing headers: one line each, `name:value\n`. */
  trailer(lines: string, given: string): void;
}

const EMPTY_HASH = sha256('');

function createChunkSigner(seed: Signature, key: Buffer): ChunkSigner {
  let previous = seed.signature;
  const check = (kind: string, hashes: string[], given: string) => {
    const text = [`${ALGORITHM}-${kind}`, seed.timestamp, scopeOf(seed), previous, ...hashes].join('\n');
    const expected = hmac(key, text);
    if (!isEqual(expected, given)) {
      throw new S3Error(
        'SignatureDoesNotMatch',
        `The signature of a ${kind === 'PAYLOAD' ? 'chunk' : 'trailer'} does not match`,
      );
    }
    previous = given;
  };
  return {
    chunk: (hash, given) => check('PAYLOAD', [EMPTY_HASH, hash], given),
    trailer: (lines, given) => check('TRAILER', [sha256(lines)], given),
  };
}
