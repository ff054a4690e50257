/** Makes a `Schema` of catalogue rows. */

import { createPlanCache } from '../plan-cache.ts';
import type * as rows from './catalogue.ts';
import { findForeignKeys, primaryKeyOf } from './foreign-keys.ts';
import { mapGently } from './gently.ts';
import {
  type Argument,
  type Column,
  type MediaHandler,
  type Relation,
  type RelationKind,
  type Representation,
  type Returns,
  type Routine,
  SCALAR,
  type Schema,
  type Type,
} from './types.ts';
import { resolveOrigins, viewOrigins } from './view-columns.ts';

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
  writesResponse: boolean;
}

/** A large schema takes a while, so it is made in small steps. */
export async function buildSchema(catalogue: CatalogueRows, fingerprint: string): Promise<Schema> {
  const types = new Map(catalogue.types.map((row) => [row.oid, toType(row)]));
  const columnsByRelation = Map.groupBy(catalogue.columns, ({ relation }) => relation);
  const definitions = await mapGently(
    catalogue.views,
    ({ oid, definition }) => [oid, viewOrigins(definition)] as const,
  );
  const origins = resolveOrigins(new Map(definitions));
  const keys = new Map(catalogue.constraints.filter(({ kind }) => kind === 'p').map((row) => [row.relation, row]));
  const relations = await mapGently(catalogue.relations, (row) => {
    const columns = (columnsByRelation.get(row.oid) ?? []).map((column) => toColumn(column, types));
    return toRelation(row, columns, primaryKeyOf(row.oid, columns, keys, origins));
  });
  const byRowType = new Map(relations.map((relation) => [relation.rowTypeOid, relation]));
  const compositeOids = new Map(catalogue.types.map(({ oid, relation }) => [oid, relation]));
  const composite = (oid: number) =>
    (columnsByRelation.get(compositeOids.get(oid) ?? 0) ?? []).map((column) => toColumn(column, types));
  const routines = (
    await mapGently(catalogue.routines, (row) => toRoutine(row, { types, byRowType, composite }))
  ).flat();
  const foreignKeys = await findForeignKeys(catalogue.constraints, relations, origins);
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
    writesResponse: catalogue.writesResponse,
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

function toType({ oid, name, short, schema, kind, category, base, labels }: rows.TypeRow): Type {
  const isArray = category === 'A';
  return {
    oid,
    name,
    short,
    schema,
    kind: TYPE_KINDS[kind] ?? 'base',
    isArray,
    baseOid: base,
    labels: labels ?? undefined,
  };
}

const UNKNOWN_TYPE: Type = {
  oid: 0,
  name: 'text',
  short: 'text',
  schema: 'pg_catalog',
  kind: 'base',
  isArray: false,
  baseOid: 0,
  labels: undefined,
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
    runsCode: row.runs_code,
    comment: row.comment ?? undefined,
  };
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
    const columns = outputs.map((position, index) => {
      const name = row.names?.[position] || `column${index + 1}`;
      return outputColumn(name, index + 1, row.all_types?.[position] ?? 0, types);
    });
    return { kind: 'rows', columns: new Map(columns.map((column) => [column.name, column])) };
  }
  const type = baseType(row.returns, types);
  if (type.kind !== 'composite') {
    // Without the domain: its representations are for columns of tables.
    const column = outputColumn(SCALAR, 1, type.oid, types);
    return { kind: 'scalar', type: types.get(row.returns) ?? type, columns: new Map([[SCALAR, column]]) };
  }
  const relation = byRowType.get(type.oid);
  if (relation) return { kind: 'rows', relation, columns: relation.columns };
  return { kind: 'rows', columns: new Map(composite(type.oid).map((column) => [column.name, column])) };
}

function outputColumn(name: string, number: number, oid: number, types: ReadonlyMap<number, Type>): Column {
  const type = types.get(oid) ?? UNKNOWN_TYPE;
  return {
    number,
    name,
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
