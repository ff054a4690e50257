import { availableParallelism } from 'node:os';
import type { AuthConfig } from '@insforge/contract/auth.ts';
import { hash, verify } from '@node-rs/argon2';
import { verify as verifyBcrypt } from '@node-rs/bcrypt';
import { createBursts } from '#platform/bursts.ts';
import { AppError } from '#platform/errors.ts';
import { createTurns } from '#platform/turns.ts';
import { isScryptHash, verifyScrypt } from './scrypt.ts';

/** https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id */
const ARGON2ID = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };
const CURRENT_PREFIX = '$argon2id$v=19$m=19456,t=2,p=1$';
/** What is checked where there is no password, so that it takes as long. Nothing is known to match it. */
const NO_PASSWORD = `${CURRENT_PREFIX}AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA`;

/**
 * Hashes that can be checked, imported ones included. A bcrypt cost above 16, or an argon2 of gigabytes, would
 * hold up the threads that all requests share.
 */
const BCRYPT = /^\$2[aby]\$(?:0[4-9]|1[0-6])\$[./A-Za-z\d]{53}$/;
const ARGON2 =
  /^\$argon2(?:id|i|d)\$v=(?:16|19)\$m=(\d{1,6}),t=(\d{1,2}),p=(\d{1,2})\$([A-Za-z\d+/]{11,86})\$([A-Za-z\d+/]{16,172})$/;
/** Kilobytes, and kilobytes in all passes: a second of one thread. */
const MAX_ARGON2_MEMORY = 256 * 1024;
const MAX_ARGON2_WORK = 1024 * 1024;

function isArgon2(hashed: string): boolean {
  const [, m, t, p, salt = '', output = ''] = ARGON2.exec(hashed) ?? [];
  const [memory, passes, lanes] = [Number(m), Number(t), Number(p)];
  // https://www.rfc-editor.org/rfc/rfc9106#section-3.1
  const isPossible = passes > 0 && lanes > 0 && memory >= 8 * lanes && isBase64(salt) && isBase64(output);
  return isPossible && memory <= MAX_ARGON2_MEMORY && memory * passes <= MAX_ARGON2_WORK;
}

/** Without padding. Where bits are left over the library takes none but zeros. */
const isBase64 = (text: string) => Buffer.from(text, 'base64').toString('base64').replace(/=+$/, '') === text;

/**
 * Hashes run on the threads of the process that files and other cryptography need as well: however many sign in at
 * once, one of the four stays free, and hardly more are at it than there are processors to compete for.
 */
const atATime = createTurns(Math.min(availableParallelism() + 1, 3));
/**
 * A hash goes through more memory than the caches hold, so that what little is done after it takes several times as long
 * as it would right behind the same for somebody else. Therefore those whose hashes are done go on together.
 */
const together = createBursts(6, 40);
const inTurn = <Result>(work: () => Promise<Result>) => together(() => atATime('hash', work));

/** Hashes a password with argon2id, off the main thread. */
export function hashPassword(password: string): Promise<string> {
  return inTurn(() => hash(password, ARGON2ID));
}

/** True when the password matches its hash. Without a hash it takes as long and is false. */
export async function isPasswordOf(hashed: string | null | undefined, password: string): Promise<boolean> {
  const usable = hashed && isKnownHash(hashed) ? hashed : NO_PASSWORD;
  const matches = await inTurn(() => (isOutdated(usable) ? timed(check(usable, password)) : check(usable, password)));
  return matches && usable !== NO_PASSWORD;
}

function check(hashed: string, password: string): Promise<boolean> {
  if (BCRYPT.test(hashed)) return verifyBcrypt(password, hashed);
  return isScryptHash(hashed) ? verifyScrypt(hashed, password) : verify(hashed, password);
}

/** Of hashes that were made elsewhere, the longest that checking one has taken, in milliseconds. */
let slowestImported = 0;

async function timed<Result>(checking: Promise<Result>): Promise<Result> {
  const startedAt = performance.now();
  const result = await checking;
  slowestImported = Math.max(slowestImported, performance.now() - startedAt);
  return result;
}

/** Longer than checking today's hash takes, with all that a refusal costs besides. */
const REFUSAL_MS = 250;
/** Whoever imports hashes that take seconds is not to make everybody wait for them who mistypes a password. */
const LONGEST_REFUSAL_MS = 2_000;

/**
 * How long a refusal has to take, in milliseconds, lest it tell by the time whether there is such a user: an unknown
 * address costs one of today's hashes, and an imported one may cost more. What that is, this process learns from the
 * first of them that it checks.
 */
export const refusalMs = () => Math.min(Math.max(REFUSAL_MS, slowestImported * 1.25), LONGEST_REFUSAL_MS);

/** True for hashes that this server can check, wherever they were made. */
export function isKnownHash(hashed: string): boolean {
  return BCRYPT.test(hashed) || isArgon2(hashed) || isScryptHash(hashed);
}

/** True for hashes that were made elsewhere or with weaker parameters than today's. */
export function isOutdated(hashed: string): boolean {
  return !hashed.startsWith(CURRENT_PREFIX);
}

type Rules = Pick<
  AuthConfig,
  'passwordMinLength' | 'requireNumber' | 'requireLowercase' | 'requireUppercase' | 'requireSpecialChar'
>;

const REQUIRED = [
  { setting: 'requireNumber', pattern: /\d/, what: 'a number' },
  { setting: 'requireLowercase', pattern: /\p{Ll}/u, what: 'a lowercase letter' },
  { setting: 'requireUppercase', pattern: /\p{Lu}/u, what: 'an uppercase letter' },
  { setting: 'requireSpecialChar', pattern: /[^\p{L}\p{N}\s]/u, what: 'a special character' },
] as const;

/** @throws AppError INVALID_INPUT that names everything the password lacks */
export function checkPasswordRules(rules: Rules, password: string): void {
  const lacking: string[] = REQUIRED.filter(({ setting, pattern }) => rules[setting] && !pattern.test(password)).map(
    ({ what }) => what,
  );
  const { passwordMinLength } = rules;
  if ([...password].length < passwordMinLength) lacking.unshift(`at least ${passwordMinLength} characters`);
  if (lacking.length === 0) return;
  throw new AppError('INVALID_INPUT', `password: must have ${lacking.join(' and ')}`, {
    nextActions: 'Choose another password; GET /api/auth/public-config lists the rules.',
  });
}
