import { AppError } from '#platform/errors.ts';
import type { Bucket } from './buckets.ts';

export const UNKNOWN_TYPE = 'application/octet-stream';
const MEDIA_TYPE = /^[a-z0-9][\w.+-]*\/[a-z0-9][\w.+-]*$/;
const MAX_TYPE_LENGTH = 127;

/** The essence of a media type, in lower case and with its charset; what is none becomes octet-stream. */
export function normaliseType(type: string | undefined): string {
  const [essence = '', ...parameters] = (type ?? '').split(';').map((part) => part.trim().toLowerCase());
  if (!MEDIA_TYPE.test(essence) || essence.length > MAX_TYPE_LENGTH) return UNKNOWN_TYPE;
  const charset = parameters.find((parameter) => /^charset="?[\w-]{1,40}"?$/.test(parameter))?.replaceAll('"', '');
  return charset ? `${essence}; ${charset}` : essence;
}

/** A media type without its parameters. */
export function essenceOf(type: string): string {
  return type.split(';', 1)[0] ?? type;
}

/** Types that say how something is packed, and what may be in there. */
const PACKAGES: Readonly<Record<string, RegExp>> = {
  'application/xml': /[+/]xml$/,
  'application/x-cfb': /^application\/(?!pdf$|json$)/,
  'application/zip': /^application\/(?!pdf$|json$)/,
};

/** A recording has the same container with a picture or without. */
const isMedia = (type: string) => /^(audio|video)\//.test(type);

/** What is left where people name one type differently, such as audio/x-wav or image/jpg. */
const subtypeOf = (type: string) =>
  type.replace(/^[^/]+\/(x-ms-|x-|vnd\.microsoft\.)?/, '').replace(/^p?jpg$|^pjpeg$/, 'jpeg');

/** True where bytes of the detected type can be called by the other name too. */
function isNameOf(type: string, detectedType: string): boolean {
  return (
    subtypeOf(type) === subtypeOf(detectedType) ||
    (isMedia(type) && isMedia(detectedType)) ||
    (PACKAGES[detectedType]?.test(type) ?? false)
  );
}

/** True where the two are pictures, say, or both recordings. */
export function isSameFamily(type: string, detectedType: string | null): boolean {
  if (detectedType === null) return false;
  const family = type.slice(0, type.indexOf('/') + 1);
  return detectedType.startsWith(family) || (isMedia(type) && isMedia(detectedType));
}

let detector: ReturnType<typeof loadDetector> | undefined;

/** What bytes are, told from their beginning; null where that cannot be told, as with text. */
export async function detectType(head: Uint8Array): Promise<string | null> {
  if (head.length === 0 || isUtf16(head)) return null;
  detector ??= loadDetector();
  const Detector = await detector;
  // A parser of hostile bytes: what it cannot stand is simply not known.
  const detected = await new Detector().fromBuffer(head).catch(() => undefined);
  return detected?.mime ?? null;
}

interface Place {
  offset?: number;
  mask?: ArrayLike<number>;
  encoding?: string;
}

/** What its declarations do not mention. */
type Parser = import('file-type').FileTypeParser & {
  buffer: Uint8Array;
  checkString(signature: string, place?: Place): boolean;
};

/**
 * The library holds a file against some two hundred signatures, and makes a list of the bytes of each one first, which
 * is half the garbage of a small upload. This compares them where they are, and says the same.
 */
async function loadDetector() {
  const { FileTypeParser } = await import('file-type');
  return class extends (FileTypeParser as new () => Parser) {
    check(signature: ArrayLike<number>, { offset = 0, mask }: Place = {}): boolean {
      for (let index = 0; index < signature.length; index++) {
        const byte = this.buffer[offset + index];
        if (signature[index] !== (mask ? (byte ?? 0) & (mask[index] ?? 0) : byte)) return false;
      }
      return true;
    }

    override checkString(signature: string, place: Place = {}): boolean {
      if (place.encoding) return super.checkString(signature, place);
      const { offset = 0 } = place;
      for (let index = 0; index < signature.length; index++) {
        if (signature.charCodeAt(index) !== this.buffer[offset + index]) return false;
      }
      return true;
    }
  };
}

/** Text with a byte order mark, which looks like the first bytes of an MP3. */
function isUtf16([first, second]: Uint8Array): boolean {
  return (first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff);
}

/**
 * Holds a file against the bucket's list of types: the announced one, and the real one where it is known and
 * of another kind.
 * @throws AppError STORAGE_INVALID_FILE_TYPE
 */
export function checkAllowedType(
  { name, allowedMimeTypes }: Pick<Bucket, 'name' | 'allowedMimeTypes'>,
  mimeType: string,
  detectedType: string | null,
): void {
  if (allowedMimeTypes === null) return;
  const isAllowed = (type: string) => allowedMimeTypes.some((pattern) => matches(pattern.toLowerCase(), type));
  const type = essenceOf(mimeType);
  const isHonest = detectedType === null || isAllowed(detectedType) || isNameOf(type, detectedType);
  if (isAllowed(type) && isHonest) return;
  const refused = isAllowed(type) ? detectedType : type;
  throw new AppError('STORAGE_INVALID_FILE_TYPE', `Bucket "${name}" does not take files of the type ${refused}`, {
    nextActions: `It takes ${allowedMimeTypes.join(', ')}. An admin can change that: PATCH /api/storage/buckets/{bucket} {"allowedMimeTypes":[…]}.`,
  });
}

function matches(pattern: string, type: string): boolean {
  if (pattern === '*/*' || pattern === '*') return true;
  return pattern.endsWith('/*') ? type.startsWith(pattern.slice(0, -1)) : type === pattern;
}
