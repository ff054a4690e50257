/** Result to answer: status, headers and body. */
import { isHeader, isReserved, RecordsError, toStatus, toWire } from './errors.ts';
import { type Execution, guardError } from './execute.ts';
import { JSON_TYPE } from './grammar/media-types.ts';
import { appliedPreferences, type PreferenceName, parsePrefer } from './grammar/prefer.ts';
import { contentRange, describePage } from './grammar/range.ts';
import type { Intent } from './intent.ts';
import type { RequestPlan } from './plan.ts';
import { RESULT } from './query.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[]>;
  /** Undefined: there is none. */
  readonly body: string | Buffer | undefined;
}

/** What of the request beside its intent an answer depends on. */
export interface AnswerContext {
  /** Path of the table or function, for links. */
  readonly path: string;
  readonly query: string;
  /** The time zone that was granted. */
  readonly timezone: string | undefined;
}

/** The preferences that count for each action, in the order in which they are confirmed. */
const APPLICABLE: Readonly<Record<Intent['action'], readonly (PreferenceName | 'timezone' | 'max-affected')[]>> = {
  read: ['count', 'tx', 'handling', 'timezone'],
  insert: ['resolution', 'missing', 'return', 'count', 'tx', 'handling', 'timezone'],
  update: ['missing', 'return', 'count', 'tx', 'handling', 'timezone', 'max-affected'],
  put: ['return', 'count', 'tx', 'handling', 'timezone'],
  delete: ['return', 'count', 'tx', 'handling', 'timezone', 'max-affected'],
  call: ['params', 'count', 'tx', 'handling', 'timezone', 'max-affected'],
};

export function respond(intent: Intent, plan: RequestPlan, execution: Execution, context: AnswerContext): Answer {
  const headers: Answer['headers'] = {};
  if (plan.profile !== undefined) headers['content-profile'] = plan.profile;
  const applied = preferenceApplied(intent, plan, context);
  if (applied !== '') headers['preference-applied'] = applied;
  if (plan.format.plan) {
    headers['content-type'] = plan.format.contentType;
    return { status: 200, headers, body: execution.lines.join('\n') };
  }
  const answer = RESPONDERS[intent.action](intent, plan, execution, context);
  Object.assign(headers, answer.headers);
  const body = plan.format.isBinary && typeof answer.body === 'string' ? fromHex(answer.body) : answer.body;
  return override({ ...answer, headers, body }, execution);
}

/** The text form of a bytea is `\\x` and hexadecimal digits. */
function fromHex(text: string): Buffer {
  return Buffer.from(text.slice(2), 'hex');
}

function preferenceApplied({ action, preferences }: Intent, plan: RequestPlan, { timezone }: AnswerContext): string {
  if (preferences.text === NO_PREFERENCES && timezone === undefined) return '';
  // Without a key there is nothing to resolve.
  const resolution = plan.write?.conflict ? preferences.resolution : undefined;
  return appliedPreferences({ ...preferences, resolution, timezone }, APPLICABLE[action]);
}

const NO_PREFERENCES = parsePrefer('').text;

type Responder = (intent: Intent, plan: RequestPlan, execution: Execution, context: AnswerContext) => Answer;

const RESPONDERS: Readonly<Record<Intent['action'], Responder>> = {
  read: respondToRead,
  call: respondToCall,
  insert: respondToInsert,
  put: respondToPut,
  update: (intent, plan, { row }) => {
    const affected = countOf(row[RESULT.page]);
    const range = contentRange(0, affected, intent.preferences.count === 'exact' ? affected : undefined);
    return respondToChange(plan, row[RESULT.body], { 'content-range': range });
  },
  delete: (intent, plan, { row }) => {
    const affected = countOf(row[RESULT.page]);
    const range = contentRange(0, 0, intent.preferences.count === 'exact' ? affected : undefined);
    return respondToChange(plan, row[RESULT.body], { 'content-range': range });
  },
};

function countOf(text: string | null | undefined): number {
  return Number(text ?? 0);
}

function respondToRead(
  intent: Intent,
  plan: RequestPlan,
  execution: Execution,
  { path, query }: AnswerContext,
): Answer {
  const page = readPage(intent, plan, execution);
  const headers: Answer['headers'] = { 'content-range': page.contentRange, 'content-type': plan.format.contentType };
  if (query.length <= LONGEST_LOCATION) headers['content-location'] = query === '' ? path : `${path}?${inOrder(query)}`;
  return { status: page.status, headers, body: execution.row[RESULT.body] ?? '' };
}

/** Clients on Node give up on an answer whose headers have more than 16 KB. */
const LONGEST_LOCATION = 8 * 1024;

/** Parameters by name, so that the same request in other words has the same address. */
function inOrder(query: string): string {
  if (!query.includes('&')) return query;
  const nameOf = (parameter: string) => parameter.split('=', 1)[0] ?? '';
  return query
    .split('&')
    .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0))
    .join('&');
}

/** Checks a page of rows against what was asked for, and describes it. */
function readPage({ range }: Intent, { format, count, threshold }: RequestPlan, { row, estimate }: Execution) {
  const rows = countOf(row[RESULT.page]);
  if (format.kind === 'object' && rows !== 1) throw guardError('PGRST116', String(rows));
  const counted = row[RESULT.total] == null ? undefined : countOf(row[RESULT.total]);
  const isEstimate = count === 'planned' || (count === 'estimated' && counted !== undefined && counted > threshold);
  const total =
    isEstimate && estimate !== undefined ? Math.max(estimate, count === 'estimated' ? (counted ?? 0) : 0) : counted;
  return describePage(range.offset, rows, total);
}

