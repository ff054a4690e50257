/** `order=`: fields, own or of an embedded resource, with direction and place of nulls. */
import { type Field, takeField } from './field.ts';
import { eat, expect, fail, isAtEnd, type Scanner, scan, sees, takeList } from './scanner.ts';

export interface OrderTerm {
  readonly field: Field;
  /** The embedded resource that the field belongs to, as in `order=director(name)`. */
  readonly embed: string | undefined;
  readonly direction: 'asc' | 'desc' | undefined;
  readonly nulls: 'first' | 'last' | undefined;
}

export function parseOrder(text: string): readonly OrderTerm[] {
  const scanner = scan(text, 'order');
  const terms = takeList(scanner, takeTerm);
  if (!isAtEnd(scanner)) fail(scanner, 'delimiter (.), "," or end of input');
  return terms;
}

function takeTerm(scanner: Scanner): OrderTerm {
  let field = takeField(scanner);
  let embed: string | undefined;
  if (sees(scanner, '(') && field.path.length === 0) {
    embed = field.name;
    scanner.at++;
    field = takeField(scanner);
    expect(scanner, ')');
  }
  const direction = eat(scanner, '.asc') ? 'asc' : eat(scanner, '.desc') ? 'desc' : undefined;
  const nulls = eat(scanner, '.nullsfirst') ? 'first' : eat(scanner, '.nullslast') ? 'last' : undefined;
  if (nulls === undefined && eat(scanner, '.')) {
    fail(scanner, `${direction ? '' : '"asc", "desc", '}"nullsfirst" or "nullslast"`);
  }
  return { field, embed, direction, nulls };
}
