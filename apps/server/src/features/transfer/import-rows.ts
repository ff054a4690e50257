import type { ImportRows, RowFormat } from '@insforge/contract/transfer.ts';
import { rehearse } from '#features/schema/index.ts';
import type { Db, UserTx } from '#platform/db/db.ts';
import { compile, quoteLiteral, type Sql, sql } from '#platform/db/sql.ts';
import { type Csv, readCsv } from './csv.ts';
import { CsvSplitter } from './csv-records.ts';
import { splitJson } from './json-documents.ts';
import { sessionName } from './progress.ts';
import { type Report, type RowError, type RowErrors, reportTo, withLine } from './row-errors.ts';
import { createStaging, insertStaged, insertStagedSkipping, STAGING, type StagedInsert } from './staging.ts';
import { findTarget, pickColumns, type Target, type TargetColumn } from './target.ts';

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
  if (request.format !== 'csv') return storeStaged(tx, request, (report) => stageJson(tx, target, source, report));
  const csv = await readCsv(source, request.delimiter);
  const columns = pickColumns(target, csv.columns);
  if (request.upsertKey !== undefined || request.onError === 'skip') {
    return storeStaged(tx, request, (report) => stageCsv(tx, { target, columns, csv, ...request }, report));
  }
  const names = columns.map(({ name }) => sql.id(name));
  const total = await copyCsv(tx, target.sql, names, request.delimiter, csv.rows).catch((error: unknown) => {
    throw withLine(error, csv.headerLines);
  });
  return { rows: total, total, errors: [], moreErrors: 0 };
}

function copyCsv(
  tx: UserTx,
  table: Sql,
  names: readonly Sql[],
  delimiter: string,
  source: AsyncIterable<Buffer>,
): Promise<number> {
  const options = sql`format csv, delimiter ${sql.raw(quoteLiteral(delimiter))}`;
  return tx.copyFrom(compile(sql`copy ${table} (${sql.join(names)}) from stdin with (${options})`).text, source);
}

/** What was read into the staging table: all rows of the file but those that could not be read. */
interface Staged extends Omit<StagedInsert, 'upsertKey'> {
  total: number;
}

async function storeStaged(
  tx: UserTx,
  { onError, upsertKey }: RowImport,
  stage: (report: Report) => Promise<Staged>,
): Promise<ImportedRows> {
  const errors: RowErrors = { listed: [], more: 0 };
  const report = reportTo(errors, onError);
  const { total, ...staged } = await stage(report);
  const store = onError === 'skip' ? insertStagedSkipping : insertStaged;
  const rows = staged.columns.length === 0 ? 0 : await store(tx, { ...staged, upsertKey }, report);
  return { rows, total, errors: errors.listed.sort((a, b) => a.row - b.row), moreErrors: errors.more };
}

async function stageCsv(
  tx: UserTx,
  { target, columns, csv, delimiter }: { target: Target; columns: TargetColumn[]; csv: Csv; delimiter: string },
  report: Report,
): Promise<Staged> {
  const names = columns.map((_, index) => sql.id(`c${index}`));
  await createStaging(tx, sql.join(names.map((name) => sql`${name} text`)));
  const reading = { rows: 0 };
  const source = withPlaces(csv, delimiter, reading, report);
  await copyCsv(tx, STAGING, [sql.id('row'), sql.id('line'), ...names], delimiter, source);
  const values = columns.map(({ type }, index) => sql`${names[index]}::${sql.raw(type)}`);
  return { target, columns, values, total: reading.rows };
}

/** The records that can be read, each with its place in front. */
async function* withPlaces(
  { rows, columns, headerLines }: Csv,
  delimiter: string,
  reading: { rows: number },
  report: Report,
): AsyncGenerator<Buffer> {
  const splitter = new CsvSplitter(delimiter, columns.length, headerLines + 1);
  const placed = (records: ReturnType<CsvSplitter['push']>) => {
    let piece = '';
    for (const { row, line, text, problem } of records) {
      reading.rows = row;
      if (problem !== undefined) report({ row, line }, problem);
      // Quoted, as a delimiter may be a digit.
      else piece += `"${row}"${delimiter}"${line}"${delimiter}${text}\n`;
    }
    return Buffer.from(piece, 'latin1');
  };
  for await (const chunk of rows) yield placed(splitter.push(chunk));
  yield placed(splitter.end());
}

interface JsonReading {
  /** Key -> in how many rows it is. */
  keys: Map<string, number>;
  rows: number;
  /** Of these, how many are objects. */
  objects: number;
}

async function stageJson(tx: UserTx, target: Target, source: AsyncIterable<Buffer>, report: Report): Promise<Staged> {
  await createStaging(tx, sql`document jsonb`);
  const reading: JsonReading = { keys: new Map(), rows: 0, objects: 0 };
  const names = [sql.id('row'), sql.id('document')];
  await copyCsv(tx, STAGING, names, ',', jsonAsCsv(source, reading, report));
  const columns = pickColumns(target, [...reading.keys.keys()]);
  const values = columns.map(({ name, type, default: usual }) => {
    const value = sql`(jsonb_populate_record(null::${target.sql}, document)).${sql.id(name)}`;
    // Where only some rows have the key, the others get the default, as if they had been inserted alone.
    const otherwise = usual === null ? sql`null` : sql.raw(`(${usual})`);
    return reading.keys.get(name) === reading.objects
      ? value
      : sql`case when document ? ${sql.raw(quoteLiteral(name))} then ${value} else ${otherwise}::${sql.raw(type)} end`;
  });
  return { target, columns, values, total: reading.rows };
}

const PIECE_CHARACTERS = 64 * 1024;

/** Rows as `number,"document"`, in pieces that are worth a write. */
async function* jsonAsCsv(source: AsyncIterable<Buffer>, reading: JsonReading, report: Report): AsyncGenerator<Buffer> {
  let piece = '';
  for await (const { row, text } of splitJson(source)) {
    reading.rows = row;
    const problem = countKeys(text, reading.keys);
    if (problem === undefined) {
      reading.objects++;
      piece += `${row},"${text.replaceAll('"', '""')}"\n`;
    } else report({ row }, problem);
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
