/** Makes a `Schema` of catalogue rows. */
import { createPlanCache } from './plan-cache.ts';
import type {
  Argument,
  Column,
  ForeignKey,
  MediaHandler,
  Relation,
  RelationKind,
  Representation,
  Returns,
  Routine,
  Schema,
  Type,
} from './schema.ts';
import type * as rows from './schema-queries.ts';
import { type Origin, resolveOrigins, viewOrigins } from './view-columns.ts';

export interface CatalogueRows {
  schemas: rows.SchemaRow[];
  types: rows.TypeRow[];
  relations: rows.RelationRow[];
  columns: rows.ColumnRow[];
  constraints: rows.ConstraintRow[];
  views: rows.ViewRow[];
  routines: rows.RoutineRow[];
  roleSettings: rows.RoleSettingRow[];
  representations: rows.CastRow[];
  mediaHandlers: rows.MediaHandlerRow[];
  readsRequest: boolean;
}

export function buildSchema(catalogue: CatalogueRows, fingerprint: string): Schema {
  const types = new Map(catalogue.types.map((row) => [row.oid, toType(row)]));
  const columnsByRelation = Map.groupBy(catalogue.columns, ({ relation }) => relation);
  const origins = resolveOrigins(new Map(catalogue.views.map(({ oid, definition }) => [oid, viewOrigins(definition)])));
  const keys = new Map(catalogue.constraints.filter(({ kind }) => kind === 'p').map((row) => [row.relation, row]));
  const relations = catalogue.relations.map((row) => {
    const columns = (columnsByRelation.get(row.oid) ?? []).map((column) => toColumn(column, types));
    return toRelation(row, columns, primaryKeyOf(row.oid, columns, keys, origins));
  });
  const byRowType = new Map(relations.map((relation) => [relation.rowTypeOid, relation]));
  const compositeOids = new Map(catalogue.types.map(({ oid, relation }) => [oid, relation]));
  const composite = (oid: number) =>
    (columnsByRelation.get(compositeOids.get(oid) ?? 0) ?? []).map((column) => toColumn(column, types));
  const routines = catalogue.routines.flatMap((row) => toRoutine(row, { types, byRowType, composite }));
  const foreignKeys = findForeignKeys(catalogue.constraints, relations, origins);
  return {
    exposed: catalogue.schemas.map(({ name, comment }) => ({ name, comment: comment ?? undefined })),
    relations: index(relations),
    routines: new Map(
      [...Map.groupBy(routines, ({ schema }) => schema)].map(([schema, list]) => [schema, Map.groupBy(list, nameOf)]),
    ),
    types,
    foreignKeysFrom: Map.groupBy(foreignKeys, ({ from }) => from),
    foreignKeysTo: Map.groupBy(foreignKeys, ({ to }) => to),
    rowFunctions: Map.groupBy(
      routines.filter((routine) => routine.arguments.length === 1),
      (routine) => routine.arguments[0]?.type.oid ?? 0,
    ),
    representations: toRepresentations(catalogue.representations, types),
    mediaHandlers: toMediaHandlers(catalogue.mediaHandlers, byRowType, types),
    roleSettings: new Map(
      [...Map.groupBy(catalogue.roleSettings, ({ role }) => role)].map(([role, settings]) => [
        role,
        Object.fromEntries(settings.map(({ name, value }) => [name, value])),
      ]),
    ),
    readsRequest: catalogue.readsRequest,
    fingerprint,
    plans: createPlanCache(),
  };
}

const nameOf = ({ name }: { name: string }) => name;

function index(relations: readonly Relation[]): Map<string, Map<string, Relation>> {
  const bySchema = new Map<string, Map<string, Relation>>();
  for (const relation of relations) {
    const names = bySchema.get(relation.schema) ?? new Map<string, Relation>();
    bySchema.set(relation.schema, names.set(relation.name, relation));
  }
  return bySchema;
}

const TYPE_KINDS: Record<string, Type['kind']> = {
  b: 'base',
  c: 'composite',
  d: 'domain',
  e: 'enum',
  p: 'pseudo',
  r: 'range',
  m: 'multirange',
};

function toType({ oid, name, short, schema, kind, category, base }: rows.TypeRow): Type {
  return { oid, name, short, schema, kind: TYPE_KINDS[kind] ?? 'base', isArray: category === 'A', baseOid: base };
}

const UNKNOWN_TYPE: Type = {
  oid: 0,
  name: 'text',
  short: 'text',
  schema: 'pg_catalog',
  kind: 'base',
  isArray: false,
  baseOid: 0,
};

