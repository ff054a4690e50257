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

const PIECE_BYTES = 64 * 1024;

/**
 * `COPY … TO STDOUT` as a stream; the server is read as fast as the stream is. Each row is a message of its
 * own, so rows are gathered into larger pieces.
 */
export class CopyTo implements Submittable {
  readonly stream: Readable;
  readonly #text: string;
  readonly #settle: (error: Error | undefined) => void;
  #connection: Connection | undefined;
  #piece = Buffer.allocUnsafe(PIECE_BYTES);
  #length = 0;

  constructor(text: string, settle: (error: Error | undefined) => void) {
    this.#text = text;
    this.#settle = settle;
    this.stream = new Readable({
      highWaterMark: MAX_WAITING_BYTES,
      read: () => this.#connection?.stream.resume(),
      // What nobody wants any more still has to be read off the connection.
      destroy: (error, done) => {
        this.#connection?.stream.resume();
        done(error);
      },
    });
  }

  submit(connection: Connection): void {
    this.#connection = connection;
    connection.query(this.#text);
  }

  handleCopyData({ chunk }: { chunk: Buffer }): void {
    if (this.#length + chunk.length > PIECE_BYTES) this.#flush();
    // The socket goes on reading into the buffer of this chunk: what is kept must be our own.
    if (chunk.length > PIECE_BYTES) this.#push(Buffer.from(chunk));
    else this.#length += chunk.copy(this.#piece, this.#length);
  }

  #flush(): void {
    if (this.#length === 0) return;
    const piece = this.#piece.subarray(0, this.#length);
    this.#piece = Buffer.allocUnsafe(PIECE_BYTES);
    this.#length = 0;
    this.#push(piece);
  }

  #push(piece: Buffer): void {
    if (!this.stream.destroyed && !this.stream.push(piece)) this.#connection?.stream.pause();
  }

  handleCommandComplete(): void {}

  handleError(error: Error): void {
    this.#connection?.stream.resume();
    this.#settle(error);
    this.stream.destroy(error);
  }

  handleReadyForQuery(connection: Connection | undefined): void {
    (connection ?? this.#connection)?.stream.resume();
    this.#flush();
    this.#settle(undefined);
    this.stream.push(null);
  }
}
