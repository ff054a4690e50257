/** A request's way through the stages: parse, plan, query, execute, respond. */
import type { Claims, Db } from '#platform/db/db.ts';
import { RecordsError } from './errors.ts';
import { execute } from './execute.ts';
import type { Preferences } from './grammar/prefer.ts';
import { type HttpRequest, parseRequest } from './parse.ts';
import { type PlanOptions, planRequest } from './plan.ts';
import { type CompiledRequest, compileRequest } from './query.ts';
import { type Answer, respond } from './respond.ts';
import type { SchemaCache } from './schema/cache.ts';
import { settingsOf } from './settings.ts';

export interface Engine {
  readonly db: Db;
  readonly cache: SchemaCache;
  readonly options: PlanOptions;
  /** Of the server, for the OpenAPI document. */
  readonly version: string;
  /** Answers say how long each stage took. */
  readonly hasServerTiming: boolean;
}

export async function answerRequest(
  engine: Engine,
  claims: Claims,
  request: HttpRequest,
  signal?: () => AbortSignal,
): Promise<Answer> {
  const { db, cache, options } = engine;
  const schema = cache.current;
  const times = engine.hasServerTiming ? [performance.now()] : undefined;
  const intent = parseRequest(request, schema, options.maxRows);
  const timezone = await checkPreferences(intent.preferences, cache);
  times?.push(performance.now());
  let compiled: CompiledRequest | undefined = schema.plans.get(intent.shape);
  if (!compiled) {
    compiled = compileRequest(planRequest(schema, intent, options), schema);
    schema.plans.set(intent.shape, compiled);
  }
  if (compiled.plan.format.plan && claims.role !== 'project_admin' && !options.arePlansPublic)
    throw noPlans(intent.accept);
  times?.push(performance.now());
  const settings = settingsOf(schema, claims, compiled.plan, request, timezone);
  const execution = await execute({ db, claims, settings, signal }, compiled, intent.values);
  times?.push(performance.now());
  const answer = respond(intent, compiled.plan, execution, { path: request.path, query: request.query, timezone });
  if (times) answer.headers['server-timing'] = serverTiming([...times, performance.now()]);
  return answer;
}

const STAGES = ['parse', 'plan', 'transaction', 'response'] as const;

function serverTiming(times: readonly number[]): string {
  return STAGES.map(
    (stage, index) => `${stage};dur=${((times[index + 1] ?? 0) - (times[index] ?? 0)).toFixed(2)}`,
  ).join(', ');
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
