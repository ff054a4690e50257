/** Intent to plan: what a whole request comes down to. */
import { quoteIdentifier } from '#platform/db/sql.ts';
import { RecordsError } from './errors.ts';
import { type Format, negotiate } from './grammar/media-types.ts';
import type { Preferences } from './grammar/prefer.ts';
import type { Intent } from './intent.ts';
import { planCall } from './plan/call.ts';
import { unknownColumn } from './plan/fields.ts';
import { customFormat } from './plan/media-handlers.ts';
import { type PlanContext, planResource } from './plan/read.ts';
import type { NodePlan, Slot, Source, WritePlan } from './plan/types.ts';
import { planWrite } from './plan/write.ts';
import { findRelation, type Relation, SCALAR, type Schema } from './schema/types.ts';

/** A condition under which a write must not have happened. */
export interface Guard {
  readonly code: 'PGRST110' | 'PGRST115' | 'PGRST116' | 'PGRST124';
  readonly isBroken: { readonly kind: 'not one' } | { readonly kind: 'more than'; readonly limit: Slot };
}

export interface RequestPlan {
  readonly node: NodePlan;
  readonly write: WritePlan | undefined;
  readonly format: Format;
  readonly isHead: boolean;
  /** A function that gives one value or row, not a list. */
  readonly isSingle: boolean;
  readonly isVoid: boolean;
  readonly isReadOnly: boolean;
  /** More than one statement, or one that is rolled back. */
  readonly isTransaction: boolean;
  readonly isRolledBack: boolean;
  readonly count: Preferences['count'];
  /** Up to here an estimated count is exact. */
  readonly threshold: number;
  readonly showsRows: boolean;
  readonly hasInnerEmbeds: boolean;
  /** Columns for the Location header. */
  readonly location: readonly string[] | undefined;
  readonly guards: readonly Guard[];
  /** The Content-Profile header; a project with one schema needs none. */
  readonly profile: string | undefined;
  /** The search_path; undefined where PostgreSQL's own is right. */
  readonly searchPath: string | undefined;
  /** Settings of the transaction that the plan itself brings. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface PlanOptions {
  readonly areAggregatesEnabled: boolean;
  readonly maxRows: number | undefined;
  /** Everybody may ask for query plans, not only admins. */
  readonly arePlansPublic: boolean;
  /** Schemas where SQL looks for names after the one of the request. */
  readonly extraSearchPath: readonly string[];
}

const ESTIMATE_THRESHOLD = 1000;

export function planRequest(schema: Schema, intent: Intent, options: PlanOptions): RequestPlan {
  let nodes = 0;
  const context: PlanContext = {
    schema,
    schemaName: intent.schema,
    searchPath: [intent.schema, ...options.extraSearchPath],
    areAggregatesEnabled: options.areAggregatesEnabled,
    maxRows: options.maxRows,
    nextNumber: () => nodes++,
  };
  if (intent.action === 'call') return planFunction(context, intent, options);
  const relation = findRelation(schema, intent.schema, intent.name);
  if (!relation) throw unknownRelation(intent);
  return intent.action === 'read'
    ? planTable(context, intent, relation, options)
    : planChange(context, intent, relation, options);
}

function unknownRelation({ schema, name }: Intent): RecordsError {
  return new RecordsError('42P01', `relation "${schema}.${name}" does not exist`);
}

const NO_SETTINGS = {};

function planTable(context: PlanContext, intent: Intent, relation: Relation, options: PlanOptions): RequestPlan {
  const node = planResource(context, intent, { kind: 'relation', relation }, { filters: true, page: true });
  return { ...common(context, intent, node, options), isReadOnly: true };
}

