/** Renders fields and conditions. Values and JSON keys are bound; the rest comes from the schema or from tables here. */
import { type Sql, sql } from '#platform/db/sql.ts';
import { IS_VALUES, OPERATORS } from '../grammar/operators.ts';
import type { EmbedPlan, FieldPlan, NodePlan, Predicate, Slot } from '../plan/types.ts';
import { qualifiedName } from './qualified-name.ts';
import { type RenderContext, WRITTEN_TABLE } from './render-context.ts';

/** A place where fields can be read: the alias of a node, or of a table that is being written. */
export interface Place {
  readonly alias: string;
  /** True for the rows that a write returns: what is read from them must be returned. */
  readonly isWritten: boolean;
}

export function placeOf({ number, source }: NodePlan): Place {
  return { alias: `t${number}`, isWritten: source.kind === 'written' };
}

export function embedAlias({ node }: EmbedPlan): Sql {
  return sql.raw(`e${node.number}`);
}

export function renderField(context: RenderContext, place: Place, { target, path }: FieldPlan): Sql {
  let value = renderTarget(context, place, target);
  if (path.length === 0) return value;
  // Composites and arrays have no arrow operators, and those of json find no index.
  if (target.base?.short !== 'jsonb') value = sql`to_jsonb(${value})`;
  for (const { arrow, key, isIndex } of path) {
    const slot: Slot = { constant: key };
    value = sql`${value}${sql.raw(arrow)}${isIndex ? sql`${slot}::int` : sql`${slot}::text`}`;
  }
  return sql`(${value})`;
}

function renderTarget(context: RenderContext, { alias, isWritten }: Place, target: FieldPlan['target']): Sql {
  if (!isWritten) return renderIn(alias, target);
  const name = target.kind === 'column' ? target.name : `computed ${target.name}`;
  context.returning.set(name, renderIn(WRITTEN_TABLE, target));
  return sql`${sql.raw(alias)}.${sql.id(name)}`;
}

function renderIn(alias: string, target: FieldPlan['target']): Sql {
  const place = sql.raw(alias);
  if (target.kind === 'computed') return sql`${qualifiedName(target.routine)}(${place}.*)`;
  return sql`${place}.${sql.id(target.name)}`;
}

export function renderPredicates(context: RenderContext, place: Place, predicates: readonly Predicate[]): Sql[] {
  return predicates.map((predicate) => renderPredicate(context, place, predicate));
}

function renderPredicate(context: RenderContext, place: Place, predicate: Predicate): Sql {
  if (predicate.kind === 'exists') {
    return sql`${embedAlias(predicate.embed)}."present" is ${sql.raw(predicate.isNegated ? 'not true' : 'true')}`;
  }
  const positive = renderPositive(context, place, predicate);
  return predicate.isNegated ? sql`not ${positive}` : positive;
}

function renderPositive(context: RenderContext, place: Place, predicate: Exclude<Predicate, { kind: 'exists' }>): Sql {
  if (predicate.kind === 'logic') {
    const parts = renderPredicates(context, place, predicate.predicates);
    return sql`(${sql.join(parts, ` ${predicate.operator} `)})`;
  }
  const field = renderField(context, place, predicate.field);
  switch (predicate.kind) {
    case 'is':
      return sql`(${field} ${sql.raw(IS_VALUES[predicate.value] ?? '')})`;
    case 'in':
      return sql`(${field} = any (${renderList(context, predicate.field, predicate.value)}))`;
    case 'compare':
      return renderComparison(context, field, predicate);
  }
}

function renderComparison(context: RenderContext, field: Sql, predicate: Extract<Predicate, { kind: 'compare' }>): Sql {
  const operator = OPERATORS[predicate.operator];
  if (!operator) throw new TypeError(`no operator ${predicate.operator}`);
  if (operator.search) return renderSearch(field, operator.search, predicate);
  const value = predicate.quantifier
    ? sql`${sql.raw(predicate.quantifier)} (${renderList(context, predicate.field, predicate.value)})`
    : renderValue(context, predicate.field, predicate.value);
  return sql`(${field} ${sql.raw(operator.sql)} ${value})`;
}

/** Anything but a tsvector is made one, in the language of the search. */
function renderSearch(
  field: Sql,
  make: string,
  { field: { target, path }, language, value }: Extract<Predicate, { kind: 'compare' }>,
): Sql {
  const config = language === undefined ? sql.raw('') : sql`${language}::regconfig, `;
  const isVector = target.base?.short === 'tsvector' && path.length === 0;
  const vector = isVector ? field : sql`to_tsvector(${config}${field})`;
  return sql`(${vector} @@ ${sql.raw(make)}(${config}${value}))`;
}

/** The function by which text becomes a value of the field's domain, where its owner made one. */
function fromText(context: RenderContext, { target, path }: FieldPlan): Sql | undefined {
  const typeOid = target.kind === 'column' && path.length === 0 ? target.column?.typeOid : undefined;
  const name = typeOid === undefined ? undefined : context.schema.representations.get(typeOid)?.fromText;
  return name === undefined ? undefined : sql.raw(name);
}

function renderValue(context: RenderContext, field: FieldPlan, value: Slot): Sql {
  const convert = fromText(context, field);
  return convert ? sql`${convert}(${value}::text)` : sql`${value}${typeOfComposite(field, '')}`;
}

function renderList(context: RenderContext, field: FieldPlan, value: Slot): Sql {
  const convert = fromText(context, field);
  return convert ? sql`select ${convert}(unnest(${value}::text[]))` : sql`${value}${typeOfComposite(field, '[]')}`;
}

/** PostgreSQL takes the text of any type but a composite for what the column is. */
function typeOfComposite({ target, path }: FieldPlan, suffix: '' | '[]'): Sql {
  const isComposite = target.base?.kind === 'composite' && path.length === 0;
  return sql.raw(isComposite ? `::${target.base?.name}${suffix}` : '');
}
