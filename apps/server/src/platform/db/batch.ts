/**
 * Several statements in one round trip: Parse (once per connection), Bind and Execute for each, and a single
 * Sync. PostgreSQL runs what lies before a Sync as one implicit transaction, so a batch commits as a whole or
 * not at all, without BEGIN and COMMIT
 * (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING).
 */
import { isDatabaseError } from '#platform/errors.ts';
import { compile, type Sql } from './sql.ts';

/** More values do not fit into the message that carries them. */
export const MAX_VALUES = 65_535;

/** Travels as text; PostgreSQL infers its type. Bytes, which are for a `bytea`, travel as they are. */
export type Value = string | Uint8Array | null;

/** One statement of a batch. */
export interface Statement {
  text: string;
  values: readonly Value[];
  /**
   * Present where the statement only reads, or only writes rows: it may share a connection with others of its kind,
   * and be run again after it was undone, without anybody noticing.
   */
  kind?: 'read' | 'write' | undefined;
  /** Of what the statement returns only the last row counts, behind the number of rows that it changed. */
  isCounted?: boolean;
}

/** A statement in the form that travels. */
export function toStatement(statement: Sql): Statement {
  const { text, values } = compile(statement);
  return { text, values: values.map(toValue) };
}

/** A value in the form that travels. */
export function toValue(value: unknown): Value {
  if (value === null || value === undefined) return null;
  return value instanceof Uint8Array ? value : String(value);
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
const TEXT = 0;
const BINARY = 1;
const SLAB_BYTES = 65_536;
/** Bytes that are more than this are sent from where they are. */
const COPIED_BYTES = 4096;
const LEAST_BYTES = 1024;

/** What a message has beside its texts, at most. */
const FRAME_BYTES = 32;
const SHORT_TEXT = 1024;

/** The most that a text takes with its length or its end; counted only where guessing would waste much. */
const sizeOf = (text: string) => 4 + (text.length < SHORT_TEXT ? text.length * 3 : Buffer.byteLength(text));

/** Writes the messages of batches one after the other (.../protocol-message-formats.html). */
export class BatchWriter {
  /** What lies before `#from` in the buffer, and bytes that are too many to be copied. */
  #parts: Uint8Array[] = [];
  #buffer = Buffer.allocUnsafe(SLAB_BYTES);
  #from = 0;
  #end = 0;
  /** Where the length of the current message goes, and how much of it lies elsewhere. */
  #start = 0;
  #elsewhere = 0;

  get isEmpty(): boolean {
    return this.#parts.length === 0 && this.#end === this.#from;
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
    let hasBytes = false;
    for (const value of values) {
      if (value === null) size += 4;
      else if (typeof value === 'string') size += sizeOf(value);
      else {
        size += 4 + (value.length < COPIED_BYTES ? value.length : 0);
        hasBytes = true;
      }
    }
    if (hasBytes) size += 2 * values.length;
    this.#begin(BIND, size);
    this.#buffer[this.#end++] = 0;
    this.#cstring(name);
    this.#formats(hasBytes ? values : []);
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
  take(): Uint8Array[] {
    this.#cut();
    const written = this.#parts;
    this.#parts = [];
    // A large buffer is not kept for what little may follow.
    if (this.#buffer.length > SLAB_BYTES || this.#buffer.length - this.#end < LEAST_BYTES) this.#renew(SLAB_BYTES);
    return written;
  }

  #cut(): void {
    if (this.#end > this.#from) this.#parts.push(this.#buffer.subarray(this.#from, this.#end));
    this.#from = this.#end;
  }

  #renew(bytes: number): void {
    this.#buffer = Buffer.allocUnsafe(bytes);
    this.#from = 0;
    this.#end = 0;
  }

  #begin(code: number, atMost: number): void {
    const needed = atMost + FRAME_BYTES;
    if (this.#end + needed > this.#buffer.length) {
      this.#cut();
      this.#renew(Math.max(needed, SLAB_BYTES));
    }
    this.#buffer[this.#end++] = code;
    this.#start = this.#end;
    this.#elsewhere = 0;
    this.#end += 4;
  }

  #finish(): void {
    this.#buffer.writeInt32BE(this.#end - this.#start + this.#elsewhere, this.#start);
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

  /** Of parameters: text where nothing is said. */
  #formats(values: Statement['values']): void {
    this.#int16(values.length);
    for (const value of values) this.#int16(value instanceof Uint8Array ? BINARY : TEXT);
  }

  #value(value: Value): void {
    if (value === null) {
      this.#int32(-1);
      return;
    }
    if (typeof value !== 'string') {
      this.#bytes(value);
      return;
    }
    const length = this.#buffer.write(value, this.#end + 4);
    this.#int32(length);
    this.#end += length;
  }

  #bytes(value: Uint8Array): void {
    this.#int32(value.length);
    if (value.length < COPIED_BYTES) {
      this.#buffer.set(value, this.#end);
      this.#end += value.length;
      return;
    }
    this.#cut();
    this.#parts.push(value);
    this.#elsewhere += value.length;
  }
}
