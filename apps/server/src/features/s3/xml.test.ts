import { expect, test } from 'vitest';
import { S3Error } from './errors.ts';
import { childrenOf, parseXml, textOf, toErrorXml, toXml } from './xml.ts';

test('what was written is read again, whatever characters it has', async () => {
  const keys = ['a&b<c>"d\'', ' leading and trailing ', 'tab\tand\r\nreturns', 'üñ 🦖', ']]>', '&amp;', '%00', ''];
  const xml = toXml(
    'Delete',
    keys.map((key) => [
      'Object',
      [
        ['Key', key],
        ['Absent', undefined],
      ],
    ]),
  );
  const read = childrenOf(await parseXml(xml, 'Delete'), 'Object').map((object) => textOf(object, 'Key'));
  expect(read).toEqual(keys);
});

test('characters that XML cannot say are replaced', () => {
  expect(toXml('A', [['K', 'a\u0000\u0001\u001f\uffffb']])).toContain('<K>a\ufffd\ufffd\ufffd\ufffdb</K>');
});

test.each([
  { what: 'a DOCTYPE', text: '<!DOCTYPE a [<!ENTITY x "boo">]><Delete>&x;</Delete>' },
  { what: 'no XML', text: 'hello' },
  { what: 'nothing', text: '' },
  { what: 'another root', text: '<Remove/>' },
  { what: 'an open element', text: '<Delete><Object></Delete>' },
  { what: 'two roots', text: '<Delete/><Delete/>' },
  { what: 'a name of the language', text: '<Delete><__proto__>1</__proto__></Delete>' },
])('refused: $what', async ({ text }) => {
  await expect(parseXml(text, 'Delete')).rejects.toMatchObject({ code: 'MalformedXML' });
});

test('prefixes, attributes, declarations and white space between elements are no matter', async () => {
  const text =
    '<?xml version="1.0"?>\n<s:Tagging xmlns:s="http://s3.amazonaws.com/doc/2006-03-01/">\n <s:TagSet a="b"/>\n</s:Tagging>';
  expect(childrenOf(await parseXml(text, 'Tagging'), 'TagSet')).toEqual(['']);
});

test('a text that appears twice, or has children, is refused', async () => {
  const of = await parseXml('<A><Key>1</Key><Key>2</Key><B><C>1</C></B></A>', 'A');
  expect(() => textOf(of, 'Key')).toThrow(S3Error);
  expect(() => textOf(of, 'B')).toThrow(S3Error);
  expect(textOf(of, 'D')).toBeUndefined();
});

test('an error has the elements that clients look for', () => {
  expect(toErrorXml(new S3Error('NoSuchKey', undefined, { Key: 'a<b' }), '/b/a<b', 'id')).toBe(
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NoSuchKey</Code><Message>The specified key does not exist</Message><Key>a&lt;b</Key><Resource>/b/a&lt;b</Resource><RequestId>id</RequestId></Error>',
  );
});
