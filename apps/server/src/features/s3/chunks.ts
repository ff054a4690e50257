import { createHash } from 'node:crypto';
import { S3Error } from './errors.ts';
import type { ChunkSigner } from './sigv4.ts';

/** How a body in the content coding aws-chunked is to be read. */
export interface ChunkedFormat {
  /** Present where every chunk carries a signature. */
  signer: ChunkSigner | undefined;
  /** The trailing headers that were announced; undefined where the mode has none. */
  trailers: readonly string[] | undefined;
}

/** A chunk is held until its signature is proven, so this is memory. Clients send 64 KiB to a few MiB. */
const MAX_SIGNED_CHUNK = 16 * 1024 * 1024;
const MAX_LINE = 4096;

const malformed = (what: string) => new S3Error('InvalidRequest', `The aws-chunked body is malformed: ${what}`);

/**
 * Unpacks an aws-chunked body. Bytes of a signed chunk come out only after its signature was verified, and the
 * generator returns only after the last chunk and the trailers were: whoever stores what comes out must not
 * keep any of it before the end.
 * @returns the trailing headers by lower-case name
 * @throws S3Error
 */
export async function* decodeChunks(
  source: AsyncIterable<Uint8Array>,
  { signer, trailers }: ChunkedFormat,
): AsyncGenerator<Uint8Array, Map<string, string>> {
  const reader = createReader(source);
  for (;;) {
    const { size, signature } = readChunkHead(await reader.line(), signer !== undefined);
    if (signer && size > MAX_SIGNED_CHUNK) throw malformed(`a chunk has more than ${MAX_SIGNED_CHUNK} bytes`);
    if (signer) yield* await readSignedChunk(reader, size, (hash) => signer.chunk(hash, signature));
    else yield* reader.bytes(size);
    if (size === 0) break;
    await expectLineEnd(reader);
  }
  const found = trailers ? await readTrailers(reader, trailers, signer) : await expectLineEnd(reader);
  if (!(await reader.isAtEnd())) throw malformed('there are bytes after the last chunk');
  return found ?? new Map();
}

const HEAD = /^([0-9a-fA-F]{1,8})(?:;chunk-signature=([0-9a-f]{64}))?$/;

function readChunkHead(line: string, isSigned: boolean): { size: number; signature: string } {
  const [, size, signature] = HEAD.exec(line) ?? [];
  if (size === undefined || (!isSigned && signature !== undefined)) throw malformed('a chunk has no valid size');
  if (isSigned && signature === undefined) throw new S3Error('SignatureDoesNotMatch', 'A chunk has no signature');
  return { size: Number.parseInt(size, 16), signature: signature ?? '' };
}

async function readSignedChunk(reader: Reader, size: number, verify: (hash: string) => void): Promise<Uint8Array[]> {
  const hash = createHash('sha256');
  const pieces: Uint8Array[] = [];
  for await (const piece of reader.bytes(size)) {
    hash.update(piece);
    pieces.push(piece);
  }
  verify(hash.digest('hex'));
  return pieces;
}

async function expectLineEnd(reader: Reader): Promise<undefined> {
  if ((await reader.line()) !== '') throw malformed('a chunk is longer than its size');
}

const TRAILER_SIGNATURE = 'x-amz-trailer-signature';

async function readTrailers(
  reader: Reader,
  announced: readonly string[],
  signer: ChunkSigner | undefined,
): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  let signature = '';
  while (!(await reader.isAtEnd())) {
    // Some clients end a trailer with LF CR LF, as an example of AWS's documentation does.
    const line = (await reader.line()).trim();
    if (line === '') continue;
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (name === TRAILER_SIGNATURE && signer) signature = value;
    else if (!announced.includes(name) || found.has(name) || signature)
      throw malformed(`the trailer ${name} was not announced`);
    else found.set(name, value);
  }
  if (found.size !== announced.length) throw malformed('an announced trailer is missing');
  signer?.trailer([...found].map(([name, value]) => `${name}:${value}\n`).join(''), signature);
  return found;
}

interface Reader {
  /** Up to the next line end, without it. */
  line(): Promise<string>;
  /** Exactly so many bytes, in pieces. */
  bytes(size: number): AsyncGenerator<Uint8Array, void>;
  isAtEnd(): Promise<boolean>;
}

const toBuffer = ({ buffer, byteOffset, length }: Uint8Array) => Buffer.from(buffer, byteOffset, length);

/** Reads lines and counted bytes from a stream of buffers that begin and end anywhere. */
function createReader(source: AsyncIterable<Uint8Array>): Reader {
  const iterator = source[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  const more = async () => {
    const { done, value } = await iterator.next();
    if (done) return false;
    rest = rest.length === 0 ? toBuffer(value) : Buffer.concat([rest, value]);
    return true;
  };
  const cut = () => new S3Error('IncompleteBody', 'The body ended before its last chunk');
  return {
    async line() {
      let end = rest.indexOf('\r\n');
      while (end < 0) {
        if (rest.length > MAX_LINE) throw malformed('a line is too long');
        if (!(await more())) throw cut();
        end = rest.indexOf('\r\n');
      }
      const line = rest.toString('latin1', 0, end);
      rest = rest.subarray(end + 2);
      return line;
    },
    async *bytes(size) {
      for (let missing = size; missing > 0; ) {
        if (rest.length === 0 && !(await more())) throw cut();
        const piece = rest.subarray(0, missing);
        rest = rest.subarray(piece.length);
        missing -= piece.length;
        if (piece.length > 0) yield piece;
      }
    },
    async isAtEnd() {
      while (rest.length === 0) if (!(await more())) return true;
      return false;
    },
  };
}
