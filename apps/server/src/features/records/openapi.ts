/** The OpenAPI (Swagger 2.0) document of one schema, limited to what a role may see. */
import type { Column, Relation, Routine, Schema, Type } from './schema/types.ts';

/** What a role may do, by oid. */
export interface Rights {
  readonly relations: ReadonlyMap<number, RelationRights>;
  readonly routines: ReadonlySet<number>;
}

export interface RelationRights {
  readonly select: boolean;
  readonly insert: boolean;
  readonly update: boolean;
  readonly delete: boolean;
  /** Columns that may be read or written. */
  readonly columns: ReadonlySet<string>;
}

interface DocumentContext {
  readonly host: string;
  readonly basePath: string;
  readonly version: string;
}

type Json = Record<string, unknown>;

export function openApiDocument(
  schema: Schema,
  schemaName: string,
  rights: Rights,
  { host, basePath, version }: DocumentContext,
): Json {
  const relations = [...(schema.relations.get(schemaName)?.values() ?? [])].filter(({ oid }) =>
    rights.relations.has(oid),
  );
  const routines = [...(schema.routines.get(schemaName)?.values() ?? [])]
    .map((overloads) => overloads.filter(({ oid }) => rights.routines.has(oid)))
    .flatMap((overloads) => (overloads[0] && isCallable(overloads[0]) ? [overloads[0]] : []));
  const description = schema.exposed.find(({ name }) => name === schemaName)?.comment;
  const rightsOf = (relation: Relation) => rights.relations.get(relation.oid) ?? NO_RIGHTS;
  return {
    swagger: '2.0',
    info: {
      title: 'Records API',
      description: description ?? 'Every table is an endpoint, every function a call.',
      version,
    },
    host,
    basePath,
    schemes: ['http', 'https'],
    consumes: CONSUMES,
    produces: PRODUCES,
    paths: Object.fromEntries([
      ...relations.map((relation) => [`/records/${relation.name}`, relationPath(relation, rightsOf(relation))]),
      ...routines.map((routine) => [`/rpc/${routine.name}`, routinePath(routine)]),
    ]),
    definitions: Object.fromEntries(
      relations.map((relation) => [relation.name, definition(schema, relation, rightsOf(relation))]),
    ),
    parameters: {
      ...COMMON_PARAMETERS,
      ...Object.fromEntries(relations.flatMap((relation) => relationParameters(relation, rightsOf(relation)))),
    },
    securityDefinitions: {
      bearer: {
        type: 'apiKey',
        in: 'header',
        name: 'Authorization',
        description: 'Bearer and a user token, the anon key or the API key',
      },
    },
    security: [{ bearer: [] }],
  };
}

const NO_RIGHTS: RelationRights = { select: false, insert: false, update: false, delete: false, columns: new Set() };
const OBJECT = 'application/vnd.pgrst.object+json';
const CONSUMES = ['application/json', OBJECT, 'text/csv'];
const PRODUCES = ['application/json', OBJECT, `${OBJECT};nulls=stripped`, 'text/csv'];

function isCallable({ arguments: args }: Routine): boolean {
  return args.every(({ name }) => name !== '');
}

const query = (name: string, description: string) => ({
  name,
  in: 'query',
  required: false,
  type: 'string',
  description,
});
const headerParameter = (name: string, description: string, values?: string[]) => ({
  name,
  in: 'header',
  required: false,
  type: 'string',
  description,
  ...(values ? { enum: values } : {}),
});

const RETURN = ['return=representation', 'return=minimal', 'return=headers-only'];

const COMMON_PARAMETERS: Json = {
  select: query('select', 'Filtering Columns'),
  order: query('order', 'Ordering'),
  limit: query('limit', 'Limiting and Pagination'),
  offset: query('offset', 'Limiting and Pagination'),
  on_conflict: query('on_conflict', 'On Conflict'),
  columns: query('columns', 'Columns taken from the body'),
  range: headerParameter('Range', 'Limiting and Pagination'),
  rangeUnit: { ...headerParameter('Range-Unit', 'Limiting and Pagination'), default: 'items' },
  preferCount: headerParameter('Prefer', 'Preference', ['count=exact', 'count=planned', 'count=estimated']),
  preferReturn: headerParameter('Prefer', 'Preference', RETURN),
  preferPost: headerParameter('Prefer', 'Preference', [
    ...RETURN,
    'resolution=ignore-duplicates',
    'resolution=merge-duplicates',
  ]),
};

const reference = (name: string) => ({ $ref: `#/parameters/${name}` });

function relationPath(relation: Relation, rights: RelationRights): Json {
  const { name, can } = relation;
  const [summary, description] = splitComment(relation.comment);
  const filters = [...rights.columns].map((column) => reference(`rowFilter.${name}.${column}`));
  const rows = { type: 'array', items: { $ref: `#/definitions/${name}` } };
  const operation = (parameters: Json[], responses: Json) => ({
    tags: [name],
    summary,
    description,
    parameters,
    responses,
  });
  const page = ['select', 'order', 'range', 'rangeUnit', 'offset', 'limit', 'preferCount'].map(reference);
  return {
    ...(rights.select && {
      get: operation([...filters, ...page], {
        200: { description: 'OK', schema: rows },
        206: { description: 'Partial Content' },
      }),
    }),
    ...(rights.insert &&
      can.insert && {
        post: operation([reference(`body.${name}`), reference('select'), reference('preferPost')], {
          201: { description: 'Created' },
        }),
      }),
    ...(rights.update &&
      can.update && {
        patch: operation([...filters, reference(`body.${name}`), reference('preferReturn')], {
          204: { description: 'No Content' },
        }),
      }),
    ...(rights.delete &&
      can.delete && {
        delete: operation([...filters, reference('preferReturn')], { 204: { description: 'No Content' } }),
      }),
  };
}

