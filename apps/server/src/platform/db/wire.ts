/** Batches on a connection that `pg` opened: written when they come, several in flight, answered in turn. */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import type { ClientBase } from 'pg';
import { parse } from 'pg-protocol';
import { AppError } from '#platform/errors.ts';
import { BatchWriter, isStaleStatement, MAX_VALUES, type Statement, type TextRow } from './batch.ts';
import type { Role } from './db.ts';
import { PreparedStatements, type StatementState } from './prepared.ts';

interface InFlight {
  readonly statements: readonly Statement[];
  readonly scope: Role | undefined;
  /** What it prepares, in the order of its Parse messages, and how many of these PostgreSQL has confirmed. */
  readonly parsed: readonly string[];
  confirmed: number;
  /** The statement whose rows come next. */
  current: number;
  rows: TextRow[];
  error: Error | undefined;
  readonly settle: (error: Error | undefined, rows: TextRow[]) => void;
}

const HEADER = 5;
const SPACE = 0x20;
/** Backend messages (.../protocol-message-formats.html). */
const MESSAGE = {
  parseComplete: 0x31,
  bindComplete: 0x32,
  closeComplete: 0x33,
  dataRow: 0x44,
  commandComplete: 0x43,
  emptyQuery: 0x49,
  error: 0x45,
  readyForQuery: 0x5a,
} as const;

/**
 * One connection's side of the extended protocol. While no batch is in flight, everything that comes is for `pg`, so
 * that a client can be used in both ways in turn.
 */
export class Wire {
  readonly #socket: Socket;
  readonly #prepared: PreparedStatements;
  readonly #writer = new BatchWriter();
  readonly #inFlight: InFlight[] = [];
  readonly #toPg: (chunk: Buffer) => void;
  /** The pieces of a message that has not arrived as a whole. */
  #pieces: Buffer[] = [];
  #missing = 0;
  #isOpen = true;

