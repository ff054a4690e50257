/** Finds out which table column each column of a view shows, from the rule that defines the view. */

/** Where a column comes from: the oid of a relation and a column number in it. */
export interface Origin {
  relation: number;
  column: number;
}

/**
 * Reads pg_rewrite.ev_action: a node tree as text, in which the target list of the outermost query says for
 * every plain column reference the relation and the column that it came from. Everything inside braces that
 * is escaped with a backslash is content of a string.
 */
export function viewOrigins(definition: string): Map<number, Origin> {
  const origins = new Map<number, Origin>();
  const token = /\\.|[{}()]|:(targetList|resno|resorigtbl|resorigcol) (\d*)/gs;
  let depth = 0;
  let inTargets = false;
  let entry = { number: 0, relation: 0, column: 0 };
  for (const [text, field, value] of definition.matchAll(token)) {
    if (text === '{' || text === '(') depth++;
    else if (text === '}' || text === ')') {
      depth--;
      if (!inTargets) continue;
      // The list is at depth 3, its entries at 4: ( { :targetList ( { … } ) } )
      if (depth === 3) {
        if (entry.relation > 0 && entry.column > 0)
          origins.set(entry.number, { relation: entry.relation, column: entry.column });
        entry = { number: 0, relation: 0, column: 0 };
      } else if (depth === 2) return origins;
    } else if (field === 'targetList') inTargets ||= depth === 2;
    else if (inTargets && depth === 4) {
      if (field === 'resno') entry.number = Number(value);
      else if (field === 'resorigtbl') entry.relation = Number(value);
      else if (field === 'resorigcol') entry.column = Number(value);
    }
  }
  return origins;
}

/** Follows views on views down to the tables. A view that (indirectly) reads itself ends the chain. */
export function resolveOrigins(
  views: ReadonlyMap<number, ReadonlyMap<number, Origin>>,
): Map<number, Map<number, Origin>> {
  const resolve = (origin: Origin, visited: number): Origin | undefined => {
    const below = views.get(origin.relation);
    if (!below) return origin;
    const next = below.get(origin.column);
    return next && visited < MAX_CHAIN ? resolve(next, visited + 1) : undefined;
  };
  const resolved = new Map<number, Map<number, Origin>>();
  for (const [oid, origins] of views) {
    const columns = new Map<number, Origin>();
    for (const [number, origin] of origins) {
      const base = resolve(origin, 0);
      if (base) columns.set(number, { relation: base.relation, column: base.column });
    }
    resolved.set(oid, columns);
  }
  return resolved;
}

const MAX_CHAIN = 50;
