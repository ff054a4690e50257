/** A small schema as a value, for tests of pure code. */
import { quoteIdentifier } from '#platform/db/sql.ts';
import { buildSchema, type CatalogueRows } from './build.ts';
import type { ColumnRow, ConstraintRow, RelationRow, RoutineRow, TypeRow } from './catalogue.ts';
import type { Schema } from './types.ts';

const BASE_TYPES: readonly TypeRow[] = [
  type(16, 'boolean', 'bool', 'B'),
  type(17, 'bytea', 'bytea', 'U'),
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
  return { oid, name, short, schema: 'pg_catalog', kind: 'b', category, base: 0, relation: 0, labels: null };
}

const COLOUR = 300;
const SPOT = 301;
const MEDIA = 302;

/** Tables of the schema, by oid; the type of each column, by name. */
const TABLES = {
  films: {
    oid: 1,
    columns: {
      id: 23,
      director_id: 23,
      title: 25,
      year: 23,
      data: 3802,
      note: 114,
      tags: 1009,
      words: 3614,
      shade: COLOUR,
      spot: SPOT,
    },
    key: [1],
  },
  directors: { oid: 2, columns: { id: 23, first_name: 25, last_name: 25 }, key: [1] },
  actors: { oid: 3, columns: { id: 23, name: 25 }, key: [1] },
  roles: { oid: 4, columns: { film_id: 23, actor_id: 23, character: 25 }, key: [1, 2] },
} as const;

/** Says what is called how; a test that hides a name behind another one finds it again in the statement. */
export type Wording = (name: string) => string;

/**
 * Films with a director, and actors through roles; functions `search(term, year)`, `total(variadic v)`,
 * `shout(text)` and `ping()`; of a director the field `full_name` and the relationship `debut`; a domain that
 * shows as JSON, a composite type, and a media type of its own. All of it in the schema `shop`, or in `public`.
 */
export function testSchema(word: Wording = (name) => name, schemaName = 'public'): Promise<Schema> {
  return buildSchema(
    {
      schemas: [{ oid: 2200, name: schemaName, comment: null }],
      types: [...BASE_TYPES, ...ownTypes(word, schemaName)],
      relations: tables.map(([name, { oid }]) => relation(oid, schemaName, word(name))),
      columns: [
        ...tables.flatMap(([, { oid, columns }]) => columnsOf(word, schemaName, oid, columns)),
        ...columnsOf(word, schemaName, SPOT + 1000, { x: 23, y: 25 }),
      ],
      constraints: [
        ...tables.map(([name, { oid, key }]) => constraint(word(`${name}_pkey`), 'p', oid, 0, [...key])),
        constraint(word('films_director'), 'f', 1, 2, [2]),
        constraint(word('roles_film'), 'f', 4, 1, [1]),
        constraint(word('roles_actor'), 'f', 4, 3, [2]),
      ],
      views: [],
      routines: routines(word, schemaName),
      roleSettings: [],
      ...conversions(word, schemaName),
      readsRequest: false,
      writesResponse: true,
    },
    'test',
  );
}

const tables = Object.entries(TABLES);

const qualified = (schemaName: string, name: string) => `${quoteIdentifier(schemaName)}.${quoteIdentifier(name)}`;

function ownTypes(word: Wording, schemaName: string): TypeRow[] {
  const own = (oid: number, name: string, more: Partial<TypeRow>): TypeRow => ({
    ...type(oid, qualified(schemaName, word(name)), word(name), 'U'),
    schema: schemaName,
    ...more,
  });
  return [
    ...tables.map(([name, { oid }]) => own(oid + 100, name, { kind: 'c', relation: oid })),
    own(COLOUR, 'colour', { kind: 'd', base: 23 }),
    own(SPOT, 'spot', { kind: 'c', relation: SPOT + 1000 }),
    { ...own(MEDIA, 'media', { kind: 'd', base: 25 }), short: 'text/films' },
  ];
}

function relation(oid: number, schema: string, name: string): RelationRow {
  return { oid, schema, name, kind: 'r', rowtype: oid + 100, events: 28, runs_code: false, comment: null };
}

function columnsOf(
  word: Wording,
  schemaName: string,
  relationOid: number,
  columns: Readonly<Record<string, number>>,
): ColumnRow[] {
  const types = [...BASE_TYPES, ...ownTypes(word, schemaName)];
  return Object.entries(columns).map(([name, typeOid], position) => ({
    relation: relationOid,
    number: position + 1,
    name: word(name),
    type: types.find(({ oid }) => oid === typeOid)?.name ?? 'text',
    type_oid: typeOid,
    not_null: name === 'id',
    default: name === 'year' ? '1895' : null,
    generated: false,
    max_length: null,
    comment: null,
  }));
}

function constraint(name: string, kind: string, table: number, target: number, columns: number[]): ConstraintRow {
  return { name, kind, relation: table, target, columns, target_columns: kind === 'f' ? [1] : null };
}

function routines(word: Wording, schema: string): RoutineRow[] {
  const routine = (oid: number, name: string, more: Partial<RoutineRow>): RoutineRow => ({
    oid,
    schema,
    name: word(name),
    returns: 25,
    is_set: false,
    rows: 1000,
    volatility: 's',
    variadic: 0,
    defaults: 0,
    names: null,
    modes: null,
    inputs: [],
    all_types: null,
    settings: null,
    comment: null,
    ...more,
  });
  return [
    routine(1001, 'search', {
      returns: 101,
      is_set: true,
      names: [word('term'), word('since')],
      inputs: [25, 23],
      defaults: 1,
    }),
    routine(1002, 'full_name', { inputs: [102] }),
    routine(1003, 'debut', { returns: 101, is_set: true, rows: 1, inputs: [102] }),
    routine(1004, 'total', { returns: 23, names: [word('v')], inputs: [1009], variadic: 25, volatility: 'v' }),
    routine(1005, 'shout', { inputs: [25] }),
    routine(1006, 'ping', { returns: 2278, volatility: 'v' }),
  ];
}

function conversions(word: Wording, schemaName: string): Pick<CatalogueRows, 'representations' | 'mediaHandlers'> {
  return {
    representations: [
      { source: COLOUR, target: 114, function: qualified(schemaName, word('colour_to_json')) },
      { source: 25, target: COLOUR, function: qualified(schemaName, word('colour_from_text')) },
      { source: 114, target: COLOUR, function: qualified(schemaName, word('colour_from_json')) },
    ],
    mediaHandlers: [
      {
        media_type: 'text/films',
        aggregate: qualified(schemaName, word('films_agg')),
        argument: 101,
        is_any: false,
        domain: MEDIA,
      },
    ],
  };
}
