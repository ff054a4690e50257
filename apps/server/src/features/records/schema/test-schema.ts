/** A small schema as a value, for tests of pure code. */

import { buildSchema } from './build.ts';
import type { ColumnRow, ConstraintRow, TypeRow } from './catalogue.ts';
import type { Schema } from './types.ts';

const PUBLIC = 'public';

const TYPES: readonly TypeRow[] = [
  type(16, 'boolean', 'bool', 'B'),
  type(20, 'bigint', 'int8', 'N'),
  type(23, 'integer', 'int4', 'N'),
  type(25, 'text', 'text', 'S'),
  type(114, 'json', 'json', 'U'),
  type(1009, 'text[]', '_text', 'A'),
  type(1082, 'date', 'date', 'D'),
  type(1700, 'numeric', 'numeric', 'N'),
  type(2950, 'uuid', 'uuid', 'U'),
  type(3614, 'tsvector', 'tsvector', 'U'),
  type(3802, 'jsonb', 'jsonb', 'U'),
];

function type(oid: number, name: string, short: string, category: string): TypeRow {
  return { oid, name, short, schema: 'pg_catalog', kind: 'b', category, base: 0, relation: 0 };
}

const TABLES = {
  films: {
    oid: 1,
    columns: { id: 23, director_id: 23, title: 25, year: 23, data: 3802, tags: 1009, words: 3614 },
    key: [1],
  },
  directors: { oid: 2, columns: { id: 23, first_name: 25, last_name: 25 }, key: [1] },
  actors: { oid: 3, columns: { id: 23, name: 25 }, key: [1] },
  roles: { oid: 4, columns: { film_id: 23, actor_id: 23, character: 25 }, key: [1, 2] },
} as const;

/** Films with a director, and actors through roles; a function `search(term)` and a field `full_name`. */
export function testSchema(): Promise<Schema> {
  const tables = Object.entries(TABLES);
  return buildSchema(
    {
      schemas: [{ oid: 2200, name: PUBLIC, comment: null }],
      types: [...TYPES, ...tables.map(([name, { oid }]) => rowType(name, oid))],
      relations: tables.map(([name, { oid }]) => ({
        oid,
        schema: PUBLIC,
        name,
        kind: 'r',
        rowtype: oid + 100,
        events: 28,
        comment: null,
      })),
      columns: tables.flatMap(([, { oid, columns }]) => columnsOf(oid, columns)),
      constraints: [
        ...tables.map(([name, { oid, key }]) => constraint(`${name}_pkey`, 'p', oid, 0, [...key])),
        constraint('films_director', 'f', 1, 2, [2]),
        constraint('roles_film', 'f', 4, 1, [1]),
        constraint('roles_actor', 'f', 4, 3, [2]),
      ],
      views: [],
      routines: [
        { ...ROUTINE, oid: 1001, name: 'search', returns: 101, is_set: true, names: ['term'], inputs: [25] },
        { ...ROUTINE, oid: 1002, name: 'full_name', returns: 25, is_set: false, names: null, inputs: [102] },
      ],
      roleSettings: [],
      representations: [],
      mediaHandlers: [],
      readsRequest: false,
      writesResponse: true,
    },
    'test',
  );
}

function rowType(name: string, oid: number): TypeRow {
  return { ...type(oid + 100, name, name, 'C'), schema: PUBLIC, kind: 'c', relation: oid };
}

function columnsOf(relation: number, columns: Readonly<Record<string, number>>): ColumnRow[] {
  return Object.entries(columns).map(([name, typeOid], position) => ({
    relation,
    number: position + 1,
    name,
    type: TYPES.find(({ oid }) => oid === typeOid)?.name ?? 'text',
    type_oid: typeOid,
    not_null: name === 'id',
    default: null,
    generated: false,
    max_length: null,
    comment: null,
  }));
}

function constraint(name: string, kind: string, relation: number, target: number, columns: number[]): ConstraintRow {
  return { name, kind, relation, target, columns, target_columns: kind === 'f' ? [1] : null };
}

const ROUTINE = {
  schema: PUBLIC,
  rows: 1000,
  volatility: 's',
  variadic: 0,
  defaults: 0,
  modes: null,
  all_types: null,
  settings: null,
  comment: null,
};
