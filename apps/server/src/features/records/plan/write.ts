/** Plans inserts, updates, upserts and deletes. */
import { RecordsError } from '../errors.ts';
import type { Intent } from '../intent.ts';
import type { Relation } from '../schema/types.ts';
import { unknownColumn } from './fields.ts';
import { type PlanContext, planFilters, planOrder } from './read.ts';
import type { BodyColumn, ConflictPlan, Source, WritePlan } from './types.ts';

export function planWrite(context: PlanContext, intent: Intent, relation: Relation): WritePlan {
  const source: Source = { kind: 'relation', relation };
  const { action } = intent;
  if (action === 'read' || action === 'call') throw new TypeError(`${action} writes nothing`);
  if (action === 'put') checkPut(intent, relation);
  return {
    action,
    relation,
    body: intent.payload && {
      kind: intent.payload.kind === 'array' ? 'array' : 'object',
      value: intent.payloadValue,
      columns: planColumns(intent, relation),
    },
    conflict: planConflict(intent, relation),
    where: action === 'insert' ? [] : planFilters(context, intent, source),
    page: planPage(context, intent, source),
  };
}

function planColumns(intent: Intent, relation: Relation): BodyColumn[] {
  const { payload, columns, preferences, action } = intent;
  const names = columns ?? payload?.keys ?? [];
  const fills = preferences.missing === 'default';
  return [...new Set(names)].flatMap((name) => {
    const column = relation.columns.get(name);
    if (!column) throw unknownBodyColumn(name, relation);
    const isAbsent = fills && !payload?.keys.includes(name);
    // PostgreSQL fills in the default by itself for a column that is not mentioned at all.
    if (isAbsent && action !== 'update') return [];
    const mayLack = isAbsent || payload?.isUneven;
    return [{ column, fallback: fills && mayLack ? (column.default ?? 'null') : undefined }];
  });
}

function unknownBodyColumn(name: string, { name: table }: Relation): RecordsError {
  return new RecordsError('PGRST204', `Could not find the '${name}' column of '${table}' in the schema cache`);
}

function planConflict({ action, preferences, onConflict }: Intent, relation: Relation): ConflictPlan | undefined {
  if (action === 'put') return { columns: relation.primaryKey, resolution: 'merge' };
  if (action !== 'insert' || preferences.resolution === undefined) return undefined;
  const columns = onConflict ?? relation.primaryKey;
  const unknown = columns.find((name) => !relation.columns.has(name));
  if (unknown !== undefined) throw unknownColumn({ kind: 'relation', relation }, unknown);
  if (columns.length === 0) return undefined;
  return { columns, resolution: preferences.resolution === 'ignore-duplicates' ? 'ignore' : 'merge' };
}

/** PUT is an upsert of one row that the URL names by its primary key. */
function checkPut(intent: Intent, { primaryKey }: Relation): void {
  if (intent.range.limit !== undefined || intent.range.offset > 0) {
    throw new RecordsError('PGRST114', 'limit/offset querystring parameters are not allowed for PUT');
  }
  const names = intent.filters.map(({ path, condition }) => {
    const isKey =
      path.length === 0 &&
      condition.kind === 'filter' &&
      condition.field.path.length === 0 &&
      condition.operation.kind === 'compare' &&
      condition.operation.operator === 'eq' &&
      condition.operation.quantifier === undefined &&
      !condition.operation.isNegated;
    return isKey ? condition.field.name : undefined;
  });
  const isWhole = primaryKey.length > 0 && primaryKey.every((name) => names.includes(name));
  if (!isWhole || names.length !== primaryKey.length) {
    throw new RecordsError('PGRST105', "Filters must include all and only primary key columns with 'eq' operators");
  }
  const keys = intent.columns ?? intent.payload?.keys ?? [];
  if (!primaryKey.every((name) => keys.includes(name))) {
    throw new RecordsError('PGRST115', 'Payload values do not match URL in primary key column(s)');
  }
}

/** A limit on what is updated or deleted needs an order, or chance would choose the rows. */
function planPage(context: PlanContext, intent: Intent, source: Source): WritePlan['page'] {
  const { action, range, pages } = intent;
  if ((action !== 'update' && action !== 'delete') || (range.limit === undefined && range.offset === 0))
    return undefined;
  const order = planOrder(context, intent, source);
  if (order.length === 0) {
    throw new RecordsError('PGRST109', "A 'limit' was applied without an explicit 'order'", {
      hint: "Apply an 'order' using unique column(s)",
    });
  }
  const page = pages.find(({ path }) => path.length === 0);
  return { order, limit: page?.limit, offset: page?.offset };
}
