import type { Readable } from 'node:stream';
import type { DumpQuery, RowFormat } from '@insforge/contract/transfer.ts';
import type { Db } from '#platform/db/db.ts';
import { compile, quoteIdentifier, quoteLiteral } from '#platform/db/sql.ts';
import type { DatabaseAddress } from '#platform/platform.ts';
import { dumpDatabase } from './dump/dump.ts';
import { dumpByPgDump, findPgDump } from './dump/pg-dump.ts';
import { startStream } from './streaming.ts';
import { findTarget } from './target.ts';

/** One state of the database from the first row to the last, for as long as the reader takes. */
const SETTINGS = { search_path: 'public', transaction_isolation: 'repeatable read', statement_timeout: '0' };

interface RowExport {
  table: string;
  format: RowFormat;
  delimiter: string;
}

/** The rows of a table. */
export function streamRows(db: Db, { table, format, delimiter }: RowExport, signal: AbortSignal): Promise<Readable> {
  return startStream((write) =>
    db.as({ role: 'project_admin' }).tx(
      async (tx) => {
        const target = await findTarget(tx, table);
        const name = compile(target.sql).text;
        const columns = target.columns.map((column) => quoteIdentifier(column.name)).join(', ');
        const copy =
          format === 'csv'
            ? `copy (select ${columns} from ${name}) to stdout with (format csv, header, delimiter ${quoteLiteral(delimiter)})`
            : jsonLines(`select ${columns} from ${name}`);
        const rows = tx.copyTo(copy);
        // A reader that waits for an empty table must get something to begin with.
        await write('');
        for await (const piece of format === 'json' ? asArray(rows) : rows) await write(piece);
      },
      SETTINGS,
      signal,
    ),
  );
}

/**
 * One JSON text a line. As CSV with a quote and a delimiter that JSON text never contains, COPY changes
 * nothing about it.
 */
const jsonLines = (query: string) =>
  `copy (select to_jsonb(exported)::text from (${query}) as exported) to stdout with (format csv, quote E'\\x01', delimiter E'\\x02')`;

const NEWLINE = 0x0a;
const COMMA = Buffer.from(',\n');

/** Lines of JSON as one array. */
async function* asArray(lines: AsyncIterable<Buffer>): AsyncGenerator<string | Buffer> {
  let before: string | Buffer = '[';
  for await (const piece of lines) {
    const parts: Buffer[] = [Buffer.from(before)];
    let start = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, start)) {
      parts.push(piece.subarray(start, end));
      start = end + 1;
      if (start < piece.length) parts.push(COMMA);
    }
    parts.push(piece.subarray(start));
    before = piece.at(-1) === NEWLINE ? COMMA : '';
    yield Buffer.concat(parts);
  }
  yield before === '[' ? '[]\n' : ']\n';
}

/** The developer's schemas as SQL. */
export function streamDump(
  db: Db,
  database: DatabaseAddress,
  { tool, ...query }: DumpQuery,
  signal: AbortSignal,
): Promise<Readable> {
  const options = { ...query, users: query.data && query.tables === undefined };
  return startStream((write) =>
    db.as({ role: 'project_admin' }).tx(
      async (tx) => {
        for (const table of query.tables ?? []) await findTarget(tx, table);
        const pgDump = tool === 'auto' ? await findPgDump(tx, options, database) : undefined;
        const pieces = pgDump ? dumpByPgDump(tx, options, { ...pgDump, signal }) : dumpDatabase(tx, options);
        for await (const piece of pieces) await write(piece);
      },
      SETTINGS,
      signal,
    ),
  );
}
