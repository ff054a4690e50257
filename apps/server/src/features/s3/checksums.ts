import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** A checksum that is fed piece by piece. */
export interface Checksum {
  update(data: Uint8Array): void;
  digest(): Promise<Buffer> | Buffer;
}

/** COMPOSITE: a checksum of the checksums of the parts. FULL_OBJECT: of the bytes, however they arrived. */
export type ChecksumType = 'COMPOSITE' | 'FULL_OBJECT';

interface Algorithm {
  /** The length of the digest. */
  bytes: number;
  /** Of a CRC: its polynomial, lowest power first. */
  polynomial?: bigint;
  /** What a multipart upload may ask for, its default first. */
  types: readonly ChecksumType[];
  create(): Promise<Checksum> | Checksum;
}

/**
 * All about the checksums of S3
 * (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html).
 */
export const CHECKSUMS = {
  CRC32: { bytes: 4, polynomial: 0xedb88320n, types: ['COMPOSITE', 'FULL_OBJECT'], create: createCrc32 },
  CRC32C: {
    bytes: 4,
    polynomial: 0x82f63b78n,
    types: ['COMPOSITE', 'FULL_OBJECT'],
    create: () => createCrc('Crc32c'),
  },
  CRC64NVME: {
    bytes: 8,
    polynomial: 0x9a6c9329ac4bc9b5n,
    types: ['FULL_OBJECT'],
    create: () => createCrc('Crc64Nvme'),
  },
  SHA1: { bytes: 20, types: ['COMPOSITE'], create: () => createDigest('sha1') },
  SHA256: { bytes: 32, types: ['COMPOSITE'], create: () => createDigest('sha256') },
} as const satisfies Record<string, Algorithm>;

export type ChecksumAlgorithm = keyof typeof CHECKSUMS;

export const CHECKSUM_ALGORITHMS = Object.keys(CHECKSUMS) as readonly ChecksumAlgorithm[];

/** The name of the header, and of the trailer. */
export const checksumHeader = (algorithm: ChecksumAlgorithm) => `x-amz-checksum-${algorithm.toLowerCase()}`;

/** The name of the XML element. */
export const checksumElement = (algorithm: ChecksumAlgorithm) => `Checksum${algorithm}`;

export const isChecksumAlgorithm = (name: string): name is ChecksumAlgorithm => Object.hasOwn(CHECKSUMS, name);

/** True for base64 of as many bytes as the algorithm makes. */
export function isDigest(algorithm: ChecksumAlgorithm, base64: string): boolean {
  const bytes = Buffer.from(base64, 'base64');
  return bytes.length === CHECKSUMS[algorithm].bytes && bytes.toString('base64') === base64;
}

/** The checksum of an object from those of its parts, all in base64. */
export async function combineChecksums(
  algorithm: ChecksumAlgorithm,
  type: ChecksumType,
  parts: readonly { value: string; size: number }[],
): Promise<string> {
  if (type === 'FULL_OBJECT') return combineCrcs(algorithm, parts);
  const checksum = await CHECKSUMS[algorithm].create();
  checksum.update(Buffer.concat(parts.map(({ value }) => Buffer.from(value, 'base64'))));
  return `${(await checksum.digest()).toString('base64')}-${parts.length}`;
}

/**
 * A CRC is the rest of a division: that of bytes followed by n others is multiplied by x^8n, and the CRC of the
 * others added. So the checksum of the whole needs the parts' checksums only, and not their bytes.
 */
function combineCrcs(algorithm: ChecksumAlgorithm, parts: readonly { value: string; size: number }[]): string {
  const { bytes, polynomial }: Algorithm = CHECKSUMS[algorithm];
  if (polynomial === undefined) throw new Error(`${algorithm} is no CRC`);
  const one = 1n << BigInt(bytes * 8 - 1);
  const multiply = (a: bigint, b: bigint) => {
    let [product, factor] = [0n, b];
    for (let bit = one; bit > 0n; bit >>= 1n) {
      if (a & bit) product ^= factor;
      factor = factor & 1n ? (factor >> 1n) ^ polynomial : factor >> 1n;
    }
    return product;
  };
  const powerOf = (size: number) => {
    let [power, square] = [one, one >> 8n];
    for (let rest = BigInt(size); rest > 0n; rest >>= 1n) {
      if (rest & 1n) power = multiply(square, power);
      square = multiply(square, square);
    }
    return power;
  };
  // Nearly all parts of an upload have the same size.
  const powers = new Map<number, bigint>();
  let whole = 0n;
  for (const { value, size } of parts) {
    const power = powers.get(size) ?? powerOf(size);
    powers.set(size, power);
    whole = multiply(power, whole) ^ BigInt(`0x${Buffer.from(value, 'base64').toString('hex')}`);
  }
  return Buffer.from(whole.toString(16).padStart(bytes * 2, '0'), 'hex').toString('base64');
}

/** Passes bytes on and sums them up; the sum is known when they have ended. */
export function summedUp(
  source: AsyncIterable<Uint8Array>,
  algorithm: ChecksumAlgorithm | undefined,
): { bytes: AsyncIterable<Uint8Array>; sums: () => Record<string, string> } {
  const sums: Record<string, string> = {};
  async function* pass() {
    const checksum = algorithm && (await CHECKSUMS[algorithm].create());
    for await (const chunk of source) {
      checksum?.update(chunk);
      yield chunk;
    }
    if (algorithm && checksum) sums[algorithm] = (await checksum.digest()).toString('base64');
  }
  return { bytes: pass(), sums: () => sums };
}

function createDigest(name: string): Checksum & Hash {
  return createHash(name);
}

function createCrc32(): Checksum {
  let value = 0;
  return {
    update(data) {
      value = crc32(data, value);
    },
    digest() {
      const digest = Buffer.alloc(4);
      digest.writeUInt32BE(value);
      return digest;
    },
  };
}

/** Node.js has neither of these two; the AWS SDK, which is here for the storage driver, brings them. */
async function createCrc(name: 'Crc32c' | 'Crc64Nvme'): Promise<Checksum> {
  const crc = await import('@aws-sdk/checksums/crc');
  const checksum = new crc[name]();
  return {
    update: (data) => checksum.update(data),
    digest: async () => Buffer.from(await checksum.digest()),
  };
}
