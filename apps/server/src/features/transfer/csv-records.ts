import { isUtf8 } from 'node:buffer';
import { AppError } from '#platform/errors.ts';

/** A record as it stands in the file, and where. */
export interface CsvRecord {
  /** Its place among the records behind the header, counted from one. */
  row: number;
  /** Where it begins. */
  line: number;
  /** One character for each byte (latin1), without the end of the line. */
  text: string;
  /** Why COPY would refuse it, and all others with it. */
  problem: string | undefined;
}

/** A single record larger than this is a quote that was never closed. */
const MAX_RECORD_BYTES = 64 * 1024 * 1024;

const QUOTE = 0x22;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/**
 * Cuts a CSV behind its header into records, however the bytes arrive. Quotes mean what they mean to COPY, where each
 * one, wherever it stands, begins or ends what is quoted: parsers of other dialects would cut elsewhere than it does.
 */
export class CsvSplitter {
  readonly #delimiter: number;
  readonly #columns: number;
  #row = 0;
  /** Where the record begins, and where reading is. */
  #begin: number;
  #line: number;
  #kept = '';
  #fields = 1;
  /** Carriage returns outside of quotes; one may be the end of the line. */
  #returns = 0;
  #isQuoted = false;
  #isPlain = true;

  /** @param line the one behind the header */
  constructor(delimiter: string, columns: number, line: number) {
    this.#delimiter = delimiter.charCodeAt(0);
    this.#columns = columns;
    this.#begin = line;
    this.#line = line;
  }

  *push(chunk: Buffer): Generator<CsvRecord> {
    let start = 0;
    for (let index = 0; index < chunk.length; index++) {
      const byte = chunk[index] ?? 0;
      if (byte === QUOTE) this.#isQuoted = !this.#isQuoted;
      else if (byte === LINE_FEED) {
        this.#line++;
        if (this.#isQuoted) continue;
        yield this.#finish(chunk.toString('latin1', start, index));
        start = index + 1;
      } else if (byte === 0 || byte > 0x7f) this.#isPlain = false;
      else if (this.#isQuoted) continue;
      else if (byte === this.#delimiter) this.#fields++;
      else if (byte === CARRIAGE_RETURN) this.#returns++;
    }
    this.#kept += chunk.toString('latin1', start);
    if (this.#kept.length > MAX_RECORD_BYTES) {
      throw new AppError(
        'DATABASE_VALIDATION_ERROR',
        `The row is too large, or a quote has no end (line ${this.#begin})`,
        {
          details: { line: this.#begin },
        },
      );
    }
  }

  *end(): Generator<CsvRecord> {
    if (this.#kept !== '') yield this.#finish('');
  }

  #finish(last: string): CsvRecord {
    const record = this.#kept + last;
    const text = record.endsWith('\r') ? record.slice(0, -1) : record;
    const problem = this.#problem(text, this.#returns - (record.length - text.length));
    const finished = { row: ++this.#row, line: this.#begin, text, problem };
    this.#begin = this.#line;
    this.#kept = '';
    this.#fields = 1;
    this.#returns = 0;
    this.#isPlain = true;
    return finished;
  }

  #problem(text: string, strayReturns: number): string | undefined {
    if (this.#isQuoted) return 'a quote has no end';
    if (strayReturns > 0) return 'a carriage return that is neither quoted nor the end of a line';
    if (!this.#isPlain && (text.includes('\0') || !isUtf8(Buffer.from(text, 'latin1')))) return 'not text in UTF-8';
    if (this.#fields === this.#columns) return undefined;
    return `${this.#fields} ${this.#fields === 1 ? 'field' : 'fields'}, and the header has ${this.#columns}`;
  }
}
