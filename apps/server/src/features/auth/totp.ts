import { createHmac, randomBytes } from 'node:crypto';

// Time-based one-time passwords, https://www.rfc-editor.org/rfc/rfc6238, in the one form that every authenticator
// app knows: SHA-1, six digits, thirty seconds.

const STEP_SECONDS = 30;
const DIGITS = 6;
/** https://www.rfc-editor.org/rfc/rfc4226#section-4, R6: 160 bits are recommended. */
const SECRET_BYTES = 20;
/** One step to either side, for clocks that differ and for people who type slowly (RFC 6238, section 5.2). */
const TOLERATED_STEPS = [0, -1, 1];

/** RFC 4648, section 6; without the characters that are mistaken for others, which is why it suits people too. */
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';

/** Makes the secret that server and authenticator share, in base32. */
export function makeTotpSecret(): string {
  return toBase32(randomBytes(SECRET_BYTES));
}

/** The code of a time step. */
export function totpCode(secret: string, step: number): string {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', fromBase32(secret)).update(counter).digest();
  // Dynamic truncation, RFC 4226, section 5.3.
  const offset = (mac.at(-1) ?? 0) & 15;
  const number = mac.readUInt32BE(offset) & 0x7fffffff;
  return String(number % 10 ** DIGITS).padStart(DIGITS, '0');
}

/** The time step that a code is right for at `now` (milliseconds), or undefined where it is wrong. */
export function stepOfTotpCode(secret: string, code: string, now: number): number | undefined {
  const current = Math.floor(now / 1000 / STEP_SECONDS);
  return TOLERATED_STEPS.map((distance) => current + distance).find(
    (step) => step >= 0 && totpCode(secret, step) === code,
  );
}

/** What authenticator apps read from a QR code (https://github.com/google/google-authenticator/wiki/Key-Uri-Format). */
export function totpUri({ secret, issuer, account }: { secret: string; issuer: string; account: string }): string {
  const label = `${encodeURIComponent(issuer)}:${encodeURIComponent(account)}`;
  const query = `secret=${secret}&issuer=${encodeURIComponent(issuer)}&algorithm=SHA1&digits=${DIGITS}&period=${STEP_SECONDS}`;
  return `otpauth://totp/${label}?${query}`;
}

/** Base32 without padding. */
export function toBase32(bytes: Uint8Array): string {
  let text = '';
  let value = 0;
  let bits = 0;
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff;
    for (bits += 8; bits >= 5; bits -= 5) text += BASE32[(value >> (bits - 5)) & 31];
  }
  return bits > 0 ? text + BASE32[(value << (5 - bits)) & 31] : text;
}

function fromBase32(text: string): Buffer {
  const bytes: number[] = [];
  let value = 0;
  let bits = 0;
  for (const character of text) {
    value = ((value << 5) | BASE32.indexOf(character)) & 0xffff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes.push((value >> bits) & 255);
  }
  return Buffer.from(bytes);
}
