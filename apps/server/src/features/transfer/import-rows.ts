import type { ImportRows, RowFormat } from '@insforge/contract/transfer.ts';
import { rehearse } from '#features/schema/index.ts';
import type { Db, UserTx } from '#platform/db/db.ts';
import { compile, quoteLiteral, sql } from '#platform/db/sql.ts';
import { AppError, isDatabaseError, toAppError } from '#platform/errors.ts';
import { readCsv } from './csv.ts';
import { splitJson } from './json-documents.ts';
import { sessionName } from './progress.ts';
import { insertStaged, insertStagedSkipping, type RowError, STAGING } from './staging.ts';
import { findTarget, pickColumns, type Target } from './target.ts';

/** What became of the rows of a file. */
export interface ImportedRows {
  rows: number;
  total: number;
  errors: RowError[];
  moreErrors: number;
}

/** Which table, and how. */
export interface RowImport extends Pick<ImportRows, 'upsertKey' | 'onError' | 'truncate' | 'dryRun' | 'delimiter'> {
  table: string;
  schema?: string | undefined;
  format: RowFormat;
  /** Of the file, where it is known. */
  totalBytes?: number | undefined;
}

/** Long enough for a large file; the client ends it by leaving. */
const SETTINGS = { search_path: 'public', statement_timeout: '0', 'insforge.change_source': 'import' };

/** Writes the rows of a file into a table as the admin, in one transaction. */
export function importRows(
  db: Db,
  request: RowImport,
  source: AsyncIterable<Buffer>,
  signal: AbortSignal,
): Promise<ImportedRows> {
  return db.as({ role: 'project_admin' }).tx(
    (tx) => {
      const work = () => storeRows(tx, request, source);
      return request.dryRun ? rehearse(tx, work) : work();
    },
    { ...SETTINGS, application_name: sessionName(request.table, request.totalBytes) },
    signal,
  );
}

async function storeRows(tx: UserTx, request: RowImport, source: AsyncIterable<Buffer>): Promise<ImportedRows> {
  const target = await findTarget(tx, request.table, request.schema);
  if (request.truncate) await tx.query(sql`truncate ${target.sql}`);
  return request.format === 'csv' ? storeCsv(tx, request, target, source) : storeJson(tx, request, target, source);
}

async function storeCsv(
  tx: UserTx,
  request: RowImport,
  target: Target,
  source: AsyncIterable<Buffer>,
): Promise<ImportedRows> {
  const { columns: names, rows, headerLines } = await readCsv(source, request.delimiter);
  const columns = pickColumns(target, names);
  const copy = (into: typeof target.sql, list: typeof target.sql) =>
    tx
      .copyFrom(
        compile(
          sql`copy ${into} (${list}) from stdin with (format csv, delimiter ${sql.raw(quoteLiteral(request.delimiter))})`,
        ).text,
        rows,
      )
      .catch((error: unknown) => {
        throw withLine(error, headerLines);
      });
  if (request.upsertKey === undefined && request.onError === 'abort') {
    const total = await copy(target.sql, sql.join(columns.map(({ name }) => sql.id(name))));
    return { rows: total, total, errors: [], moreErrors: 0 };
  }
  const staged = columns.map((_, index) => sql.id(`c${index}`));
  await tx.query(sql`
    create temp table import_rows (row bigint generated always as identity, ${sql.join(staged.map((name) => sql`${name} text`))})
    on commit drop`);
  const total = await copy(STAGING, sql.join(staged));
  const values = columns.map(({ type }, index) => sql`${staged[index]}::${sql.raw(type)}`);
  return storeStaged(tx, request, { target, columns, values, upsertKey: request.upsertKey }, total);
}

