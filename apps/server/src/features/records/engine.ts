/** A request's way through the stages: parse, plan, query, execute, respond. */
import type { Claims, Db } from '#platform/db/db.ts';
import { RecordsError } from './errors.ts';
import { execute } from './execute.ts';
import { type HttpRequest, parseRequest } from './parse.ts';
import { type PlanOptions, planRequest } from './plan-request.ts';
import type { Preferences } from './prefer.ts';
import { type CompiledRequest, compileRequest } from './query.ts';
import { type Answer, respond } from './respond.ts';
import type { SchemaCache } from './schema-cache.ts';
import { settingsOf } from './settings.ts';

export interface Engine {
  readonly db: Db;
  readonly cache: SchemaCache;
  readonly options: PlanOptions;
  /** Of the server, for the OpenAPI document. */
  readonly version: string;
}

export async function answerRequest(
  { db, cache, options }: Engine,
  claims: Claims,
  request: HttpRequest,
  signal?: AbortSignal,
): Promise<Answer> {
  const schema = cache.current;
  const intent = parseRequest(request, schema, options.maxRows);
  const timezone = await checkPreferences(intent.preferences, cache);
  let compiled: CompiledRequest | undefined = schema.plans.get(intent.shape);
  if (!compiled) {
    compiled = compileRequest(planRequest(schema, intent, options), schema);
    schema.plans.set(intent.shape, compiled);
  }
  if (compiled.plan.format.plan && claims.role !== 'project_admin' && !options.arePlansPublic)
    throw noPlans(intent.accept);
  const settings = settingsOf(schema, claims, compiled.plan, intent, request, timezone);
  const execution = await execute({ db, claims, settings, signal }, compiled, intent.values);
  return respond(intent, compiled.plan, execution, { path: request.path, query: request.query, timezone });
}

/** A query plan tells of data that policies hide. */
function noPlans(accept: string): RecordsError {
  return new RecordsError('PGRST107', `None of these media types are available: ${accept.split(';', 1)[0]}`);
}

/** The time zone to use; under strict handling anything not understood is refused. */
async function checkPreferences(
  { handling, invalid, timezone }: Preferences,
  cache: SchemaCache,
): Promise<string | undefined> {
  const isKnown = timezone !== undefined && (await cache.isTimeZone(timezone));
  if (handling === 'strict') {
    const refused = timezone === undefined || isKnown ? invalid : [...invalid, `timezone=${timezone}`];
    if (refused.length > 0) {
      throw new RecordsError('PGRST122', 'Invalid preferences given with handling=strict', {
        details: `Invalid preferences: ${refused.join(', ')}`,
      });
    }
  }
  return isKnown ? timezone : undefined;
}
