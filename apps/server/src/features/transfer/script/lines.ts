import { AppError } from '#platform/errors.ts';

const NEWLINE = 0x0a;
/** What ends the data of a COPY in a script. */
const END_OF_DATA = Buffer.from('\\.');
const NOTHING = Buffer.alloc(0);
/** One line of SQL, which may be one statement with all its literals. */
const MAX_LINE_BYTES = 64 * 1024 * 1024;

/** Reads bytes by the line, and the data of a COPY in large pieces. */
export class Lines {
  readonly #iterator: AsyncIterator<Buffer>;
  #rest: Buffer = NOTHING;
  #isDone = false;
  /** The number of the line that was read last, counted from one. */
  number = 0;
  /** Bytes read so far. */
  bytes = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.#iterator = source[Symbol.asyncIterator]();
  }

  async #more(): Promise<boolean> {
    if (this.#isDone) return false;
    const next = await this.#iterator.next();
    if (next.done) {
      this.#isDone = true;
      return false;
    }
    this.bytes += next.value.length;
    this.#rest = this.#rest.length === 0 ? next.value : Buffer.concat([this.#rest, next.value]);
    return true;
  }

  /** The next line with its end; undefined after the last one. */
  async next(): Promise<string | undefined> {
    const parts: Buffer[] = [];
    let length = 0;
    do {
      const end = this.#rest.indexOf(NEWLINE);
      const part = this.#take(end < 0 ? this.#rest.length : end + 1);
      parts.push(part);
      length += part.length;
      if (end >= 0) break;
      if (length > MAX_LINE_BYTES) {
        throw new AppError('DATABASE_VALIDATION_ERROR', `Line ${this.number + 1} is longer than 64 MB`);
      }
    } while (await this.#more());
    if (length === 0) return undefined;
    this.number++;
    return Buffer.concat(parts).toString();
  }

  #take(length: number): Buffer {
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }

  /** The lines up to the one that ends the data of a COPY, which is read but not returned. */
  async *data(): AsyncGenerator<Buffer> {
    let isLineStart = true;
    for (;;) {
      const end = this.#endOfData(isLineStart);
      if (end) {
        if (end.start > 0) yield this.#pass(end.start);
        this.#take(end.length);
        this.number++;
        return;
      }
      const complete: number = this.#rest.length - this.#heldBack(isLineStart);
      if (complete > 0) {
        isLineStart = this.#rest[complete - 1] === NEWLINE;
        yield this.#pass(complete);
      }
      if (!(await this.#more())) {
        const isEnd = this.#rest.toString().trim() === END_OF_DATA.toString();
        if (this.#rest.length > 0 && !isEnd) yield this.#pass(this.#rest.length);
        this.#rest = NOTHING;
        return;
      }
    }
  }

  #endOfData(isLineStart: boolean): { start: number; length: number } | undefined {
    for (let from = 0; ; ) {
      const start = this.#rest.indexOf(END_OF_DATA, from);
      if (start < 0) return undefined;
      const end = this.#rest.indexOf(NEWLINE, start);
      const isAlone = end >= 0 && this.#rest.toString('latin1', start + 2, end).trim() === '';
      const isFirst = start === 0 ? isLineStart : this.#rest[start - 1] === NEWLINE;
      if (isAlone && isFirst) return { start, length: end + 1 - start };
      from = start + 1;
    }
  }

  /** How many of the last bytes may be the beginning of the line that ends the data. */
  #heldBack(isLineStart: boolean): number {
    const start = this.#rest.lastIndexOf(NEWLINE) + 1;
    const isFirst = start > 0 || isLineStart;
    const tail = this.#rest.subarray(start);
    return isFirst && /^\\(\.[ \t\r]*)?$/.test(tail.toString('latin1', 0, 64)) ? tail.length : 0;
  }

  #pass(length: number): Buffer {
    const passed = this.#take(length);
    for (let index = passed.indexOf(NEWLINE); index >= 0; index = passed.indexOf(NEWLINE, index + 1)) this.number++;
    return passed;
  }
}
