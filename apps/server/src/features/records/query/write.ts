/** Renders inserts, updates, upserts and deletes. */
import { type Sql, sql } from '#platform/db/sql.ts';
import type { BodyColumn, WritePlan } from '../plan/types.ts';
import { type Place, renderPredicates } from './filter.ts';
import { renderPage, renderTerms } from './node.ts';
import { qualifiedName } from './qualified-name.ts';
import { type RenderContext, WRITTEN_TABLE } from './render-context.ts';

const NOTHING = sql.raw('');
const TARGET: Place = { alias: WRITTEN_TABLE, isWritten: false };
const TABLE = sql.raw(WRITTEN_TABLE);

/** Counts, in a setting of the transaction, the rows of an upsert that were there before. */
export const MERGED_SETTING = 'records.merged';

/** The statement that writes; it returns what rendering the answer has asked for. */
export function renderWrite(context: RenderContext, plan: WritePlan): Sql {
  return sql`${renderBareWrite(context, plan)} returning ${renderReturning(context)}`;
}

/** The same, returning nothing. */
export function renderBareWrite(context: RenderContext, plan: WritePlan): Sql {
  const table = sql`${qualifiedName(plan.relation)} as ${TABLE}`;
  switch (plan.action) {
    case 'insert':
    case 'put':
      return renderInsert(context, plan, table);
    case 'update':
      return renderUpdate(context, plan, table);
    case 'delete':
      return sql`delete from ${table}${renderWhere(context, plan)}`;
  }
}

/** A constant if nothing is needed: reading no column takes no right to read. */
function renderReturning({ returning }: RenderContext): Sql {
  if (returning.size === 0) return sql`1`;
  return sql.join([...returning].map(([name, value]) => sql`${value} as ${sql.id(name)}`));
}

function renderInsert(context: RenderContext, plan: WritePlan, table: Sql): Sql {
  const { body, conflict, action } = plan;
  const names = body?.columns.map(({ column }) => sql.id(column.name)) ?? [];
  if (!body || names.length === 0) {
    // An empty object makes a row of defaults, an empty list of objects none.
    if (body?.kind !== 'array') return sql`insert into ${table} default values${renderConflict(plan)}`;
    return sql`insert into ${table} select from json_array_elements(${body.value}::json)${renderConflict(plan)}`;
  }
  const where = action === 'put' ? renderKeyFilter(context, plan) : NOTHING;
  return sql`insert into ${table} (${sql.join(names)}) select ${renderValues(context, body.columns)} from ${renderBody(context, plan)}${where}${conflict ? renderConflict(plan) : NOTHING}`;
}

function renderUpdate(context: RenderContext, plan: WritePlan, table: Sql): Sql {
  const columns = plan.body?.columns ?? [];
  const [any] = plan.relation.columns.keys();
  // Nothing to set: no row is touched, but the statement stays one that needs the right to update.
  if (columns.length === 0)
    return sql`update ${table} set ${sql.id(any ?? '')} = ${TABLE}.${sql.id(any ?? '')} where false`;
  const assignments = columns.map((column) => sql`${sql.id(column.column.name)} = ${renderValues(context, [column])}`);
  return sql`update ${table} set ${sql.join(assignments)} from ${renderBody(context, plan)}${renderWhere(context, plan)}`;
}

function renderValues(context: RenderContext, columns: readonly BodyColumn[]): Sql {
  return sql.join(
    columns.map(({ column, fallback }) => {
      const fromJson = context.schema.representations.get(column.typeOid)?.fromJson;
      const field = sql`b.${sql.id(column.name)}`;
      const value = fromJson ? sql`${sql.raw(fromJson)}(${field})` : field;
      if (fallback === undefined) return value;
      const key = { constant: column.name };
      return sql`case when (b."element" -> ${key}::text) is not null then ${value} else ${sql.raw(fallback)} end`;
    }),
  );
}

/** The body as rows `b`, typed like the columns they are for. */
function renderBody(context: RenderContext, { body, action }: WritePlan): Sql {
  if (!body) return NOTHING;
  const types = body.columns.map(({ column }) => {
    const isRepresented = context.schema.representations.get(column.typeOid)?.fromJson !== undefined;
    return sql`${sql.id(column.name)} ${sql.raw(isRepresented ? 'json' : column.type)}`;
  });
  const record = sql`as r (${sql.join(types)})`;
  const first = action === 'insert' ? NOTHING : sql` limit 1`;
  if (body.columns.some(({ fallback }) => fallback !== undefined)) {
    const elements =
      body.kind === 'array' ? sql`json_array_elements(${body.value}::json)` : sql`(select ${body.value}::json)`;
    return sql`(select e."element", r.* from ${elements} as e ("element"), lateral json_to_record(e."element") ${record}${first}) b`;
  }
  const rows = sql.raw(body.kind === 'array' ? 'json_to_recordset' : 'json_to_record');
  return sql`(select r.* from ${rows}(${body.value}::json) ${record}${first}) b`;
}

function renderConflict({ conflict, body }: WritePlan): Sql {
  if (!conflict) return NOTHING;
  const target = sql` on conflict (${sql.join(conflict.columns.map((name) => sql.id(name)))}) do `;
  const columns = body?.columns ?? [];
  if (conflict.resolution === 'ignore' || columns.length === 0) return sql`${target}nothing`;
  const assignments = columns.map(({ column: { name } }) => sql`${sql.id(name)} = excluded.${sql.id(name)}`);
  const merged = sql`coalesce(nullif(current_setting('${sql.raw(MERGED_SETTING)}', true), ''), '0')::int + 1`;
  return sql`${target}update set ${sql.join(assignments)} where set_config('${sql.raw(MERGED_SETTING)}', (${merged})::text, true) is not null`;
}

/** Only the row that the URL names may be put. */
function renderKeyFilter(context: RenderContext, { where }: WritePlan): Sql {
  const predicates = renderPredicates(context, { alias: 'b', isWritten: false }, where);
  return sql` where ${sql.join(predicates, ' and ')}`;
}

function renderWhere(context: RenderContext, plan: WritePlan): Sql {
  const predicates = renderPredicates(context, TARGET, plan.where);
  const filter = predicates.length > 0 ? sql` where ${sql.join(predicates, ' and ')}` : NOTHING;
  if (!plan.page) return filter;
  const columns = plan.page.order.flatMap(({ by }) => (by.kind === 'field' ? [by.field.target.name] : []));
  const row = sql`(${sql.join(columns.map((name) => sql`${TABLE}.${sql.id(name)}`))})`;
  const inner = sql`select ${sql.join(columns.map((name) => sql`${TABLE}.${sql.id(name)}`))} from ${qualifiedName(plan.relation)} ${TABLE}`;
  return sql` where ${row} in (${inner}${filter}${renderTerms(context, TARGET, plan.page.order)}${renderPage(plan.page)})`;
}
