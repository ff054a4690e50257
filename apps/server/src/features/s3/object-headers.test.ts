import { expect, test } from 'vitest';
import { checkConditions, readRange } from './object-headers.ts';
import { readRequest } from './request.ts';

test.each([
  ['bytes=0-4', 10, { start: 0, end: 4 }],
  ['bytes=5-', 10, { start: 5, end: 9 }],
  ['bytes=-3', 10, { start: 7, end: 9 }],
  ['bytes=-30', 10, { start: 0, end: 9 }],
  ['bytes=9-100', 10, { start: 9, end: 9 }],
  [undefined, 10, undefined],
  ['bytes=4-2', 10, undefined],
  ['bytes=0-1,3-4', 10, undefined],
  ['lines=0-1', 10, undefined],
  ['bytes=-', 10, undefined],
])('the range %s of %i bytes', (text, size, range) => {
  expect(readRange(text, size)).toEqual(range);
});

test.each([
  ['bytes=10-', 10],
  ['bytes=-0', 10],
  ['bytes=0-0', 0],
  ['bytes=-5', 0],
])('the range %s of %i bytes cannot be had', (text, size) => {
  expect(() => readRange(text, size)).toThrow(expect.objectContaining({ code: 'InvalidRange' }));
});

const BEFORE = 'Thu, 01 Jan 2026 09:59:59 GMT';
const SAME = 'Thu, 01 Jan 2026 10:00:00 GMT';
const object = { etag: 'abc', uploadedAt: new Date('2026-01-01T10:00:00.789Z') } as Parameters<
  typeof checkConditions
>[1];

test.each([
  [{}, undefined],
  [{ 'if-match': '"abc"' }, undefined],
  [{ 'if-match': 'abc' }, undefined],
  [{ 'if-match': '"x", "abc"' }, undefined],
  [{ 'if-match': '*' }, undefined],
  [{ 'if-match': '"x"' }, 'PreconditionFailed'],
  [{ 'if-none-match': '"abc"' }, 'NotModified'],
  [{ 'if-none-match': 'W/"abc"' }, 'NotModified'],
  [{ 'if-none-match': '*' }, 'NotModified'],
  [{ 'if-none-match': '"x"' }, undefined],
  [{ 'if-modified-since': SAME }, 'NotModified'],
  [{ 'if-modified-since': BEFORE }, undefined],
  [{ 'if-modified-since': 'yesterday' }, undefined],
  [{ 'if-unmodified-since': SAME }, undefined],
  [{ 'if-unmodified-since': BEFORE }, 'PreconditionFailed'],
  [{ 'if-match': '"abc"', 'if-unmodified-since': BEFORE }, undefined],
  [{ 'if-none-match': '"x"', 'if-modified-since': SAME }, undefined],
])('with %o an object is %s', (headers, code) => {
  const request = readRequest('GET', '/storage/v1/s3/b/k', Object.entries(headers).flat());
  if (code) expect(() => checkConditions(request, object)).toThrow(expect.objectContaining({ code }));
  else expect(() => checkConditions(request, object)).not.toThrow();
});

test('what is fresh is not copied', () => {
  const raw = ['x-amz-copy-source-if-none-match', '"abc"'];
  expect(() => checkConditions(readRequest('PUT', '/storage/v1/s3/b/k', raw), object, 'x-amz-copy-source-')).toThrow(
    expect.objectContaining({ code: 'PreconditionFailed' }),
  );
});
