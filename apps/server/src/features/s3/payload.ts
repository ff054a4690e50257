import { createHash, timingSafeEqual } from 'node:crypto';
import {
  CHECKSUM_ALGORITHMS,
  CHECKSUMS,
  type Checksum,
  type ChecksumAlgorithm,
  checksumHeader,
  isChecksumAlgorithm,
  isDigest,
} from './checksums.ts';
import { decodeChunks } from './chunks.ts';
import { S3Error } from './errors.ts';
import { headerOf, type S3Request } from './request.ts';
import type { Signature } from './signature.ts';
import type { ChunkSigner } from './sigv4.ts';

/** A checksum that came with a body, in base64. */
export interface SentChecksum {
  algorithm: ChecksumAlgorithm;
  value: string;
}

/** The body of a request whose signature was verified. */
export interface Payload {
  /** The number of bytes, without what the chunks add. */
  size: number;
  /** The algorithm of the checksum that the client sent, or is going to send behind the body. */
  algorithm: ChecksumAlgorithm | undefined;
  /**
   * The bytes. It fails, at the latest at its end, if they are not what was signed, announced, or summed up:
   * whoever stores them must not keep any before it has returned.
   * @param wanted a checksum to compute where the client sent none
   */
  read(wanted?: ChecksumAlgorithm): AsyncIterableIterator<Uint8Array, undefined>;
  /** Verified or computed; known when `read` has returned. */
  checksum(): SentChecksum | undefined;
}

interface Mode {
  /** The body is aws-chunked. */
  isChunked: boolean;
  /** Every chunk has a signature. */
  isSigned: boolean;
  hasTrailers: boolean;
}

/**
 * What x-amz-content-sha256 may say instead of a hash
 * (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html).
 */
const MODES: ReadonlyMap<string, Mode> = new Map([
  ['UNSIGNED-PAYLOAD', { isChunked: false, isSigned: false, hasTrailers: false }],
  ['STREAMING-UNSIGNED-PAYLOAD-TRAILER', { isChunked: true, isSigned: false, hasTrailers: true }],
  ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD', { isChunked: true, isSigned: true, hasTrailers: false }],
  ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', { isChunked: true, isSigned: true, hasTrailers: true }],
]);

const HASHED: Mode = { isChunked: false, isSigned: false, hasTrailers: false };

interface PayloadOptions {
  request: S3Request;
  signature: Signature;
  signer: ChunkSigner;
  body: AsyncIterable<Uint8Array, undefined>;
  /** True where checksum headers are about the body. */
  sumsBody: boolean;
}

/**
 * Decides how the body is to be read and what it will be held against.
 * @throws S3Error before a byte is read, for what can be seen from the headers
 */
export function openPayload({ request, signature, signer, body, sumsBody }: PayloadOptions): Payload {
  const mode = readMode(signature);
  const size = readSize(request, mode);
  const trailers = mode.hasTrailers ? readTrailerNames(request) : undefined;
  const announced = sumsBody ? readChecksum(request, trailers) : undefined;
  const md5 = readMd5(request);
  let checksum: SentChecksum | undefined;

  const read = (wanted?: ChecksumAlgorithm): AsyncIterableIterator<Uint8Array, undefined> => {
    const format = { signer: mode.isSigned ? signer : undefined, trailers };
    const chunks = mode.isChunked ? decodeChunks(body, format) : body[Symbol.asyncIterator]();
    let inspection: Inspection | undefined;
    let received = 0;
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      async next() {
        inspection ??= await createInspection(signature.payload, md5, announced?.algorithm ?? wanted);
        const step = await chunks.next();
        if (!step.done) {
          received += step.value.length;
          if (received > size) throw new S3Error('IncompleteBody');
          inspection.update(step.value);
          return { done: false, value: step.value };
        }
        if (received !== size) throw new S3Error('IncompleteBody');
        const trailer = announced && step.value?.get(checksumHeader(announced.algorithm));
        checksum = await inspection.finish(trailer ?? announced?.value);
        return { done: true, value: undefined };
      },
    };
  };

  return { size, algorithm: announced?.algorithm, read, checksum: () => checksum };
}

function readMode({ payload, source }: Signature): Mode {
  if (/^[0-9a-f]{64}$/.test(payload)) return HASHED;
  const mode = MODES.get(payload);
  if (mode && !(mode.isChunked && source === 'query')) return mode;
  if (mode) throw new S3Error('InvalidRequest', `${payload} cannot be used with a presigned URL`);
  if (payload.startsWith('STREAMING-')) throw new S3Error('NotImplemented', `${payload} is not implemented`);
  throw new S3Error(
    'InvalidArgument',
    `x-amz-content-sha256 must be a SHA-256 in hex or one of ${[...MODES.keys()].join(', ')}`,
  );
}

