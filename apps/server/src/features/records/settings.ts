/** The settings of the transaction in which a request runs. */
import type { Claims, Settings } from '#platform/db/db.ts';
import type { HttpRequest } from './parse.ts';
import type { RequestPlan } from './plan.ts';
import type { Schema } from './schema/types.ts';

const READ_ONLY: Settings = { transaction_read_only: 'on' };
const NONE: Settings = {};

/** Role, then function, then request: each may override the one before. */
export function settingsOf(
  schema: Schema,
  claims: Claims,
  { isReadOnly, settings, searchPath }: RequestPlan,
  request: HttpRequest,
  timezone: string | undefined,
): Settings {
  const base = isReadOnly ? READ_ONLY : NONE;
  const ofRole = schema.roleSettings.get(claims.role);
  const isPlain = searchPath === undefined && !ofRole && !schema.readsRequest && timezone === undefined;
  if (isPlain && Object.keys(settings).length === 0) return base;
  return {
    ...ofRole,
    ...settings,
    ...(searchPath === undefined ? NONE : { search_path: searchPath }),
    ...(timezone === undefined ? NONE : { timezone }),
    ...(schema.readsRequest ? requestSettings(request) : NONE),
    ...base,
  };
}

/** What SQL may read of the request: https://docs.postgrest.org/en/v12/references/transactions.html */
function requestSettings({ method, path, headers }: HttpRequest): Settings {
  const { cookie, authorization: _, 'x-api-key': __, ...others } = headers;
  const cookies = Object.fromEntries(
    String(cookie ?? '')
      .split(';')
      .map((pair) => pair.trim().split('=', 2))
      .filter((pair): pair is [string, string] => pair.length === 2),
  );
  return {
    'request.method': method,
    'request.path': path,
    'request.headers': JSON.stringify(others),
    'request.cookies': JSON.stringify(cookies),
  };
}
