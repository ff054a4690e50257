import { expect, test } from 'vitest';
import { html } from './html.ts';

test.each([
  { what: 'text', built: html`<p>${'<b>&"\''}</p>`, expected: '<p>&lt;b&gt;&amp;&quot;&#39;</p>' },
  { what: 'HTML', built: html`<p>${html`<b>${'<'}</b>`}</p>`, expected: '<p><b>&lt;</b></p>' },
  { what: 'a list', built: html`<p>${[html`a`, html`b`]}</p>`, expected: '<p>ab</p>' },
  { what: 'nothing', built: html`<p>${undefined}${null}${false}</p>`, expected: '<p></p>' },
  { what: 'zero', built: html`${0}`, expected: '0' },
])('$what is inserted as what it is', ({ built, expected }) => {
  expect(built.text).toBe(expected);
});
