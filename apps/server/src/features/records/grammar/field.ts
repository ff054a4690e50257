/** Fields as they appear in select, filters and order: a column and perhaps a path into it. */
import { fail, type Scanner, scan, sees, take, takeName, takeQuoted } from './scanner.ts';

export interface JsonStep {
  readonly arrow: '->' | '->>';
  readonly key: string;
  readonly isIndex: boolean;
}

export interface Field {
  readonly name: string;
  readonly path: readonly JsonStep[];
}

const KEY = /(?:[^(\-:.,>)]|-(?=\d))(?:[^(\-:.,>)]|-(?!>))*/uy;
const INDEX = /^-?\d+$/;

export function takeField(scanner: Scanner): Field {
  const name = takeName(scanner, 'field name (* or [a..z0..9_$])');
  return { name, path: takePath(scanner) };
}

export function takePath(scanner: Scanner): JsonStep[] {
  const path: JsonStep[] = [];
  while (sees(scanner, '->')) {
    const arrow = sees(scanner, '->>') ? '->>' : '->';
    scanner.at += arrow.length;
    const isQuoted = sees(scanner, '"');
    const key = isQuoted ? takeQuoted(scanner) : (take(scanner, KEY) ?? fail(scanner, 'JSON key or array index'));
    path.push({ arrow, key, isIndex: !isQuoted && INDEX.test(key) });
  }
  return path;
}

/** The name a field has in an answer: its own, or the last key of its path that is no array index. */
export function outputName({ name, path }: Field): string {
  return path.findLast(({ isIndex }) => !isIndex)?.key ?? name;
}

/** A list of names, as in `columns=` and `on_conflict=`. */
export function parseNames(text: string, what: string): string[] {
  const scanner = scan(text, what);
  const names: string[] = [];
  do names.push(takeName(scanner, 'field name (* or [a..z0..9_$])'));
  while (sees(scanner, ',') && ++scanner.at);
  if (scanner.at < text.length) fail(scanner, '"," or end of input');
  return names;
}
