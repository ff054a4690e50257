import { expect, test } from 'vitest';
import { Lines } from './lines.ts';

const SCRIPT = 'first\nCOPY t FROM stdin;\n1\\.\n\\.x\n\\\\.\nä\n\\.\nafter\nCOPY u FROM stdin;\n\\. \t\r\nlast';

/** What there is to read, however the bytes are cut into chunks. */
async function readAll(chunks: Buffer[]) {
  const lines = new Lines(
    (async function* () {
      yield* chunks;
    })(),
  );
  const read: [line: number, text: string][] = [];
  for (let line = await lines.next(); line !== undefined; line = await lines.next()) {
    read.push([lines.number, line]);
    if (!line.startsWith('COPY')) continue;
    const data: Buffer[] = [];
    for await (const piece of lines.data()) data.push(piece);
    read.push([lines.number, Buffer.concat(data).toString()]);
  }
  return { read, bytes: lines.bytes };
}

test('lines and data are found wherever the bytes are cut', async () => {
  const bytes = Buffer.from(SCRIPT);
  const single = Array.from(bytes, (byte) => Buffer.from([byte]));
  const cuts = single.map((_, index) => [bytes.subarray(0, index), bytes.subarray(index)]);
  for (const chunks of [[bytes], single, ...cuts]) {
    expect(await readAll(chunks)).toEqual({
      read: [
        [1, 'first\n'],
        [2, 'COPY t FROM stdin;\n'],
        [7, '1\\.\n\\.x\n\\\\.\nä\n'],
        [8, 'after\n'],
        [9, 'COPY u FROM stdin;\n'],
        [10, ''],
        [11, 'last'],
      ],
      bytes: bytes.length,
    });
  }
});

test('data that nothing ends goes to the end of the file', async () => {
  for (const [end, data] of [
    ['1\n2', '1\n2'],
    ['1\n\\.', '1\n'],
    ['1\n\\', '1\n\\'],
  ]) {
    const { read } = await readAll([Buffer.from(`COPY t FROM stdin;\n${end}`)]);
    expect([end, read[1]?.[1]]).toEqual([end, data]);
  }
});

test('a row of many megabytes is passed on as it comes, a line of SQL has a limit', async () => {
  const megabyte = Buffer.alloc(1024 * 1024, 'x');
  const lines = new Lines(
    (async function* () {
      yield Buffer.from('\n');
      for (let count = 0; count < 65; count++) yield megabyte;
    })(),
  );
  expect(await lines.next()).toBe('\n');
  const pieces: number[] = [];
  for await (const piece of lines.data()) pieces.push(piece.length);
  expect(pieces).toEqual(Array.from({ length: 65 }, () => megabyte.length));
  const long = new Lines(
    (async function* () {
      for (let count = 0; count < 70; count++) yield megabyte;
    })(),
  );
  await expect(long.next()).rejects.toThrow('Line 1 is longer than 64 MB');
});
