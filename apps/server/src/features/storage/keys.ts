import { AppError } from '#platform/errors.ts';

const MAX_KEY_BYTES = 1024;
const MAX_BUCKET_LENGTH = 63;

const invalid = (message: string, nextActions: string) =>
  new AppError('STORAGE_INVALID_PARAMETER', message, { nextActions });

/** @throws AppError STORAGE_INVALID_PARAMETER when this can be no bucket's name */
export function checkBucketName(name: string): void {
  if (/^[a-zA-Z0-9_-]+$/.test(name) && name.length <= MAX_BUCKET_LENGTH) return;
  throw invalid(
    `${JSON.stringify(name.slice(0, 100))} is no name for a bucket`,
    `Use 1 to ${MAX_BUCKET_LENGTH} of A-Z a-z 0-9 _ -.`,
  );
}

/**
 * A key is data and never a path, but tools that copy a bucket to a disk make paths of keys: what would lead
 * them astray is refused here.
 * @throws AppError STORAGE_INVALID_PARAMETER
 */
export function checkKey(key: string): void {
  const problem = keyProblem(key);
  if (problem !== undefined) {
    throw invalid(`The key ${problem}`, 'Name the object like photos/2026/cat.jpg, up to 1,024 bytes.');
  }
}

/** True for a text that can be a key in the database, whatever we think of it: older ones may be stranger. */
export function isStorable(key: string): boolean {
  return !key.includes('\0') && key.isWellFormed();
}

function keyProblem(key: string): string | undefined {
  if (key === '') return 'is empty';
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) return `has more than ${MAX_KEY_BYTES} bytes`;
  if (key.includes('\0')) return 'contains the character NUL';
  if (!key.isWellFormed()) return 'is not valid Unicode';
  if (/^[/\\]/.test(key) || /^[a-zA-Z]:[/\\]/.test(key)) return 'is an absolute path';
  if (key.split(/[/\\]/).some((part) => part === '..' || part === '.')) return 'contains a folder "." or ".."';
  return undefined;
}

const LAST_BEFORE_SURROGATES = 0xd7ff;
const FIRST_AFTER_SURROGATES = 0xe000;
const LAST_CODE_POINT = 0x10ffff;

/** The code point after `character`. UTF-8 sorts by code point, so it is also the next one in byte order. */
export function nextCharacter(character: string): string | undefined {
  const code = character.codePointAt(0) ?? 0;
  if (code === LAST_CODE_POINT) return undefined;
  return String.fromCodePoint(code === LAST_BEFORE_SURROGATES ? FIRST_AFTER_SURROGATES : code + 1);
}

/**
 * The smallest text that is greater, in byte order, than everything that begins with `prefix`. Undefined where
 * there is none.
 */
export function afterPrefix(prefix: string): string | undefined {
  const characters = [...prefix];
  for (let last = characters.pop(); last !== undefined; last = characters.pop()) {
    const next = nextCharacter(last);
    if (next !== undefined) return characters.join('') + next;
  }
  return undefined;
}

/** The smallest text that is greater than `key` in byte order; NUL cannot occur. */
export function afterKey(key: string): string {
  return `${key}\u0001`;
}
