import { expect, test } from 'vitest';
import { CsvSplitter } from './csv-records.ts';

const FILE = Buffer.from('1,"a ""b""\r\nc"\r\n2,é😀\n\n3,"x""\n",y\n"4",""\n5,last');
const RECORDS = [
  { row: 1, line: 2, text: '1,"a ""b""\r\nc"', problem: undefined },
  { row: 2, line: 4, text: '2,é😀', problem: undefined },
  { row: 3, line: 5, text: '', problem: '1 field, and the header has 2' },
  { row: 4, line: 6, text: '3,"x""\n",y', problem: '3 fields, and the header has 2' },
  { row: 5, line: 8, text: '"4",""', problem: undefined },
  { row: 6, line: 9, text: '5,last', problem: undefined },
];

test.each([1, 2, 3, 7, 1000])('records are the same when %i bytes arrive at a time', (size) => {
  const splitter = new CsvSplitter(',', 2, 2);
  const records = [];
  for (let start = 0; start < FILE.length; start += size) {
    records.push(...splitter.push(FILE.subarray(start, start + size)));
  }
  records.push(...splitter.end());
  expect(records.map((record) => ({ ...record, text: Buffer.from(record.text, 'latin1').toString() }))).toEqual(
    RECORDS,
  );
});

test('a row without an end does not fill the memory', () => {
  const splitter = new CsvSplitter(',', 2, 2);
  const piece = Buffer.alloc(1024 * 1024, 'x');
  const pushAll = () => {
    for (const _ of splitter.push(Buffer.from('1,a\n2,"')));
    for (let megabytes = 0; megabytes < 70; megabytes++) for (const _ of splitter.push(piece));
  };
  expect(pushAll).toThrow('a quote has no end (line 3)');
});
