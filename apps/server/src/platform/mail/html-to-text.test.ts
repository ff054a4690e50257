import { expect, test } from 'vitest';
import { htmlToText } from './html-to-text.ts';

test.each([
  ['plain words', 'plain words'],
  ['  two\n\n  words ', 'two words'],
  ['<p>one</p><p>two</p>', 'one\n\ntwo'],
  ['one<br>two<br/>three', 'one\ntwo\nthree'],
  ['<ul><li>one</li><li class="x">two</li></ul>', '- one\n- two'],
  ['<b>bold</b> and <i>thin</i>', 'bold and thin'],
  ['<b>A</b>B', 'AB'],
  ['<a href="https://x.example/?a=1&amp;b=2">Open</a> it', 'Open (https://x.example/?a=1&b=2) it'],
  ['<a href="https://x.example/">https://x.example/</a>', 'https://x.example/'],
  [
    '<p><a href="https://x.example/?a&amp;b">Open</a></p><p>Or: https://x.example/?a&amp;b</p>',
    'Open\n\nOr: https://x.example/?a&b',
  ],
  [
    '<a href="https://x.example/">Open</a><p>https://x.example/more</p>',
    'Open (https://x.example/)\n\nhttps://x.example/more',
  ],
  ["<a class=x href='https://x.example/'><img src=y></a>", 'https://x.example/'],
  ['<a href="javascript:alert(1)">Open</a>', 'Open'],
  ['<a href="mailto:a@b.c">a@b.c</a>', 'a@b.c'],
  ['<a href="https://x.example/">unclosed', 'unclosed'],
  ['<head><title>t</title></head><style>p > a { color: red }</style><script>if (a < b) x()</script>text', 'text'],
  ['<style>never closed', ''],
  ['a<!-- <p>hidden</p> -->b', 'ab'],
  ['<p title="a > b">text</p>', 'text'],
  ['1 < 2 and 3 > 2', '1 < 2 and 3 > 2'],
  ['a < b', 'a < b'],
  ['a <unclosed', 'a <unclosed'],
  ['&lt;b&gt; &amp;amp; &#233; &#xe9; &nbsp;&copy; &unknown; &#0;&#x110000;', '<b> &amp; é é  © &unknown;'],
  ['<table><tr><td>1</td></tr><tr><td>2</td></tr></table>', '1\n2'],
  ['', ''],
])('%j becomes %j', (html, text) => {
  expect(htmlToText(html)).toBe(text);
});

test.each(['<', '<a href="', '<style>', '<!--', '<a href=https://x.example>', '</a>', '&#', ' ', '<p '])(
  'a megabyte of %j takes no more than its share of time',
  (piece) => {
    const html = piece.repeat(1_000_000 / piece.length);
    const startedAt = performance.now();
    htmlToText(html);
    expect(performance.now() - startedAt).toBeLessThan(2_000);
  },
);
