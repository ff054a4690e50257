import { expect, test } from 'vitest';
import { makeTotpSecret, stepOfTotpCode, toBase32, totpCode, totpUri } from './totp.ts';

/** https://www.rfc-editor.org/rfc/rfc6238#appendix-B, SHA-1, of which the last six of eight digits count here. */
const RFC_SECRET = toBase32(Buffer.from('12345678901234567890'));

test.each([
  { seconds: 59, code: '94287082' },
  { seconds: 1_111_111_109, code: '07081804' },
  { seconds: 1_111_111_111, code: '14050471' },
  { seconds: 1_234_567_890, code: '89005924' },
  { seconds: 2_000_000_000, code: '69279037' },
  { seconds: 20_000_000_000, code: '65353130' },
])('RFC 6238: at $seconds s the code ends in that of $code', ({ seconds, code }) => {
  const step = Math.floor(seconds / 30);
  expect(totpCode(RFC_SECRET, step)).toBe(code.slice(-6));
  expect(stepOfTotpCode(RFC_SECRET, code.slice(-6), seconds * 1000)).toBe(step);
});

/** https://www.rfc-editor.org/rfc/rfc4226#appendix-D */
test('RFC 4226: the first ten codes', () => {
  const codes = Array.from({ length: 10 }, (_, counter) => totpCode(RFC_SECRET, counter));
  expect(codes).toEqual([
    '755224',
    '287082',
    '359152',
    '969429',
    '338314',
    '254676',
    '287922',
    '162583',
    '399871',
    '520489',
  ]);
});

/** https://www.rfc-editor.org/rfc/rfc4648#section-10 */
test.each([
  ['', ''],
  ['f', 'MY'],
  ['fo', 'MZXQ'],
  ['foo', 'MZXW6'],
  ['foob', 'MZXW6YQ'],
  ['fooba', 'MZXW6YTB'],
  ['foobar', 'MZXW6YTBOI'],
])('RFC 4648: %j is %j in base32', (text, encoded) => {
  expect(toBase32(Buffer.from(text))).toBe(encoded);
});

test.each([
  { steps: 0, accepted: true },
  { steps: -1, accepted: true },
  { steps: 1, accepted: true },
  { steps: -2, accepted: false },
  { steps: 2, accepted: false },
])('a code that is $steps steps off is accepted: $accepted', ({ steps, accepted }) => {
  const now = 1_700_000_000_000;
  const step = Math.floor(now / 30_000) + steps;
  expect(stepOfTotpCode(RFC_SECRET, totpCode(RFC_SECRET, step), now)).toBe(accepted ? step : undefined);
});

test('secrets have 160 bits, and names are escaped in what the QR code holds', () => {
  const secret = makeTotpSecret();
  expect(secret).toMatch(/^[A-Z2-7]{32}$/);
  expect(totpUri({ secret, issuer: 'My App', account: 'a&b@example.com' })).toBe(
    `otpauth://totp/My%20App:a%26b%40example.com?secret=${secret}&issuer=My%20App&algorithm=SHA1&digits=6&period=30`,
  );
});
