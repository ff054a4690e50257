/** Plans a query on one resource and on everything embedded in it. */
import { RecordsError } from '../errors.ts';
import { outputName } from '../grammar/field.ts';
import type { Condition } from '../grammar/filter.ts';
import type { OrderTerm } from '../grammar/order.ts';
import type { SelectColumn, SelectEmbed, SelectItem } from '../grammar/select.ts';
import type { EmbedPath, Intent, LimitIntent } from '../intent.ts';
import type { Schema } from '../schema/types.ts';
import { findTarget, relationOf, resolveField, resolveType, unknownColumn } from './fields.ts';
import { findRelationship, type Relationship } from './relationships.ts';
import { liftOutputs } from './spread.ts';
import type { EmbedPlan, FieldPlan, NodePlan, OrderPlan, Output, Predicate, Source } from './types.ts';

/** What planning needs to know throughout. */
export interface PlanContext {
  readonly schema: Schema;
  readonly schemaName: string;
  /** Schemas in which names of types and computed fields are looked up, in order. */
  readonly searchPath: readonly string[];
  readonly areAggregatesEnabled: boolean;
  readonly maxRows: number | undefined;
  /** Numbers the nodes of one request. */
  nextNumber(): number;
}

/** The parameters of a request that are about one resource. */
interface Parts {
  conditions: Condition[];
  terms: OrderTerm[];
  limit: LimitIntent | undefined;
  offset: number | undefined;
}

type PartsOf = ReadonlyMap<SelectEmbed | undefined, Parts>;

const EVERYTHING: readonly SelectItem[] = [{ kind: 'all' }];

/** Plans the resource of a request. `ownFilters` is off where filters choose what to write, not what to show. */
export function planResource(
  context: PlanContext,
  intent: Intent,
  source: Source,
  uses: { filters: boolean; page: boolean },
): NodePlan {
  const items = intent.select?.length ? intent.select : EVERYTHING;
  const parts = distribute(intent, items);
  const own = parts.get(undefined);
  if (own && !uses.filters) own.conditions = [];
  if (own && !uses.page) Object.assign(own, { limit: undefined, offset: undefined });
  return planNode(context, source, items, undefined, parts);
}

/** The predicates on the resource itself. */
export function planFilters(context: PlanContext, intent: Intent, source: Source): Predicate[] {
  return intent.filters
    .filter(({ path }) => path.length === 0)
    .map(({ condition }) => planCondition(context, source, condition, []));
}

/** The order of the resource itself. */
export function planOrder(context: PlanContext, intent: Intent, source: Source): OrderPlan[] {
  return intent.orders
    .filter(({ path }) => path.length === 0)
    .flatMap(({ terms }) => terms.map((term) => planTerm(context, source, term, [])));
}

/** Gives every parameter to the resource that its path leads to. */
function distribute(intent: Intent, items: readonly SelectItem[]): PartsOf {
  const parts = new Map<SelectEmbed | undefined, Parts>();
  const at = (path: EmbedPath): Parts => {
    const target = embedAt(items, path);
    const known = parts.get(target) ?? { conditions: [], terms: [], limit: undefined, offset: undefined };
    parts.set(target, known);
    return known;
  };
  for (const { path, condition } of intent.filters) at(path).conditions.push(condition);
  // Of repeated order parameters the last one counts.
  for (const { path, terms } of intent.orders) at(path).terms = [...terms];
  for (const { path, limit, offset } of intent.pages) {
    const target = at(path);
    target.limit = limit ?? target.limit;
    target.offset = offset ?? target.offset;
  }
  return parts;
}

function embedAt(items: readonly SelectItem[], path: EmbedPath): SelectEmbed | undefined {
  let found: SelectEmbed | undefined;
  let level = items;
  for (const name of path) {
    const embeds = level.filter((item) => item.kind === 'embed');
    found = embeds.find((item) => (item.alias ?? item.name) === name) ?? embeds.find((item) => item.name === name);
    if (!found) throw notEmbedded(name);
    level = found.items;
  }
  return found;
}

function notEmbedded(name: string): RecordsError {
  return new RecordsError('PGRST108', `'${name}' is not an embedded resource in this request`, {
    hint: `Verify that '${name}' is included in the 'select' query parameter.`,
  });
}

function planNode(
  context: PlanContext,
  source: Source,
  items: readonly SelectItem[],
  self: SelectEmbed | undefined,
  parts: PartsOf,
): NodePlan {
  const own = parts.get(self);
  const node: NodePlan = {
    number: context.nextNumber(),
    source,
    outputs: [],
    embeds: [],
    where: [],
    order: [],
    limit: own?.limit,
    offset: own?.offset,
  };
  if (context.maxRows !== undefined && self) node.limit ??= { constant: String(context.maxRows) };
  for (const item of items) {
    if (item.kind === 'embed') node.outputs.push(...planEmbed(context, node, item, parts));
    else node.outputs.push(item.kind === 'all' ? { kind: 'all' } : planColumn(context, source, item));
  }
  for (const condition of own?.conditions ?? []) {
    const predicate = planCondition(context, source, condition, node.embeds);
    // Cheaper as a join, and it comes to the same.
    if (predicate.kind === 'exists' && !predicate.isNegated) predicate.embed.isInner = true;
    else node.where.push(predicate);
  }
  node.order.push(...(own?.terms ?? []).map((term) => planTerm(context, source, term, node.embeds)));
  return node;
}

