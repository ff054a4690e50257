/** Renders what a query shows: columns, aggregates, and what the joins bring. */
import { type Sql, sql } from '#platform/db/sql.ts';
import { allFields, columnsOf, fieldOf } from '../plan/fields.ts';
import type { EmbedPlan, FieldPlan, NodePlan, Output } from '../plan/types.ts';
import { embedAlias, placeOf, renderField } from './filter.ts';
import type { RenderContext } from './render-context.ts';

/** The select list of a node and the expressions to group by, which are none when nothing is aggregated. */
export function renderOutputs(context: RenderContext, node: NodePlan): { list: Sql[]; groups: Sql[] } {
  const grouped = isGrouped(node);
  const outputs = grouped
    ? node.outputs.flatMap((output) => (output.kind === 'all' ? allFields(node.source) : [output]))
    : node.outputs;
  return {
    list: outputs.map((output) => {
      if (output.kind === 'all') return renderAll(context, node);
      return sql`${renderExpression(context, node, output, grouped)} as ${sql.id(output.name)}`;
    }),
    groups: grouped
      ? outputs.filter((output) => !isAggregate(output)).map((output) => renderGroup(context, node, output))
      : [],
  };
}

/** JSON has no equality, so what is shown as JSON is grouped by the value below. */
function renderGroup(context: RenderContext, node: NodePlan, output: Output): Sql {
  const field = output.kind === 'field' ? output.field : undefined;
  return field && representationOf(context, field)
    ? renderField(context, placeOf(node), field)
    : renderExpression(context, node, output, true);
}

/** The names of the columns that a node shows, in order. */
export function outputNames(node: NodePlan): string[] {
  return node.outputs.flatMap((output) => (output.kind === 'all' ? [...columnsOf(node.source).keys()] : [output.name]));
}

/** True when a node has a row for each group, not for each row of its source. */
export function isGrouped({ outputs }: NodePlan): boolean {
  return outputs.some(isAggregate);
}

function isAggregate(output: Output): boolean {
  return (output.kind === 'field' || output.kind === 'lifted') && output.aggregate !== undefined;
}

function renderAll(context: RenderContext, node: NodePlan): Sql {
  const columns = [...columnsOf(node.source).values()];
  const { representations } = context.schema;
  const isRepresented =
    context.usesRepresentations &&
    representations.size > 0 &&
    columns.some(({ typeOid }) => representations.get(typeOid)?.toJson);
  const place = placeOf(node);
  if (!place.isWritten && !isRepresented) return sql`${sql.raw(place.alias)}.*`;
  return sql.join(
    columns.map((column) => sql`${renderShown(context, node, fieldOf(column))} as ${sql.id(column.name)}`),
  );
}

/** A field in the form that the database's owner chose for its domain. */
function renderShown(context: RenderContext, node: NodePlan, field: FieldPlan): Sql {
  const rendered = renderField(context, placeOf(node), field);
  const toJson = representationOf(context, field);
  return toJson ? sql`${sql.raw(toJson)}(${rendered})` : rendered;
}

/** The function that makes JSON of the field's domain, where there is one and the answer is JSON. */
function representationOf(context: RenderContext, { target, path }: FieldPlan): string | undefined {
  const typeOid = target.kind === 'column' && path.length === 0 ? target.column?.typeOid : undefined;
  if (!context.usesRepresentations || typeOid === undefined) return undefined;
  return context.schema.representations.get(typeOid)?.toJson;
}

function renderExpression(context: RenderContext, node: NodePlan, output: Output, grouped: boolean): Sql {
  switch (output.kind) {
    case 'all':
      throw new TypeError('all columns are rendered together');
    case 'embed':
      return renderJson(output.embed, 'body', grouped);
    case 'lifted': {
      const { embed, column, isJson, aggregate, aggregateCast } = output;
      if (isJson) return renderJson(embed, column, grouped);
      const value = sql`${embedAlias(embed)}.${sql.id(column)}`;
      return aggregate ? withCast(sql`${sql.raw(aggregate)}(${value})`, aggregateCast) : value;
    }
    case 'field': {
      const { field, cast, aggregate, aggregateCast } = output;
      if (!field) return aggregate ? withCast(sql`count(*)`, aggregateCast) : sql`1`;
      if (!aggregate) return withCast(renderShown(context, node, field), cast);
      const value = withCast(renderField(context, placeOf(node), field), cast);
      return withCast(sql`${sql.raw(aggregate)}(${value})`, aggregateCast);
    }
  }
}

function withCast(value: Sql, type: string | undefined): Sql {
  return type === undefined ? value : sql`cast(${value} as ${sql.raw(type)})`;
}

/** JSON that a join has made. json has no equality, so groups are made of jsonb. */
function renderJson(embed: EmbedPlan, column: string, grouped: boolean): Sql {
  const json = sql`${embedAlias(embed)}.${sql.id(column)}`;
  const value = embed.relationship.isToOne ? json : sql`coalesce(${json}, '[]')`;
  return grouped ? sql`(${value})::jsonb` : value;
}
