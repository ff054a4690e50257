import type { Connection, Submittable } from 'pg';
import { serialize } from 'pg-protocol';

/** One statement of a batch. All values travel as text; PostgreSQL infers their types. */
export interface Statement {
  text: string;
  values: readonly (string | null)[];
}

/** A row as PostgreSQL sent it: one text field a column. */
export type TextRow = readonly (string | null)[];

/** What a connection has prepared: name by text, oldest first. `epoch` tells when all of it became stale. */
interface PreparedStatements {
  epoch: number;
  names: Map<string, string>;
  /** Names to give back to the server with the next batch. */
  doomed: string[];
  next: number;
}

const prepared = new WeakMap<Connection, PreparedStatements>();
const MAX_PREPARED = 400;

/**
 * SQLSTATEs that say a prepared statement is out of date or gone. They come from Bind, before anything ran,
 * so the batch may be sent again.
 */
const STALE = new Set(['0A000', '26000']);

/**
 * Several statements in one round trip: Parse (once per connection), Bind and Execute for each, and a
 * single Sync. PostgreSQL runs what lies before a Sync as one implicit transaction, so the batch commits
 * as a whole or not at all, without BEGIN and COMMIT
 * (https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-PIPELINING).
 */
export class Batch implements Submittable {
  readonly #statements: readonly Statement[];
  readonly #epoch: number;
  readonly #settle: (error: Error | undefined, results: TextRow[][]) => void;
  readonly #parsed: string[] = [];
  #results: TextRow[][] = [[]];
  #connection: Connection | undefined;

  /**
   * @param epoch a number that the caller raises when prepared statements must be forgotten
   * @param settle called once, with the rows of each statement or the error
   */
  constructor(
    statements: readonly Statement[],
    epoch: number,
    settle: (error: Error | undefined, results: TextRow[][]) => void,
  ) {
    this.#statements = statements;
    this.#epoch = epoch;
    this.#settle = settle;
  }

  submit(connection: Connection): void {
    this.#connection = connection;
    const cache = preparedBy(connection, this.#epoch);
    const messages = cache.doomed.splice(0).map((name) => serialize.close({ type: 'S', name }));
    for (const { text, values } of this.#statements) {
      let statement = cache.names.get(text);
      if (statement === undefined) {
        statement = `b${cache.next++}`;
        cache.names.set(text, statement);
        this.#parsed.push(text);
        messages.push(serialize.parse({ text, name: statement }));
      }
      messages.push(serialize.bind({ statement, values: values as (string | null)[] }), serialize.execute());
    }
    messages.push(serialize.sync());
    // One buffer is one system call; a vector of seven costs several times as much.
    connection.stream.write(Buffer.concat(messages));
    while (cache.names.size > MAX_PREPARED) forget(cache, cache.names.keys().next().value ?? '');
  }

  handleDataRow(message: { fields: TextRow }): void {
    this.#results.at(-1)?.push(message.fields);
  }

  handleCommandComplete(): void {
    this.#results.push([]);
  }

  handleEmptyQuery(): void {
    this.#results.push([]);
  }

  handleError(error: Error & { code?: string }): void {
    const cache = this.#connection && prepared.get(this.#connection);
    if (cache) {
      // Which of the new statements the server got to know is not told, so none counts as prepared.
      for (const text of STALE.has(error.code ?? '') ? [...cache.names.keys()] : this.#parsed) forget(cache, text);
    }
    this.#settle(error, []);
  }

  handleReadyForQuery(): void {
    this.#settle(undefined, this.#results);
  }
}

/** True when the batch failed before anything ran, because a prepared statement was out of date. */
export function isStaleStatement(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return false;
  return error.code === '26000' || (error.code === '0A000' && error.message.includes('cached plan'));
}

function forget(cache: PreparedStatements, text: string): void {
  const name = cache.names.get(text);
  if (name === undefined) return;
  cache.names.delete(text);
  cache.doomed.push(name);
}

function preparedBy(connection: Connection, epoch: number): PreparedStatements {
  let cache = prepared.get(connection);
  if (!cache) {
    cache = { epoch, names: new Map(), doomed: [], next: 0 };
    prepared.set(connection, cache);
  }
  if (cache.epoch !== epoch) {
    cache.doomed.push(...cache.names.values());
    cache.names.clear();
    cache.epoch = epoch;
  }
  return cache;
}
