import type { UserTx } from '#platform/db/db.ts';
import { compile, type Sql, sql } from '#platform/db/sql.ts';
import { AppError, isDatabaseError } from '#platform/errors.ts';
import type { Target, TargetColumn } from './target.ts';

/** Rows of the file that could not be stored. */
export interface RowError {
  row: number;
  message: string;
}

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
const MAX_ERRORS = 100;

/** Stores all staged rows, or fails. Of rows with the same key the last one counts. */
export async function insertStaged(tx: UserTx, insert: StagedInsert): Promise<number> {
  return insertRange(tx, insert, undefined);
}

/** Stores what can be stored, and says what could not. */
export async function insertStagedSkipping(
  tx: UserTx,
  insert: StagedInsert,
): Promise<{ rows: number; errors: RowError[]; moreErrors: number }> {
  const bounds = await tx.one<{ last: number | null }>(sql`select max(row)::float8 as last from ${STAGING}`);
  const errors: RowError[] = [];
  let rows = 0;
  let moreErrors = 0;
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
      if (!isDatabaseError(error) || error.code === '57014') throw error;
      await tx.query(sql`rollback to savepoint batch`);
      const middle = Math.floor((first + last) / 2);
      if (first < last) pending.push([middle + 1, last], [first, middle]);
      else if (errors.length < MAX_ERRORS) errors.push({ row: first, message: error.message });
      else moreErrors++;
    }
  }
  return { rows, errors, moreErrors };
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