function planEmbed(context: PlanContext, parent: NodePlan, item: SelectEmbed, parts: PartsOf): Output[] {
  const origin = relationOf(parent.source);
  if (!origin) throw noOrigin(parent.source, item.name, context.schemaName);
  const relationship = findRelationship(context.schema, context.schemaName, origin, item);
  const node = planNode(context, sourceOf(relationship), item.items, item, parts);
  const name = item.alias ?? item.name;
  const embed: EmbedPlan = {
    name,
    relationship,
    node,
    isSpread: item.isSpread,
    isInner: item.join === 'inner',
    exports: [],
  };
  parent.embeds.push(embed);
  if (item.isSpread) return liftOutputs(embed);
  // An embed that shows nothing is there for filtering.
  return node.outputs.length > 0 ? [{ kind: 'embed', name, embed }] : [];
}

function noOrigin(source: Source, name: string, schemaName: string): RecordsError {
  const origin = source.kind === 'call' ? source.call.routine.name : '';
  return new RecordsError(
    'PGRST200',
    `Could not find a relationship between '${origin}' and '${name}' in the schema cache`,
    {
      details: `Searched for a foreign key relationship between '${origin}' and '${name}' in the schema '${schemaName}', but no matches were found.`,
    },
  );
}

function sourceOf(relationship: Relationship): Source {
  if (relationship.kind !== 'computed') return { kind: 'relation', relation: relationship.target };
  return { kind: 'related', routine: relationship.routine, relation: relationship.target };
}

function planColumn(context: PlanContext, source: Source, item: SelectColumn): Output {
  const { schema, searchPath } = context;
  const { alias, aggregate } = item;
  const cast = item.cast === undefined ? undefined : resolveType(schema, searchPath, item.cast);
  const aggregateCast =
    item.aggregateCast === undefined ? undefined : resolveType(schema, searchPath, item.aggregateCast);
  const target = item.field && findTarget(schema, searchPath, source, item.field.name);
  // `select=count` without parentheses is the old way to count.
  const isCount = item.field === undefined || (!target && item.field.name === 'count' && !aggregate);
  if ((aggregate || isCount) && !context.areAggregatesEnabled) {
    throw new RecordsError('PGRST123', 'Use of aggregate functions is not allowed');
  }
  if (isCount) {
    return {
      kind: 'field',
      name: alias ?? 'count',
      field: undefined,
      cast: undefined,
      aggregate: 'count',
      aggregateCast: aggregateCast ?? cast,
    };
  }
  if (!target || !item.field) throw unknownColumn(source, item.field?.name ?? '');
  const field = { target, path: item.field.path };
  return { kind: 'field', name: alias ?? aggregate ?? outputName(item.field), field, cast, aggregate, aggregateCast };
}

function planCondition(
  context: PlanContext,
  source: Source,
  condition: Condition,
  embeds: readonly EmbedPlan[],
): Predicate {
  if (condition.kind === 'logic') {
    const { operator, isNegated, conditions } = condition;
    const predicates = conditions.map((inner) => planCondition(context, source, inner, embeds));
    return { kind: 'logic', operator, isNegated, predicates };
  }
  const { field: name, operation } = condition;
  const embed = name.path.length === 0 ? embeds.find((candidate) => candidate.name === name.name) : undefined;
  if (embed && operation.kind === 'is' && /null$/.test(operation.value)) {
    return { kind: 'exists', embed, isNegated: operation.isNegated !== (operation.value === 'null') };
  }
  // A column may be called like the resource that it leads to.
  if (embed && !findTarget(context.schema, context.searchPath, source, name.name)) throw badEmbedOperator(embed.name);
  const field = resolveField(context.schema, context.searchPath, source, name);
  const { isNegated } = operation;
  if (operation.kind === 'is') return { kind: 'is', field, isNegated, value: operation.value };
  if (operation.kind === 'in') return { kind: 'in', field, isNegated, value: operation.value };
  const { operator, quantifier, language, value } = operation;
  return { kind: 'compare', field, isNegated, operator, quantifier, language, value };
}

function badEmbedOperator(name: string): RecordsError {
  return new RecordsError('PGRST120', `Bad operator on the '${name}' embedded resource`, {
    details: 'Only is null or not is null filters are allowed on embedded resources',
  });
}

function planTerm(context: PlanContext, source: Source, term: OrderTerm, embeds: readonly EmbedPlan[]): OrderPlan {
  const { direction, nulls } = term;
  const { schema, searchPath } = context;
  if (term.embed === undefined) {
    return { by: { kind: 'field', field: resolveField(schema, searchPath, source, term.field) }, direction, nulls };
  }
  const embed =
    embeds.find(({ name }) => name === term.embed) ??
    embeds.find(({ relationship }) => relationship.target.name === term.embed);
  if (!embed) throw notEmbedded(term.embed);
  if (!embed.relationship.isToOne) {
    const origin = relationOf(source)?.name ?? '';
    throw new RecordsError('PGRST118', `A related order on '${term.embed}' is not possible`, {
      details: `'${origin}' and '${term.embed}' do not form a many-to-one or one-to-one relationship`,
    });
  }
  const field = resolveField(schema, searchPath, embed.node.source, term.field);
  const shown = embed.isSpread ? shownColumn(embed, field) : undefined;
  const column = shown ?? `order ${embed.exports.length}`;
  if (shown === undefined) embed.exports.push({ column, field });
  return { by: { kind: 'lifted', embed, column }, direction, nulls };
}

/** The column by which a spread resource shows a field as it is: what is grouped by it can be ordered by it only. */
function shownColumn({ node }: EmbedPlan, { target, path }: FieldPlan): string | undefined {
  const same = node.outputs.find(
    (output) =>
      output.kind === 'field' &&
      output.cast === undefined &&
      output.field?.target.name === target.name &&
      output.field.path.length + path.length === 0,
  );
  return same && same.kind !== 'all' ? same.name : undefined;
}
