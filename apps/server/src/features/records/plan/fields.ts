/** Looking up the names that a request uses for columns and types. */
import { RecordsError } from '../errors.ts';
import type { Field } from '../grammar/field.ts';
import type { Column, Relation, Schema, Type } from '../schema/types.ts';
import type { FieldPlan, FieldTarget, Output, Source } from './types.ts';

/** PostgreSQL's own columns of every table. */
const SYSTEM_COLUMNS = new Set(['ctid', 'tableoid', 'xmin', 'xmax', 'cmin', 'cmax']);
const DEFAULT_SCHEMA = 'public';

/** The relation whose rows a source gives, where it is one. */
export function relationOf(source: Source): Relation | undefined {
  if (source.kind !== 'call') return source.relation;
  const { returns } = source.call.routine;
  return returns.kind === 'rows' ? returns.relation : undefined;
}

export function columnsOf(source: Source): ReadonlyMap<string, Column> {
  if (source.kind !== 'call') return source.relation.columns;
  const { returns } = source.call.routine;
  return returns.kind === 'rows' ? returns.columns : new Map();
}

/** A column itself, as a field. */
export function fieldOf(column: Column): FieldPlan {
  return { target: { kind: 'column', name: column.name, base: column.base, column }, path: [] };
}

/** All columns of a source, one by one. */
export function allFields(source: Source): Output[] {
  return [...columnsOf(source).values()].map((column) => ({
    kind: 'field',
    name: column.name,
    field: fieldOf(column),
    cast: undefined,
    aggregate: undefined,
    aggregateCast: undefined,
  }));
}

/** Finds the column or computed field that a name stands for; undefined when there is none. */
export function findTarget(schema: Schema, schemaName: string, source: Source, name: string): FieldTarget | undefined {
  const column = columnsOf(source).get(name);
  if (column) return { kind: 'column', name, base: column.base, column };
  const relation = relationOf(source);
  if (!relation) return undefined;
  const routine = schema.rowFunctions
    .get(relation.rowTypeOid)
    ?.find(
      (candidate) =>
        candidate.name === name && (candidate.schema === schemaName || candidate.schema === DEFAULT_SCHEMA),
    );
  if (routine && routine.returns.kind === 'scalar') {
    return { kind: 'computed', name, routine, base: routine.returns.type };
  }
  const isTable = source.kind === 'relation' && /table$/.test(relation.kind);
  return isTable && SYSTEM_COLUMNS.has(name) ? { kind: 'column', name, base: undefined, column: undefined } : undefined;
}

/** Finds what a field stands for, or says like PostgreSQL that there is no such column. */
export function resolveField(schema: Schema, schemaName: string, source: Source, { name, path }: Field): FieldPlan {
  const target = findTarget(schema, schemaName, source, name);
  if (target) return { target, path };
  throw unknownColumn(source, name);
}

export function unknownColumn(source: Source, name: string): RecordsError {
  const owner = relationOf(source)?.name ?? (source.kind === 'call' ? source.call.routine.name : '');
  return new RecordsError('42703', `column ${owner}.${name} does not exist`);
}

/** Names that SQL knows besides those of the catalogue. */
const TYPE_ALIASES: Readonly<Record<string, string>> = {
  bigint: 'int8',
  bit: 'bit',
  boolean: 'bool',
  char: 'bpchar',
  character: 'bpchar',
  'character varying': 'varchar',
  dec: 'numeric',
  decimal: 'numeric',
  'double precision': 'float8',
  float: 'float8',
  int: 'int4',
  integer: 'int4',
  real: 'float4',
  smallint: 'int2',
  'time with time zone': 'timetz',
  'time without time zone': 'time',
  'timestamp with time zone': 'timestamptz',
  'timestamp without time zone': 'timestamp',
};

/** SQL text of the type that a cast names. */
export function resolveType(schema: Schema, schemaName: string, text: string): string {
  const [, name = '', arrays = ''] = /^(.*?)((?:\[\])*)$/s.exec(text) ?? [];
  const isAlias = Object.hasOwn(TYPE_ALIASES, name.toLowerCase());
  const type = isAlias
    ? findType(schema, ['pg_catalog'], TYPE_ALIASES[name.toLowerCase()] ?? '')
    : (findType(schema, ['pg_catalog', schemaName, DEFAULT_SCHEMA], name) ??
      findType(schema, ['pg_catalog', schemaName, DEFAULT_SCHEMA], name.toLowerCase()));
  if (!type) throw new RecordsError('42704', `type "${text}" does not exist`);
  return arrays === '' ? type.name : `${type.name}[]`;
}

function findType(schema: Schema, schemas: readonly string[], short: string): Type | undefined {
  const candidates = [...schema.types.values()].filter((type) => type.short === short && schemas.includes(type.schema));
  return candidates.sort((a, b) => schemas.indexOf(a.schema) - schemas.indexOf(b.schema))[0];
}
