import type { UserTx } from '#platform/db/db.ts';
import { compile, type Sql, sql } from '#platform/db/sql.ts';
import { AppError, type DatabaseError, isDatabaseError } from '#platform/errors.ts';
import type { Report, RowPlace } from './row-errors.ts';
import type { Target, TargetColumn } from './target.ts';

/** Where rows wait, as text, when they cannot go straight into their table. Gone with the transaction. */
export const STAGING = sql.id('pg_temp', 'import_rows');

/** How staged rows become rows of the table. */
export interface StagedInsert {
  target: Target;
  columns: readonly TargetColumn[];
  /** The value of each column, from the columns of the staging table. */
  values: readonly Sql[];
  upsertKey: readonly string[] | undefined;
}

/** Rows at a time; a batch that fails is halved until the bad rows are found. */
const BATCH_ROWS = 5_000;

/** @param columns besides the place of the row in its file */
export async function createStaging(tx: UserTx, columns: Sql): Promise<void> {
  await tx.query(sql`create temp table import_rows (row bigint, line bigint, ${columns}) on commit drop`);
}

/**
 * Stores all staged rows, or fails. Of rows with the same key the last one counts.
 * @param report is told of the first bad row, and throws
 */
export async function insertStaged(tx: UserTx, insert: StagedInsert, report: Report): Promise<number> {
  await tx.query(sql`savepoint staged`);
  try {
    return await insertRange(tx, insert, undefined);
  } catch (error) {
    if (!isAboutRows(error)) throw error;
    await tx.query(sql`rollback to savepoint staged`);
    await insertStagedSkipping(tx, insert, report);
    // All rows at once failed, and none of them alone does.
    throw error;
  }
}

/**
 * Stores what can be stored.
 * @param report is told what could not
 */
export async function insertStagedSkipping(tx: UserTx, insert: StagedInsert, report: Report): Promise<number> {
  // What fails without any row is no fault of a row.
  await insertRange(tx, insert, [0, 0]);
  await tx.query(sql`create index on ${STAGING} (row)`);
  const bounds = await tx.one<{ last: number | null }>(sql`select max(row)::float8 as last from ${STAGING}`);
  let rows = 0;
  const pending: [first: number, last: number][] = [];
  for (let first = 1; first <= (bounds?.last ?? 0); first += BATCH_ROWS) pending.push([first, first + BATCH_ROWS - 1]);
  pending.reverse();
  for (let range = pending.pop(); range; range = pending.pop()) {
    const [first, last] = range;
    await tx.query(sql`savepoint batch`);
    try {
      rows += await insertRange(tx, insert, range);
      await tx.query(sql`release savepoint batch`);
    } catch (error) {
      if (!isAboutRows(error)) throw error;
      await tx.query(sql`rollback to savepoint batch`);
      const middle = Math.floor((first + last) / 2);
      if (first < last) pending.push([middle + 1, last], [first, middle]);
      else report(await placeOf(tx, first), error);
    }
  }
  return rows;
}

/** Not a conflict with others (40), a lack of resources (53) or a cancellation (57). */
function isAboutRows(error: unknown): error is DatabaseError {
  return isDatabaseError(error) && !/^(?:40|53|57)/.test(error.code);
}

async function placeOf(tx: UserTx, row: number): Promise<RowPlace> {
  const place = await tx.one<{ line: number | null }>(
    sql`select line::float8 as line from ${STAGING} where row = ${row}`,
  );
  return { row, line: place?.line ?? undefined };
}

async function insertRange(
  tx: UserTx,
  { target, columns, values, upsertKey }: StagedInsert,
  range: readonly [number, number] | undefined,
): Promise<number> {
  const names = sql.join(columns.map(({ name }) => sql.id(name)));
  const where = sql.raw(range ? `where row between ${range[0]} and ${range[1]}` : '');
  const source = upsertKey
    ? sql`select distinct on (${sql.join(keyValues(columns, values, upsertKey))}) ${sql.join(values)} from ${STAGING} ${where}
        order by ${sql.join([...keyValues(columns, values, upsertKey), sql`row desc`])}`
    : sql`select ${sql.join(values)} from ${STAGING} ${where} order by row`;
  const insert = sql`insert into ${target.sql} (${names}) ${source} ${upsertKey ? onConflict(columns, upsertKey) : sql``}`;
  const { rowCount } = await tx.run(compile(insert).text);
  return rowCount ?? 0;
}

function keyValues(columns: readonly TargetColumn[], values: readonly Sql[], upsertKey: readonly string[]): Sql[] {
  return upsertKey.map((key) => {
    const value = values[columns.findIndex(({ name }) => name === key)];
    if (value) return value;
    throw new AppError('DATABASE_VALIDATION_ERROR', `The file has no column ${JSON.stringify(key)}, which is the key`);
  });
}

function onConflict(columns: readonly TargetColumn[], upsertKey: readonly string[]): Sql {
  const others = columns.filter(({ name }) => !upsertKey.includes(name));
  const key = sql.join(upsertKey.map((name) => sql.id(name)));
  if (others.length === 0) return sql`on conflict (${key}) do nothing`;
  const changes = others.map(({ name }) => sql`${sql.id(name)} = excluded.${sql.id(name)}`);
  return sql`on conflict (${key}) do update set ${sql.join(changes)}`;
}