/** The type with all domains taken off. */
export function baseType(oid: number, types: ReadonlyMap<number, Type>): Type {
  let type = types.get(oid) ?? UNKNOWN_TYPE;
  while (type.kind === 'domain') type = types.get(type.baseOid) ?? UNKNOWN_TYPE;
  return type;
}

function toColumn(row: rows.ColumnRow, types: ReadonlyMap<number, Type>): Column {
  return {
    number: row.number,
    name: row.name,
    type: row.type,
    typeOid: row.type_oid,
    base: baseType(row.type_oid, types),
    isNullable: !row.not_null,
    default: row.default ?? undefined,
    isGenerated: row.generated,
    maxLength: row.max_length ?? undefined,
    comment: row.comment ?? undefined,
  };
}

const RELATION_KINDS: Record<string, RelationKind> = {
  r: 'table',
  p: 'partitioned table',
  v: 'view',
  m: 'materialized view',
  f: 'foreign table',
};

function toRelation(row: rows.RelationRow, columns: Column[], primaryKey: string[]): Relation {
  return {
    oid: row.oid,
    schema: row.schema,
    name: row.name,
    kind: RELATION_KINDS[row.kind] ?? 'table',
    rowTypeOid: row.rowtype,
    columns: new Map(columns.map((column) => [column.name, column])),
    primaryKey,
    can: { insert: (row.events & 8) > 0, update: (row.events & 4) > 0, delete: (row.events & 16) > 0 },
    comment: row.comment ?? undefined,
  };
}

type Origins = ReadonlyMap<number, ReadonlyMap<number, Origin>>;

/** Of a view: the columns that show the whole primary key of the first table that has it in there. */
function primaryKeyOf(
  oid: number,
  columns: readonly Column[],
  keys: ReadonlyMap<number, rows.ConstraintRow>,
  origins: Origins,
): string[] {
  const shown = origins.get(oid);
  if (!shown) return namesOf(columns, keys.get(oid)?.columns ?? []);
  for (const { relation } of shown.values()) {
    const key = keys.get(relation);
    const names = key?.columns.map(
      (number) => columns.find((column) => showsColumn(shown, column, relation, number))?.name,
    );
    if (names?.every((name) => name !== undefined)) return names;
  }
  return [];
}

function showsColumn(shown: ReadonlyMap<number, Origin>, column: Column, relation: number, number: number): boolean {
  const origin = shown.get(column.number);
  return origin?.relation === relation && origin.column === number;
}

function namesOf(columns: readonly Column[], numbers: readonly number[]): string[] {
  return numbers.flatMap((number) => columns.find((column) => column.number === number)?.name ?? []);
}

/** A relation as an end of a foreign key: the names under which it shows the columns of a table. */
interface Endpoint {
  relation: Relation;
  isTable: boolean;
  namesOf(number: number): string[];
}

/** Declared keys, and for each the ones that views over either table inherit. */
function findForeignKeys(
  constraints: readonly rows.ConstraintRow[],
  relations: readonly Relation[],
  origins: Origins,
): ForeignKey[] {
  const endpoints = new Map<number, Endpoint[]>();
  const add = (oid: number, endpoint: Endpoint) => endpoints.set(oid, [...(endpoints.get(oid) ?? []), endpoint]);
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
  const uniques = Map.groupBy(
    constraints.filter(({ kind }) => kind !== 'f'),
    ({ relation }) => relation,
  );
  const setOf = (numbers: readonly number[]) => numbers.toSorted((a, b) => a - b).join();
  return constraints
    .filter(({ kind }) => kind === 'f')
    .flatMap((key) => {
      const isUnique = uniques.get(key.relation)?.some(({ columns }) => setOf(columns) === setOf(key.columns)) ?? false;
      return (endpoints.get(key.relation) ?? []).flatMap((from) =>
        (endpoints.get(key.target) ?? []).flatMap((to) =>
          pairings(key, from, to).map((columns) => ({
            name: key.name,
            from: from.relation,
            to: to.relation,
            columns,
            isUnique,
            isDeclared: from.isTable && to.isTable,
          })),
        ),
      );
    });
}

type Pair = readonly [from: string, to: string];
const MAX_PAIRINGS = 16;

/** All ways to write the key with the columns of both ends: a view may show one column several times, or not. */
function pairings(key: rows.ConstraintRow, from: Endpoint, to: Endpoint): Pair[][] {
  let found: Pair[][] = [[]];
  for (const [position, number] of key.columns.entries()) {
    const pairs = from
      .namesOf(number)
      .flatMap((own) => to.namesOf(key.target_columns?.[position] ?? 0).map((foreign): Pair => [own, foreign]));
    found = found.flatMap((start) => pairs.map((pair) => [...start, pair])).slice(0, MAX_PAIRINGS);
  }
  return found;
}

