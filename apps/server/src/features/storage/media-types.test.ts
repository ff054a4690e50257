import { createHash } from 'node:crypto';
import { fileTypeFromBuffer } from 'file-type';
import { expect, test } from 'vitest';
import { detectType } from './media-types.ts';

/** What files of many kinds begin with, as hexadecimal digits or as text. */
const BEGINNINGS = [
  [
    '89504e470d0a1a0a0000000d49484452',
    'ffd8ffe000104a464946',
    'GIF89a',
    'RIFF....WEBPVP8 ',
    'RIFF....WAVEfmt ',
    'RIFF....AVI ',
  ],
  [
    '%PDF-1.7',
    '%!PS-Adobe-3.0 EPSF-3.0',
    '504b0304140000000800',
    '504b0506',
    '1f8b0800',
    '425a68',
    'fd377a585a00',
    '377abcaf271c',
  ],
  [
    '....ftypisom',
    '....ftypheic',
    '....ftypavif',
    '....ftypM4A ',
    '....ftypqt  ',
    '1a45dfa3',
    'OggS',
    'fLaC',
    'ID3',
    'fffb9064',
  ],
  [
    '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg">',
    '<svg xmlns="http://www.w3.org/2000/svg"/>',
    '<!DOCTYPE html>',
  ],
  [
    '7f454c46',
    '4d5a9000',
    'cafebabe',
    '0061736d01000000',
    'SQLite format 3',
    'wOFF',
    'wOF2',
    '00010000',
    'OTTO',
    'BM',
    'II*.',
    'MM.*',
  ],
  [
    '{"a":1}',
    'a,b,c',
    '-----BEGIN PGP MESSAGE-----',
    'BEGIN:VCARD',
    '{\\rtf1',
    'd0cf11e0a1b11ae1',
    'FWS',
    'glTF',
    '47',
    '000001ba21',
    '000001ba44',
  ],
  [
    'efbbbf3c3f786d6c20',
    'efbbbf89504e47',
    '8BPS',
    'gimp xcf ',
    'FLIF',
    'MThd',
    'PAR1',
    'Rar!',
    'ustar',
    '!<arch>',
    'IMPM',
    'AMR',
    '#!AMR',
    '',
  ],
].flat();

const toBytes = (text: string) =>
  /^([0-9a-f]{2})+$/.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'latin1');
/** Bytes that look random and are the same each time. */
const noise = (seed: string, bytes: number) =>
  Buffer.concat(
    Array.from({ length: Math.ceil(bytes / 64) }, (_, n) => createHash('sha512').update(`${seed} ${n}`).digest()),
  );

test('says what the library says', async () => {
  const types = new Set<string | null>();
  for (const beginning of BEGINNINGS) {
    const bytes = toBytes(beginning);
    const tails = [Buffer.alloc(0), Buffer.alloc(4000), noise(beginning, 4000), Buffer.alloc(4000, 'insforge ')];
    const cut = [1, 2, 3].map((less) => bytes.subarray(0, Math.max(0, bytes.length - less)));
    for (const head of [bytes, ...cut].flatMap((start) => tails.map((tail) => Buffer.concat([start, tail])))) {
      const expected = await fileTypeFromBuffer(head).catch(() => undefined);
      const detected = await detectType(head);
      expect(detected, head.toString('hex', 0, 32)).toBe(expected?.mime ?? null);
      types.add(detected);
    }
  }
  expect(types.size).toBeGreaterThan(40);
});

test('text with a byte order mark is text', async () => {
  expect(await detectType(Buffer.from('\ufeffplain', 'utf16le'))).toBeNull();
});
