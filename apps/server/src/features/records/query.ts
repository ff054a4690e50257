/** Plan to statement: one row that holds the body of the answer and all that its headers need. */
import { type Sql, sql } from '#platform/db/sql.ts';
import type { Format } from './grammar/media-types.ts';
import type { CallPlan, NodePlan, Slot, WritePlan } from './plan/types.ts';
import type { RequestPlan } from './plan.ts';
import { renderCall } from './query/call.ts';
import { renderBody } from './query/format.ts';
import { renderBare, renderCount, renderNode } from './query/node.ts';
import type { RenderContext } from './query/render-context.ts';
import { MERGED_SETTING, renderBareWrite, renderWrite } from './query/write.ts';

export interface CompiledStatement {
  readonly text: string;
  /** Where `$1 … $n` get their values. */
  readonly slots: readonly Slot[];
  /** The same with a slot in place of each value. */
  readonly sql: Sql;
  /** Nothing but the number of rows written comes back, and of an upsert the number of those that were there. */
  readonly isCounted: boolean;
}

/** A request of a certain shape, ready to be run with the values of each one that comes. */
export interface CompiledRequest {
  readonly plan: RequestPlan;
  readonly statement: CompiledStatement;
  /** The rows of all pages, for the planner to estimate. */
  readonly estimate: CompiledStatement | undefined;
}

/** Positions of the columns of the one row that a statement returns. */
export const RESULT = { body: 0, page: 1, total: 2, headers: 3, status: 4, merged: 5, location: 6 } as const;

export function compileRequest(plan: RequestPlan, schema: RenderContext['schema']): CompiledRequest {
  const context: RenderContext = {
    schema,
    returning: new Map(),
    usesRepresentations: plan.format.kind === 'array' || plan.format.kind === 'object',
    isCallShared: plan.count !== undefined && isVolatileCall(plan.node),
  };
  const isCounted = isBareWrite(plan, schema);
  const statement = plan.write ? renderWriteRequest(context, plan, plan.write) : renderReadRequest(context, plan);
  const isEstimated = (plan.count === 'planned' || plan.count === 'estimated') && !plan.write;
  return {
    plan,
    statement: finish(plan.format.plan ? explain(plan.format.plan, statement) : statement, isCounted),
    estimate: isEstimated ? finish(renderEstimate({ ...context, isCallShared: false }, plan.node)) : undefined,
  };
}

/** True for a write of which only the number of rows is wanted: a tenth of its cost is saved. */
function isBareWrite(plan: RequestPlan, schema: RenderContext['schema']): boolean {
  const { write, format, guards, location, isTransaction, showsRows } = plan;
  if (!write || showsRows || location || guards.length > 0) return false;
  return !isTransaction && !format.plan && !schema.writesResponse;
}

function isVolatileCall({ source }: NodePlan): boolean {
  return source.kind === 'call' && source.call.routine.isVolatile;
}

function renderEstimate(context: RenderContext, node: NodePlan): Sql {
  return sql`explain (format json) ${renderBare(context, node)}`;
}

function explain({ output, options }: NonNullable<Format['plan']>, statement: Sql): Sql {
  const words = [`format ${output}`, ...options];
  return sql`explain (${sql.raw(words.join(', '))}) ${statement}`;
}

function renderReadRequest(context: RenderContext, plan: RequestPlan): Sql {
  const { node } = plan;
  const isScalar = node.source.kind === 'call' && node.source.call.routine.returns.kind !== 'rows';
  const called = context.isCallShared && node.source.kind === 'call' ? renderShared(node.source.call) : sql.raw('');
  const columns = [
    renderBody(plan, isScalar),
    renderGuarded(plan),
    renderTotal(context, plan),
    ...responseSettings(context),
  ];
  return sql`${called}select ${selectList(plan, columns)} from (${renderNode(context, node)}) r`;
}

function renderShared(call: CallPlan): Sql {
  return sql`with "called" as materialized (select c.* from ${renderCall(call, sql.raw('c'))}) `;
}

/** Inside an open transaction results are read by name, and must not be parsed on the way. */
function selectList({ isTransaction }: RequestPlan, columns: readonly Sql[]): Sql {
  if (!isTransaction) return sql.join(columns);
  return sql.join(columns.map((column, position) => sql`(${column})::text as ${sql.raw(`c${position}`)}`));
}

