import { type Duplex, Readable } from 'node:stream';
import type { Connection, Submittable } from 'pg';

/** What Connection has beyond its published types. */
interface CopyConnection extends Connection {
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
  sendCopyFail(reason: string): void;
}

/** Bytes on their way to the server that may wait for it; more, and the source is asked to wait. */
const MAX_WAITING_BYTES = 256 * 1024;

/**
 * `COPY … FROM STDIN`: what the source yields goes to the server as fast as it takes it, and no faster.
 * https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-COPY
 */
export class CopyFrom implements Submittable {
  readonly #text: string;
  readonly #source: AsyncIterable<Buffer>;
  readonly #settle: (error: Error | undefined, rows: number) => void;
  #rows = 0;
  #isOver = false;
  #sourceError: Error | undefined;

  constructor(text: string, source: AsyncIterable<Buffer>, settle: (error: Error | undefined, rows: number) => void) {
    this.#text = text;
    this.#source = source;
    this.#settle = settle;
  }

  submit(connection: Connection): void {
    connection.query(this.#text);
  }

  handleCopyInResponse(connection: Connection): void {
    void this.#pump(connection as CopyConnection);
  }

  async #pump(connection: CopyConnection): Promise<void> {
    try {
      for await (const chunk of this.#source) {
        if (this.#isOver) return;
        connection.sendCopyFromChunk(chunk);
        if (connection.stream.writableLength > MAX_WAITING_BYTES) {
          await drained(connection.stream);
        }
      }
      if (!this.#isOver) connection.endCopyFrom();
    } catch (error) {
      // Its error, not the one of the COPY that it ends, is what went wrong.
      this.#sourceError = error instanceof Error ? error : new Error(String(error));
      if (!this.#isOver) connection.sendCopyFail('the source failed');
    }
  }

  handleCommandComplete({ text }: { text: string }): void {
    this.#rows = Number(/\d+$/.exec(text)?.[0] ?? 0);
  }

  handleError(error: Error): void {
    this.#isOver = true;
    this.#settle(this.#sourceError ?? error, 0);
  }

  handleReadyForQuery(): void {
    this.#isOver = true;
    this.#settle(undefined, this.#rows);
  }
}

/** Waits until more can be written, or nothing any more. */
function drained(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off('drain', done).off('close', done);
      resolve();
    };
    stream.on('drain', done).on('close', done);
  });
}

/** CopyData: https://www.postgresql.org/docs/current/protocol-message-formats.html */
const COPY_DATA = 0x64;
const READY_FOR_QUERY = 0x5a;
/** Of the type and the length in front of each message. */
const HEADER_BYTES = 5;
const NOTHING = Buffer.alloc(0);

type Listener = (data: Buffer) => void;

/**
 * `COPY … TO STDOUT` as a stream; the server is read as fast as the stream is. Each row is a message of its
 * own, so the messages are taken off the socket here: to hand them out one by one would take longer than all
 * the rest. A stream that is destroyed before its end takes the connection with it, and so the transaction.
 */
export class CopyTo implements Submittable {
  readonly stream: Readable;
  readonly #text: string;
  #connection: Connection | undefined;
  #listeners: Listener[] = [];
  /** Bytes of a row that are still to come. */
  #missing = 0;
  /** The beginning of a message other than a row, or of a header. */
  #rest: Buffer = NOTHING;
  #isOver = false;

  constructor(text: string) {
    this.#text = text;
    this.stream = new Readable({
      highWaterMark: MAX_WAITING_BYTES,
      read: () => this.#connection?.stream.resume(),
      destroy: (error, done) => {
        // What nobody wants any more would still have to be read, however much it is.
        if (!this.#isOver) this.#connection?.stream.destroy();
        done(error);
      },
    });
  }

  submit(connection: Connection): Error | undefined {
    if (this.stream.destroyed) return new Error('nobody reads the COPY any more');
    this.#connection = connection;
    this.#listeners = connection.stream.listeners('data') as Listener[];
    for (const listener of this.#listeners) connection.stream.off('data', listener);
    connection.stream.on('data', this.#take);
    connection.query(this.#text);
    return undefined;
  }

  /**
   * Keeps the rows, whole or not, and passes every other message on to whoever listened before. Each chunk is
   * ours alone (a socket reads into a new buffer every time), so the rows in it are moved together in place.
   */
  readonly #take = (data: Buffer): void => {
    const bytes = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    let rows = 0;
    let end = Math.min(this.#missing, bytes.length);
    let read = end;
    this.#missing -= end;
    while (read + HEADER_BYTES <= bytes.length) {
      const next = read + 1 + bytes.readUInt32BE(read + 1);
      if (bytes[read] === COPY_DATA) {
        const present = Math.min(next, bytes.length);
        bytes.copyWithin(end, read + HEADER_BYTES, present);
        end += present - read - HEADER_BYTES;
        read = present;
        this.#missing = next - present;
        continue;
      }
      if (next > bytes.length) break;
      // In the order of arrival, and never written over.
      this.#push(bytes.subarray(rows, end));
      if (bytes[read] === READY_FOR_QUERY) {
        this.#giveBack(bytes.subarray(read));
        return;
      }
      this.#pass(bytes.subarray(read, next));
      rows = end = read = next;
    }
    this.#rest = read < bytes.length ? Buffer.from(bytes.subarray(read)) : NOTHING;
    this.#push(bytes.subarray(rows, end));
  };

  #push(rows: Buffer): void {
    if (rows.length === 0 || this.stream.destroyed) return;
    if (!this.stream.push(rows)) this.#connection?.stream.pause();
  }

  #pass(messages: Buffer): void {
    for (const listener of this.#listeners) listener(messages);
  }

  /** The copy is over: what follows is for whoever listened before. */
  #giveBack(messages: Buffer): void {
    const socket = this.#connection?.stream;
    socket?.off('data', this.#take);
    for (const listener of this.#listeners) socket?.on('data', listener);
    socket?.resume();
    this.#pass(messages);
  }

  handleCommandComplete(): void {}

  handleError(error: Error): void {
    this.#isOver = true;
    this.stream.destroy(error);
  }

  handleReadyForQuery(): void {
    this.#isOver = true;
    this.stream.push(null);
  }
}
