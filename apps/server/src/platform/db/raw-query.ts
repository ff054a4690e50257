import type { Connection, Submittable } from 'pg';
import type { TextRow } from './batch.ts';

/** How much of a result is read. What lies beyond is left unread in the database. */
export interface ReadLimits {
  maxRows: number;
  /** Of the values as text. */
  maxBytes: number;
}

/** The result of a statement, values as PostgreSQL wrote them. */
export interface RawResult {
  /** The command tag without its numbers: `SELECT`, `INSERT`, `CREATE TABLE`. */
  command: string;
  /** Rows read or changed; null for statements that do neither, and for a result that was cut. */
  rowCount: number | null;
  fields: { name: string; dataTypeID: number }[];
  rows: TextRow[];
  /** False when a limit left rows unread. */
  isComplete: boolean;
}

/** Rows asked for at a time: enough to make the round trip cheap, few enough to stop soon after a limit. */
const PAGE_ROWS = 1_000;
const JSON_TYPES = new Set([114, 3802]);

/** What Connection has beyond its published types. */
interface WireConnection extends Connection {
  sendCopyFail(reason: string): void;
}

/** One statement of a caller's own, over the extended protocol, read only as far as the limits allow. */
export class RawQuery implements Submittable {
  readonly #text: string;
  readonly #values: readonly unknown[];
  readonly #limits: ReadLimits;
  readonly #settle: (error: Error | undefined, result: RawResult) => void;
  readonly #result: RawResult = { command: '', rowCount: null, fields: [], rows: [], isComplete: true };
  #described: (message: { dataTypeIDs: number[] }) => void = () => {};
  #bytes = 0;
  #synced = false;

  constructor(
    { text, values, limits }: { text: string; values: readonly unknown[]; limits: ReadLimits },
    settle: (error: Error | undefined, result: RawResult) => void,
  ) {
    this.#text = text;
    this.#values = values;
    this.#limits = limits;
    this.#settle = settle;
  }

  submit(connection: Connection): void {
    connection.parse({ text: this.#text, name: '', types: [] }, true);
    if (!this.#values.some(Array.isArray)) {
      this.#execute(connection, []);
      return;
    }
    // A JSON array is one value for a json parameter and several for int[]: only the server knows which.
    this.#described = ({ dataTypeIDs }) => this.#execute(connection, dataTypeIDs);
    connection.once('parameterDescription', this.#described);
    connection.describe({ type: 'S', name: '' }, true);
    connection.flush();
  }

  #execute(connection: Connection, types: readonly number[]): void {
    connection.stream.cork();
    connection.bind({ values: this.#values.map((value, index) => toText(value, types[index])) }, true);
    connection.describe({ type: 'P', name: '' }, true);
    this.#readPage(connection);
    connection.stream.uncork();
  }

  #readPage(connection: Connection): void {
    const rows = Math.min(PAGE_ROWS, this.#limits.maxRows + 1 - this.#result.rows.length);
    connection.execute({ portal: '', rows: String(rows) }, true);
    connection.flush();
  }

  #sync(connection: Connection): void {
    if (this.#synced) return;
    this.#synced = true;
    connection.sync();
  }

  handleRowDescription({ fields }: { fields: { name: string; dataTypeID: number }[] }): void {
    this.#result.fields = fields.map(({ name, dataTypeID }) => ({ name, dataTypeID }));
  }

  handleDataRow({ fields }: { fields: TextRow }): void {
    if (!this.#result.isComplete) return;
    for (const value of fields) this.#bytes += value?.length ?? 0;
    if (this.#result.rows.length >= this.#limits.maxRows || this.#bytes > this.#limits.maxBytes) {
      this.#result.isComplete = false;
    } else {
      this.#result.rows.push(fields);
    }
  }

  handlePortalSuspended(connection: Connection): void {
    if (this.#result.isComplete) {
      this.#readPage(connection);
      return;
    }
    // An open portal would keep its tables from being altered later in the transaction.
    connection.close({ type: 'P', name: '' }, true);
    this.#sync(connection);
  }

  handleCommandComplete({ text }: { text: string }, connection: Connection): void {
    const [, command = text, count] = /^(.*?)(?: \d+)??(?: (\d+))?$/.exec(text) ?? [];
    this.#result.command = command;
    if (count !== undefined) this.#result.rowCount = this.#result.fields.length ? null : Number(count);
    this.#sync(connection);
  }

  handleEmptyQuery(connection: Connection): void {
    this.#sync(connection);
  }

  handleCopyInResponse(connection: Connection): void {
    (connection as WireConnection).sendCopyFail('COPY FROM STDIN has no source here');
  }

  handleCopyData(): void {}

  handleError(error: Error, connection: Connection | undefined): void {
    // After an error the server skips everything up to the Sync that is then still missing.
    if (connection) {
      connection.off('parameterDescription', this.#described);
      this.#sync(connection);
    }
    this.#settle(error, this.#result);
  }

  handleReadyForQuery(): void {
    const result = this.#result;
    if (result.fields.length) result.rowCount = result.isComplete ? result.rows.length : null;
    this.#settle(undefined, result);
  }
}

/** Values from JSON as the text that PostgreSQL reads for a parameter of the type. */
function toText(value: unknown, type: number | undefined): string | null {
  if (value === null || value === undefined) return null;
  if (Array.isArray(value) && type !== undefined && !JSON_TYPES.has(type)) return arrayLiteral(value);
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** `{1,"a \"b\"",NULL}`: https://www.postgresql.org/docs/current/arrays.html#ARRAYS-INPUT */
function arrayLiteral(values: readonly unknown[]): string {
  const items = values.map((value) => {
    if (value === null || value === undefined) return 'NULL';
    if (Array.isArray(value)) return arrayLiteral(value);
    const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
    return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  });
  return `{${items.join(',')}}`;
}