/** What SQL may have set for the answer while the rows were made. */
function responseSettings({ schema }: RenderContext): Sql[] {
  if (!schema.writesResponse) return [sql`null`, sql`null`];
  return [
    sql`nullif(current_setting('response.headers', true), '')`,
    sql`nullif(current_setting('response.status', true), '')`,
  ];
}

/** The planner evaluates the count only if the page does not already tell it. */
function renderTotal(context: RenderContext, { count, node, threshold }: RequestPlan): Sql {
  if (count !== 'exact' && count !== 'estimated') return sql`null`;
  if (node.limit === undefined && node.offset === undefined) return sql`count(*)`;
  const all =
    count === 'exact'
      ? renderCount(context, node)
      : sql`select count(*) from (${renderBare(context, node)} limit ${sql.raw(String(threshold + 1))}) c`;
  if (node.limit === undefined) return sql`(${all})`;
  const isAfterStart = node.offset === undefined ? sql`true` : sql`count(*) > 0`;
  const before = node.offset === undefined ? sql`0` : sql`${node.offset}`;
  return sql`case when count(*) < ${node.limit} and ${isAfterStart} then count(*) + ${before} else (${all}) end`;
}

/** How many rows were there before; in the last row returned it counts all of them. */
const MERGED = sql`nullif(current_setting('${sql.raw(MERGED_SETTING)}', true), '')`;

function renderWriteRequest(context: RenderContext, plan: RequestPlan, write: WritePlan): Sql {
  const merged = write.conflict?.resolution === 'merge' ? MERGED : undefined;
  if (isBareWrite(plan, context.schema)) {
    const written = renderBareWrite(context, write);
    return merged ? sql`${written} returning ${merged}` : written;
  }
  const rows = plan.showsRows ? renderNode(context, plan.node) : sql`select from "written"`;
  const location = plan.location ? renderLocation(context, plan.location) : sql`null`;
  const body = plan.showsRows ? renderBody(plan, false) : sql`''`;
  const columns = [body, renderGuarded(plan), sql`null`, ...responseSettings(context), merged ?? sql`null`, location];
  // Last, because the rest says what must be returned.
  const written = renderWrite(context, write);
  return sql`with "written" as (${written}) select ${selectList(plan, columns)} from (${rows}) r`;
}

/** The texts of the primary key of the first row. */
function renderLocation(context: RenderContext, names: readonly string[]): Sql {
  for (const name of names) context.returning.set(name, sql`w.${sql.id(name)}`);
  const texts = sql.join(names.map((name) => sql`${sql.id(name)}::text`));
  return sql`(select json_build_array(${texts}) from "written" limit 1)`;
}

/** How a statement says that it must not have happened: by an error that undoes it. */
export const GUARD = 'records-guard';

/** The number of rows written, unless there are more or fewer than the request allows. */
function renderGuarded({ guards, hasInnerEmbeds }: RequestPlan): Sql {
  const count = hasInnerEmbeds ? sql`(select count(*) from "written")` : sql`count(*)`;
  if (guards.length === 0) return count;
  const cases = guards.map(({ code, isBroken }) => {
    const condition = isBroken.kind === 'not one' ? sql`${count} <> 1` : sql`${count} > ${isBroken.limit}`;
    return sql` when ${condition} then ('${sql.raw(`${GUARD}:${code}:`)}' || ${count})::bigint`;
  });
  return sql`case${sql.join(cases, '')} else ${count} end`;
}

/** Numbers the parameters; what is used several times travels once. */
function finish({ text, values }: Sql, isCounted = false): CompiledStatement {
  const slots: Slot[] = [];
  const numbers = new Map<string | number, number>();
  const place = (slot: Slot): string => {
    if (typeof slot === 'object' && 'literal' in slot) return String(Math.trunc(slot.literal));
    const key = typeof slot === 'number' ? slot : slot.constant;
    const number = numbers.get(key) ?? slots.push(slot);
    numbers.set(key, number);
    return `$${number}`;
  };
  const pieces = values.map((value, index) => place(value as Slot) + (text[index + 1] ?? ''));
  return { text: (text[0] ?? '') + pieces.join(''), slots, sql: { text, values }, isCounted };
}
