/** What will be done, in terms of the schema: every name is looked up and every type is known. */
import type { JsonStep } from '../grammar/field.ts';
import type { ValueIndex } from '../grammar/filter.ts';
import type { Aggregate, Quantifier } from '../grammar/operators.ts';
import type { Argument, Column, Relation, Routine, Type } from '../schema/types.ts';
import type { Relationship } from './relationships.ts';

/**
 * Where a parameter gets its value from: bound from the request, bound from the shape of it, or, for whole
 * numbers only, written into the statement.
 */
export type Slot = ValueIndex | { readonly constant: string } | { readonly literal: number };

/** What a field name stands for. */
export type FieldTarget =
  | {
      readonly kind: 'column';
      readonly name: string;
      readonly base: Type | undefined;
      readonly column: Column | undefined;
    }
  /** A function of the row. */
  | { readonly kind: 'computed'; readonly name: string; readonly base: Type | undefined; readonly routine: Routine };

export interface FieldPlan {
  readonly target: FieldTarget;
  readonly path: readonly JsonStep[];
}

/** One column of a result. `cast` and `aggregateCast` are SQL text of known types. */
export type Output =
  | {
      readonly kind: 'field';
      readonly name: string;
      /** Undefined for `count()` of the rows. */
      readonly field: FieldPlan | undefined;
      readonly cast: string | undefined;
      readonly aggregate: Aggregate | undefined;
      readonly aggregateCast: string | undefined;
    }
  | { readonly kind: 'all' }
  | { readonly kind: 'embed'; readonly name: string; readonly embed: EmbedPlan }
  /** A column that a spread resource gives to the one around it. */
  | {
      readonly kind: 'lifted';
      readonly name: string;
      readonly embed: EmbedPlan;
      readonly column: string;
      /** JSON that a join has made. */
      readonly isJson: boolean;
      readonly aggregate: Aggregate | undefined;
      readonly aggregateCast: string | undefined;
    };

export type Predicate =
  | {
      readonly kind: 'compare';
      readonly field: FieldPlan;
      readonly isNegated: boolean;
      readonly operator: string;
      readonly quantifier: Quantifier | undefined;
      readonly language: Slot | undefined;
      readonly value: Slot;
    }
  | { readonly kind: 'in'; readonly field: FieldPlan; readonly isNegated: boolean; readonly value: Slot }
  | { readonly kind: 'is'; readonly field: FieldPlan; readonly isNegated: boolean; readonly value: string }
  /** Whether the embedded resource has any row. */
  | { readonly kind: 'exists'; readonly embed: EmbedPlan; readonly isNegated: boolean }
  | {
      readonly kind: 'logic';
      readonly operator: 'and' | 'or';
      readonly isNegated: boolean;
      readonly predicates: readonly Predicate[];
    };

export interface OrderPlan {
  readonly by:
    | { readonly kind: 'field'; readonly field: FieldPlan }
    /** A column that a to-one resource exports for this. */
    | { readonly kind: 'lifted'; readonly embed: EmbedPlan; readonly column: string };
  readonly direction: 'asc' | 'desc' | undefined;
  readonly nulls: 'first' | 'last' | undefined;
}

/** Where rows come from. */
export type Source =
  | { readonly kind: 'relation'; readonly relation: Relation }
  /** The rows that a write has touched. */
  | { readonly kind: 'written'; readonly relation: Relation }
  | { readonly kind: 'call'; readonly call: CallPlan }
  /** A function of the parent's row. */
  | { readonly kind: 'related'; readonly routine: Routine; readonly relation: Relation };

/** A query on one source, with everything embedded in it. */
export interface NodePlan {
  /** Distinguishes the aliases of this node from those of the others. */
  readonly number: number;
  readonly source: Source;
  readonly outputs: Output[];
  readonly embeds: EmbedPlan[];
  readonly where: Predicate[];
  readonly order: OrderPlan[];
  limit: Slot | undefined;
  offset: Slot | undefined;
}

export interface EmbedPlan {
  /** As the request calls it: alias or name. */
  readonly name: string;
  readonly relationship: Relationship;
  readonly node: NodePlan;
  readonly isSpread: boolean;
  /** Parents without a match are left out. */
  isInner: boolean;
  /** Columns that the parent orders by, beside the ones selected. */
  readonly exports: { readonly column: string; readonly field: FieldPlan }[];
}

/** How a function gets its arguments. */
export type CallArguments =
  | { readonly kind: 'none' }
  /** The whole body is the one argument. */
  | { readonly kind: 'body'; readonly argument: Argument; readonly value: Slot }
  /** Keys of a JSON object, or of the first one in a list. */
  | {
      readonly kind: 'json';
      readonly arguments: readonly Argument[];
      readonly value: Slot;
      readonly isList: boolean;
    }
  /** Texts from the query string or a form; several for a variadic argument. */
  | {
      readonly kind: 'texts';
      readonly texts: readonly { readonly argument: Argument; readonly slots: readonly Slot[] }[];
    };

export interface CallPlan {
  readonly routine: Routine;
  readonly arguments: CallArguments;
}

export interface ConflictPlan {
  readonly columns: readonly string[];
  readonly resolution: 'merge' | 'ignore';
}

export interface BodyColumn {
  readonly column: Column;
  /** Evaluated for rows that lack the key. */
  readonly fallback: string | undefined;
}

export interface WritePlan {
  readonly action: 'insert' | 'update' | 'put' | 'delete';
  readonly relation: Relation;
  /** Undefined where there is no body (delete). */
  readonly body:
    | { readonly kind: 'object' | 'array'; readonly value: Slot; readonly columns: readonly BodyColumn[] }
    | undefined;
  readonly conflict: ConflictPlan | undefined;
  readonly where: readonly Predicate[];
  /** Only these many rows, in this order, are touched. */
  readonly page:
    | { readonly order: readonly OrderPlan[]; readonly limit: Slot | undefined; readonly offset: Slot | undefined }
    | undefined;
}