function planFunction(context: PlanContext, intent: Intent, options: PlanOptions): RequestPlan {
  const call = planCall(context.schema, intent);
  const { routine } = call;
  const source: Source = { kind: 'call', call };
  const node = planResource(context, intent, source, { filters: true, page: true });
  // Whatever is selected of values, the answer is made of that one column.
  const isShown = node.outputs.some((output) => output.kind === 'all' || output.name === SCALAR);
  if (routine.returns.kind !== 'rows' && !isShown) throw unknownColumn(source, SCALAR);
  const timeout = routine.settings.statement_timeout;
  const base = common(context, intent, node, options);
  const isReadOnly = intent.method !== 'POST' || !routine.isVolatile;
  const limit = limitOfAffected(intent);
  if (limit && !routine.isSet) {
    throw new RecordsError(
      'PGRST128',
      'Function must return SETOF or TABLE when max-affected preference is used with handling=strict',
    );
  }
  const wantsOne = !isReadOnly && routine.isSet && base.format.kind === 'object';
  return {
    ...base,
    isSingle: !routine.isSet,
    isVoid: routine.returns.kind === 'void',
    isReadOnly,
    guards: [...(limit ? [limit] : []), ...(wantsOne ? [NOT_ONE] : [])],
    settings: timeout === undefined ? NO_SETTINGS : { statement_timeout: timeout },
  };
}

function planChange(context: PlanContext, intent: Intent, relation: Relation, options: PlanOptions): RequestPlan {
  const { preferences } = intent;
  const write = planWrite(context, intent, relation);
  const node = planResource(context, intent, { kind: 'written', relation }, { filters: false, page: false });
  const base = common(context, intent, node, options);
  const isLocated =
    write.action === 'insert' && preferences.return === 'headers-only' && relation.primaryKey.length > 0;
  return {
    ...base,
    write,
    isReadOnly: false,
    showsRows: preferences.return === 'representation',
    hasInnerEmbeds: node.embeds.some(({ isInner }) => isInner) || node.where.length > 0,
    location: isLocated ? relation.primaryKey : undefined,
    guards: guardsOf(intent, write, base.format),
  };
}

const NOT_ONE: Guard = { code: 'PGRST116', isBroken: { kind: 'not one' } };

function guardsOf(intent: Intent, write: WritePlan, format: Format): Guard[] {
  const guards: Guard[] = [];
  if (write.action === 'put') guards.push({ code: 'PGRST115', isBroken: { kind: 'not one' } });
  if (write.page?.limit !== undefined) {
    guards.push({ code: 'PGRST110', isBroken: { kind: 'more than', limit: write.page.limit } });
  }
  const limit = write.action === 'update' || write.action === 'delete' ? limitOfAffected(intent) : undefined;
  if (limit) guards.push(limit);
  if (format.kind === 'object' && write.action !== 'put') guards.push(NOT_ONE);
  return guards;
}

function limitOfAffected({ preferences: { maxAffected, handling } }: Intent): Guard | undefined {
  if (maxAffected === undefined || handling !== 'strict') return undefined;
  return { code: 'PGRST124', isBroken: { kind: 'more than', limit: { literal: maxAffected } } };
}

function common(
  { schema, searchPath }: PlanContext,
  intent: Intent,
  node: NodePlan,
  { maxRows }: PlanOptions,
): RequestPlan {
  const { preferences } = intent;
  return {
    node,
    write: undefined,
    format: negotiate(intent.accept, (type) => customFormat(schema, node, type)),
    isHead: intent.isHead,
    isSingle: false,
    isVoid: false,
    isReadOnly: false,
    isRolledBack: preferences.tx === 'rollback',
    isTransaction:
      preferences.tx === 'rollback' || preferences.count === 'planned' || preferences.count === 'estimated',
    count: preferences.count,
    threshold: maxRows ?? ESTIMATE_THRESHOLD,
    showsRows: true,
    hasInnerEmbeds: false,
    location: undefined,
    guards: [],
    profile: profileOf(schema, intent.schema),
    searchPath: searchPath.every((name) => name === 'public') ? undefined : searchPath.map(quoteIdentifier).join(),
    settings: NO_SETTINGS,
  };
}

/** A schema's name as a header; undefined when there is only one schema, or the name cannot travel. */
export function profileOf({ exposed }: Schema, name: string): string | undefined {
  return exposed.length > 1 && /^[\x20-\x7e]+$/.test(name) ? name : undefined;
}
