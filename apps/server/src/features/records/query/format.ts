/** Renders the body of an answer from the rows `r`, in the form that was asked for. */
import { type Sql, sql } from '#platform/db/sql.ts';
import type { Format } from '../grammar/media-types.ts';
import { relationOf } from '../plan/fields.ts';
import type { RequestPlan } from '../plan.ts';
import { SCALAR } from '../schema/types.ts';
import { outputNames } from './output.ts';
import { qualifiedName } from './qualified-name.ts';

/** The body, as text. */
export function renderBody(plan: RequestPlan, isScalar: boolean): Sql {
  const format = plan.format.plan?.of ?? plan.format;
  // A value that nothing reads would not be computed, and with it what the function does.
  if (isScalar && (plan.isHead || plan.isVoid)) return sql`left(count(r.${sql.id(SCALAR)})::text, 0)`;
  if (plan.isHead) return sql`''`;
  switch (format.kind) {
    case 'csv':
      return renderCsv(isScalar ? [SCALAR] : outputNames(plan.node));
    case 'geojson':
      return sql`json_build_object('type', 'FeatureCollection', 'features', coalesce(json_agg(st_asgeojson(r.*)::json), '[]'))`;
    case 'custom':
      return renderCustom(plan, format);
    default:
      return renderJson(plan, format, isScalar);
  }
}

function renderJson({ isSingle }: RequestPlan, { kind, areNullsStripped }: Format, isScalar: boolean): Sql {
  const list = isScalar ? sql`json_agg(r.${sql.id(SCALAR)})` : sql`json_agg(r.*)`;
  const stripped = areNullsStripped ? sql`json_strip_nulls(${list})` : list;
  if (kind === 'object' || isSingle) return sql`${stripped} -> 0`;
  return sql`coalesce(${stripped}, '[]')`;
}

/** The body that SQL of the project makes, by an aggregate over the rows or as the value of a function. */
function renderCustom({ node }: RequestPlan, { aggregate }: Format): Sql {
  if (aggregate === undefined) return sql`(array_agg(r.${sql.id(SCALAR)}))[1]`;
  const isWhole = node.outputs.length === 1 && node.outputs[0]?.kind === 'all';
  const relation = isWhole ? relationOf(node.source) : undefined;
  const row = relation ? sql`(r.*)::${qualifiedName(relation)}` : sql`r.*`;
  return sql`${sql.raw(aggregate)}(${row})`;
}

/** The text form of a record is a CSV line in parentheses. Without rows there is not even a header. */
function renderCsv(names: readonly string[]): Sql {
  const header = { constant: names.map(quoteField).join() };
  const line = sql`substring((r.*)::text, 2, length((r.*)::text) - 2)`;
  return sql`case when count(*) = 0 then '' else ${header}::text || E'\\n' || string_agg(${line}, E'\\n') end`;
}

function quoteField(name: string): string {
  return /[",\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
}
