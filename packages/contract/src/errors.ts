/**
 * Every error code that crosses the wire, its usual HTTP status, and, where one piece of advice fits
 * all occurrences, the next step for the caller. A throw may override status and advice.
 */
export const ERRORS = {
  // auth
  AUTH_INVALID_EMAIL: { status: 400 },
  AUTH_WEAK_PASSWORD: { status: 400 },
  AUTH_INVALID_CREDENTIALS: {
    status: 401,
    nextActions:
      'Send "Authorization: Bearer <token>" with a user token, the anon key or the API key, or "x-api-key: <API key>".',
  },
  AUTH_INVALID_API_KEY: {
    status: 401,
    nextActions: 'Read the current API key with GET /api/metadata/api-key as an admin, or from the data folder.',
  },
  AUTH_EMAIL_EXISTS: { status: 409, nextActions: 'Sign in with POST /api/auth/sessions, or use another address.' },
  AUTH_USER_NOT_FOUND: { status: 404 },
  AUTH_UNAUTHORIZED: { status: 401 },
  AUTH_OAUTH_CONFIG_ERROR: {
    status: 500,
    nextActions: 'An admin configures providers with POST /api/auth/oauth/configs.',
  },
  AUTH_OAUTH_CONFIG_NOT_FOUND: {
    status: 404,
    nextActions: 'List what is configured: GET /api/auth/oauth/configs, GET /api/auth/oauth/custom/configs.',
  },
  AUTH_OAUTH_CONFIG_ALREADY_EXISTS: { status: 409 },
  AUTH_SIGNUP_DISABLED: {
    status: 403,
    nextActions: 'An admin can allow it: PUT /api/auth/config {"disableSignup":false}.',
  },
  AUTH_USER_BANNED: { status: 403 },
  AUTH_SECOND_FACTOR_REQUIRED: {
    status: 403,
    nextActions: 'Send the challenge of this answer and a code to POST /api/auth/sessions/second-factor.',
  },
  AUTH_CUSTOM_CLAIMS_FAILED: {
    status: 500,
    nextActions: 'The server log has the cause. An admin can take the function out: DELETE /api/auth/custom-claims.',
  },
  // database
  DATABASE_INVALID_PARAMETER: { status: 400 },
  DATABASE_VALIDATION_ERROR: { status: 400 },
  DATABASE_CONSTRAINT_VIOLATION: { status: 400 },
  DATABASE_NOT_FOUND: { status: 404, nextActions: 'List the tables with GET /api/database/tables.' },
  DATABASE_DUPLICATE: { status: 409 },
  DATABASE_MIGRATION_ALREADY_EXISTS: {
    status: 409,
    nextActions: 'List what is applied with GET /api/database/migrations and use a greater version.',
  },
  DATABASE_FORBIDDEN: { status: 403 },
  // storage
  STORAGE_INVALID_PARAMETER: { status: 400 },
  STORAGE_INVALID_FILE_TYPE: { status: 415 },
  STORAGE_INSUFFICIENT_QUOTA: { status: 507, nextActions: 'Delete files, or give the data folder more room.' },
  STORAGE_NOT_FOUND: { status: 404 },
  STORAGE_ALREADY_EXISTS: { status: 409 },
  STORAGE_PERMISSION_DENIED: { status: 403 },
  S3_ACCESS_KEY_LIMIT_EXCEEDED: {
    status: 400,
    nextActions:
      'Revoke one that is not used: GET /api/storage/s3/access-keys, DELETE /api/storage/s3/access-keys/{id}.',
  },
  S3_ACCESS_KEY_NOT_FOUND: { status: 404, nextActions: 'List the keys with GET /api/storage/s3/access-keys.' },
  // email
  EMAIL_SMTP_CONNECTION_FAILED: {
    status: 400,
    nextActions: 'Check host, port, username and password with the provider; nothing was saved.',
  },
  // general
  MISSING_FIELD: { status: 400 },
  INVALID_INPUT: { status: 400 },
  NOT_FOUND: { status: 404 },
  FORBIDDEN: { status: 403 },
  TOO_MANY_REQUESTS: { status: 429 },
  PAYLOAD_TOO_LARGE: { status: 413 },
  UPSTREAM_FAILURE: { status: 503, nextActions: 'Try again in a moment; GET /api/health says when everything is up.' },
  INTERNAL_ERROR: { status: 500, nextActions: 'The server log has the cause under this request id.' },
} as const satisfies Record<string, { status: number; nextActions?: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** The body of every error on `/api/*`. Clients recognise it by the key `error`. */
export interface ErrorBody {
  error: ErrorCode;
  message: string;
  statusCode: number;
  nextActions?: string;
}
