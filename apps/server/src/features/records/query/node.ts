/** Renders a planned query: a resource with what is joined to it. */
import { type Sql, sql } from '#platform/db/sql.ts';
import { fieldOf } from '../plan/fields.ts';
import type { EmbedPlan, NodePlan, OrderPlan, Slot } from '../plan/types.ts';
import { renderCall } from './call.ts';
import { embedAlias, type Place, placeOf, renderField, renderPredicates } from './filter.ts';
import { isGrouped, renderOutputs } from './output.ts';
import { qualifiedName } from './qualified-name.ts';
import type { RenderContext } from './render-context.ts';

/** How an embedded node hangs on its parent. */
interface Link {
  readonly parent: NodePlan;
  readonly embed: EmbedPlan;
}

const NOTHING = sql.raw('');

/** The rows of the resource of a request, one column for each output. */
export function renderNode(context: RenderContext, node: NodePlan): Sql {
  return renderRows(context, node, undefined, []);
}

/** How many rows there are on all pages. */
export function renderCount(context: RenderContext, node: NodePlan): Sql {
  if (!isGrouped(node)) return sql`select count(*) from ${renderUnpaged(context, node)}`;
  const groups = renderRows(context, { ...node, order: [], limit: undefined, offset: undefined }, undefined, []);
  return sql`select count(*) from (${groups}) g`;
}

/** The rows of all pages without anything shown, for the planner to estimate. */
export function renderBare(context: RenderContext, node: NodePlan): Sql {
  return sql`select 1 from ${renderUnpaged(context, node)}`;
}

function renderUnpaged(context: RenderContext, node: NodePlan): Sql {
  return sql`${renderFrom(context, node, undefined, 'count')}${renderWhere(context, node, undefined)}`;
}

function renderRows(context: RenderContext, node: NodePlan, link: Link | undefined, extra: readonly Sql[]): Sql {
  const { list, groups } = renderOutputs(context, node);
  return sql.join(
    [
      sql`select ${sql.join([...list, ...extra])} from ${renderFrom(context, node, link, 'full')}`,
      renderWhere(context, node, link),
      groups.length > 0 ? sql` group by ${sql.join(groups)}` : NOTHING,
      renderOrder(context, node),
      renderPage(node),
    ],
    '',
  );
}

type Mode = 'full' | 'count';

function renderFrom(context: RenderContext, node: NodePlan, link: Link | undefined, mode: Mode): Sql {
  const embeds = node.embeds.filter((embed) => mode === 'full' || embed.isInner || isAsked(embed, node));
  return sql.join(
    [renderSource(context, node, link), ...embeds.map((embed) => renderJoin(context, node, embed, mode))],
    '',
  );
}

/** True when a filter of the node asks whether the embedded resource has rows. */
function isAsked(embed: EmbedPlan, { where }: NodePlan): boolean {
  const pending = [...where];
  for (let predicate = pending.pop(); predicate; predicate = pending.pop()) {
    if (predicate.kind === 'exists' && predicate.embed === embed) return true;
    if (predicate.kind === 'logic') pending.push(...predicate.predicates);
  }
  return false;
}

function renderSource(context: RenderContext, { source, number }: NodePlan, link: Link | undefined): Sql {
  const name = sql.raw(`t${number}`);
  switch (source.kind) {
    case 'relation':
      return sql`${qualifiedName(source.relation)} ${name}${renderJunction(link)}`;
    case 'written':
      return sql`"written" ${name}`;
    case 'call':
      return context.isCallShared ? sql`"called" ${name}` : renderCall(source.call, name);
    case 'related':
      return sql`${qualifiedName(source.routine)}(${link ? renderParentRow(context, link.parent) : NOTHING}) ${name}`;
  }
}

/** The whole row of the parent, typed as the row of its table. */
function renderParentRow(context: RenderContext, parent: NodePlan): Sql {
  const place = placeOf(parent);
  if (parent.source.kind !== 'written') return sql`${sql.raw(place.alias)}.*`;
  const { relation } = parent.source;
  const fields = [...relation.columns.values()].map((column) => renderField(context, place, fieldOf(column)));
  return sql`row(${sql.join(fields)})::${qualifiedName(relation)}`;
}

function renderJunction(link: Link | undefined): Sql {
  const relationship = link?.embed.relationship;
  if (relationship?.kind !== 'many-to-many') return NOTHING;
  const { number } = link?.embed.node ?? { number: 0 };
  const junction = `j${number}`;
  const on = relationship.farColumns.map(([own, foreign]) => equal(junction, own, `t${number}`, foreign));
  return sql` inner join ${qualifiedName(relationship.junction)} ${sql.raw(junction)} on ${sql.join(on, ' and ')}`;
}

function equal(left: string, leftColumn: string, right: string, rightColumn: string): Sql {
  return sql`${sql.raw(left)}.${sql.id(leftColumn)} = ${sql.raw(right)}.${sql.id(rightColumn)}`;
}

/** The conditions that tie an embedded row to the row of its parent. */
function renderLink(context: RenderContext, { parent, embed }: Link): Sql[] {
  const { relationship, node } = embed;
  if (relationship.kind === 'computed') return [];
  const alias = relationship.kind === 'many-to-many' ? `j${node.number}` : `t${node.number}`;
  const place = placeOf(parent);
  return relationship.columns.map(([own, foreign]) => {
    const target = { kind: 'column', name: own, base: undefined, column: undefined } as const;
    return sql`${sql.raw(alias)}.${sql.id(foreign)} = ${renderField(context, place, { target, path: [] })}`;
  });
}

