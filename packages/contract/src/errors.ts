/**
 * Every error code that crosses the wire, its usual HTTP status, and the next step for the caller. A throw may
 * override status and advice where it knows better.
 */
export const ERRORS = {
  // auth
  AUTH_INVALID_EMAIL: { status: 400, nextActions: 'Send a complete address, such as ada@example.com.' },
  AUTH_WEAK_PASSWORD: {
    status: 400,
    nextActions: 'Choose another password; GET /api/auth/public-config lists the rules.',
  },
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
  AUTH_USER_NOT_FOUND: { status: 404, nextActions: 'List the users with GET /api/auth/users as an admin.' },
  AUTH_UNAUTHORIZED: { status: 401, nextActions: 'Sign in with POST /api/auth/sessions.' },
  AUTH_OAUTH_CONFIG_ERROR: {
    status: 500,
    nextActions: 'An admin configures providers with POST /api/auth/oauth/configs.',
  },
  AUTH_OAUTH_CONFIG_NOT_FOUND: {
    status: 404,
    nextActions: 'List what is configured: GET /api/auth/oauth/configs, GET /api/auth/oauth/custom/configs.',
  },
  AUTH_OAUTH_CONFIG_ALREADY_EXISTS: {
    status: 409,
    nextActions: 'Change it with PUT on its own address, or delete it first.',
  },
  AUTH_SIGNUP_DISABLED: {
    status: 403,
    nextActions: 'An admin can allow it: PUT /api/auth/config {"disableSignup":false}.',
  },
  AUTH_USER_BANNED: { status: 403, nextActions: 'An admin can lift the ban: DELETE /api/auth/users/{id}/ban.' },
  AUTH_CAPTCHA_FAILED: {
    status: 400,
    nextActions:
      'Show the widget that GET /api/auth/public-config names under captcha, and send its token as captchaToken in the body; each token counts once.',
  },
  AUTH_SECOND_FACTOR_REQUIRED: {
    status: 403,
    nextActions: 'Send the challenge of this answer and a code to POST /api/auth/sessions/second-factor.',
  },
  AUTH_CUSTOM_CLAIMS_FAILED: {
    status: 500,
    nextActions: 'The server log has the cause. An admin can take the function out: DELETE /api/auth/custom-claims.',
  },
  // database
  DATABASE_INVALID_PARAMETER: {
    status: 400,
    nextActions: 'Correct what the message names and send the request again; nothing was changed.',
  },
  DATABASE_VALIDATION_ERROR: {
    status: 400,
    nextActions:
      'Correct what the message names and send it again; nothing was changed. {"dryRun": true} tries it, and GET /api/metadata?format=markdown shows what exists.',
  },
  DATABASE_CONSTRAINT_VIOLATION: {
    status: 400,
    nextActions: 'Correct the data so that the named constraint holds; nothing was changed.',
  },
  DATABASE_NOT_FOUND: { status: 404, nextActions: 'List the tables with GET /api/database/tables.' },
  DATABASE_DUPLICATE: {
    status: 409,
    nextActions: 'Use another name or value, or change what is there; nothing was changed.',
  },
  DATABASE_MIGRATION_ALREADY_EXISTS: {
    status: 409,
    nextActions: 'List what is applied with GET /api/database/migrations and use a greater version.',
  },
  DATABASE_FORBIDDEN: { status: 403, nextActions: 'Leave out what the message names: the platform looks after it.' },
  // storage
  STORAGE_INVALID_PARAMETER: {
    status: 400,
    nextActions: 'Correct what the message names and send the request again; nothing was stored.',
  },
  STORAGE_INVALID_FILE_TYPE: {
    status: 415,
    nextActions: 'Send a type that the bucket accepts; an admin sees them with GET /api/storage/buckets.',
  },
  STORAGE_INSUFFICIENT_QUOTA: { status: 507, nextActions: 'Delete files, or give the data folder more room.' },
  STORAGE_NOT_FOUND: {
    status: 404,
    nextActions: 'List what is there: GET /api/storage/buckets, GET /api/storage/buckets/{name}/objects.',
  },
  STORAGE_ALREADY_EXISTS: { status: 409, nextActions: 'Use another name, or change what is there.' },
  STORAGE_PERMISSION_DENIED: {
    status: 403,
    nextActions: 'A policy on storage.objects has to allow it; GET /api/database/policies lists what there is.',
  },
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
  MISSING_FIELD: { status: 400, nextActions: 'Send the field that the message names; nothing was changed.' },
  INVALID_INPUT: {
    status: 400,
    nextActions: 'Correct what the message names and send the request again; nothing was changed.',
  },
  NOT_FOUND: { status: 404, nextActions: 'Check the address; nothing was changed.' },
  FORBIDDEN: {
    status: 403,
    nextActions: 'Use a credential that may do this, or have an admin grant it; nothing was changed.',
  },
  TOO_MANY_REQUESTS: { status: 429, nextActions: 'Wait as long as the header retry-after says, then try again.' },
  PAYLOAD_TOO_LARGE: { status: 413, nextActions: 'Send less in one request; nothing was changed.' },
  UPSTREAM_FAILURE: { status: 503, nextActions: 'Try again in a moment; GET /api/health says when everything is up.' },
  INTERNAL_ERROR: { status: 500, nextActions: 'The server log has the cause under this request id.' },
} as const satisfies Record<string, { status: number; nextActions: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** The body of every error on `/api/*`. Clients recognise it by the key `error`. */
export interface ErrorBody {
  error: ErrorCode;
  message: string;
  statusCode: number;
  nextActions: string;
}
