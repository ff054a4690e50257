/** HTTP to intent: everything a request says, checked for its form only. */
import { AppError } from '#platform/errors.ts';
import { RecordsError } from './errors.ts';
import { parseOperation } from './grammar/filter.ts';
import { bindLimit, type Parsed, parseParameters, shapeOfLimit } from './grammar/parameters.ts';
import { type Payload, type PayloadRules, readArguments, readRecords } from './grammar/payload.ts';
import { parsePrefer } from './grammar/prefer.ts';
import { type Parameter, splitQuery } from './grammar/query-string.ts';
import { EVERYTHING, intersect, parseRangeHeader } from './grammar/range.ts';
import type { Intent } from './intent.ts';
import { findRelation, isExposed, type Schema } from './schema/types.ts';

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

/** Parses a request. The schema is asked only for what decides the meaning of words. */
export function parseRequest(request: HttpRequest, schema: Schema, maxRows: number | undefined): Intent {
  const action = actionOf(request);
  const isRead = request.method === 'GET' || request.method === 'HEAD';
  const { schemaName, parameters } = chooseSchema(request, splitQuery(request.query), schema, isRead);
  const relation = request.target === 'table' ? findRelation(schema, schemaName, request.name) : undefined;
  // The CLI of the platform asks for rows with a parameter that would otherwise be a filter.
  const asksForRows = !relation?.columns.has('return') && parameters.some(isReturnParameter);
  const preferences = parsePrefer(`${asksForRows ? 'return=representation,' : ''}${headerOf(request, 'prefer')}`);
  const parsed = parseParameters(
    asksForRows ? parameters.filter((parameter) => !isReturnParameter(parameter)) : parameters,
    { mayBeArguments: action === 'call' && isRead, maxRows },
  );
  const payload = parsePayload(request, action, {
    hasColumns: parsed.columns !== undefined,
    fillsDefaults: preferences.missing === 'default',
    takesEmptyText: (name) => EMPTY_TEXT_TYPES.has(relation?.columns.get(name)?.base.short ?? ''),
  });
  const payloadValue = parsed.values.length;
  if (payload) parsed.values.push(payload.text);
  if (payload?.repeated) parsed.args = bindTexts(parsed, payload.repeated);
  const asked = isRead ? intersect(parsed.range, rangeOfHeader(request)) : parsed.range;
  const isLimited = maxRows !== undefined && (isRead || action === 'call');
  const range = isLimited ? { ...asked, limit: Math.min(asked.limit ?? maxRows, maxRows) } : asked;
  const limit = range.limit === undefined ? undefined : bindLimit(parsed.values, range.limit);
  const offset = range.offset === 0 ? undefined : parsed.values.push(String(range.offset)) - 1;
  if (limit !== undefined || offset !== undefined) parsed.pages.push({ path: [], limit, offset });
  const accept = headerOf(request, 'accept');
  const shape = [
    action,
    request.method,
    schemaName,
    request.name,
    accept,
    preferences.text,
    payload ? shapeOfPayload(payload) : '',
    shapeOfLimit(limit),
    offset === undefined ? '' : 'offset',
    ...parsed.shape,
  ].join('\0');
  return {
    ...parsed,
    action,
    method: request.method,
    isHead: request.method === 'HEAD',
    schema: schemaName,
    name: request.name,
    range,
    preferences,
    accept,
    payload,
    payloadValue,
    shape,
  };
}

/** The schema that a request is about, where it is about nothing more. */
export function schemaOf(request: HttpRequest, schema: Schema): string {
  return chooseSchema(request, splitQuery(request.query), schema, true).schemaName;
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

const isReturnParameter = ([key, value]: Parameter) => key === 'return' && value === 'representation';

/** `?schema=` or the profile header of the method, and the parameters without it. */
function chooseSchema(request: HttpRequest, parameters: Parameter[], schema: Schema, isRead: boolean) {
  const profile = headerOf(request, isRead ? 'accept-profile' : 'content-profile') || DEFAULT_SCHEMA;
  const asked = parameters.filter(([key]) => key === 'schema');
  const [first] = asked;
  // A table may have a column of that name: an operation is a filter on it.
  const isFilter =
    first !== undefined &&
    findRelation(schema, profile, request.name)?.columns.has('schema') &&
    parseOperation(first[1], { list: [] }) !== undefined;
  if (first !== undefined && !isFilter && (asked.length > 1 || first[1].trim() === '')) {
    throw new AppError('INVALID_INPUT', 'schema must be given once and must not be blank');
  }
  const schemaName = first === undefined || isFilter ? profile : first[1];
  if (!isExposed(schema, schemaName)) {
    const names = schema.exposed.map(({ name }) => name).join(', ');
    throw new RecordsError('PGRST106', `The schema must be one of the following: ${names}`);
  }
  return { schemaName, parameters: isFilter ? parameters : parameters.filter(([key]) => key !== 'schema') };
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

function shapeOfPayload({ kind, type, keys, isUneven, repeated }: Payload): string {
  const counts = repeated ? [...repeated.values()].map(({ length }) => length) : [];
  return `${kind},${type},${isUneven},${JSON.stringify(keys)},${counts}`;
}

/** True for names that the contract refuses unless they exist: those with quotes or control characters. */
export function hasForbiddenCharacters(name: string): boolean {
  return /["\p{Cc}]/u.test(name);
}
