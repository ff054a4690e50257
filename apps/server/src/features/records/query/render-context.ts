import type { Sql } from '#platform/db/sql.ts';
import type { Schema } from '../schema/types.ts';

/** What rendering SQL needs beside the plan. */
export interface RenderContext {
  readonly schema: Schema;
  /** Filled while rendering: what a write must return, by the name it gets in the returned rows. */
  readonly returning: Map<string, Sql>;
  /** Domains with a cast to JSON show as it says. */
  readonly usesRepresentations: boolean;
  /** The function is called once, before the query, because its rows are needed twice. */
  readonly isCallShared: boolean;
}

/** The name that a written table has inside the statement that writes it. */
export const WRITTEN_TABLE = 'w';
