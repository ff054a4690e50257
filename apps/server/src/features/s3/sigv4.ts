import { createHmac, createSecretKey, hash, type KeyObject, timingSafeEqual } from 'node:crypto';
import { S3Error } from './errors.ts';
import { GATEWAY_PATH, type S3Request } from './request.ts';
import { ALGORITHM, type Signature } from './signature.ts';

/*
 * AWS Signature Version 4 as S3 has it: the path is encoded once and never normalised
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, sigv4-query-string-auth.html).
 */

const sha256 = (data: string | Buffer) => hash('sha256', data, 'hex');
const hmac = (key: string | Buffer | KeyObject, text: string) => createHmac('sha256', key).update(text).digest();

/** The key that signs within one scope. As an object, since Node.js makes one of bytes each time they are used. */
export function signingKey(
  secret: string,
  { date, region, service }: Pick<Signature, 'date' | 'region' | 'service'>,
): KeyObject {
  return createSecretKey(hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), service), 'aws4_request'));
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
export function verifySignature(signature: Signature, request: S3Request, key: KeyObject): ChunkSigner {
  const { canonical, stringToSign } = toSign(request, signature);
  const isSigned = (text: string) => isEqual(hmac(key, text), signature.signature);
  if (isSigned(stringToSign) || isSigned(toSign(asSignedByS3cmd(request), signature).stringToSign)) {
    return createChunkSigner(signature, key);
  }
  throw new S3Error('SignatureDoesNotMatch', undefined, {
    AWSAccessKeyId: signature.accessKeyId,
    StringToSign: stringToSign,
    SignatureProvided: signature.signature,
    CanonicalRequest: canonical,
  });
}

function toSign(request: S3Request, signature: Signature): { canonical: string; stringToSign: string } {
  const canonical = canonicalRequest(request, signature);
  // Headers came as bytes, and Node.js made one character of each.
  const digest = sha256(Buffer.from(canonical, 'latin1'));
  return { canonical, stringToSign: [ALGORITHM, signature.timestamp, scopeOf(signature), digest].join('\n') };
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

function createChunkSigner(seed: Signature, key: KeyObject): ChunkSigner {
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
    chunk: (digest, given) => check('PAYLOAD', [EMPTY_HASH, digest], given),
    trailer: (lines, given) => check('TRAILER', [sha256(lines)], given),
  };
}
