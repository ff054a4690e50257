/** Pages: limit, offset, the Range header, and Content-Range. */
import { RecordsError } from '../errors.ts';

export interface Range {
  readonly offset: number;
  /** Undefined: to the end. */
  readonly limit: number | undefined;
}

export const EVERYTHING: Range = { offset: 0, limit: undefined };

/** A limit or offset parameter; undefined for what is no number. */
export function parseCount(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** Reads a Range header, `first-last` or `first-`; undefined for anything else. */
export function parseRangeHeader(header: string): Range | undefined {
  const [, first, last] = /^\s*(?:items=)?(\d{1,15})-(\d{0,15})\s*$/.exec(header) ?? [];
  if (first === undefined) return undefined;
  const offset = Number(first);
  if (last === '' || last === undefined) return { offset, limit: undefined };
  if (Number(last) < offset) {
    throw notSatisfiable('The lower boundary must be lower than or equal to the upper boundary in the Range header.');
  }
  return { offset, limit: Number(last) - offset + 1 };
}

/** The part that both ranges have in common. */
export function intersect(a: Range, b: Range): Range {
  const offset = Math.max(a.offset, b.offset);
  const end = Math.min(endOf(a), endOf(b));
  return { offset, limit: end === Number.POSITIVE_INFINITY ? undefined : Math.max(0, end - offset) };
}

function endOf({ offset, limit }: Range): number {
  return limit === undefined ? Number.POSITIVE_INFINITY : offset + limit;
}

export function toRange(offset: number | undefined, limit: number | undefined): Range {
  if (limit !== undefined && limit < 0) throw notSatisfiable('Limit should be greater than or equal to zero.');
  return { offset: Math.max(0, offset ?? 0), limit };
}

function notSatisfiable(details: string, headers: Record<string, string> = {}): RecordsError {
  return new RecordsError('PGRST103', 'Requested range not satisfiable', { details, headers });
}

/** Content-Range and the status that goes with it, for a page of `count` rows beginning at `offset`. */
export function describePage(
  offset: number,
  count: number,
  total: number | undefined,
): { status: number; contentRange: string } {
  if (total !== undefined && offset > total) {
    throw notSatisfiable(`An offset of ${offset} was requested, but there are only ${total} rows.`, {
      'content-range': `*/${total}`,
    });
  }
  return {
    status: total !== undefined && count < total ? 206 : 200,
    contentRange: contentRange(offset, count, total),
  };
}

export function contentRange(offset: number, count: number, total: number | undefined): string {
  const range = count > 0 ? `${offset}-${offset + count - 1}` : '*';
  return `${range}/${total ?? '*'}`;
}
