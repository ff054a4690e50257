/** Filters: `column=op.value`, and trees of them in `and=(…)` and `or=(…)`. */
import { type Field, takeField } from './field.ts';
import { IS_VALUES, OPERATORS, QUANTIFIERS, type Quantifier } from './operators.ts';
import { eat, exceed, expect, fail, isAtEnd, type Scanner, scan, sees, take, takeList } from './scanner.ts';

/** The index of a value that the request brings; it is bound when the statement runs. */
export type ValueIndex = number;

export type Operation = { readonly isNegated: boolean } & (
  | { readonly kind: 'is'; readonly value: string }
  /** The value is an array. */
  | { readonly kind: 'in'; readonly value: ValueIndex }
  | {
      readonly kind: 'compare';
      readonly operator: string;
      readonly quantifier: Quantifier | undefined;
      readonly language: ValueIndex | undefined;
      readonly value: ValueIndex;
    }
);

export type Condition =
  | { readonly kind: 'filter'; readonly field: Field; readonly operation: Operation }
  | {
      readonly kind: 'logic';
      readonly operator: 'and' | 'or';
      readonly isNegated: boolean;
      readonly conditions: readonly Condition[];
    };

/** Collects the values of a request apart from its shape. */
export interface Values {
  readonly list: (string | null)[];
}

const LOGIC_DEPTH = 50;

/** Parses what stands right of the equals sign of a filter. */
export function parseFilter(text: string, values: Values): Operation {
  return parseOperation(text, values) ?? refuseOperation(scan(text, 'filter'));
}

/** The same, where it may be something else: undefined when it is no operation at all. */
export function parseOperation(text: string, values: Values): Operation | undefined {
  const scanner = scan(text, 'filter');
  const operation = takeOperation(scanner, values, takeRest);
  if (operation && !isAtEnd(scanner)) fail(scanner, 'end of input');
  return operation;
}

/** Parses `(a.eq.1,not.or(b.gt.2,c.is.null))`. */
export function parseLogic(text: string, operator: 'and' | 'or', isNegated: boolean, values: Values): Condition {
  const scanner = scan(text, 'logic tree');
  const condition = takeLogic(scanner, { operator, isNegated, values, depth: 0 });
  // PostgREST does not mind parentheses that close nothing.
  take(scanner, /\)+/y);
  if (!isAtEnd(scanner)) fail(scanner, 'end of input');
  return condition;
}

interface LogicHead {
  operator: 'and' | 'or';
  isNegated: boolean;
  values: Values;
  depth: number;
}

function takeLogic(scanner: Scanner, { operator, isNegated, values, depth }: LogicHead): Condition {
  if (depth >= LOGIC_DEPTH) exceed(scanner, `at most ${LOGIC_DEPTH} levels of and() and or()`);
  skipSpaces(scanner);
  expect(scanner, '(');
  const conditions = takeList(scanner, (inner) => takeCondition(inner, values, depth));
  expect(scanner, ')');
  skipSpaces(scanner);
  return { kind: 'logic', operator, isNegated, conditions };
}

function skipSpaces(scanner: Scanner): void {
  take(scanner, / +/y);
}

