const NEWLINE = 0x0a;
/** What ends the data of a COPY in a script. */
const END_OF_DATA = Buffer.from('\\.');

/** Reads bytes by the line, and the data of a COPY in large pieces. */
export class Lines {
  readonly #iterator: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
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
    let from = 0;
    for (;;) {
      const end = this.#rest.indexOf(NEWLINE, from);
      if (end >= 0) return this.#take(end + 1).toString();
      from = this.#rest.length;
      if (!(await this.#more())) break;
    }
    return this.#rest.length === 0 ? undefined : this.#take(this.#rest.length).toString();
  }

  #take(length: number): Buffer {
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    this.number++;
    return taken;
  }

  /** The lines up to the one that ends the data of a COPY, which is read but not returned. */
  async *data(): AsyncGenerator<Buffer> {
    for (;;) {
      const end = this.#endOfData();
      if (end) {
        if (end.start > 0) yield this.#pass(end.start);
        this.#take(end.length);
        return;
      }
      // What is behind the last line end may be the beginning of the end.
      const complete = this.#rest.lastIndexOf(NEWLINE) + 1;
      if (complete > 0) yield this.#pass(complete);
      if (!(await this.#more())) {
        const isEnd = this.#rest.toString().trim() === END_OF_DATA.toString();
        if (this.#rest.length > 0 && !isEnd) yield this.#pass(this.#rest.length);
        this.#rest = Buffer.alloc(0);
        return;
      }
    }
  }

  #endOfData(): { start: number; length: number } | undefined {
    for (let from = 0; ; ) {
      const start = this.#rest.indexOf(END_OF_DATA, from);
      if (start < 0) return undefined;
      const end = this.#rest.indexOf(NEWLINE, start);
      const isAlone = end >= 0 && this.#rest.toString('latin1', start + 2, end).trim() === '';
      if (isAlone && (start === 0 || this.#rest[start - 1] === NEWLINE)) return { start, length: end + 1 - start };
      from = start + 1;
    }
  }

  #pass(length: number): Buffer {
    const passed = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    for (let index = passed.indexOf(NEWLINE); index >= 0; index = passed.indexOf(NEWLINE, index + 1)) this.number++;
    return passed;
  }
}
