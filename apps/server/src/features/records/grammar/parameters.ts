/** The query string parameter by parameter: keys, and the grammar that belongs to each. */
import { RecordsError } from '../errors.ts';
import type { ArgumentIntent, EmbedPath, Intent, LimitIntent, PageIntent } from '../intent.ts';
import { memoize } from '../memo.ts';
import { type Field, parseNames, takeField } from './field.ts';
import { type Condition, type Operation, parseFilter, parseLogic, parseOperation } from './filter.ts';
import { type OrderTerm, parseOrder } from './order.ts';
import type { Parameter } from './query-string.ts';
import { EVERYTHING, parseCount, type Range, toRange } from './range.ts';
import { eat, isAtEnd, scan } from './scanner.ts';
import { parseSelect } from './select.ts';

export interface Parsed {
  select: Intent['select'];
  readonly filters: { path: EmbedPath; condition: Condition }[];
  readonly orders: { path: EmbedPath; terms: readonly OrderTerm[] }[];
  readonly pages: PageIntent[];
  columns: readonly string[] | undefined;
  onConflict: readonly string[] | undefined;
  args: readonly ArgumentIntent[];
  /** The page of the resource itself, in numbers. */
  range: Range;
  readonly values: (string | null)[];
  /** Alternating: a key, and what it says apart from values. */
  readonly shape: string[];
}

export interface ParameterRules {
  /** In a call with GET, what is no operation is an argument of the function. */
  readonly mayBeArguments: boolean;
  /** The most rows of any embedded resource. */
  readonly maxRows: number | undefined;
}

/** Parses all parameters. */
export function parseParameters(parameters: readonly Parameter[], { mayBeArguments, maxRows }: ParameterRules): Parsed {
  const parsed: Parsed = {
    select: undefined,
    filters: [],
    orders: [],
    pages: [],
    columns: undefined,
    onConflict: undefined,
    args: [],
    range: EVERYTHING,
    values: [],
    shape: [],
  };
  const top: Top = { limit: undefined, offset: undefined };
  const args = new Map<string, number[]>();
  for (const [key, value] of parameters) {
    if (mayBeArguments && !RESERVED.has(key) && !key.includes('.')) {
      const operation = parseOperation(value, { list: parsed.values });
      if (operation) addFilter(parsed, keyOf(key), operation, key);
      else args.set(key, [...(args.get(key) ?? []), parsed.values.push(value) - 1]);
    } else addParameter(parsed, top, key, value, maxRows);
  }
  parsed.args = [...args].map(([name, values]) => ({ name, values }));
  for (const { name, values } of parsed.args) parsed.shape.push(name, `argument ${values.length}`);
  parsed.range = toRange(top.offset, top.limit);
  return parsed;
}

interface Top {
  limit: number | undefined;
  offset: number | undefined;
}

const RESERVED = new Set(['select', 'order', 'limit', 'offset', 'and', 'or', 'columns', 'on_conflict']);

const selectOf = memoize(parseSelect);
const orderOf = memoize(parseOrder);
const columnsOf = memoize((text) => parseNames(text, 'columns parameter'));
const onConflictOf = memoize((text) => parseNames(text, 'on_conflict parameter'));

function addParameter(parsed: Parsed, top: Top, key: string, value: string, maxRows: number | undefined): void {
  const target = keyOf(key);
  switch (target.kind) {
    // Of these the first one counts.
    case 'select':
      parsed.select ??= selectOf(value);
      break;
    case 'columns':
      parsed.columns ??= columnsOf(value);
      break;
    case 'on_conflict':
      parsed.onConflict ??= onConflictOf(value);
      break;
    case 'order':
      parsed.orders.push({ path: target.path, terms: orderOf(value) });
      break;
    case 'limit':
    case 'offset':
      addPage(parsed, top, { ...target, kind: target.kind, maxRows }, value);
      return;
    case 'logic': {
      const condition = parseLogic(value, target.operator, target.isNegated, { list: parsed.values });
      parsed.filters.push({ path: target.path, condition });
      parsed.shape.push(key, shapeOfCondition(condition));
      return;
    }
    case 'filter': {
      addFilter(parsed, target, parseFilter(value, { list: parsed.values }), key);
      return;
    }
  }
  parsed.shape.push(key, value);
}

