import { AppError } from '#platform/errors.ts';

/**
 * SQL as a value: text pieces with a bound value between each two. Nothing is executed here, so code
 * that builds queries is tested without a connection. A class, so that no object that a request brings
 * along can pass for one.
 */
export class Sql {
  /** Always one longer than `values`. */
  readonly text: readonly string[];
  readonly values: readonly unknown[];

  constructor(text: readonly string[], values: readonly unknown[]) {
    this.text = text;
    this.values = values;
  }
}

/**
 * Builds a fragment from a template. Interpolated fragments are spliced in; everything else becomes a
 * bound parameter, never text.
 */
export function sql(strings: TemplateStringsArray, ...inserts: readonly unknown[]): Sql {
  const text: string[] = [strings[0] ?? ''];
  const values: unknown[] = [];
  for (const [index, insert] of inserts.entries()) {
    const after = strings[index + 1] ?? '';
    if (insert instanceof Sql) append(text, values, insert);
    else {
      values.push(insert);
      text.push('');
    }
    text[text.length - 1] += after;
  }
  return new Sql(text, values);
}

function append(text: string[], values: unknown[], { text: [head = '', ...tail], values: more }: Sql): void {
  text[text.length - 1] += head;
  text.push(...tail);
  values.push(...more);
}

/** Quotes an identifier; several parts are joined with dots: `sql.id('public', 'todos')`. */
sql.id = (...parts: readonly string[]): Sql => new Sql([parts.map(quoteIdentifier).join('.')], []);

/** Text taken as it is. Only for constants of this program, never for anything that a request brought. */
sql.raw = (text: string): Sql => new Sql([text], []);

/** Joins fragments with a separator (default `, `). An empty list gives an empty fragment. */
sql.join = (parts: readonly Sql[], separator = ', '): Sql => {
  const text = [''];
  const values: unknown[] = [];
  for (const [index, part] of parts.entries()) {
    if (index > 0) text[text.length - 1] += separator;
    append(text, values, part);
  }
  return new Sql(text, values);
};

/** The text with `$1 … $n` in place of the values, as the wire protocol wants it. */
export function compile({ text, values }: Sql): { text: string; values: readonly unknown[] } {
  let compiled = text[0] ?? '';
  for (let index = 1; index < text.length; index++) compiled += `$${index}${text[index]}`;
  return { text: compiled, values };
}

/** Quotes one identifier for SQL text: `a"b` becomes `"a""b"`. */
export function quoteIdentifier(name: string): string {
  refuseNul(name);
  return `"${name.replaceAll('"', '""')}"`;
}

/** Quotes a string literal for SQL text, for the few statements that take no parameters (DDL). */
export function quoteLiteral(value: string): string {
  refuseNul(value);
  const quoted = `'${value.replaceAll("'", "''")}'`;
  return value.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted;
}

/** Statement text travels as a C string: a NUL would end it early. */
function refuseNul(text: string): void {
  if (text.includes('\0')) throw new AppError('INVALID_INPUT', 'Names and values must not contain the character NUL');
}
