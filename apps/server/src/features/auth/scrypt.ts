import { scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

// Hashes that other systems made. Ours are argon2id; these are checked once, at the first sign-in after an import.

const derive = promisify<string, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(scrypt);

/** `$scrypt$ln=15,r=8,p=1$<salt>$<hash>`, both in base64 without padding, `ln` being the logarithm of N. */
const FORM = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([\w+/.]{11,128})\$([\w+/.]{21,172})$/;
/** More would hold up the threads that all requests share. */
const MAX_MEMORY = 128 * 1024 * 1024;
const MAX_PASSES = 8;

interface Parameters {
  N: number;
  r: number;
  p: number;
  memory: number;
  salt: Buffer;
  expected: Buffer;
}

function parse(hashed: string): Parameters | undefined {
  const [, ln = '', r = '', p = '', salt = '', expected = ''] = hashed.match(FORM) ?? [];
  const parameters = { N: 2 ** Number(ln), r: Number(r), p: Number(p) };
  const memory = 128 * parameters.N * parameters.r;
  const isPossible = parameters.N > 1 && parameters.r > 0 && parameters.p > 0;
  if (!isPossible || memory > MAX_MEMORY || parameters.p > MAX_PASSES) return undefined;
  return { ...parameters, memory, salt: fromBase64(salt), expected: fromBase64(expected) };
}

/** Python's passlib writes `.` for `+`. */
const fromBase64 = (text: string) => Buffer.from(text.replaceAll('.', '+'), 'base64');

/** True for a hash of the form above that is not too costly to check. */
export function isScryptHash(hashed: string): boolean {
  return parse(hashed) !== undefined;
}

/** True when the password matches. Runs off the main thread. */
export async function verifyScrypt(hashed: string, password: string): Promise<boolean> {
  const parameters = parse(hashed);
  if (!parameters) return false;
  const { N, r, p, memory, salt, expected } = parameters;
  const derived = await derive(password, salt, expected.length, { N, r, p, maxmem: 2 * memory + 1024 * 1024 });
  return timingSafeEqual(derived, expected);
}
