import type { ImportRows } from '@insforge/contract/transfer.ts';
import { AppError, type DatabaseError, isDatabaseError, toAppError } from '#platform/errors.ts';

/** Where a row is in its file. */
export interface RowPlace {
  row: number;
  /** Where it begins; of a CSV only. */
  line?: number | undefined;
}

/** A row that could not be stored. */
export interface RowError extends RowPlace {
  message: string;
}

/** What becomes of a bad row: it is remembered, or ends the import by an error. */
export type Report = (place: RowPlace, problem: string | DatabaseError) => void;

/** The first bad rows that were found, and how many there are beyond them. */
export interface RowErrors {
  listed: RowError[];
  more: number;
}

const MAX_ERRORS = 100;

/** @param onError whether to add to the errors or to throw */
export function reportTo(errors: RowErrors, onError: ImportRows['onError']): Report {
  return ({ row, line }, problem) => {
    if (onError === 'abort') throw badRow(problem, line === undefined ? { row } : { line, row });
    const message = typeof problem === 'string' ? problem : problem.message;
    if (errors.listed.length < MAX_ERRORS)
      errors.listed.push({ row, ...(line === undefined ? {} : { line }), message });
    else errors.more++;
  };
}

/** PostgreSQL counts the lines it was given; the header was not among them. */
export function withLine(error: unknown, headerLines: number): unknown {
  if (!isDatabaseError(error)) return error;
  const [, line, column] = /^COPY .*?, line (\d+)(?:, column ([^:]+))?/.exec(error.where ?? '') ?? [];
  if (line === undefined) return error;
  return badRow(error, { line: Number(line) + headerLines, ...(column === undefined ? {} : { column }) });
}

function badRow(problem: string | DatabaseError, place: Record<string, number | string>): AppError {
  const known = typeof problem === 'string' ? new AppError('DATABASE_VALIDATION_ERROR', problem) : toAppError(problem);
  const what = 'line' in place ? 'line' : 'row';
  const where = [`${what} ${place[what]}`, ...('column' in place ? [`column ${place.column}`] : [])].join(', ');
  return new AppError(known.code, `${known.message} (${where})`, {
    status: known.status,
    cause: known.cause,
    nextActions: `Correct the ${what}, or send onError=skip to leave bad rows out and have them listed.`,
    details: { ...known.details, ...place },
  });
}