  /** @param onRead called after each piece that arrived, when what it answered has been settled */
  constructor(client: ClientBase, state: StatementState, onRead: () => void = () => {}) {
    const { stream } = (client as ClientBase & { connection: { stream: Socket } }).connection;
    this.#socket = stream;
    this.#prepared = new PreparedStatements(state);
    const [toPg] = stream.listeners('data');
    this.#toPg = toPg as (chunk: Buffer) => void;
    stream.removeAllListeners('data');
    stream.on('data', (chunk: Buffer) => {
      this.#read(chunk);
      onRead();
    });
    client.once('end', () => this.#lose());
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Batches that have not been answered. */
  get depth(): number {
    return this.#inFlight.length;
  }

  /**
   * Sends statements as one transaction, and settles once it has ended with the rows of the last of them. Behind other
   * batches it is independent of how they end.
   * @param scope who runs them: prepared statements are not shared between roles
   */
  send(scope: Role | undefined, statements: readonly Statement[], settle: InFlight['settle']): void {
    if (!this.#isOpen) {
      settle(connectionLost(), []);
      return;
    }
    if (statements.some(({ values }) => values.length > MAX_VALUES)) {
      settle(new AppError('INVALID_INPUT', `One statement takes at most ${MAX_VALUES} values`), []);
      return;
    }
    const writer = this.#writer;
    const parsed: string[] = [];
    // One buffer is one system call, also for the batches of several requests that came at the same time.
    if (writer.isEmpty) setImmediate(() => this.#flush());
    for (const name of this.#prepared.takeDoomed()) writer.close(name);
    for (const { text, values } of statements) {
      let name = this.#prepared.find(scope, text);
      if (name === undefined) {
        name = this.#prepared.add(scope, text);
        parsed.push(text);
        writer.parse(name, text);
      }
      writer.execute(name, values);
    }
    writer.sync();
    this.#inFlight.push({ statements, scope, parsed, confirmed: 0, current: 0, rows: [], error: undefined, settle });
  }

  #flush(): void {
    if (!this.#isOpen || this.#writer.isEmpty) return;
    const parts = this.#writer.take();
    if (parts.length > 1) this.#socket.cork();
    for (const part of parts) this.#socket.write(part);
    if (parts.length > 1) this.#socket.uncork();
  }

  #read(chunk: Buffer): void {
    if (this.#inFlight.length === 0) {
      this.#toPg(chunk);
      return;
    }
    let data = chunk;
    if (this.#pieces.length > 0) {
      this.#pieces.push(chunk);
      this.#missing -= chunk.length;
      if (this.#missing > 0) return;
      data = Buffer.concat(this.#pieces);
      this.#pieces = [];
    }
    let at = 0;
    while (at + HEADER <= data.length) {
      const end = at + 1 + data.readUInt32BE(at + 1);
      if (end > data.length) break;
      this.#message(data, at, end);
      at = end;
      if (this.#inFlight.length === 0) {
        if (at < data.length) this.#toPg(data.subarray(at));
        return;
      }
    }
    if (at === data.length) return;
    const rest = data.subarray(at);
    this.#missing = (rest.length < HEADER ? HEADER : 1 + rest.readUInt32BE(1)) - rest.length;
    this.#pieces.push(rest);
  }

  #message(data: Buffer, at: number, end: number): void {
    const batch = this.#inFlight[0] as InFlight;
    switch (data[at]) {
      case MESSAGE.bindComplete:
      case MESSAGE.closeComplete:
        return;
      case MESSAGE.parseComplete:
        batch.confirmed++;
        return;
      case MESSAGE.dataRow:
        if (batch.current === batch.statements.length - 1) batch.rows.push(readRow(data, at + HEADER));
        return;
      case MESSAGE.commandComplete:
        if (batch.statements[batch.current]?.isCounted)
          batch.rows = [[countOf(data, end), ...(batch.rows.at(-1) ?? [])]];
        batch.current++;
        return;
      case MESSAGE.emptyQuery:
        batch.current++;
        return;
      case MESSAGE.error:
        batch.error = toError(data.subarray(at, end));
        return;
      case MESSAGE.readyForQuery:
        this.#inFlight.shift();
        this.#settle(batch);
        return;
      default:
        // Notices, notifications and settings are for whoever listens at the client.
        this.#toPg(data.subarray(at, end));
    }
  }

  #settle({ scope, parsed, confirmed, error, rows, settle }: InFlight): void {
    if (error) {
      if (isStaleStatement(error)) this.#prepared.forgetAll();
      // After an error PostgreSQL skips what lies before the Sync, also what was to be prepared.
      else for (const text of parsed.slice(confirmed)) this.#prepared.forget(scope, text);
    }
    settle(error, rows);
  }

  #lose(): void {
    this.#isOpen = false;
    // Any of them may have committed, so none may be sent again.
    for (const batch of this.#inFlight.splice(0)) batch.settle(batch.error ?? connectionLost(), []);
  }
}

const connectionLost = () => new Error('Connection terminated unexpectedly');

function readRow(data: Buffer, start: number): TextRow {
  const count = data.readUInt16BE(start);
  const row = new Array<string | null>(count);
  let at = start + 2;
  for (let column = 0; column < count; column++) {
    const length = data.readInt32BE(at);
    at += 4;
    if (length < 0) {
      row[column] = null;
      continue;
    }
    row[column] = data.toString('utf8', at, at + length);
    at += length;
  }
  return row;
}

/** The number at the end of a command tag: `INSERT 0 1`, `DELETE 3`. */
function countOf(data: Buffer, end: number): string {
  return data.toString('latin1', data.lastIndexOf(SPACE, end - 1) + 1, end - 1);
}

/** The error as `pg` makes it. */
function toError(message: Buffer): Error {
  const source = new EventEmitter() as EventEmitter & NodeJS.ReadableStream;
  let error: unknown;
  void parse(source, (parsed) => (error = parsed));
  source.emit('data', message);
  return error as Error;
}