function respondToCall(intent: Intent, plan: RequestPlan, execution: Execution): Answer {
  if (plan.isVoid) return { status: 204, headers: {}, body: undefined };
  const isObject = plan.format.kind === 'object' && !plan.isSingle;
  const page = readPage(intent, isObject ? plan : { ...plan, format: { ...plan.format, kind: 'array' } }, execution);
  const body = execution.row[RESULT.body];
  const headers = { 'content-range': page.contentRange, 'content-type': plan.format.contentType };
  const isJson = plan.format.kind === 'array' || plan.format.kind === 'object';
  return { status: page.status, headers, body: body || plan.isHead || !isJson ? (body ?? '') : 'null' };
}

function respondToInsert(
  { preferences }: Intent,
  plan: RequestPlan,
  { row }: Execution,
  { path }: AnswerContext,
): Answer {
  const affected = countOf(row[RESULT.page]);
  const merged = countOf(row[RESULT.merged]);
  const isMerge = plan.write?.conflict?.resolution === 'merge';
  const headers: Answer['headers'] = {
    'content-range': contentRange(0, 0, preferences.count === 'exact' ? affected : undefined),
    'content-type': plan.showsRows ? plan.format.contentType : JSON_TYPE,
  };
  const location = plan.location && affected === 1 ? locationOf(plan.location, row[RESULT.location]) : undefined;
  if (location !== undefined) headers.location = `${path}?${location}`;
  return { status: isMerge && merged === affected ? 200 : 201, headers, body: rowsOf(plan, row[RESULT.body]) };
}

/** What a write shows: nothing is an empty list, where the answer is JSON. */
function rowsOf({ format, showsRows }: RequestPlan, body: string | null | undefined): string {
  const isJson = !showsRows || format.kind === 'array' || format.kind === 'object';
  return body || (isJson ? '[]' : '');
}

function locationOf(names: readonly string[], json: string | null | undefined): string | undefined {
  if (json == null) return undefined;
  const values: (string | null)[] = JSON.parse(json);
  const filters = names.map((name, position) => {
    const value = values[position];
    return `${encodeURIComponent(name)}=${value == null ? 'is.null' : `eq.${encodeURIComponent(value)}`}`;
  });
  return filters.join('&');
}

function respondToPut(_intent: Intent, plan: RequestPlan, { row }: Execution): Answer {
  const isNew = row[RESULT.merged] == null;
  if (!plan.showsRows)
    return isNew
      ? { status: 201, headers: { 'content-type': JSON_TYPE }, body: '[]' }
      : { status: 204, headers: {}, body: undefined };
  return {
    status: isNew ? 201 : 200,
    headers: { 'content-type': plan.format.contentType },
    body: rowsOf(plan, row[RESULT.body]),
  };
}

function respondToChange(plan: RequestPlan, body: string | null | undefined, headers: Answer['headers']): Answer {
  if (!plan.showsRows) return { status: 204, headers, body: undefined };
  return { status: 200, headers: { ...headers, 'content-type': plan.format.contentType }, body: rowsOf(plan, body) };
}

/** SQL may set the status and add or replace headers. */
function override(answer: Answer, { row }: Execution): Answer {
  const status = row[RESULT.status];
  const headers = row[RESULT.headers];
  if (status == null && headers == null) return answer;
  const { body } = answer;
  return {
    status: statusFrom(status) ?? answer.status,
    headers: headers == null ? answer.headers : mergeHeaders(answer.headers, headers),
    // Beside a text Node would write the headers in the encoding of the text.
    body: headers == null || typeof body !== 'string' ? body : Buffer.from(body),
  };
}

function statusFrom(text: string | null | undefined): number | undefined {
  if (text == null) return undefined;
  const status = toStatus(text);
  if (status !== undefined) return status;
  throw new RecordsError('PGRST112', 'response.status guc must be a valid status code');
}

function mergeHeaders(own: Answer['headers'], json: string): Answer['headers'] {
  const merged = { ...own };
  const set = new Map<string, string[]>();
  for (const [name, value] of parseHeaders(json)) {
    const key = name.toLowerCase();
    set.set(key, [...(set.get(key) ?? []), value]);
  }
  for (const [name, values] of set)
    if (!isReserved(name)) merged[name] = values.length === 1 ? (values[0] ?? '') : values;
  return merged;
}

function parseHeaders(json: string): [string, string][] {
  let list: unknown;
  try {
    list = JSON.parse(json);
  } catch {
    throw badHeaders();
  }
  if (!Array.isArray(list)) throw badHeaders();
  return list.map((item: unknown) => {
    const [entry, ...more] = Object.entries(typeof item === 'object' && item !== null ? item : {});
    const [name, value] = entry ?? [''];
    if (more.length > 0 || !isHeader(name, value)) throw badHeaders();
    return [name, toWire(value)];
  });
}

function badHeaders(): RecordsError {
  return new RecordsError(
    'PGRST111',
    'response.headers guc must be a JSON array composed of objects with a single key and a string value',
  );
}
