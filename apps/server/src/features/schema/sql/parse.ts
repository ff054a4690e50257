import { setFlagsFromString } from 'node:v8';
import type { Node, ParseResult } from 'libpg-query';
import { AppError } from '#platform/errors.ts';

/** The name of a node of PostgreSQL's parse tree: `SelectStmt`, `CreatePolicyStmt`. */
export type StatementKind = Node extends infer Each ? (Each extends Each ? keyof Each : never) : never;

/** One statement of a text, as PostgreSQL's own grammar reads it. */
export interface ParsedStatement {
  kind: StatementKind;
  /** The fields of the node. */
  node: Readonly<Record<string, unknown>>;
  /** Without the semicolon, and the blanks and comments in front. */
  text: string;
  /** The comments in front. */
  comment: string;
  /** Where `text` begins in the whole. */
  offset: number;
}

/** A place in a text, counted from one. */
export interface Position {
  line: number;
  column: number;
}

type Parser = typeof import('libpg-query');
let loading: Promise<Parser> | undefined;

/** The parser is PostgreSQL's own, compiled to WebAssembly. Loaded on first use: many servers never need it. */
export function loadParser(): Promise<Parser> {
  loading ??= import('libpg-query').then(async (parser) => {
    // To optimise its one huge function, V8 takes half a gigabyte for a moment: more than many servers have.
    for (const flag of ['--no-wasm-dynamic-tiering', '--no-wasm-tier-up']) setFlagsFromString(flag);
    await parser.loadModule();
    return parser;
  });
  return loading;
}

/**
 * Splits a text into its statements.
 * @throws AppError DATABASE_VALIDATION_ERROR with line and column when it is not SQL
 */
export async function parseSql(sql: string): Promise<ParsedStatement[]> {
  // PostgreSQL reads up to the first NUL, so what follows one would escape every check.
  if (sql.includes('\0')) {
    throw new AppError('DATABASE_VALIDATION_ERROR', 'SQL must not contain the character NUL', {
      nextActions: "Remove it; bytes are written as '\\x00'::bytea.",
    });
  }
  if (sql.trim() === '') return [];
  const { parseSync } = await loadParser();
  let result: ParseResult;
  try {
    result = parseSync(sql);
  } catch (error) {
    throw toSyntaxError(error, sql);
  }
  return split(sql, result);
}

function toSyntaxError(error: unknown, sql: string): AppError {
  const message = error instanceof Error ? error.message : String(error);
  const details =
    error instanceof Error && 'sqlDetails' in error ? (error.sqlDetails as { cursorPosition?: number }) : {};
  if (details.cursorPosition === undefined || details.cursorPosition < 0) {
    return new AppError('DATABASE_VALIDATION_ERROR', `The SQL cannot be read: ${message}`, {
      nextActions: 'Send it in smaller pieces.',
    });
  }
  // The parser counts characters, a string counts UTF-16 units.
  const index = [...sql].slice(0, details.cursorPosition).join('').length;
  const position = positionAt(sql, index);
  return new AppError('DATABASE_VALIDATION_ERROR', `${message} (line ${position.line}, column ${position.column})`, {
    details: { ...position, sqlstate: '42601' },
    nextActions: `Correct line ${position.line}: ${lineAt(sql, index)}`,
  });
}

function split(sql: string, result: ParseResult): ParsedStatement[] {
  // The parser counts bytes.
  const bytes = Buffer.from(sql);
  const isAscii = bytes.length === sql.length;
  const slice = (start: number, end: number) => (isAscii ? sql.slice(start, end) : bytes.toString('utf8', start, end));
  let end = 0;
  let units = 0;
  return (result.stmts ?? []).map(({ stmt, stmt_location: start = 0, stmt_len: length }) => {
    const before = slice(end, start);
    end = length ? start + length : bytes.length;
    const whole = slice(start, end);
    const text = whole.trim();
    const offset = units + before.length + whole.indexOf(text);
    units += before.length + whole.length;
    const [kind, node] = Object.entries(stmt ?? {})[0] ?? [];
    return {
      kind: kind as StatementKind,
      node: node as Readonly<Record<string, unknown>>,
      text,
      comment: before.replace(/^[\s;]+/, '').trimEnd(),
      offset,
    };
  });
}

/** Line and column of an index. */
export function positionAt(text: string, index: number): Position {
  const before = text.slice(0, index);
  return { line: before.split('\n').length, column: index - before.lastIndexOf('\n') };
}

const MAX_QUOTED = 200;

function lineAt(text: string, index: number): string {
  const start = text.lastIndexOf('\n', index - 1) + 1;
  const end = text.indexOf('\n', index);
  return text
    .slice(start, end < 0 ? undefined : end)
    .trim()
    .slice(0, MAX_QUOTED);
}

/** Every object of a parse tree, from the outside in. Without recursion: the depth is the caller's to choose. */
export function* nodesOf(tree: unknown): Generator<Readonly<Record<string, unknown>>> {
  const pending: unknown[] = [tree];
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value !== 'object' || value === null) continue;
    if (Array.isArray(value)) {
      for (let index = value.length - 1; index >= 0; index--) pending.push(value[index]);
    } else {
      yield value as Readonly<Record<string, unknown>>;
      pending.push(...Object.values(value));
    }
  }
}
