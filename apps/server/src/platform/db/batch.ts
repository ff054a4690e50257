/**
 * Several statements in one round trip: Parse (once per connection), Bind and Execute for each, and a single
 * Sync. PostgreSQL runs what lies before a Sync as one implicit transaction, so a batch commits as a whole or
 * not at all, without BEGIN and COMMIT
 * (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING).
 */
import { isDatabaseError } from '#platform/errors.ts';

/** More values do not fit into the message that carries them. */
export const MAX_VALUES = 65_535;

/** One statement of a batch. All values travel as text; PostgreSQL infers their types. */
export interface Statement {
  text: string;
  values: readonly (string | null)[];
  /**
   * Present where the statement only reads, or only writes rows: it may share a connection with others of its kind,
   * and be run again after it was undone, without anybody noticing.
   */
  kind?: 'read' | 'write' | undefined;
  /** Of what the statement returns only the last row counts, behind the number of rows that it changed. */
  isCounted?: boolean;
}

/** A row as PostgreSQL sent it: one text field a column. */
export type TextRow = readonly (string | null)[];

/** True when the batch failed before anything ran, because a prepared statement was out of date. */
export function isStaleStatement(error: unknown): boolean {
  if (!isDatabaseError(error)) return false;
  return error.code === '26000' || (error.code === '0A000' && error.message.includes('cached plan'));
}

const PARSE = 0x50;
const BIND = 0x42;
const CLOSE = 0x43;
const EXECUTE = 0x45;
const SYNC = 0x53;
const STATEMENT = 0x53;
const SLAB_BYTES = 65_536;
const LEAST_BYTES = 1024;

/** What a message has beside its texts, at most. */
const FRAME_BYTES = 32;
const SHORT_TEXT = 1024;

/** The most that a text takes with its length or its end; counted only where guessing would waste much. */
const sizeOf = (text: string) => 4 + (text.length < SHORT_TEXT ? text.length * 3 : Buffer.byteLength(text));

/** Writes the messages of batches one after the other (.../protocol-message-formats.html). */
export class BatchWriter {
  #buffer = Buffer.allocUnsafe(SLAB_BYTES);
  #end = 0;
  #start = 0;

  get isEmpty(): boolean {
    return this.#end === 0;
  }

  parse(name: string, text: string): void {
    this.#begin(PARSE, sizeOf(name) + sizeOf(text));
    this.#cstring(name);
    this.#cstring(text);
    this.#int16(0); // types of parameters: all inferred
    this.#finish();
  }

  /** Bind and Execute, through the unnamed portal. */
  execute(name: string, values: Statement['values']): void {
    let size = sizeOf(name);
    for (const value of values) size += value === null ? 4 : sizeOf(value);
    this.#begin(BIND, size);
    this.#buffer[this.#end++] = 0;
    this.#cstring(name);
    this.#int16(0); // formats of parameters: all text
    this.#int16(values.length);
    for (const value of values) this.#value(value);
    this.#int16(0); // formats of results: all text
    this.#finish();
    this.#begin(EXECUTE, 8);
    this.#buffer[this.#end++] = 0;
    this.#int32(0); // all rows
    this.#finish();
  }

  close(name: string): void {
    this.#begin(CLOSE, sizeOf(name));
    this.#buffer[this.#end++] = STATEMENT;
    this.#cstring(name);
    this.#finish();
  }

  sync(): void {
    this.#begin(SYNC, 0);
    this.#finish();
  }

  /** What was written since the last call. */
  take(): Buffer {
    const written = this.#buffer.subarray(0, this.#end);
    const rest = this.#buffer.length - this.#end;
    // Of a large buffer not even a slice is kept, since it would keep all of it.
    const isUsedUp = rest < LEAST_BYTES || this.#buffer.buffer.byteLength > SLAB_BYTES;
    this.#buffer = isUsedUp ? Buffer.allocUnsafe(SLAB_BYTES) : this.#buffer.subarray(this.#end);
    this.#end = 0;
    return written;
  }

  #begin(code: number, atMost: number): void {
    const needed = this.#end + atMost + FRAME_BYTES;
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#end, SLAB_BYTES));
      this.#buffer.copy(larger, 0, 0, this.#end);
      this.#buffer = larger;
    }
    this.#buffer[this.#end++] = code;
    this.#start = this.#end;
    this.#end += 4;
  }

  #finish(): void {
    this.#buffer.writeInt32BE(this.#end - this.#start, this.#start);
  }

  #int16(value: number): void {
    this.#end = this.#buffer.writeUInt16BE(value, this.#end);
  }

  #int32(value: number): void {
    this.#end = this.#buffer.writeInt32BE(value, this.#end);
  }

  #cstring(text: string): void {
    this.#end += this.#buffer.write(text, this.#end);
    this.#buffer[this.#end++] = 0;
  }

  #value(value: string | null): void {
    if (value === null) {
      this.#int32(-1);
      return;
    }
    const length = this.#buffer.write(value, this.#end + 4);
    this.#int32(length);
    this.#end += length;
  }
}
