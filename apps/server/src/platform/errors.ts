import { ERRORS, type ErrorBody, type ErrorCode } from '@insforge/contract/errors.ts';

interface ErrorOptions {
  /** Only where the contract gives one code several statuses. */
  status?: number;
  /** A command or a call that works; replaces the advice of the error table. */
  nextActions?: string;
  /** More fields of the body, such as the position of an error in SQL. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

/** The only error thrown on purpose. Anything else is a bug or a database error; `toAppError` maps those. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly status: number;
  readonly nextActions: string;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, { cause: options.cause });
    const entry = ERRORS[code];
    this.code = code;
    this.status = options.status ?? entry.status;
    this.nextActions = options.nextActions ?? entry.nextActions;
    this.details = options.details;
  }
}

/** A condition that keeps the server from starting. Printed as one message, exit code 1. */
export class StartupError extends Error {
  override readonly name = 'StartupError';
}

/** An error of the database server, as `pg` reports it. */
export interface DatabaseError extends Error {
  code: string;
  severity?: string;
  detail?: string;
  hint?: string;
  position?: string;
  /** The call stack, and for COPY the line. */
  where?: string;
  constraint?: string;
}

const SQLSTATE = /^[0-9A-Z]{5}$/;

/** True for an error that PostgreSQL itself reported (it has a severity and a five-letter SQLSTATE). */
export function isDatabaseError(error: unknown): error is DatabaseError {
  return (
    error instanceof Error &&
    'severity' in error &&
    'code' in error &&
    typeof error.code === 'string' &&
    SQLSTATE.test(error.code)
  );
}

/** SQLSTATE -> code for envelope routes; the records API answers in PostgREST's form instead. */
const SQLSTATE_CODES: Record<string, ErrorCode> = {
  '23505': 'DATABASE_DUPLICATE',
  '23503': 'DATABASE_CONSTRAINT_VIOLATION',
  '23514': 'DATABASE_CONSTRAINT_VIOLATION',
  '23502': 'MISSING_FIELD',
  '42P01': 'DATABASE_VALIDATION_ERROR',
  '42P07': 'DATABASE_DUPLICATE',
  '42701': 'DATABASE_VALIDATION_ERROR',
  '42703': 'DATABASE_VALIDATION_ERROR',
  '42830': 'DATABASE_VALIDATION_ERROR',
  '42804': 'DATABASE_VALIDATION_ERROR',
  '42501': 'FORBIDDEN',
  '25006': 'FORBIDDEN',
};

/**
 * Classes of SQLSTATE in which the statement is at fault, not the server: connections it opens (08), bad data (22), broken
 * constraints (23), transaction control (25, 2D), functions of the user (2F, 38, 39), missing names (34, 3B,
 * 3F, 42), statements too large (54), wrong state of an object (55), foreign data (HV), a raised exception (P0).
 */
const CALLER_CLASSES = new Set('08 0A 21 22 23 25 26 2B 2D 2F 34 38 39 3B 3F 42 44 54 55 HV P0'.split(' '));

/** Connection lost, server shutting down or starting, too many connections, out of resources. */
const UNAVAILABLE_CLASSES = new Set(['08', '53', '57']);
const SOCKET_ERRORS = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOENT', 'ETIMEDOUT']);

/** The database has no room for what a statement writes, and undid it. It goes on with all that needs none. */
const DISK_FULL = '53100';

/** True when the database could not be reached or went away, so that a retry later may succeed. */
export function isUnavailable(error: unknown): boolean {
  if (isDatabaseError(error)) {
    if (error.code === DISK_FULL) return false;
    // A mere ERROR of class 08 is about a connection that SQL tried to open, with dblink for example.
    if (error.code.startsWith('08')) return error.severity !== 'ERROR';
    return UNAVAILABLE_CLASSES.has(error.code.slice(0, 2)) && error.code !== '57014';
  }
  if (!(error instanceof Error)) return false;
  if ('code' in error && typeof error.code === 'string' && SOCKET_ERRORS.has(error.code)) return true;
  return /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error)/.test(
    error.message,
  );
}

/**
 * True when a statement or transaction is known to have left nothing behind. When the connection broke during the commit
 * nobody knows.
 */
export function wasUndone(error: unknown): boolean {
  return isDatabaseError(error) && !isUnavailable(error);
}

function fromDatabase(error: DatabaseError): AppError {
  const known = SQLSTATE_CODES[error.code];
  const details = {
    sqlstate: error.code,
    detail: error.detail,
    hint: error.hint,
    position: Number(error.position) || undefined,
  };
  const options = { cause: error, details, ...(error.hint ? { nextActions: error.hint } : {}) };
  if (known) return new AppError(known, error.message, options);
  if (error.code === DISK_FULL) {
    return new AppError('STORAGE_INSUFFICIENT_QUOTA', 'There is no room left to store this', { cause: error });
  }
  if (error.code === '57014') {
    return new AppError('DATABASE_VALIDATION_ERROR', `The statement ran into its time limit (${error.message})`, {
      ...options,
      nextActions: 'Make it cheaper (EXPLAIN shows its plan), add an index, or split it.',
    });
  }
  // Serialization failure, deadlock: https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
  if (error.code.startsWith('40')) {
    return new AppError('UPSTREAM_FAILURE', `${error.message}; nothing was changed`, {
      ...options,
      nextActions: 'Send the request again.',
    });
  }
  if (CALLER_CLASSES.has(error.code.slice(0, 2)))
    return new AppError('DATABASE_VALIDATION_ERROR', error.message, options);
  return new AppError('INTERNAL_ERROR', 'The database reported an internal error', { cause: error });
}

/** What Fastify and its body parsers throw: `statusCode` below 500 and a code beginning with FST_. */
function fromFastify(error: Error & { statusCode: number }): AppError {
  if (error.statusCode === 413) return new AppError('PAYLOAD_TOO_LARGE', error.message, { cause: error });
  if (error.statusCode === 429) return new AppError('TOO_MANY_REQUESTS', error.message, { cause: error });
  return new AppError('INVALID_INPUT', error.message, { status: error.statusCode, cause: error });
}

/** One issue of a failed zod schema, as fastify-type-provider-zod reports it. */
interface ValidationIssue {
  instancePath: string;
  message?: string;
}

/** Makes any thrown value an AppError; unknown ones become INTERNAL_ERROR without telling what happened. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (isUnavailable(error)) {
    return new AppError('UPSTREAM_FAILURE', 'The database cannot be reached right now', { cause: error });
  }
  if (isDatabaseError(error)) return fromDatabase(error);
  if (error instanceof Error && 'validation' in error && Array.isArray(error.validation)) {
    const issues: ValidationIssue[] = error.validation;
    const message = issues
      .map(
        ({ instancePath, message = 'is invalid' }) =>
          `${instancePath.slice(1).replaceAll('/', '.') || 'body'}: ${message}`,
      )
      .join(', ');
    return new AppError('INVALID_INPUT', message, { cause: error });
  }
  if (
    error instanceof Error &&
    'statusCode' in error &&
    typeof error.statusCode === 'number' &&
    error.statusCode < 500
  ) {
    return fromFastify(Object.assign(error, { statusCode: error.statusCode }));
  }
  return new AppError('INTERNAL_ERROR', 'Something went wrong on the server', { cause: error });
}

/** Renders the envelope that every `/api/*` route answers with on failure. */
export function toErrorBody(error: AppError): ErrorBody {
  return {
    error: error.code,
    message: error.message,
    statusCode: error.status,
    nextActions: error.nextActions,
    ...error.details,
  };
}
