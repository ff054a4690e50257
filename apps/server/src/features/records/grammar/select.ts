/** `select=`: columns with alias, path, cast and aggregate, and other resources embedded between them. */
import { type Field, takePath } from './field.ts';
import { AGGREGATES, type Aggregate } from './operators.ts';
import { eat, exceed, expect, fail, isAtEnd, type Scanner, scan, sees, take, takeList, takeName } from './scanner.ts';

export interface SelectColumn {
  readonly kind: 'column';
  /** Undefined for `count()` without a column. */
  readonly field: Field | undefined;
  readonly alias: string | undefined;
  readonly cast: string | undefined;
  readonly aggregate: Aggregate | undefined;
  /** The cast of the aggregate's result. */
  readonly aggregateCast: string | undefined;
}

export interface SelectEmbed {
  readonly kind: 'embed';
  readonly name: string;
  readonly alias: string | undefined;
  readonly hint: string | undefined;
  readonly join: 'inner' | 'left';
  /** `...name(…)`: the columns come without an object around them. */
  readonly isSpread: boolean;
  readonly items: readonly SelectItem[];
}

export type SelectItem = { readonly kind: 'all' } | SelectColumn | SelectEmbed;

/** Embeds may nest this deep: each level is another subquery for the planner. */
const MAX_DEPTH = 20;
/** And a request may have this many of them in all. */
const MAX_EMBEDS = 100;

/** Parses the text of a select parameter; an empty one selects nothing. */
export function parseSelect(text: string): readonly SelectItem[] {
  if (text === '') return [];
  const scanner = scan(text, 'select parameter');
  const items = takeList(scanner, (inner) => takeItem(inner, 0));
  if (!isAtEnd(scanner)) fail(scanner, '",", "(" or end of input');
  if (countEmbeds(items) > MAX_EMBEDS) exceed(scanner, `at most ${MAX_EMBEDS} embedded resources`);
  return items;
}

function countEmbeds(items: readonly SelectItem[]): number {
  return items.reduce((sum, item) => sum + (item.kind === 'embed' ? 1 + countEmbeds(item.items) : 0), 0);
}

function takeItem(scanner: Scanner, depth: number): SelectItem {
  take(scanner, / +/y);
  if (eat(scanner, '...'))
    return takeEmbed(scanner, { name: takeName(scanner, 'relation name'), isSpread: true, depth });
  if (eat(scanner, '*')) return { kind: 'all' };
  let name = takeName(scanner, 'field name (* or [a..z0..9_$])');
  let alias: string | undefined;
  if (sees(scanner, ':') && !sees(scanner, '::')) {
    scanner.at++;
    alias = name;
    take(scanner, / +/y);
    name = takeName(scanner, 'field name (* or [a..z0..9_$])');
  }
  if (name === 'count' && eat(scanner, '()')) {
    const aggregateCast = takeCast(scanner);
    return { kind: 'column', field: undefined, alias, cast: undefined, aggregate: 'count', aggregateCast };
  }
  if (sees(scanner, '(') || sees(scanner, '!')) return takeEmbed(scanner, { name, alias, isSpread: false, depth });
  const field = { name, path: takePath(scanner) };
  const cast = takeCast(scanner);
  const aggregate = takeAggregate(scanner);
  return { kind: 'column', field, alias, cast, aggregate, aggregateCast: aggregate && takeCast(scanner) };
}

interface EmbedHead {
  name: string;
  alias?: string | undefined;
  isSpread: boolean;
  depth: number;
}

function takeEmbed(scanner: Scanner, { name, alias, isSpread, depth }: EmbedHead): SelectEmbed {
  let hint: string | undefined;
  let join: SelectEmbed['join'] = 'left';
  while (eat(scanner, '!')) {
    const word = takeName(scanner, 'hint, "inner" or "left"');
    if (word === 'inner' || word === 'left') join = word;
    else hint = word;
  }
  expect(scanner, '(');
  if (depth >= MAX_DEPTH) exceed(scanner, `at most ${MAX_DEPTH} levels of embedding`);
  const isEmpty = sees(scanner, ')');
  const items = isEmpty ? [] : takeList(scanner, (inner) => takeItem(inner, depth + 1));
  expect(scanner, ')');
  return { kind: 'embed', name, alias, hint, join, isSpread, items };
}

const TYPE = /[\p{L}\p{M}\p{N}_][\p{L}\p{M}\p{N}_ ]*(?:\[\])*/uy;

function takeCast(scanner: Scanner): string | undefined {
  if (!eat(scanner, '::')) return undefined;
  return take(scanner, TYPE)?.trim() ?? fail(scanner, 'type name');
}

function takeAggregate(scanner: Scanner): Aggregate | undefined {
  if (!eat(scanner, '.')) return undefined;
  const aggregate = AGGREGATES.find((name) => eat(scanner, `${name}()`));
  return aggregate ?? fail(scanner, 'avg(), count(), max(), min() or sum()');
}