function addFilter(parsed: Parsed, target: Key, operation: Operation, key: string): void {
  if (target.kind !== 'filter') throw badKey(key);
  parsed.filters.push({ path: target.path, condition: { kind: 'filter', field: target.field, operation } });
  parsed.shape.push(key, shapeOfOperation(operation));
}

interface PageKey {
  path: EmbedPath;
  kind: 'limit' | 'offset';
  maxRows: number | undefined;
}

/** A limit or offset that is no number is ignored. */
function addPage(parsed: Parsed, top: Top, { path, kind, maxRows }: PageKey, value: string): void {
  const count = parseCount(value);
  if (count === undefined) return;
  if (path.length === 0) {
    top[kind] = count;
    return;
  }
  const { limit = 0, offset } = toRange(kind === 'offset' ? count : undefined, kind === 'limit' ? count : undefined);
  if (kind === 'offset') {
    parsed.pages.push({ path, limit: undefined, offset: parsed.values.push(String(offset)) - 1 });
    parsed.shape.push(JSON.stringify(path), kind);
    return;
  }
  const rows = bindLimit(parsed.values, Math.min(limit, maxRows ?? limit));
  parsed.pages.push({ path, limit: rows, offset: undefined });
  parsed.shape.push(JSON.stringify(path), shapeOfLimit(rows));
}

const USUAL_LIMIT = 1000;

/** Puts a limit into the statement if it is a usual one, else among the values. */
export function bindLimit(values: Parsed['values'], limit: number): LimitIntent {
  return limit <= USUAL_LIMIT ? { literal: limit } : values.push(String(limit)) - 1;
}

export function shapeOfLimit(limit: LimitIntent | undefined): string {
  if (limit === undefined) return '';
  return typeof limit === 'number' ? 'limit' : `limit ${limit.literal}`;
}

type Key = { readonly path: EmbedPath } & (
  | { readonly kind: 'select' | 'columns' | 'on_conflict' | 'order' | 'limit' | 'offset' }
  | { readonly kind: 'logic'; readonly operator: 'and' | 'or'; readonly isNegated: boolean }
  | { readonly kind: 'filter'; readonly field: Field }
);

/** What stands left of an equals sign: `column`, `embed.column->key`, `embed.order`, `not.or`. */
const keyOf: (key: string) => Key = memoize((key) => {
  const scanner = scan(key, 'tree path');
  const path: string[] = [];
  let field = takeField(scanner);
  while (field.path.length === 0 && eat(scanner, '.')) {
    path.push(field.name);
    field = takeField(scanner);
  }
  if (!isAtEnd(scanner)) throw badKey(key);
  const { name } = field;
  // Quotes make a column of what would be a keyword.
  if (field.path.length > 0 || key.endsWith('"')) return { kind: 'filter', path, field };
  if (name === 'and' || name === 'or') {
    const isNegated = path.at(-1) === 'not';
    return { kind: 'logic', path: isNegated ? path.slice(0, -1) : path, operator: name, isNegated };
  }
  if (name === 'order' || name === 'limit' || name === 'offset') return { kind: name, path };
  if (path.length === 0 && (name === 'select' || name === 'columns' || name === 'on_conflict'))
    return { kind: name, path };
  return { kind: 'filter', path, field };
});

function badKey(key: string): RecordsError {
  return new RecordsError('PGRST100', `"failed to parse tree path (${key})" (line 1, column 1)`, {
    details: 'expecting field name, "." or end of input',
  });
}

/** An operation without its value. */
function shapeOfOperation(operation: Operation): string {
  const not = operation.isNegated ? 'not.' : '';
  if (operation.kind === 'is') return `${not}is.${operation.value}`;
  if (operation.kind === 'in') return `${not}in`;
  return `${not}${operation.operator}(${operation.quantifier ?? ''}${operation.language === undefined ? '' : 'language'})`;
}

function shapeOfCondition(condition: Condition): string {
  if (condition.kind === 'filter') return `${JSON.stringify(condition.field)}.${shapeOfOperation(condition.operation)}`;
  const { isNegated, operator, conditions } = condition;
  return `${isNegated ? 'not.' : ''}${operator}(${conditions.map(shapeOfCondition).join()})`;
}
