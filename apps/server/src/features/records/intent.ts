/** What a request wants, in the words of the request: names are not looked up yet. */

import type { Condition, ValueIndex } from './grammar/filter.ts';
import type { OrderTerm } from './grammar/order.ts';
import type { Payload } from './grammar/payload.ts';
import type { Preferences } from './grammar/prefer.ts';
import type { Range } from './grammar/range.ts';
import type { SelectItem } from './grammar/select.ts';

/** Which embedded resource a parameter is about; empty for the resource itself. */
export type EmbedPath = readonly string[];

/** A usual limit is part of the shape, so that PostgreSQL can plan for it once; any other is bound. */
export type LimitIntent = ValueIndex | { readonly literal: number };

export interface PageIntent {
  readonly path: EmbedPath;
  readonly limit: LimitIntent | undefined;
  readonly offset: ValueIndex | undefined;
}

export interface ArgumentIntent {
  readonly name: string;
  readonly values: readonly ValueIndex[];
}

export interface Intent {
  readonly action: 'read' | 'insert' | 'update' | 'put' | 'delete' | 'call';
  readonly method: string;
  readonly isHead: boolean;
  readonly schema: string;
  /** Of the table or function. */
  readonly name: string;
  readonly select: readonly SelectItem[] | undefined;
  readonly filters: readonly { readonly path: EmbedPath; readonly condition: Condition }[];
  readonly orders: readonly { readonly path: EmbedPath; readonly terms: readonly OrderTerm[] }[];
  readonly pages: readonly PageIntent[];
  /** The page asked for, in numbers. */
  readonly range: Range;
  readonly columns: readonly string[] | undefined;
  readonly onConflict: readonly string[] | undefined;
  readonly preferences: Preferences;
  /** The Accept header. */
  readonly accept: string;
  readonly payload: Payload | undefined;
  readonly payloadValue: ValueIndex;
  /** Arguments of a function in the query string. */
  readonly args: readonly ArgumentIntent[];
  /** What is bound when the statement runs. */
  readonly values: readonly (string | null)[];
  /**
   * Everything that decides the text of the statement and nothing else: requests of one shape differ in
   * `values` and `range` only.
   */
  readonly shape: string;
}