function relationParameters(relation: Relation, rights: RelationRights): [string, Json][] {
  const { name } = relation;
  const body = { name, description: name, required: false, in: 'body', schema: { $ref: `#/definitions/${name}` } };
  const filters = [...rights.columns].map((column): [string, Json] => [
    `rowFilter.${name}.${column}`,
    { name: column, required: false, in: 'query', type: 'string', description: relation.columns.get(column)?.comment },
  ]);
  return [[`body.${name}`, body], ...filters];
}

function routinePath(routine: Routine): Json {
  const [summary, description] = splitComment(routine.comment);
  const base = {
    tags: [`(rpc) ${routine.name}`],
    summary,
    description,
    responses: { 200: { description: 'OK' } },
    produces: PRODUCES,
  };
  const properties = Object.fromEntries(routine.arguments.map(({ name, type }) => [name, typeSchema(type)]));
  const required = routine.arguments.filter(({ isRequired }) => isRequired).map(({ name }) => name);
  const args = {
    name: 'args',
    in: 'body',
    required: true,
    schema: { type: 'object', ...(required.length > 0 && { required }), properties },
  };
  return {
    ...(!routine.isVolatile && {
      get: {
        ...base,
        parameters: routine.arguments.map(({ name, type, isRequired }) => ({
          name,
          in: 'query',
          required: isRequired,
          ...queryType(type),
        })),
      },
    }),
    post: { ...base, parameters: [args] },
  };
}

function definition(schema: Schema, relation: Relation, rights: RelationRights): Json {
  const columns = [...relation.columns.values()].filter(({ name }) => rights.columns.has(name));
  const required = columns.filter(
    (column) => !column.isNullable && column.default === undefined && !column.isGenerated,
  );
  return {
    description: relation.comment,
    ...(required.length > 0 && { required: required.map(({ name }) => name) }),
    type: 'object',
    properties: Object.fromEntries(columns.map((column) => [column.name, columnSchema(schema, relation, column)])),
  };
}

/** The notes are how generators of clients recognise keys. */
function columnSchema(schema: Schema, relation: Relation, column: Column): Json {
  const key = schema.foreignKeysFrom
    .get(relation)
    ?.find(({ columns, isDeclared }) => isDeclared && columns.length === 1 && columns[0]?.[0] === column.name);
  const target = key?.columns[0]?.[1];
  const notes = [
    ...(relation.primaryKey.includes(column.name) ? ['This is a Primary Key.<pk/>'] : []),
    ...(key
      ? [`This is a Foreign Key to \`${key.to.name}.${target}\`.<fk table='${key.to.name}' column='${target}'/>`]
      : []),
  ];
  const description = [column.comment, notes.length > 0 ? `Note:\n${notes.join('\n')}` : undefined].filter(
    (text) => text !== undefined,
  );
  return {
    ...typeSchema(column.base),
    ...(column.maxLength !== undefined && { maxLength: column.maxLength }),
    ...(column.base.labels && { enum: column.base.labels }),
    ...(column.default !== undefined && defaultSchema(column.base, column.default)),
    ...(description.length > 0 && { description: description.join('\n\n') }),
  };
}

const JSON_TYPES: Readonly<Record<string, string>> = {
  bool: 'boolean',
  int2: 'integer',
  int4: 'integer',
  int8: 'integer',
  float4: 'number',
  float8: 'number',
  numeric: 'number',
};

function typeSchema({ name: format, short, isArray }: Type): Json {
  if (!isArray) return { ...jsonType(short), format };
  return { type: 'array', format, items: jsonType(short.replace(/^_/, '')) };
}

/** JSON may be of any type. */
function jsonType(short: string): Json {
  return /^jsonb?$/.test(short) ? {} : { type: JSON_TYPES[short] ?? 'string' };
}

/** A default as the value that it will be; for text also what computes it. Others that are computed are left out. */
function defaultSchema(type: Type, text: string): Json {
  const literal = /^'((?:[^']|'')*)'(?:::[^']*)?$/s.exec(text)?.[1]?.replaceAll("''", "'") ?? text;
  switch (typeSchema(type).type) {
    case 'string':
      return { default: literal };
    case 'boolean':
      return /^(true|false)$/.test(literal) ? { default: literal === 'true' } : {};
    case 'integer':
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(literal) ? { default: Number(literal) } : {};
    default:
      return {};
  }
}

function queryType(type: Type): Json {
  return { type: type.isArray ? 'string' : (JSON_TYPES[type.short] ?? 'string'), format: type.name };
}

/** A comment's first line is a summary if more lines follow. */
function splitComment(comment: string | undefined): [string | undefined, string | undefined] {
  if (comment === undefined) return [undefined, undefined];
  const at = comment.indexOf('\n');
  return at < 0 ? [comment, undefined] : [comment.slice(0, at), comment.slice(at).trim()];
}
