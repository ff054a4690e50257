import { AppError } from '#platform/errors.ts';

/** A header is not longer than this, not even of a thousand columns. */
const MAX_HEADER_BYTES = 1024 * 1024;

/** The first line of a CSV, and everything behind it. */
export interface Csv {
  columns: string[];
  rows: AsyncIterable<Buffer>;
  /** How many lines of the file the header takes. */
  headerLines: number;
}

/**
 * Reads the header of a CSV (RFC 4180) and leaves the rows to be read by PostgreSQL.
 * @throws AppError when there is none
 */
export async function readCsv(source: AsyncIterable<Buffer>, delimiter: string): Promise<Csv> {
  const iterator = source[Symbol.asyncIterator]();
  let head: Buffer = Buffer.alloc(0);
  let end = -1;
  let isDone = false;
  while (end < 0 && !isDone) {
    const next = await iterator.next();
    isDone = next.done ?? false;
    if (!next.done) head = Buffer.concat([head, next.value]);
    end = endOfRecord(head);
    if (end < 0 && head.length > MAX_HEADER_BYTES) {
      throw new AppError('DATABASE_VALIDATION_ERROR', 'The first line of the CSV is too long to be its header');
    }
  }
  const line = head
    .toString('utf8', 0, end < 0 ? undefined : end)
    .replace(/^\uFEFF/, '')
    .replace(/\r$/, '');
  if (line.trim() === '') {
    throw new AppError('DATABASE_VALIDATION_ERROR', 'The CSV has no header', {
      nextActions: 'Begin it with a line that has the names of the columns.',
    });
  }
  const rest = end < 0 ? Buffer.alloc(0) : head.subarray(end + 1);
  return {
    columns: splitRecord(line, delimiter),
    rows: continued(rest, iterator),
    headerLines: line.split('\n').length,
  };
}

/** Where the first line ends that is not inside of quotes. */
function endOfRecord(bytes: Buffer): number {
  let isQuoted = false;
  for (let index = 0; index < bytes.length; index++) {
    if (bytes[index] === 0x22) isQuoted = !isQuoted;
    else if (bytes[index] === 0x0a && !isQuoted) return index;
  }
  return -1;
}

function splitRecord(line: string, delimiter: string): string[] {
  const end = delimiter.replace(/[\\\]^-]/g, '\\$&');
  const field = new RegExp(`(?:"((?:[^"]|"")*)"|([^${end}]*))([${end}]|$)`, 'gy');
  const fields: string[] = [];
  for (;;) {
    const [, quoted, bare = '', separator] = field.exec(line) ?? [];
    fields.push(quoted === undefined ? bare.trim() : quoted.replaceAll('""', '"'));
    if (separator !== delimiter) return fields;
  }
}

async function* continued(first: Buffer, iterator: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  if (first.length > 0) yield first;
  for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield next.value;
}
