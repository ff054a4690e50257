import { S3Error } from './errors.ts';
import { headerOf, type S3Request } from './request.ts';

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
  /** YYYYMMDD'T'HHMMSS'Z', as it was signed. */
  timestamp: string;
  /** The same in milliseconds since 1970. */
  time: number;
  /** Of a presigned URL: how long it may be used. */
  expiresSeconds: number | undefined;
  /** What stands for the payload in the canonical request: its SHA-256, or the name of a mode. */
  payload: string;
}

export const ALGORITHM = 'AWS4-HMAC-SHA256';
const MAX_SKEW_MS = 15 * 60_000;
const MAX_EXPIRES_SECONDS = 7 * 24 * 3600;

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
    ...readTimestamp(request),
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
  const time = parseTimestamp(timestamp);
  if (time === undefined) throw malformed("X-Amz-Date must be in the form yyyyMMdd'T'HHmmss'Z'");
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
    time,
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

function readTimestamp(request: S3Request): Pick<Signature, 'timestamp' | 'time'> {
  const sent = headerOf(request, 'x-amz-date');
  const time = sent === undefined ? Date.parse(headerOf(request, 'date') ?? '') : parseTimestamp(sent);
  if (time === undefined || Number.isNaN(time)) {
    throw new S3Error('AccessDenied', 'A signed request needs a valid x-amz-date header');
  }
  return { timestamp: sent ?? new Date(time).toISOString().replace(/[-:]|\.\d+/g, ''), time };
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

function checkTime({ source, date, timestamp, time, expiresSeconds = 0 }: Signature, now: number): void {
  const serverTime = () => new Date(now).toISOString();
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
      ServerTime: serverTime(),
      MaxAllowedSkewMilliseconds: MAX_SKEW_MS,
    });
  }
  if (time - now > MAX_SKEW_MS)
    throw new S3Error('AccessDenied', 'Request is not valid yet', { ServerTime: serverTime() });
  if (now > time + expiresSeconds * 1000) {
    const expires = new Date(time + expiresSeconds * 1000).toISOString();
    throw new S3Error('AccessDenied', 'Request has expired', { Expires: expires, ServerTime: serverTime() });
  }
}
