/** HTTP to intent: everything a request says, checked for its form only. */
import { AppError } from '#platform/errors.ts';
import { RecordsError } from './errors.ts';
import { parseOperation } from './grammar/filter.ts';
import { bindLimit, type Parsed, parseParameters, shapeOfLimit } from './grammar/parameters.ts';
import { type Payload, type PayloadRules, readArguments, readRecords } from './grammar/payload.ts';
import { parsePrefer } from './grammar/prefer.ts';
import { type Parameter, splitQuery } from './grammar/query-string.ts';
import { EVERYTHING, intersect, parseRangeHeader, type Range } from './grammar/range.ts';
import type { Intent } from './intent.ts';
import { findRelation, isExposed, type Relation, type Schema } from './schema/types.ts';

/** A request as the engine sees it, without the framework. */
export interface HttpRequest {
  readonly method: string;
  readonly target: 'table' | 'function';
  /** Of the table or function, decoded. */
  readonly name: string;
  /** Of the URL, as SQL gets to see it. */
  readonly path: string;
  /** As it came, without the question mark. */
  readonly query: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

const TABLE_ACTIONS: Readonly<Record<string, Intent['action']>> = {
  GET: 'read',
  HEAD: 'read',
  POST: 'insert',
  PATCH: 'update',
  PUT: 'put',
  DELETE: 'delete',
};
const FUNCTION_METHODS = new Set(['GET', 'HEAD', 'POST']);
const DEFAULT_SCHEMA = 'public';

/** Types to which an empty string is a value like any other. */
const EMPTY_TEXT_TYPES = new Set(['text', 'varchar', 'bpchar', 'citext']);

/**
 * Parses a request. The schema is asked only for what decides the meaning of words.
 * @param maxRows the most rows that may be read at once
 */
export function parseRequest(request: HttpRequest, schema: Schema, maxRows: number | undefined): Intent {
  const action = actionOf(request);
  const isRead = isReadMethod(request);
  const parameters = splitQuery(request.query);
  const schemaName = takeSchema(request, parameters, schema);
  const relation = request.target === 'table' ? findRelation(schema, schemaName, request.name) : undefined;
  const preferences = parsePrefer(takeReturn(parameters, relation) + headerOf(request, 'prefer'));
  const parsed = parseParameters(parameters, { mayBeArguments: action === 'call' && isRead, maxRows });
  const payload = parsePayload(request, action, {
    hasColumns: parsed.columns !== undefined,
    fillsDefaults: preferences.missing === 'default',
    takesEmptyText: (name) => EMPTY_TEXT_TYPES.has(relation?.columns.get(name)?.base.short ?? ''),
  });
  const payloadValue = parsed.values.length;
  if (payload) parsed.values.push(payload.text);
  if (payload?.repeated) parsed.args = bindTexts(parsed, payload.repeated);
  const asked = request.method === 'GET' ? intersect(parsed.range, rangeOfHeader(request)) : parsed.range;
  const isLimited = maxRows !== undefined && (isRead || action === 'call');
  const range = isLimited ? { ...asked, limit: Math.min(asked.limit ?? maxRows, maxRows) } : asked;
  const page = bindPage(parsed, range);
  const accept = headerOf(request, 'accept');
  const shape = [
    action,
    request.method,
    schemaName,
    request.name,
    accept,
    preferences.text,
    shapeOfPayload(payload),
    page,
  ];
  return {
    action,
    method: request.method,
    isHead: request.method === 'HEAD',
    schema: schemaName,
    name: request.name,
    select: parsed.select,
    filters: parsed.filters,
    orders: parsed.orders,
    pages: parsed.pages,
    range,
    columns: parsed.columns,
    onConflict: parsed.onConflict,
    preferences,
    accept,
    payload,
    payloadValue,
    args: parsed.args,
    values: parsed.values,
    shape: shape.concat(parsed.shape).join('\0'),
  };
}

function isReadMethod({ method }: HttpRequest): boolean {
  return method === 'GET' || method === 'HEAD';
}

/** The schema that a request is about, where it is about nothing more. */
export function schemaOf(request: HttpRequest, schema: Schema): string {
  return takeSchema({ ...request, method: 'GET' }, splitQuery(request.query), schema);
}

export function headerOf({ headers }: HttpRequest, name: string): string {
  const value = headers[name];
  return typeof value === 'string' ? value : (value?.join() ?? '');
}

function actionOf({ target, method }: HttpRequest): Intent['action'] {
  if (target === 'function') {
    if (FUNCTION_METHODS.has(method)) return 'call';
    throw new RecordsError('PGRST101', `Cannot use the ${method} method on RPC`);
  }
  const action = TABLE_ACTIONS[method];
  if (action) return action;
  throw new RecordsError('PGRST117', `Unsupported HTTP method: ${method}`);
}

/** Takes `?schema=` out of the parameters; without it the profile header of the method counts. */
function takeSchema(request: HttpRequest, parameters: Parameter[], schema: Schema): string {
  const profile = profileOf(request) || DEFAULT_SCHEMA;
  const name = takeSchemaParameter(request, parameters, schema, profile) ?? profile;
  if (isExposed(schema, name)) return name;
  const names = schema.exposed.map((exposed) => exposed.name).join(', ');
  throw new RecordsError('PGRST106', `The schema must be one of the following: ${names}`);
}

/** The schema that a header names. Node reads headers as Latin-1, clients write UTF-8. */
function profileOf(request: HttpRequest): string {
  const text = headerOf(request, isReadMethod(request) ? 'accept-profile' : 'content-profile');
  return /[\x80-\xff]/.test(text) ? Buffer.from(text, 'latin1').toString() : text;
}

function takeSchemaParameter(
  request: HttpRequest,
  parameters: Parameter[],
  schema: Schema,
  profile: string,
): string | undefined {
  const at = parameters.findIndex(isSchemaParameter);
  if (at < 0) return undefined;
  const [, value] = parameters[at] ?? ['', ''];
  // A table may have a column of that name: an operation is a filter on it.
  const hasColumn = findRelation(schema, profile, request.name)?.columns.has('schema');
  if (hasColumn && parseOperation(value, { list: [] })) return undefined;
  parameters.splice(at, 1);
  if (value.trim() === '' || parameters.some(isSchemaParameter)) {
    throw new AppError('INVALID_INPUT', 'schema must be given once and must not be blank', {
      nextActions: 'Name one schema, as in ?schema=public, or leave the parameter out.',
    });
  }
  return value;
}

const isSchemaParameter = ([key]: Parameter) => key === 'schema';

/** The CLI of the platform asks for rows with a parameter, which is a preference unless there is such a column. */
function takeReturn(parameters: Parameter[], relation: Relation | undefined): string {
  const at = parameters.findIndex(([key, value]) => key === 'return' && value === 'representation');
  if (at < 0 || relation?.columns.has('return')) return '';
  parameters.splice(at, 1);
  return 'return=representation,';
}

/** Puts the page of the resource itself among the values and returns the shape of it. */
function bindPage({ values, pages }: Parsed, range: Range): string {
  if (range === EVERYTHING || (range.limit === undefined && range.offset === 0)) return '';
  const limit = range.limit === undefined ? undefined : bindLimit(values, range.limit);
  const offset = range.offset === 0 ? undefined : values.push(String(range.offset)) - 1;
  pages.push({ path: [], limit, offset });
  return offset === undefined ? shapeOfLimit(limit) : `${shapeOfLimit(limit)} offset`;
}

function rangeOfHeader(request: HttpRequest) {
  const text = headerOf(request, 'range');
  return (text && parseRangeHeader(text)) || EVERYTHING;
}

/** Puts the fields of a form among the values. */
function bindTexts({ values }: Parsed, repeated: NonNullable<Payload['repeated']>): Intent['args'] {
  return [...repeated].map(([name, texts]) => ({ name, values: texts.map((text) => values.push(text) - 1) }));
}

function parsePayload(request: HttpRequest, action: Intent['action'], rules: PayloadRules): Payload | undefined {
  if (action === 'read' || action === 'delete') return undefined;
  const type = headerOf(request, 'content-type');
  if (action !== 'call') return readRecords(type, request.body, rules);
  return request.method === 'POST' ? readArguments(type, request.body) : undefined;
}

function shapeOfPayload(payload: Payload | undefined): string {
  if (!payload) return '';
  const { kind, type, keys, isUneven, repeated } = payload;
  const counts = repeated ? [...repeated.values()].map(({ length }) => length) : [];
  return `${kind},${type},${isUneven},${JSON.stringify(keys)},${counts}`;
}

/** True for names that the contract refuses unless they exist: those with quotes or control characters. */
export function hasForbiddenCharacters(name: string): boolean {
  return /["\p{Cc}]/u.test(name);
}