async function storeJson(
  tx: UserTx,
  request: RowImport,
  target: Target,
  source: AsyncIterable<Buffer>,
): Promise<ImportedRows> {
  await tx.query(sql`create temp table import_rows (row bigint, document jsonb) on commit drop`);
  const reading: JsonReading = { keys: new Map(), rows: 0, errors: [], moreErrors: 0 };
  await tx.copyFrom(
    compile(sql`copy ${STAGING} (row, document) from stdin with (format csv)`).text,
    jsonAsCsv(source, request, reading),
  );
  const columns = pickColumns(target, [...reading.keys.keys()]);
  const values = columns.map(({ name, type, default: usual }) => {
    const value = sql`(jsonb_populate_record(null::${target.sql}, document)).${sql.id(name)}`;
    // Where only some rows have the key, the others get the default, as if they had been inserted alone.
    const isEverywhere = reading.keys.get(name) === reading.rows - reading.errors.length - reading.moreErrors;
    const otherwise = usual === null ? sql`null` : sql.raw(`(${usual})`);
    return isEverywhere
      ? value
      : sql`case when document ? ${sql.raw(quoteLiteral(name))} then ${value} else ${otherwise}::${sql.raw(type)} end`;
  });
  if (columns.length === 0) return { ...reading, rows: 0, total: reading.rows };
  const stored = await storeStaged(
    tx,
    request,
    { target, columns, values, upsertKey: request.upsertKey },
    reading.rows,
  );
  return {
    ...stored,
    errors: [...reading.errors, ...stored.errors].sort((a, b) => a.row - b.row),
    moreErrors: reading.moreErrors + stored.moreErrors,
  };
}

async function storeStaged(
  tx: UserTx,
  { onError }: RowImport,
  insert: Parameters<typeof insertStaged>[1],
  total: number,
): Promise<ImportedRows> {
  if (onError === 'skip') return { ...(await insertStagedSkipping(tx, insert)), total };
  return { rows: await insertStaged(tx, insert), total, errors: [], moreErrors: 0 };
}

interface JsonReading {
  /** Key -> in how many rows it is. */
  keys: Map<string, number>;
  rows: number;
  errors: RowError[];
  moreErrors: number;
}

const PIECE_CHARACTERS = 64 * 1024;
const MAX_ERRORS = 100;

/** Rows as `number,"document"`, in pieces that are worth a write. */
async function* jsonAsCsv(
  source: AsyncIterable<Buffer>,
  { onError }: RowImport,
  reading: JsonReading,
): AsyncGenerator<Buffer> {
  let piece = '';
  for await (const { row, text } of splitJson(source)) {
    reading.rows = row;
    const problem = countKeys(text, reading.keys);
    if (problem === undefined) piece += `${row},"${text.replaceAll('"', '""')}"\n`;
    else if (onError === 'abort') {
      throw new AppError('DATABASE_VALIDATION_ERROR', `${problem} (row ${row})`, {
        details: { row },
        nextActions: 'Correct the row, or send onError=skip to leave bad rows out.',
      });
    } else if (reading.errors.length < MAX_ERRORS) reading.errors.push({ row, message: problem });
    else reading.moreErrors++;
    if (piece.length > PIECE_CHARACTERS) {
      yield Buffer.from(piece);
      piece = '';
    }
  }
  if (piece !== '') yield Buffer.from(piece);
}

/** Counts the keys of a row; says what is wrong when it is no object. */
function countKeys(text: string, keys: Map<string, number>): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return error instanceof Error ? error.message : 'not JSON';
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'Each row must be a JSON object';
  for (const key of Object.keys(value)) keys.set(key, (keys.get(key) ?? 0) + 1);
  return undefined;
}

/** PostgreSQL counts the lines it was given; the header was not among them. */
function withLine(error: unknown, headerLines: number): unknown {
  if (!isDatabaseError(error)) return error;
  const [, line, column] = /^COPY .*?, line (\d+)(?:, column ([^:]+))?/.exec(error.where ?? '') ?? [];
  if (line === undefined) return error;
  const known = toAppError(error);
  const inFile = Number(line) + headerLines;
  const place = column === undefined ? `line ${inFile}` : `line ${inFile}, column ${column}`;
  return new AppError(known.code, `${known.message} (${place})`, {
    status: known.status,
    cause: error,
    nextActions: 'Correct the line, or send onError=skip to leave bad rows out and have them listed.',
    details: { ...known.details, line: inFile, ...(column === undefined ? {} : { column }) },
  });
}
