/** The error codes of the records API and how PostgreSQL's own errors become HTTP. */
import { type DatabaseError, isDatabaseError, isUnavailable } from '#platform/errors.ts';

/** The body of every error that the engine answers with: the form that PostgREST clients read. */
export interface RecordsErrorBody {
  code: string;
  details: unknown;
  hint: string | null;
  message: string;
}

/** Status of each code, as https://docs.postgrest.org/en/v12/references/errors.html lists them. */
const STATUS = {
  PGRST001: 503,
  PGRST002: 503,
  PGRST003: 504,
  PGRST100: 400,
  PGRST101: 405,
  PGRST102: 400,
  PGRST103: 416,
  PGRST105: 405,
  PGRST106: 406,
  PGRST107: 406,
  PGRST108: 400,
  PGRST109: 400,
  PGRST110: 400,
  PGRST111: 500,
  PGRST112: 500,
  PGRST114: 400,
  PGRST115: 400,
  PGRST116: 406,
  PGRST117: 405,
  PGRST118: 400,
  PGRST120: 400,
  PGRST121: 500,
  PGRST122: 400,
  PGRST123: 400,
  PGRST124: 400,
  PGRST125: 404,
  PGRST127: 400,
  PGRST128: 400,
  PGRST200: 400,
  PGRST201: 300,
  PGRST202: 404,
  PGRST203: 300,
  PGRST204: 400,
  /** What PostgreSQL itself would say about names that the schema cache does not know. */
  '42P01': 404,
  '42703': 400,
  '42704': 400,
} as const;

export type RecordsErrorCode = keyof typeof STATUS;

/** A refusal by the engine itself, before or instead of PostgreSQL. */
export class RecordsError extends Error {
  override readonly name = 'RecordsError';
  readonly code: RecordsErrorCode;
  readonly details: unknown;
  readonly hint: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: RecordsErrorCode, message: string, more: ErrorDetails = {}) {
    super(message);
    this.code = code;
    this.details = more.details ?? null;
    this.hint = more.hint ?? null;
    this.headers = more.headers ?? {};
  }
}