const LOGIC_HEAD = /(?:not\.)?(?:and|or)(?= *\()/y;

function takeCondition(scanner: Scanner, values: Values, depth: number): Condition {
  skipSpaces(scanner);
  const head = take(scanner, LOGIC_HEAD);
  if (head) {
    const operator = head.endsWith('and') ? 'and' : 'or';
    return takeLogic(scanner, { operator, isNegated: head.startsWith('not.'), values, depth: depth + 1 });
  }
  const field = takeField(scanner);
  expect(scanner, '.');
  const operation = takeOperation(scanner, values, takeDelimited) ?? refuseOperation(scanner);
  return { kind: 'filter', field, operation };
}

const OPERATOR = /([a-z]+)(?:\(([^()]*)\))?\./y;

/** Takes an operation; `takeValue` knows where its value ends. Leaves the place alone when there is none. */
function takeOperation(
  scanner: Scanner,
  values: Values,
  takeValue: (scanner: Scanner) => string,
): Operation | undefined {
  const start = scanner.at;
  const isNegated = eat(scanner, 'not.');
  OPERATOR.lastIndex = scanner.at;
  const [head = '', name = '', modifier] = OPERATOR.exec(scanner.text) ?? [];
  scanner.at += head.length;
  if (name === 'is' && modifier === undefined) return { kind: 'is', isNegated, value: takeIsValue(scanner) };
  if (name === 'in' && modifier === undefined && sees(scanner, '(')) {
    return { kind: 'in', isNegated, value: add(values, toArrayLiteral(takeElements(scanner))) };
  }
  const operator = Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
  const quantifier = operator?.quantifiable && QUANTIFIERS.find((word) => word === modifier);
  const isKnown = operator && (modifier === undefined || quantifier || (operator.search && modifier !== ''));
  if (!isKnown) {
    scanner.at = start;
    return undefined;
  }
  const language = operator.search && modifier !== undefined ? add(values, modifier) : undefined;
  const text = takeValue(scanner);
  const value = add(values, operator.isPattern ? text.replaceAll('*', '%') : text);
  return { kind: 'compare', isNegated, operator: name, quantifier, language, value };
}

const OPERATOR_NAMES = ['is', 'in', ...Object.keys(OPERATORS)].sort((a, b) => b.length - a.length);
const OPERATOR_NAME = new RegExp(OPERATOR_NAMES.join('|'), 'y');

/** Refuses what should have been an operation, at the first place where it is none. */
function refuseOperation(scanner: Scanner): never {
  const isNegated = eat(scanner, 'not.');
  const isNamed = take(scanner, OPERATOR_NAME) !== undefined;
  fail(scanner, `${isNegated || isNamed ? '' : '"not" or '}operator (eq, gt, ...)`);
}

function add({ list }: Values, value: string): ValueIndex {
  return list.push(value) - 1;
}

function takeIsValue(scanner: Scanner): string {
  const start = scanner.at;
  const word = take(scanner, /[a-z_]+/iy)?.toLowerCase() ?? '';
  if (Object.hasOwn(IS_VALUES, word)) return word;
  scanner.at = start;
  fail(scanner, 'isVal: (null, not_null, true, false, unknown)');
}

function takeRest(scanner: Scanner): string {
  const rest = scanner.text.slice(scanner.at);
  scanner.at = scanner.text.length;
  return rest;
}

/** A value inside a tree: quoted, an array literal in braces, or up to the next comma or parenthesis. */
function takeDelimited(scanner: Scanner): string {
  return takeQuotedItem(scanner) ?? take(scanner, /\{[^{}]*\}/y) ?? take(scanner, ITEM) ?? '';
}

const ITEM = /[^,)]*/y;
const QUOTED_ITEM = /"(?:[^"\\]|\\.)*"(?=[,)]|$)/sy;

/** Quotes count only if they enclose the whole item. */
function takeQuotedItem(scanner: Scanner): string | undefined {
  return take(scanner, QUOTED_ITEM)?.slice(1, -1).replace(/\\(.)/gs, '$1');
}

/** The elements of `in.(…)`. */
function takeElements(scanner: Scanner): string[] {
  expect(scanner, '(');
  skipSpaces(scanner);
  const elements: string[] = [];
  do elements.push(takeQuotedItem(scanner) ?? take(scanner, ITEM) ?? '');
  while (eat(scanner, ','));
  expect(scanner, ')');
  skipSpaces(scanner);
  return elements.length === 1 && elements[0] === '' ? [] : elements;
}

/** The text form of a PostgreSQL array, with every element quoted. */
export function toArrayLiteral(elements: readonly (string | null)[]): string {
  const quoted = elements.map((element) => (element === null ? 'NULL' : `"${element.replace(/["\\]/g, '\\$&')}"`));
  return `{${quoted.join()}}`;
}
