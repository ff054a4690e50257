/** What the engine knows of the database: an immutable value that requests are planned against. */
import { createPlanCache, type PlanCache } from '../plan-cache.ts';

/** A type as the catalogue describes it. `name` is SQL text, quoted and qualified where needed. */
export interface Type {
  readonly oid: number;
  readonly name: string;
  /** The bare name, as in `int4` or `mood`. */
  readonly short: string;
  readonly schema: string;
  readonly kind: 'base' | 'composite' | 'domain' | 'enum' | 'pseudo' | 'range' | 'multirange';
  readonly isArray: boolean;
  /** Of a domain: the type below it. */
  readonly baseOid: number;
  /** Of an enum: its values, in order. */
  readonly labels: readonly string[] | undefined;
}

export interface Column {
  readonly number: number;
  readonly name: string;
  /** SQL text with its modifiers, as in `character varying(20)`. */
  readonly type: string;
  readonly typeOid: number;
  /** The type with all domains taken off. */
  readonly base: Type;
  readonly isNullable: boolean;
  /** SQL text of the default, also of an identity column. */
  readonly default: string | undefined;
  readonly isGenerated: boolean;
  readonly maxLength: number | undefined;
  readonly comment: string | undefined;
}

export type RelationKind = 'table' | 'partitioned table' | 'view' | 'materialized view' | 'foreign table';

export interface Relation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly kind: RelationKind;
  readonly rowTypeOid: number;
  readonly columns: ReadonlyMap<string, Column>;
  readonly primaryKey: readonly string[];
  readonly can: { readonly insert: boolean; readonly update: boolean; readonly delete: boolean };
  /** Writing to it may run triggers or rules of the project, which may do anything. */
  readonly runsCode: boolean;
  readonly comment: string | undefined;
}

export interface Argument {
  readonly name: string;
  readonly type: Type;
  readonly isRequired: boolean;
  readonly isVariadic: boolean;
}

/** The one column of a function that gives values. */
export const SCALAR = 'pgrst_scalar';

/** What a function gives back, as far as it decides the form of an answer. */
export type Returns =
  | { readonly kind: 'void' }
  | { readonly kind: 'scalar'; readonly type: Type; readonly columns: ReadonlyMap<string, Column> }
  /** `relation` when it is the row type of one; `columns` when they can be known. */
  | { readonly kind: 'rows'; readonly relation?: Relation; readonly columns: ReadonlyMap<string, Column> };

export interface Routine {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  readonly arguments: readonly Argument[];
  readonly returns: Returns;
  readonly isSet: boolean;
  /** The planner's estimate; 1 on a set means "at most one row". */
  readonly rows: number;
  readonly isVolatile: boolean;
  /** `SET name = value` clauses. */
  readonly settings: Readonly<Record<string, string>>;
  readonly comment: string | undefined;
}

/** A foreign key between tables, or one that views inherit from the tables below them. */
export interface ForeignKey {
  readonly name: string;
  readonly from: Relation;
  readonly to: Relation;
  /** Pairs of a referencing and a referenced column. */
  readonly columns: readonly (readonly [from: string, to: string])[];
  /** True when no two rows can reference the same row. */
  readonly isUnique: boolean;
  /** True when it was declared between these two and not inferred through a view. */
  readonly isDeclared: boolean;
}

/** Casts between a domain and text or JSON that people made to choose how its values look outside. */
export interface Representation {
  readonly fromText: string | undefined;
  readonly fromJson: string | undefined;
  readonly toJson: string | undefined;
  readonly toText: string | undefined;
}

/** An aggregate that renders the rows of a relation (or of any) as a media type. */
export interface MediaHandler {
  readonly mediaType: string;
  /** SQL text of the aggregate's name. */
  readonly aggregate: string;
  /** Undefined for an aggregate over anyelement. */
  readonly relationOid: number | undefined;
  readonly isBinary: boolean;
}

export interface Schema {
  /** Schemas that the API serves, `public` first. */
  readonly exposed: readonly ExposedSchema[];
  readonly relations: ReadonlyMap<string, ReadonlyMap<string, Relation>>;
  readonly routines: ReadonlyMap<string, ReadonlyMap<string, readonly Routine[]>>;
  readonly types: ReadonlyMap<number, Type>;
  readonly foreignKeysFrom: ReadonlyMap<Relation, readonly ForeignKey[]>;
  readonly foreignKeysTo: ReadonlyMap<Relation, readonly ForeignKey[]>;
  /** By the oid of a row type: functions that take just such a row. */
  readonly rowFunctions: ReadonlyMap<number, readonly Routine[]>;
  readonly representations: ReadonlyMap<number, Representation>;
  readonly mediaHandlers: readonly MediaHandler[];
  /** `ALTER ROLE … SET`, which PostgreSQL applies at login only: settings by role. */
  readonly roleSettings: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** True when some SQL of the project asks for the request's method, path, headers or cookies. */
  readonly readsRequest: boolean;
  /** True when some SQL of the project may set the status or headers of an answer. */
  readonly writesResponse: boolean;
  /** Equal fingerprints: nothing that matters has changed. */
  readonly fingerprint: string;
  readonly plans: PlanCache;
}

export interface ExposedSchema {
  readonly name: string;
  readonly comment: string | undefined;
}

/** A schema that knows nothing, for tests of pure code and for the time before the first load. */
export function emptySchema(): Schema {
  return {
    exposed: [],
    relations: new Map(),
    routines: new Map(),
    types: new Map(),
    foreignKeysFrom: new Map(),
    foreignKeysTo: new Map(),
    rowFunctions: new Map(),
    representations: new Map(),
    mediaHandlers: [],
    roleSettings: new Map(),
    readsRequest: false,
    writesResponse: false,
    fingerprint: '',
    plans: createPlanCache(),
  };
}

export function findRelation(schema: Schema, schemaName: string, name: string): Relation | undefined {
  return schema.relations.get(schemaName)?.get(name);
}

export function findRoutines(schema: Schema, schemaName: string, name: string): readonly Routine[] {
  return schema.routines.get(schemaName)?.get(name) ?? [];
}

export function isExposed(schema: Schema, name: string): boolean {
  return schema.exposed.some((exposed) => exposed.name === name);
}