interface ErrorDetails {
  readonly details?: unknown;
  readonly hint?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * SQLSTATE, or the first characters of one, to status; the longest match wins. Whatever is absent is the
 * caller's fault: 400. `42501` depends on the caller.
 */
const SQLSTATE_STATUS: Record<string, number> = {
  '08': 503,
  '09': 500,
  '0L': 403,
  '0P': 403,
  '21000': 500,
  '23503': 409,
  '23505': 409,
  '25': 500,
  '25006': 405,
  '28': 403,
  '2D': 500,
  '38': 500,
  '39': 500,
  '3B': 500,
  '40': 500,
  '42883': 404,
  '42P01': 404,
  '42P17': 500,
  '53': 503,
  '53400': 500,
  '54': 500,
  '55': 500,
  '57': 500,
  '57P01': 503,
  '58': 500,
  F0: 500,
  HV: 500,
  P0: 500,
  P0001: 400,
  XX: 500,
};

function statusOfSqlstate(code: string, isAnonymous: boolean): number {
  if (code === '42501') return isAnonymous ? 401 : 403;
  return SQLSTATE_STATUS[code] ?? SQLSTATE_STATUS[code.slice(0, 2)] ?? 400;
}

/** An answer that says no. `headers` and `statusText` may come from SQL that raised the error. */
export interface ErrorAnswer {
  status: number;
  statusText?: string | undefined;
  headers: Record<string, string>;
  body: RecordsErrorBody;
}

/** Turns whatever the engine or the database threw into an answer; undefined for what is neither's. */
export function toErrorAnswer(error: unknown, isAnonymous: boolean): ErrorAnswer | undefined {
  if (error instanceof RecordsError) return answer(STATUS[error.code], error);
  if (isDatabaseError(error)) return fromDatabase(error, isAnonymous);
  if (error instanceof Error && /timeout exceeded when trying to connect/.test(error.message)) {
    return answer(504, new RecordsError('PGRST003', 'Timed out acquiring connection from connection pool.'));
  }
  if (isUnavailable(error))
    return answer(503, new RecordsError('PGRST001', 'Database client error. Retrying the connection.'));
  return undefined;
}

function answer(status: number, { code, details, hint, message, headers }: RecordsError): ErrorAnswer {
  return { status, headers: { ...proxyStatus(code), ...headers }, body: { code, details, hint, message } };
}

/** Tells the code of an error where there is no body, as in the answer to HEAD (RFC 9209). */
function proxyStatus(code: string): Record<string, string> {
  return { 'proxy-status': `PostgREST; error=${code}` };
}

function fromDatabase(error: DatabaseError, isAnonymous: boolean): ErrorAnswer {
  if (error.code === 'PGRST') return fromRaisedAnswer(error);
  const isStatus = error.code.startsWith('PT');
  return {
    status: isStatus ? (toStatus(error.code.slice(2)) ?? 500) : statusOfSqlstate(error.code, isAnonymous),
    statusText: isStatus && isHeader('x', error.message) ? toWire(error.message) : undefined,
    headers: proxyStatus(error.code),
    body: { code: error.code, details: error.detail ?? null, hint: error.hint ?? null, message: error.message },
  };
}

/** A status that SQL chose; undefined for what no final answer can have. */
export function toStatus(text: string): number | undefined {
  return /^[2-5]\d\d$/.test(text) ? Number(text) : undefined;
}

/** `RAISE SQLSTATE 'PGRST'`: message and detail are JSON and describe the whole answer. */
function fromRaisedAnswer({ message, detail }: DatabaseError): ErrorAnswer {
  const said = parseObject(message);
  if (typeof said?.code !== 'string' || typeof said.message !== 'string') {
    return badRaise(
      `Invalid JSON value for MESSAGE: '${message}'`,
      "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: 'details', 'hint'.",
    );
  }
  const shape = parseObject(detail ?? '');
  const status = toStatus(String(shape?.status));
  const text = shape?.status_text;
  const isTextFit = text === undefined || (typeof text === 'string' && isHeader('x', text));
  if (!shape || status === undefined || !isHeaderMap(shape.headers) || !isTextFit) {
    return badRaise(
      detail === undefined ? 'DETAIL is missing in the RAISE statement' : `Invalid JSON value for DETAIL: '${detail}'`,
      "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: 'status_text'.",
    );
  }
  const { code, details = null, hint = null } = said;
  return {
    status,
    statusText: text === undefined ? undefined : toWire(text),
    headers: {
      ...(isHeader('x', code) ? proxyStatus(toWire(code)) : {}),
      ...Object.fromEntries(
        Object.entries(shape.headers)
          .filter(([name]) => !isReserved(name))
          .map(([name, value]) => [name, toWire(value)]),
      ),
    },
    body: { code, details, hint: typeof hint === 'string' ? hint : null, message: said.message },
  };
}

function badRaise(details: string, hint: string): ErrorAnswer {
  const message = `Could not parse JSON in the "RAISE SQLSTATE 'PGRST'" error`;
  return answer(500, new RecordsError('PGRST121', message, { details, hint }));
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    // Not JSON: the caller says which part of the RAISE that was.
    return undefined;
  }
}

function isHeaderMap(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' && value !== null && Object.entries(value).every(([name, text]) => isHeader(name, text))
  );
}

/** True for headers that are the server's own business: how an answer is framed, and which sites may read it. */
export function isReserved(name: string): boolean {
  return /^(content-length|transfer-encoding|connection|content-encoding|access-control-.*)$/i.test(name);
}

/** True for a name and a value that can travel as a header. */
export function isHeader(name: string, value: unknown): value is string {
  return typeof value === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(name) && !/(?!\t)\p{Cc}/u.test(value);
}

/** UTF-8 in the form Node writes headers in; a body sent with it must be a Buffer, or Node encodes both again. */
export function toWire(value: string): string {
  return Buffer.from(value).toString('latin1');
}
