/** Spreading: what a resource selected as `...name(…)` gives to the one around it. */
import { RecordsError } from '../errors.ts';
import { allFields } from './fields.ts';
import type { EmbedPlan, Output } from './types.ts';

/**
 * Renames the outputs of a spread resource, so that they cannot collide, and returns the columns that the
 * parent gets for them. An aggregate on a to-one resource belongs to the parent's groups, so it moves there.
 */
export function liftOutputs(embed: EmbedPlan): Output[] {
  const { node, relationship } = embed;
  const inner = node.outputs.flatMap((output) => (output.kind === 'all' ? allFields(node.source) : [output]));
  node.outputs.length = 0;
  return inner.map((output, index): Output => {
    if (output.kind === 'all') throw new TypeError('all columns were expanded above');
    const column = `c${index}`;
    const { name } = output;
    if (output.kind === 'embed') {
      node.outputs.push({ ...output, name: column });
      return { kind: 'lifted', name, embed, column, isJson: true, aggregate: undefined, aggregateCast: undefined };
    }
    const { aggregate, aggregateCast } = output;
    if (aggregate && !relationship.isToOne) {
      throw new RecordsError('PGRST127', 'Feature not implemented', {
        details: 'Aggregates are not implemented for one-to-many or many-to-many spreads.',
      });
    }
    node.outputs.push({ ...output, name: column, aggregate: undefined, aggregateCast: undefined });
    const isJson = !relationship.isToOne || (output.kind === 'lifted' && output.isJson);
    return { kind: 'lifted', name, embed, column, isJson, aggregate, aggregateCast };
  });
}
