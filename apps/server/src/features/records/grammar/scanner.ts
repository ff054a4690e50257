/** Reading text from left to right: the common ground of the select, filter and order grammars. */
import { RecordsError } from '../errors.ts';

/** Text with a place in it. `what` names the parameter in errors. */
export interface Scanner {
  readonly text: string;
  readonly what: string;
  at: number;
}

export function scan(text: string, what: string): Scanner {
  return { text, what, at: 0 };
}

/** Refuses the text at the current place. */
export function fail(scanner: Scanner, expecting: string): never {
  const { text, at } = scanner;
  const found = at < text.length ? JSON.stringify(text[at]) : 'end of input';
  throw refusal(scanner, `unexpected ${found} expecting ${expecting}`);
}

function refusal({ text, what, at }: Scanner, details: string): RecordsError {
  return new RecordsError('PGRST100', `"failed to parse ${what} (${text})" (line 1, column ${at + 1})`, { details });
}

/** Refuses text that is well formed but too much. */
export function exceed(scanner: Scanner, limit: string): never {
  throw refusal(scanner, `There can be ${limit}.`);
}

export function isAtEnd({ text, at }: Scanner): boolean {
  return at >= text.length;
}

/** True when `token` comes next. */
export function sees({ text, at }: Scanner, token: string): boolean {
  return text.startsWith(token, at);
}

/** Steps over `token` if it comes next. */
export function eat(scanner: Scanner, token: string): boolean {
  if (!sees(scanner, token)) return false;
  scanner.at += token.length;
  return true;
}

export function expect(scanner: Scanner, token: string): void {
  if (!eat(scanner, token)) fail(scanner, JSON.stringify(token));
}

/** Takes what a sticky pattern matches here; undefined when it does not. */
export function take(scanner: Scanner, pattern: RegExp): string | undefined {
  pattern.lastIndex = scanner.at;
  const found = pattern.exec(scanner.text)?.[0];
  if (found !== undefined) scanner.at += found.length;
  return found;
}

/** Unquoted names: letters, digits, `_`, `$`, spaces, and dashes that do not begin an arrow. */
const NAME = /(?:[\p{L}\p{M}\p{N}_ $]|-(?!>))+/uy;

/** A name, plain or in double quotes with backslash as escape. */
export function takeName(scanner: Scanner, expecting: string): string {
  if (sees(scanner, '"')) return takeQuoted(scanner);
  const name = take(scanner, NAME)?.trim();
  return name || fail(scanner, expecting);
}

const QUOTED = /"((?:[^"\\]|\\.)*)"/sy;

/** Text in double quotes; `\x` stands for `x`. */
export function takeQuoted(scanner: Scanner): string {
  const quoted = take(scanner, QUOTED) ?? fail(scanner, 'a closing quote');
  return quoted.slice(1, -1).replace(/\\(.)/gs, '$1');
}

/** Items separated by commas, at least one. */
export function takeList<Item>(scanner: Scanner, takeItem: (scanner: Scanner) => Item): Item[] {
  const items = [takeItem(scanner)];
  while (eat(scanner, ',')) items.push(takeItem(scanner));
  return items;
}
