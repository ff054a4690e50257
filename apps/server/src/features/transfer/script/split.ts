import { AppError } from '#platform/errors.ts';
import type { Lines } from './lines.ts';

/** A statement of a script, or a line that only psql understands. */
export interface ScriptPart {
  kind: 'statement' | 'psql';
  text: string;
  /** Where it begins. */
  line: number;
}

/** One statement, with all its literals. */
const MAX_STATEMENT_CHARACTERS = 64 * 1024 * 1024;

/** Where the reading of a script is: what the next character is part of. */
interface Lexer {
  state: 'sql' | 'string' | 'escaped string' | 'identifier' | 'dollar' | 'comment';
  tag: string;
  /** Open parentheses, or nested comments. */
  depth: number;
  /** Open BEGIN ATOMIC and CASE: the semicolons inside end nothing. */
  blocks: number;
  /** Anything but blanks and comments since the last statement. */
  hasBegun: boolean;
}

/**
 * Cuts a script into statements as psql does: semicolons inside of strings, comments, parentheses and the
 * bodies of functions end nothing. After a COPY … FROM STDIN the caller takes the data from `lines`.
 */
export async function* splitScript(lines: Lines): AsyncGenerator<ScriptPart> {
  const lexer: Lexer = { state: 'sql', tag: '', depth: 0, blocks: 0, hasBegun: false };
  let text = '';
  let begin = 1;
  for (let line = await lines.next(); line !== undefined; line = await lines.next()) {
    if (line.startsWith('\\') && lexer.state === 'sql' && !lexer.hasBegun) {
      text = '';
      yield { kind: 'psql', text: line.trim(), line: lines.number };
      continue;
    }
    if (text.trim() === '') {
      text = '';
      begin = lines.number;
    }
    let start = 0;
    for (const end of statementEnds(line, lexer)) {
      const statement = (text + line.slice(start, end)).trim();
      text = '';
      start = end + 1;
      if (statement !== '') yield { kind: 'statement', text: statement, line: begin };
      begin = lines.number;
    }
    text += line.slice(start);
    if (text.length > MAX_STATEMENT_CHARACTERS) {
      throw new AppError('DATABASE_VALIDATION_ERROR', `The statement that begins on line ${begin} has no end`);
    }
  }
  if (text.trim() !== '') yield { kind: 'statement', text: text.trim(), line: begin };
}

const WORD = /[a-z_]+/iy;
const DOLLAR = /\$(?:[a-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/iy;

/** The places of a line at which a statement ends. */
function* statementEnds(line: string, lexer: Lexer): Generator<number> {
  let index = 0;
  while (index < line.length) {
    if (lexer.state !== 'sql') {
      index = skip(line, index, lexer);
      continue;
    }
    const character = line.charAt(index);
    const pair = line.slice(index, index + 2);
    if (pair === '--') return;
    if (pair !== '/*' && !/\s/.test(character)) lexer.hasBegun = true;
    if (pair === '/*') Object.assign(lexer, { state: 'comment', tag: String(lexer.depth), depth: 1 });
    else if (character === "'") lexer.state = isEscaped(line, index) ? 'escaped string' : 'string';
    else if (character === '"') lexer.state = 'identifier';
    else if (character === '(') lexer.depth++;
    else if (character === ')') lexer.depth--;
    else if (character === ';' && lexer.depth <= 0 && lexer.blocks === 0) {
      Object.assign(lexer, { depth: 0, hasBegun: false });
      yield index;
    } else if (character === '$') {
      DOLLAR.lastIndex = index;
      const [tag] = DOLLAR.exec(line) ?? [];
      if (tag !== undefined && !/\w/.test(line.charAt(index - 1))) {
        Object.assign(lexer, { state: 'dollar', tag });
        index += tag.length;
        continue;
      }
    } else if (/[a-z_]/i.test(character)) {
      index = readWord(line, index, lexer);
      continue;
    }
    index += pair === '/*' ? 2 : 1;
  }
}

function isEscaped(line: string, index: number): boolean {
  return /e/i.test(line.charAt(index - 1)) && !/\w/.test(line.charAt(index - 2));
}

function readWord(line: string, index: number, lexer: Lexer): number {
  WORD.lastIndex = index;
  const [word = ''] = WORD.exec(line) ?? [];
  const upper = word.toUpperCase();
  const isWhole = !/[\w$]/.test(line.charAt(index - 1)) && !/[\w$]/.test(line.charAt(index + word.length));
  if (isWhole && lexer.blocks > 0) {
    if (upper === 'CASE') lexer.blocks++;
    else if (upper === 'END') lexer.blocks--;
  } else if (isWhole && upper === 'ATOMIC' && /\bBEGIN\s+$/i.test(line.slice(0, index))) lexer.blocks = 1;
  // An E in front of a quote is not a word.
  return index + Math.max(word.length, 1);
}

/** Goes on inside of a string, identifier or comment; returns where to look next. */
function skip(line: string, index: number, lexer: Lexer): number {
  if (lexer.state === 'comment') {
    const pair = line.slice(index, index + 2);
    if (pair === '/*') lexer.depth++;
    else if (pair === '*/') lexer.depth--;
    if (lexer.depth === 0) Object.assign(lexer, { state: 'sql', depth: Number(lexer.tag) });
    return index + (pair === '/*' || pair === '*/' ? 2 : 1);
  }
  if (lexer.state === 'dollar') {
    const end = line.indexOf(lexer.tag, index);
    if (end < 0) return line.length;
    lexer.state = 'sql';
    return end + lexer.tag.length;
  }
  if (lexer.state === 'escaped string' && line.charAt(index) === '\\') return index + 2;
  const quote = lexer.state === 'identifier' ? '"' : "'";
  // A doubled quote ends and begins again, which comes to the same.
  if (line.charAt(index) === quote) lexer.state = 'sql';
  return index + 1;
}
