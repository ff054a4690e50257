import { quoteIdentifier, type Sql, sql } from '#platform/db/sql.ts';

/** The name of a relation or function as SQL. */
export function qualifiedName({ schema, name }: { readonly schema: string; readonly name: string }): Sql {
  return sql.raw(`${quoteIdentifier(schema)}.${quoteIdentifier(name)}`);
}
