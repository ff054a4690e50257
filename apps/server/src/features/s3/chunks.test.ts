import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { decodeChunks } from './chunks.ts';
import type { ChunkSigner } from './sigv4.ts';

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** Signs like SigV4 does, as far as the decoder sees: each signature depends on the one before and on the data. */
function signer(): ChunkSigner & { sign: (hash: string) => string } {
  let [given, made] = ['seed', 'seed'];
  const check = (hash: string, signature: string) => {
    given = sha256(given + hash);
    if (signature !== given) throw new Error('wrong signature');
  };
  return {
    chunk: check,
    trailer: (lines, signature) => check(sha256(lines), signature),
    sign: (hash) => (made = sha256(made + hash)),
  };
}

/** The text as a stream that is cut every `step` characters. */
async function* stream(text: string, step: number): AsyncGenerator<Buffer> {
  for (let start = 0; start < text.length; start += step) yield Buffer.from(text.slice(start, start + step));
}

async function decode(text: string, format: Parameters<typeof decodeChunks>[1], step = 1000) {
  const chunks = decodeChunks(stream(text, step), format);
  let [out, result] = ['', await chunks.next()];
  for (; !result.done; result = await chunks.next()) out += result.value.toString();
  return { out, trailers: Object.fromEntries(result.value) };
}

const UNSIGNED = { signer: undefined, trailers: ['x-amz-checksum-crc32'] };

test.each([1, 2, 3, 7, 1000])(
  'chunks and trailers are found wherever the stream is cut (every %i bytes)',
  async (step) => {
    const text = '5\r\nhello\r\n3\r\n \r\n\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n';
    expect(await decode(text, UNSIGNED, step)).toEqual({
      out: 'hello \r\n',
      trailers: { 'x-amz-checksum-crc32': 'AAAAAA==' },
    });
  },
);

test.each([
  { what: 'no final line end', end: '0\r\nx-amz-checksum-crc32:AAAAAA==\r\n' },
  { what: 'LF CR LF', end: '0\r\nx-amz-checksum-crc32:AAAAAA==\n\r\n\r\n\r\n' },
  { what: 'upper case and spaces', end: '0\r\nX-Amz-Checksum-CRC32: AAAAAA== \r\n\r\n' },
])('a trailer may end as clients end it: $what', async ({ end }) => {
  expect((await decode(`1\r\na\r\n${end}`, UNSIGNED)).trailers).toEqual({ 'x-amz-checksum-crc32': 'AAAAAA==' });
});

test.each([
  { what: 'cut within a chunk', text: '5\r\nhel', code: 'IncompleteBody' },
  { what: 'cut between chunks', text: '5\r\nhello\r\n', code: 'IncompleteBody' },
  { what: 'cut within a size', text: '5', code: 'IncompleteBody' },
  { what: 'nothing at all', text: '', code: 'IncompleteBody' },
  { what: 'a chunk longer than it says', text: '4\r\nhello\r\n0\r\n\r\n', code: 'InvalidRequest' },
  { what: 'a size that is none', text: 'x\r\nhello\r\n', code: 'InvalidRequest' },
  { what: 'a negative size', text: '-1\r\nhello\r\n', code: 'InvalidRequest' },
  { what: 'an endless size', text: `${'0'.repeat(5000)}\r\n`, code: 'InvalidRequest' },
  {
    what: 'a signature where none belongs',
    text: `1;chunk-signature=${'a'.repeat(64)}\r\na\r\n`,
    code: 'InvalidRequest',
  },
  { what: 'a trailer that is missing', text: '0\r\n\r\n', code: 'InvalidRequest' },
  { what: 'a trailer that was not announced', text: '0\r\nx-amz-meta-a:1\r\n\r\n', code: 'InvalidRequest' },
  {
    what: 'a trailer twice',
    text: '0\r\nx-amz-checksum-crc32:AAAAAA==\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n',
    code: 'InvalidRequest',
  },
  {
    what: 'a signature of unsigned trailers',
    text: `0\r\nx-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:${'a'.repeat(64)}\r\n\r\n`,
    code: 'InvalidRequest',
  },
])('refused: $what', async ({ text, code }) => {
  await expect(decode(text, UNSIGNED)).rejects.toMatchObject({ code });
});

test('bytes after the last chunk are refused', async () => {
  const format = { signer: undefined, trailers: undefined };
  expect((await decode('1\r\na\r\n0\r\n\r\n', format)).out).toBe('a');
  await expect(decode('1\r\na\r\n0\r\n\r\nmore', format)).rejects.toMatchObject({ code: 'InvalidRequest' });
});

/** A body of signed chunks, with the last one that has no bytes. */
function signedBody(chunks: string[]): { format: Parameters<typeof decodeChunks>[1]; pieces: string[] } {
  const made = signer();
  const pieces = [...chunks, ''].map(
    (chunk) => `${chunk.length.toString(16)};chunk-signature=${made.sign(sha256(chunk))}\r\n${chunk}\r\n`,
  );
  return { format: { signer: made, trailers: undefined }, pieces };
}

test('signed chunks come out in their order', async () => {
  const { format, pieces } = signedBody(['one', 'two', 'three']);
  expect((await decode(pieces.join(''), format, 5)).out).toBe('onetwothree');
});

test.each([
  { what: 'swapped', change: ([a, b, ...rest]: string[]) => [b, a, ...rest] },
  { what: 'left out', change: ([a, , ...rest]: string[]) => [a, ...rest] },
  { what: 'repeated', change: ([a, ...rest]: string[]) => [a, a, ...rest] },
  { what: 'altered', change: (pieces: string[]) => pieces.map((piece) => piece.replace('two', 'TWO')) },
  {
    what: 'stripped of a signature',
    change: (pieces: string[]) => pieces.map((piece) => piece.replace(/;[^\r]+/, '')),
  },
  { what: 'cut at the end, the last one put behind', change: ([a, ...rest]: string[]) => [a, rest.at(-1)] },
])('signed chunks that are $what are refused', async ({ change }) => {
  const { format, pieces } = signedBody(['one', 'two', 'three']);
  await expect(decode(change(pieces).join(''), format)).rejects.toThrow(/signature/);
});

test('the bytes of a chunk come out only after its signature was verified', async () => {
  const { format, pieces } = signedBody(['one', 'two']);
  const wrong = pieces.join('').replace('two', 'TWO');
  const out: string[] = [];
  const read = async () => {
    for await (const piece of decodeChunks(stream(wrong, 1), format)) out.push(piece.toString());
  };
  await expect(read()).rejects.toThrow('signature');
  expect(out.join('')).toBe('one');
});