interface RoutineContext {
  types: ReadonlyMap<number, Type>;
  byRowType: ReadonlyMap<number, Relation>;
  /** The fields of a composite type. */
  composite: (typeOid: number) => Column[];
}

/** A function with unnamed arguments cannot be called by name; one such argument is served by other means. */
function toRoutine(row: rows.RoutineRow, context: RoutineContext): Routine[] {
  const inputs = row.inputs.map((oid) => context.types.get(oid) ?? UNKNOWN_TYPE);
  const positions =
    row.modes?.flatMap((mode, position) => ('ibv'.includes(mode) ? [position] : [])) ??
    inputs.map((_, position) => position);
  const args = inputs.map((type, position): Argument => {
    const name = row.names?.[positions[position] ?? -1] ?? '';
    const isLastWithoutDefault = position < inputs.length - row.defaults;
    const isVariadic = row.variadic > 0 && position === inputs.length - 1;
    return { name, type, isRequired: isLastWithoutDefault, isVariadic };
  });
  if (args.length > 1 && args.some(({ name }) => name === '')) return [];
  return [
    {
      oid: row.oid,
      schema: row.schema,
      name: row.name,
      arguments: args,
      returns: toReturns(row, context),
      isSet: row.is_set,
      rows: row.rows,
      isVolatile: row.volatility === 'v',
      settings: Object.fromEntries((row.settings ?? []).map(splitSetting)),
      comment: row.comment ?? undefined,
    },
  ];
}

function splitSetting(setting: string): [string, string] {
  const at = setting.indexOf('=');
  return [setting.slice(0, at), setting.slice(at + 1)];
}

const VOID = 2278;

function toReturns(row: rows.RoutineRow, { types, byRowType, composite }: RoutineContext): Returns {
  if (row.returns === VOID) return { kind: 'void' };
  const outputs = (row.modes ?? []).flatMap((mode, position) => ('tob'.includes(mode) ? [position] : []));
  if (outputs.length > 0) {
    const columns = outputs.map((position, number) => outputColumn(row, position, number + 1, types));
    return { kind: 'rows', columns: new Map(columns.map((column) => [column.name, column])) };
  }
  const type = baseType(row.returns, types);
  if (type.kind !== 'composite') return { kind: 'scalar', type: types.get(row.returns) ?? type };
  const relation = byRowType.get(type.oid);
  if (relation) return { kind: 'rows', relation, columns: relation.columns };
  return { kind: 'rows', columns: new Map(composite(type.oid).map((column) => [column.name, column])) };
}

function outputColumn(
  row: rows.RoutineRow,
  position: number,
  number: number,
  types: ReadonlyMap<number, Type>,
): Column {
  const oid = row.all_types?.[position] ?? 0;
  const type = types.get(oid) ?? UNKNOWN_TYPE;
  return {
    number,
    name: row.names?.[position] || `column${number}`,
    type: type.name,
    typeOid: oid,
    base: baseType(oid, types),
    isNullable: true,
    default: undefined,
    isGenerated: false,
    maxLength: undefined,
    comment: undefined,
  };
}

function toRepresentations(
  casts: readonly rows.CastRow[],
  types: ReadonlyMap<number, Type>,
): Map<number, Representation> {
  const found = new Map<number, Representation>();
  const none: Representation = { fromText: undefined, fromJson: undefined, toJson: undefined, toText: undefined };
  for (const { source, target, function: name } of casts) {
    const from = types.get(source);
    const to = types.get(target);
    if (from?.kind === 'domain') {
      found.set(source, { ...(found.get(source) ?? none), [to?.short === 'json' ? 'toJson' : 'toText']: name });
    }
    if (to?.kind === 'domain') {
      found.set(target, { ...(found.get(target) ?? none), [from?.short === 'json' ? 'fromJson' : 'fromText']: name });
    }
  }
  return found;
}

function toMediaHandlers(
  handlers: readonly rows.MediaHandlerRow[],
  byRowType: ReadonlyMap<number, Relation>,
  types: ReadonlyMap<number, Type>,
): MediaHandler[] {
  return handlers.flatMap(({ media_type, aggregate, argument, is_any, domain }) => {
    const relation = byRowType.get(argument);
    if (!is_any && !relation) return [];
    return [
      {
        mediaType: media_type,
        aggregate,
        relationOid: is_any ? undefined : relation?.oid,
        isBinary: baseType(domain, types).short === 'bytea',
      },
    ];
  });
}