function readSize(request: S3Request, mode: Mode): number {
  const name = mode.isChunked ? 'x-amz-decoded-content-length' : 'content-length';
  const text = headerOf(request, name);
  // Without a body, Node.js and many clients leave the header out.
  if (text === undefined && !mode.isChunked && !request.headers.has('transfer-encoding')) return 0;
  if (text === undefined) throw new S3Error('MissingContentLength', `You must provide the header ${name}`);
  if (!/^\d{1,15}$/.test(text)) throw new S3Error('InvalidArgument', `The header ${name} must be a number`);
  return Number(text);
}

function readTrailerNames(request: S3Request): string[] {
  const names = (headerOf(request, 'x-amz-trailer') ?? '').toLowerCase().split(',');
  const trimmed = names.map((name) => name.trim()).filter((name) => name !== '');
  const known = new Set<string>(CHECKSUM_ALGORITHMS.map(checksumHeader));
  const unknown = trimmed.find((name) => !known.has(name));
  if (unknown !== undefined)
    throw new S3Error('InvalidRequest', `The value specified in x-amz-trailer is not supported: ${unknown}`);
  return trimmed;
}

/** The one checksum that the body will be held against, from a header, or announced as a trailer. */
function readChecksum(
  request: S3Request,
  trailers: readonly string[] = [],
): { algorithm: ChecksumAlgorithm; value: string | undefined } | undefined {
  const sent = CHECKSUM_ALGORITHMS.flatMap((algorithm) => {
    const name = checksumHeader(algorithm);
    const value = headerOf(request, name);
    const isTrailer = trailers.includes(name);
    if (isSumOfNothing(request, name, value)) return [];
    return value !== undefined || isTrailer ? [{ algorithm, value: isTrailer ? undefined : value }] : [];
  });
  if (sent.length > 1) throw new S3Error('InvalidRequest', 'Expecting a single x-amz-checksum- header');
  const [checksum] = sent;
  if (checksum?.value !== undefined) checkDigest(checksum.algorithm, checksum.value);
  const named = headerOf(request, 'x-amz-sdk-checksum-algorithm')?.toUpperCase();
  if (named !== undefined && !isChecksumAlgorithm(named)) {
    throw new S3Error('InvalidRequest', `The checksum algorithm ${named} is not supported`);
  }
  return checksum;
}

/**
 * A URL is presigned before its body is known, and SDKs then sign the CRC32 of nothing into it. S3 does not hold
 * that against the body; every other checksum in a URL counts
 * (https://github.com/aws/aws-sdk-js-v3/issues/6994).
 */
const isSumOfNothing = ({ headers }: S3Request, name: string, value: string | undefined) =>
  value === 'AAAAAA==' && !headers.has(name);

function checkDigest(algorithm: ChecksumAlgorithm, value: string): void {
  if (isDigest(algorithm, value)) return;
  throw new S3Error('InvalidRequest', `Value for ${checksumHeader(algorithm)} header is invalid.`);
}

function readMd5(request: S3Request): Buffer | undefined {
  const text = headerOf(request, 'content-md5');
  if (text === undefined) return undefined;
  const md5 = Buffer.from(text, 'base64');
  if (md5.length !== 16 || md5.toString('base64') !== text) throw new S3Error('InvalidDigest');
  return md5;
}

interface Inspection {
  update(data: Uint8Array): void;
  /** @throws S3Error where what was seen is not what was announced */
  finish(expected: string | undefined): Promise<SentChecksum | undefined>;
}

async function createInspection(
  payload: string,
  md5: Buffer | undefined,
  algorithm: ChecksumAlgorithm | undefined,
): Promise<Inspection> {
  const sha256Hash = MODES.has(payload) ? undefined : createHash('sha256');
  const md5Hash = md5 && createHash('md5');
  const checksumHash: Checksum | undefined = algorithm && (await CHECKSUMS[algorithm].create());
  return {
    update(data) {
      sha256Hash?.update(data);
      md5Hash?.update(data);
      checksumHash?.update(data);
    },
    async finish(expected) {
      if (sha256Hash && !timingSafeEqual(sha256Hash.digest(), Buffer.from(payload, 'hex'))) {
        throw new S3Error('XAmzContentSHA256Mismatch');
      }
      if (md5 && md5Hash?.digest().equals(md5) === false) {
        throw new S3Error('BadDigest', 'The Content-MD5 you specified did not match what we received.');
      }
      if (!algorithm || !checksumHash) return undefined;
      if (expected !== undefined) checkDigest(algorithm, expected);
      const value = (await checksumHash.digest()).toString('base64');
      if (value !== (expected ?? value)) {
        throw new S3Error('BadDigest', `The ${algorithm} you specified did not match the calculated checksum.`);
      }
      return { algorithm, value };
    },
  };
}

const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024;

/** Reads a body that is an XML document, as far as it is none that only wants to fill the memory. */
export async function readDocument({ size, read }: Payload): Promise<string> {
  if (size > MAX_DOCUMENT_BYTES)
    throw new S3Error('EntityTooLarge', `The document has more than ${MAX_DOCUMENT_BYTES} bytes`);
  const pieces: Uint8Array[] = [];
  for await (const piece of read()) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}
