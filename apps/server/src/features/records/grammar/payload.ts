/** Request bodies: what came in, made one JSON text that PostgreSQL takes apart. */

import { RecordsError } from '../errors.ts';
import { parseCsv } from './csv.ts';
import { splitQuery } from './query-string.ts';

export interface Payload {
  /** `raw` is for functions with a single unnamed argument. */
  readonly kind: 'object' | 'array' | 'raw';
  /** The media type, without parameters. */
  readonly type: string;
  readonly text: string;
  /** Names that occur, in order. Empty where nobody needs to know. */
  readonly keys: readonly string[];
  /** True when not every object has all keys. */
  readonly isUneven: boolean;
  /** How often each key of a form was sent, for repeated (variadic) ones. */
  readonly repeated?: ReadonlyMap<string, readonly string[]>;
}

export interface PayloadRules {
  /** `columns=` was given, so the keys need not be looked at. */
  readonly hasColumns: boolean;
  /** Absent keys get the default of their column. */
  readonly fillsDefaults: boolean;
  /** False for columns to which the empty string is no value: it counts as absent. */
  readonly takesEmptyText: (column: string) => boolean;
}

/** Reads the body of a write to a table. */
export function readRecords(contentType: string, body: string, rules: PayloadRules): Payload {
  const type = mediaTypeOf(contentType);
  if (type === 'text/csv') return ofObjects(parseCsv(body), type);
  if (type === 'application/x-www-form-urlencoded') return ofObject(Object.fromEntries(splitQuery(body)), type);
  if (type !== 'application/json') throw notAcceptable(type);
  const first = /^\s*([[{])/.exec(body)?.[1];
  if (first === undefined) throw invalidJson();
  const mayDrop = EMPTY_TEXT.test(body);
  if (rules.hasColumns && !mayDrop && !rules.fillsDefaults) {
    return { kind: first === '[' ? 'array' : 'object', type, text: body, keys: [], isUneven: false };
  }
  const parsed = parseJson(body, mayDrop);
  const objects = Array.isArray(parsed) ? parsed : [parsed];
  if (!objects.every(isObject)) throw unevenKeys();
  const keys = unionOfKeys(objects);
  const isUneven = objects.some((object) => Object.keys(object).length !== keys.length);
  if (isUneven && !rules.hasColumns) throw unevenKeys();
  const didDrop = mayDrop && dropEmptyText(objects, rules.takesEmptyText);
  if (!didDrop) return { kind: Array.isArray(parsed) ? 'array' : 'object', type, text: body, keys, isUneven };
  const payload = Array.isArray(parsed) ? ofObjects(objects, type) : ofObject(objects[0] ?? {}, type);
  return rules.hasColumns && Array.isArray(parsed) ? { ...payload, isUneven: true } : payload;
}

/** Reads the body of a function call. */
export function readArguments(contentType: string, body: string): Payload {
  const type = mediaTypeOf(contentType);
  if (RAW_TYPES.has(type)) return { kind: 'raw', type, text: body, keys: [], isUneven: false };
  if (type === 'application/x-www-form-urlencoded') return ofForm(body, type);
  if (type === 'text/csv') return ofObject(parseCsv(body)[0] ?? {}, type);
  if (type !== 'application/json') throw notAcceptable(type);
  if (body.trim() === '') return { kind: 'object', type, text: '{}', keys: [], isUneven: false };
  const parsed = parseJson(body, false);
  if (isObject(parsed)) return { kind: 'object', type, text: body, keys: Object.keys(parsed), isUneven: false };
  if (!Array.isArray(parsed)) return { kind: 'raw', type, text: body, keys: [], isUneven: false };
  // Of a list of objects the first one counts, unless a function takes the whole body.
  return { kind: 'array', type, text: body, keys: isObject(parsed[0]) ? Object.keys(parsed[0]) : [], isUneven: false };
}

const RAW_TYPES = new Set(['text/plain', 'text/xml', 'application/octet-stream']);

/** An empty string as the value of a key, or what looks like one inside of a string. */
const EMPTY_TEXT = /:\s*""/;

function mediaTypeOf(contentType: string): string {
  return contentType.split(';', 1)[0]?.trim().toLowerCase() || 'application/json';
}

type JsonObject = Record<string, unknown>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalidJson(): RecordsError {
  return new RecordsError('PGRST102', 'Empty or invalid json');
}

function unevenKeys(): RecordsError {
  return new RecordsError('PGRST102', 'All object keys must match');
}

function notAcceptable(type: string): RecordsError {
  return new RecordsError('PGRST102', `Content-Type not acceptable: ${type}`);
}

interface ReviverContext {
  source?: string;
}
const rawJson = (JSON as unknown as { rawJSON(source: string): unknown }).rawJSON;

/** Keeps the digits of numbers as they were written: the database may hold more of them than a double. */
const keepNumbers = (_key: string, value: unknown, context?: ReviverContext): unknown =>
  typeof value === 'number' && context?.source !== undefined ? rawJson(context.source) : value;

function parseJson(text: string, isWrittenAgain: boolean): unknown {
  try {
    return isWrittenAgain ? JSON.parse(text, keepNumbers) : JSON.parse(text);
  } catch {
    throw invalidJson();
  }
}

function unionOfKeys(objects: readonly JsonObject[]): string[] {
  const [first = {}] = objects;
  const keys = new Set(Object.keys(first));
  for (const object of objects) for (const key in object) keys.add(key);
  return [...keys];
}

function dropEmptyText(objects: readonly JsonObject[], takesEmptyText: (column: string) => boolean): boolean {
  let didDrop = false;
  for (const object of objects) {
    for (const key of Object.keys(object)) {
      if (object[key] !== '' || takesEmptyText(key)) continue;
      delete object[key];
      didDrop = true;
    }
  }
  return didDrop;
}

function ofObject(object: JsonObject, type: string): Payload {
  return { kind: 'object', type, text: JSON.stringify(object), keys: Object.keys(object), isUneven: false };
}

function ofObjects(objects: readonly JsonObject[], type: string): Payload {
  const keys = unionOfKeys(objects);
  const isUneven = objects.some((object) => Object.keys(object).length !== keys.length);
  return { kind: 'array', type, text: JSON.stringify(objects), keys, isUneven };
}

function ofForm(body: string, type: string): Payload {
  const repeated = Map.groupBy(splitQuery(body), ([key]) => key);
  const values = new Map([...repeated].map(([key, pairs]) => [key, pairs.map(([, value]) => value)]));
  const last = Object.fromEntries([...values].map(([key, list]) => [key, list.at(-1)]));
  return { ...ofObject(last, type), repeated: values };
}
