import { StringDecoder } from 'node:string_decoder';
import { AppError } from '#platform/errors.ts';

/** One value of a JSON file, and its place among them, counted from one. */
export interface JsonDocument {
  row: number;
  text: string;
}

/** A single row larger than this is a file in a row. */
const MAX_DOCUMENT_CHARACTERS = 64 * 1024 * 1024;

const OPENING = new Set(['{', '[']);
const CLOSING = new Set(['}', ']']);
const BLANK = /\s/;

/**
 * Cuts a JSON array, or values one after the other (NDJSON), into its elements, however the bytes arrive.
 * Only strings and brackets are looked at: what is between them is for whoever parses the element.
 */
export async function* splitJson(source: AsyncIterable<Buffer>): AsyncGenerator<JsonDocument> {
  const decoder = new StringDecoder('utf8');
  const splitter = new Splitter();
  for await (const chunk of source) yield* splitter.push(decoder.write(chunk));
  yield* splitter.push(decoder.end());
  yield* splitter.end();
}

class Splitter {
  #row = 0;
  /** Parts of the element that is being read. */
  #parts: string[] = [];
  #length = 0;
  #depth = 0;
  #inString = false;
  #isEscaped = false;
  #isArray: boolean | undefined;
  #isOver = false;

  *push(text: string): Generator<JsonDocument> {
    let start = 0;
    for (let index = 0; index < text.length; index++) {
      const character = text.charAt(index);
      if (this.#inString) {
        if (this.#isEscaped) this.#isEscaped = false;
        else if (character === '\\') this.#isEscaped = true;
        else if (character === '"') this.#inString = false;
        continue;
      }
      if (character === '"') this.#inString = true;
      else if (this.#isArray === undefined && !BLANK.test(character) && character !== '\uFEFF') {
        this.#isArray = character === '[';
        if (this.#isArray) start = index + 1;
        else this.#depth += OPENING.has(character) ? 1 : 0;
      } else if (OPENING.has(character)) this.#depth++;
      else if (this.#depth === 0 && this.#isBoundary(character)) {
        yield* this.#finish(text.slice(start, index));
        start = index + 1;
        this.#isOver ||= character === ']';
      } else if (CLOSING.has(character)) this.#depth--;
    }
    this.#keep(text.slice(start));
  }

  *end(): Generator<JsonDocument> {
    if (this.#isArray && !this.#isOver) throw new AppError('DATABASE_VALIDATION_ERROR', 'The JSON array has no end');
    yield* this.#finish('');
  }

  #isBoundary(character: string): boolean {
    return this.#isArray ? character === ',' || character === ']' : character === '\n';
  }

  #keep(part: string): void {
    this.#length += part.length;
    if (this.#length > MAX_DOCUMENT_CHARACTERS) {
      throw new AppError(
        'DATABASE_VALIDATION_ERROR',
        `Row ${this.#row + 1} is too large, or the JSON is not well formed`,
      );
    }
    if (part !== '') this.#parts.push(part);
  }

  *#finish(last: string): Generator<JsonDocument> {
    this.#keep(last);
    const text = this.#parts
      .join('')
      .replace(/^\uFEFF/, '')
      .trim();
    this.#parts = [];
    this.#length = 0;
    if (text !== '') yield { row: ++this.#row, text };
  }
}
