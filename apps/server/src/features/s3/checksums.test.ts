import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { CHECKSUM_ALGORITHMS, CHECKSUMS, type ChecksumAlgorithm, combineChecksums, isDigest } from './checksums.ts';

async function sum(algorithm: ChecksumAlgorithm, ...pieces: Buffer[]): Promise<string> {
  const checksum = await CHECKSUMS[algorithm].create();
  for (const piece of pieces) checksum.update(piece);
  return (await checksum.digest()).toString('base64');
}

// The check values of the catalogue of CRC algorithms, and those of FIPS 180, for "123456789".
test.each([
  ['CRC32', 'cbf43926'],
  ['CRC32C', 'e3069283'],
  ['CRC64NVME', 'ae8b14860a799888'],
  ['SHA1', 'f7c3bc1d808e04732adf679965ccc34ca7ae3441'],
  ['SHA256', '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225'],
] as const)('%s of the standard text', async (algorithm, hex) => {
  const value = Buffer.from(hex, 'hex').toString('base64');
  expect(await sum(algorithm, Buffer.from('1234'), Buffer.from('56789'))).toBe(value);
  expect(isDigest(algorithm, value)).toBe(true);
  expect(isDigest(algorithm, value.slice(2))).toBe(false);
});

test.each(['CRC32', 'CRC32C', 'CRC64NVME'] as const)(
  'the %s of parts combine to that of the whole',
  async (algorithm) => {
    const parts = [5_000, 5_000, 1, 0, 77_777].map((size) => randomBytes(size));
    const sums = await Promise.all(
      parts.map(async (part) => ({ value: await sum(algorithm, part), size: part.length })),
    );
    expect(await combineChecksums(algorithm, 'FULL_OBJECT', sums)).toBe(await sum(algorithm, ...parts));
  },
);

test('a composite checksum is that of the checksums, and tells how many there are', async () => {
  const parts = [Buffer.from('one'), Buffer.from('two')];
  const values = await Promise.all(parts.map((part) => sum('SHA256', part)));
  const whole = await sum('SHA256', ...values.map((value) => Buffer.from(value, 'base64')));
  expect(
    await combineChecksums(
      'SHA256',
      'COMPOSITE',
      values.map((value) => ({ value, size: 3 })),
    ),
  ).toBe(`${whole}-2`);
});

test('every algorithm sums up nothing too', async () => {
  for (const algorithm of CHECKSUM_ALGORITHMS) expect(isDigest(algorithm, await sum(algorithm))).toBe(true);
});
