/** Which columns of which relations belong together: as declared, and as views inherit it from their tables. */

import type { ConstraintRow } from './catalogue.ts';
import { mapGently } from './gently.ts';
import type { Column, ForeignKey, Relation } from './types.ts';
import type { Origin } from './view-columns.ts';

/** By the oid of a view: where each of its columns comes from. */
export type Origins = ReadonlyMap<number, ReadonlyMap<number, Origin>>;

/** A relation as an end of a foreign key: the names under which it shows the columns of a table. */
interface Endpoint {
  relation: Relation;
  isTable: boolean;
  namesOf(number: number): string[];
}

/** Declared keys, and for each the ones that views over either table inherit. */
export async function findForeignKeys(
  constraints: readonly ConstraintRow[],
  relations: readonly Relation[],
  origins: Origins,
): Promise<ForeignKey[]> {
  const endpoints = findEndpoints(relations, origins);
  const uniques = Map.groupBy(
    constraints.filter(({ kind }) => kind !== 'f'),
    ({ relation }) => relation,
  );
  const keys = constraints.filter(({ kind }) => kind === 'f');
  const found = await mapGently(keys, (key) => {
    const isUnique = uniques.get(key.relation)?.some(({ columns }) => setOf(columns) === setOf(key.columns)) ?? false;
    return (endpoints.get(key.relation) ?? []).flatMap((from) =>
      (endpoints.get(key.target) ?? []).flatMap((to) =>
        pairings(key, from, to).map(
          (columns): ForeignKey => ({
            name: key.name,
            from: from.relation,
            to: to.relation,
            columns,
            isUnique,
            isDeclared: from.isTable && to.isTable,
          }),
        ),
      ),
    );
  });
  return found.flat();
}

function setOf(numbers: readonly number[]): string {
  return numbers.toSorted((a, b) => a - b).join();
}

/** By the oid of a table: the relations that show columns of it. */
function findEndpoints(relations: readonly Relation[], origins: Origins): Map<number, Endpoint[]> {
  const endpoints = new Map<number, Endpoint[]>();
  const add = (oid: number, endpoint: Endpoint) => {
    const known = endpoints.get(oid);
    if (known) known.push(endpoint);
    else endpoints.set(oid, [endpoint]);
  };
  for (const relation of relations) {
    const columns = [...relation.columns.values()];
    const shown = origins.get(relation.oid);
    if (!shown) {
      add(relation.oid, { relation, isTable: true, namesOf: (number) => namesOf(columns, [number]) });
      continue;
    }
    for (const oid of new Set([...shown.values()].map((origin) => origin.relation))) {
      const names = (number: number) =>
        columns.filter((column) => showsColumn(shown, column, oid, number)).map((column) => column.name);
      add(oid, { relation, isTable: false, namesOf: names });
    }
  }
  return endpoints;
}

type Pair = readonly [from: string, to: string];
const MAX_PAIRINGS = 16;

/** All ways to write the key with the columns of both ends: a view may show one column several times, or not. */
function pairings(key: ConstraintRow, from: Endpoint, to: Endpoint): Pair[][] {
  let found: Pair[][] = [[]];
  for (const [position, number] of key.columns.entries()) {
    const pairs = from
      .namesOf(number)
      .flatMap((own) => to.namesOf(key.target_columns?.[position] ?? 0).map((foreign): Pair => [own, foreign]));
    found = found.flatMap((start) => pairs.map((pair) => [...start, pair])).slice(0, MAX_PAIRINGS);
  }
  return found;
}

/** Of a view: the columns that show the primary keys of its tables, of each one whose whole key is shown. */
export function primaryKeyOf(
  oid: number,
  columns: readonly Column[],
  keys: ReadonlyMap<number, ConstraintRow>,
  origins: Origins,
): string[] {
  const shown = origins.get(oid);
  if (!shown) return namesOf(columns, keys.get(oid)?.columns ?? []);
  const tables = new Set([...shown.values()].map(({ relation }) => relation));
  return [...tables].flatMap((table) => {
    const names = keys
      .get(table)
      ?.columns.map((number) => columns.find((column) => showsColumn(shown, column, table, number))?.name);
    return names?.every((name) => name !== undefined) ? names : [];
  });
}

function showsColumn(shown: ReadonlyMap<number, Origin>, column: Column, relation: number, number: number): boolean {
  const origin = shown.get(column.number);
  return origin?.relation === relation && origin.column === number;
}

function namesOf(columns: readonly Column[], numbers: readonly number[]): string[] {
  return numbers.flatMap((number) => columns.find((column) => column.number === number)?.name ?? []);
}
