/** What a plan says that its statement must be made of; found without looking at how it is rendered. */
import { IS_VALUES, OPERATORS } from '../grammar/operators.ts';
import type { EmbedPlan, NodePlan, Predicate } from '../plan/types.ts';
import { combine, type Shape } from './syntax.ts';

/** The shape of a read without a count. */
export function shapeOfPlan(node: NodePlan): Shape {
  const shape: Shape = { joins: 0, pairs: 0, terms: 0, logic: [] };
  addNode(shape, node, true);
  return { ...shape, logic: shape.logic.sort() };
}

/** A node that is not shown is only asked whether it has rows. */
function addNode(shape: Shape, node: NodePlan, isShown: boolean): void {
  if (isShown) shape.terms += node.order.length;
  const logic = combine('and', node.where.map(logicOf));
  if (logic !== undefined) shape.logic.push(logic);
  for (const embed of node.embeds) {
    if (!isShown && !embed.isInner && !isAsked(embed, node.where)) continue;
    shape.joins += isJoinedTwice(embed, isShown) ? 2 : 1;
    shape.pairs += pairsOf(embed);
    addNode(shape, embed.node, isShown && embed.node.outputs.length + embed.exports.length > 0);
  }
}

/** A junction is joined too, and so is an object that must not show what its parent orders by. */
function isJoinedTwice({ relationship, exports, isSpread }: EmbedPlan, isShown: boolean): boolean {
  return relationship.kind === 'many-to-many' || (isShown && exports.length > 0 && !isSpread);
}

function pairsOf({ relationship }: EmbedPlan): number {
  if (relationship.kind === 'computed') return 0;
  return relationship.columns.length + (relationship.kind === 'many-to-many' ? relationship.farColumns.length : 0);
}

function logicOf(predicate: Predicate): string | undefined {
  const { isNegated } = predicate;
  if (predicate.kind === 'exists') return isNegated ? 'is not true' : 'is true';
  const positive = positiveLogicOf(predicate);
  return isNegated ? combine('not', [positive]) : positive;
}

function positiveLogicOf(predicate: Exclude<Predicate, { kind: 'exists' }>): string | undefined {
  switch (predicate.kind) {
    case 'logic':
      return combine(predicate.operator, predicate.predicates.map(logicOf));
    case 'is':
      return IS_VALUES[predicate.value];
    case 'in':
      return '= any';
    case 'compare': {
      const { sql = '' } = OPERATORS[predicate.operator] ?? {};
      return predicate.quantifier ? `${sql} ${predicate.quantifier}` : sql;
    }
  }
}

function isAsked(embed: EmbedPlan, predicates: readonly Predicate[]): boolean {
  return predicates.some((predicate) =>
    predicate.kind === 'logic'
      ? isAsked(embed, predicate.predicates)
      : predicate.kind === 'exists' && predicate.embed === embed,
  );
}