function renderJoin(context: RenderContext, parent: NodePlan, embed: EmbedPlan, mode: Mode): Sql {
  const join = sql.raw(embed.isInner ? ' inner join lateral ' : ' left join lateral ');
  const isShown = mode === 'full' && embed.node.outputs.length + embed.exports.length > 0;
  const link = { parent, embed };
  const rows = isShown ? renderShown(context, link) : renderPresence(context, link);
  // An aggregate always has a row, so whether there was anything must be asked for.
  const isAggregate = isShown && !embed.relationship.isToOne;
  const on = isAggregate && embed.isInner ? sql`${embedAlias(embed)}."present"` : sql`true`;
  return sql`${join}(${rows}) ${embedAlias(embed)} on ${on}`;
}

/** The columns under which the parent reads an embedded resource: its JSON, or its spread columns. */
function renderShown(context: RenderContext, link: Link): Sql {
  const { node, isSpread, relationship, exports } = link.embed;
  if (relationship.isToOne) {
    const exported = exports.map(
      ({ column, field }) => sql`${renderField(context, placeOf(node), field)} as ${sql.id(column)}`,
    );
    if (isSpread) return renderRows(context, node, link, [...exported, sql`true as "present"`]);
    if (exported.length > 0) return renderWithExports(context, link, exported);
    return sql`select row_to_json(r.*) as "body", true as "present" from (${renderRows(context, atMostOne(link), link, [])}) r`;
  }
  const columns = isSpread ? node.outputs.flatMap((output) => (output.kind === 'all' ? [] : [output.name])) : [];
  const lists = isSpread
    ? columns.map((column) => sql`json_agg(r.${sql.id(column)}) as ${sql.id(column)}`)
    : [sql`json_agg(r.*) as "body"`];
  const present = link.embed.isInner || isAsked(link.embed, link.parent) ? [sql`count(*) > 0 as "present"`] : [];
  return sql`select ${sql.join([...lists, ...present])} from (${renderRows(context, node, link, [])}) r`;
}

/**
 * Inside a list that is made anew for each row of the request, the planner might join a small table as a whole, and
 * make JSON of all its rows each time. A limit keeps it from that; at the top joining as a whole is what is wanted.
 */
function atMostOne({ parent, embed: { node } }: Link): NodePlan {
  return parent.number === 0 || node.limit !== undefined ? node : { ...node, limit: { literal: 1 } };
}

/** The JSON object with columns for the parent's order beside it, which must not show in the object. */
function renderWithExports(context: RenderContext, link: Link, exported: readonly Sql[]): Sql {
  const { node } = link.embed;
  const { list } = renderOutputs(context, node);
  return sql.join(
    [
      sql`select row_to_json(shown.*) as "body", true as "present", ${sql.join(exported)}`,
      sql` from ${renderFrom(context, node, link, 'full')} cross join lateral (select ${sql.join(list)}) shown`,
      renderWhere(context, node, link),
      renderOrder(context, node),
      renderPage(node),
    ],
    '',
  );
}

/** Only whether there are rows. */
function renderPresence(context: RenderContext, link: Link): Sql {
  const { node, relationship } = link.embed;
  const hasPage = node.limit !== undefined || node.offset !== undefined;
  const page = hasPage ? renderPage(node) : relationship.isToOne ? NOTHING : sql` limit 1`;
  const rows = sql`select true as "present" from ${renderFrom(context, node, link, 'count')}${renderWhere(context, node, link)}${page}`;
  return hasPage && !relationship.isToOne ? sql`select r."present" from (${rows}) r limit 1` : rows;
}

function renderWhere(context: RenderContext, node: NodePlan, link: Link | undefined): Sql {
  const all = [...(link ? renderLink(context, link) : []), ...renderPredicates(context, placeOf(node), node.where)];
  return all.length > 0 ? sql` where ${sql.join(all, ' and ')}` : NOTHING;
}

function renderOrder(context: RenderContext, node: NodePlan): Sql {
  return renderTerms(context, placeOf(node), node.order);
}

const DIRECTIONS = { asc: ' asc', desc: ' desc' } as const;
const NULLS = { first: ' nulls first', last: ' nulls last' } as const;

/** An order by clause, or nothing. */
export function renderTerms(context: RenderContext, place: Place, terms: readonly OrderPlan[]): Sql {
  if (terms.length === 0) return NOTHING;
  const rendered = terms.map(({ by, direction, nulls }) => {
    const value =
      by.kind === 'field' ? renderField(context, place, by.field) : sql`${embedAlias(by.embed)}.${sql.id(by.column)}`;
    return sql`${value}${sql.raw((direction ? DIRECTIONS[direction] : '') + (nulls ? NULLS[nulls] : ''))}`;
  });
  return sql` order by ${sql.join(rendered)}`;
}

/** Limit and offset, or nothing. */
export function renderPage({
  limit,
  offset,
}: {
  readonly limit: Slot | undefined;
  readonly offset: Slot | undefined;
}): Sql {
  return sql`${limit === undefined ? NOTHING : sql` limit ${limit}`}${offset === undefined ? NOTHING : sql` offset ${offset}`}`;
}
