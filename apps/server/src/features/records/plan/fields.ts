/** Looking up the names that a request uses for columns and types. */
import { RecordsError } from '../errors.ts';
import type { Field } from '../grammar/field.ts';
import type { Column, Relation, Schema, Type } from '../schema/types.ts';
import { closest } from './similar.ts';
import type { FieldPlan, FieldTarget, Output, Source } from './types.ts';

/** PostgreSQL's own columns of every table. */
const SYSTEM_COLUMNS = new Set(['ctid', 'tableoid', 'xmin', 'xmax', 'cmin', 'cmax']);

/** The relation whose rows a source gives, where it is one. */
export function relationOf(source: Source): Relation | undefined {
  if (source.kind !== 'call') return source.relation;
  const { returns } = source.call.routine;
  return returns.kind === 'rows' ? returns.relation : undefined;
}

export function columnsOf(source: Source): ReadonlyMap<string, Column> {
  if (source.kind !== 'call') return source.relation.columns;
  const { returns } = source.call.routine;
  return returns.kind === 'void' ? new Map() : returns.columns;
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
export function findTarget(
  schema: Schema,
  searchPath: readonly string[],
  source: Source,
  name: string,
): FieldTarget | undefined {
  const column = columnsOf(source).get(name);
  if (column) return { kind: 'column', name, base: column.base, column };
  const relation = relationOf(source);
  if (!relation) return undefined;
  const routine = schema.rowFunctions
    .get(relation.rowTypeOid)
    ?.find((candidate) => candidate.name === name && searchPath.includes(candidate.schema));
  if (routine && routine.returns.kind === 'scalar') {
    return { kind: 'computed', name, routine, base: routine.returns.type };
  }
  const isTable = source.kind === 'relation' && /table$/.test(relation.kind);
  return isTable && SYSTEM_COLUMNS.has(name) ? { kind: 'column', name, base: undefined, column: undefined } : undefined;
}

/** Finds what a field stands for, or says like PostgreSQL that there is no such column. */
export function resolveField(
  schema: Schema,
  searchPath: readonly string[],
  source: Source,
  { name, path }: Field,
): FieldPlan {
  const target = findTarget(schema, searchPath, source, name);
  if (target) return { target, path };
  throw unknownColumn(source, name);
}

export function unknownColumn(source: Source, name: string): RecordsError {
  const owner = relationOf(source)?.name ?? (source.kind === 'call' ? source.call.routine.name : '');
  const meant = closest(name, [...columnsOf(source).keys()]);
  return new RecordsError('42703', `column ${owner}.${name} does not exist`, {
    hint:
      meant === undefined || meant === name
        ? undefined
        : `Perhaps you meant to reference the column "${owner}.${meant}".`,
  });
}

/** Names of types that are words of SQL, not of the catalogue. */
const SQL_TYPES = new Set([
  'bigint',
  'bit',
  'boolean',
  'char',
  'character',
  'character varying',
  'dec',
  'decimal',
  'double precision',
  'float',
  'int',
  'integer',
  'real',
  'smallint',
  'time with time zone',
  'time without time zone',
  'timestamp with time zone',
  'timestamp without time zone',
]);

/** SQL text of the type that a cast names. */
export function resolveType(schema: Schema, searchPath: readonly string[], text: string): string {
  const [, name = '', arrays = ''] = /^(.*?)((?:\[\])*)$/s.exec(text) ?? [];
  const suffix = arrays === '' ? '' : '[]';
  if (SQL_TYPES.has(name.toLowerCase())) return name.toLowerCase() + suffix;
  const schemas = ['pg_catalog', ...searchPath];
  const type = findType(schema, schemas, name) ?? findType(schema, schemas, name.toLowerCase());
  if (!type) throw new RecordsError('42704', `type "${text}" does not exist`);
  return type.name + suffix;
}

function findType(schema: Schema, schemas: readonly string[], short: string): Type | undefined {
  const candidates = [...schema.types.values()].filter((type) => type.short === short && schemas.includes(type.schema));
  return candidates.sort((a, b) => schemas.indexOf(a.schema) - schemas.indexOf(b.schema))[0];
}
