/** How two relations belong together: by foreign keys, through junction tables, or by functions. */
import { RecordsError } from '../errors.ts';
import type { ForeignKey, Relation, Routine, Schema } from '../schema/types.ts';
import { closest } from './similar.ts';

type Pair = readonly [own: string, foreign: string];

export type Relationship =
  | {
      readonly kind: 'many-to-one' | 'one-to-many' | 'one-to-one';
      readonly isToOne: boolean;
      readonly target: Relation;
      readonly constraint: string;
      readonly columns: readonly Pair[];
      /** True on the side that has the foreign key. */
      readonly isReferencing: boolean;
      readonly isDeclared: boolean;
    }
  | {
      readonly kind: 'many-to-many';
      readonly isToOne: false;
      readonly target: Relation;
      readonly junction: Relation;
      /** Columns of the origin with those of the junction, and of the junction with those of the target. */
      readonly columns: readonly Pair[];
      readonly farColumns: readonly Pair[];
      readonly constraints: readonly [near: string, far: string];
    }
  | { readonly kind: 'computed'; readonly isToOne: boolean; readonly target: Relation; readonly routine: Routine };

/** What a request says about the resource it wants embedded. */
export interface EmbedName {
  readonly name: string;
  readonly hint: string | undefined;
}

/** Finds the one relationship that is meant. Refuses when there is none, or more than one. */
export function findRelationship(
  schema: Schema,
  schemaName: string,
  origin: Relation,
  wanted: EmbedName,
): Relationship {
  const computed = computedRelationships(schema, schemaName, origin, wanted.name);
  if (computed[0] && wanted.hint === undefined) return computed[0];
  const all = relationshipsOf(schema, schemaName, origin);
  const found = all.filter((relationship) => isMeant(relationship, origin, wanted));
  const [first] = found;
  if (!first) throw noRelationship(schema, schemaName, origin, wanted, all);
  if (found.length > 1) throw ambiguous(origin, wanted.name, found);
  return first;
}

function computedRelationships(schema: Schema, schemaName: string, origin: Relation, name: string): Relationship[] {
  return (schema.rowFunctions.get(origin.rowTypeOid) ?? []).flatMap((routine): Relationship[] => {
    const { returns } = routine;
    if (routine.name !== name || routine.schema !== schemaName || returns.kind !== 'rows' || !returns.relation)
      return [];
    return [{ kind: 'computed', isToOne: !routine.isSet || routine.rows === 1, target: returns.relation, routine }];
  });
}

/** All relationships by foreign keys from a relation into one schema. */
function relationshipsOf(schema: Schema, schemaName: string, origin: Relation): Relationship[] {
  const own = (schema.foreignKeysFrom.get(origin) ?? []).map(towardsReferenced);
  const others = schema.foreignKeysTo.get(origin) ?? [];
  return [...own, ...others.map(towardsReferencing), ...manyToMany(schema, schemaName, others)].filter(
    ({ target }) => target.schema === schemaName,
  );
}

function towardsReferenced({ name, to, columns, isUnique, isDeclared }: ForeignKey): Relationship {
  const kind = isUnique ? 'one-to-one' : 'many-to-one';
  return { kind, isToOne: true, target: to, constraint: name, columns, isReferencing: true, isDeclared };
}

function towardsReferencing({ name, from, columns, isUnique, isDeclared }: ForeignKey): Relationship {
  const turned = columns.map(([own, foreign]): Pair => [foreign, own]);
  const kind = isUnique ? 'one-to-one' : 'one-to-many';
  return { kind, isToOne: isUnique, target: from, constraint: name, columns: turned, isReferencing: false, isDeclared };
}

/** A junction is a table or view with a foreign key to either side, both of them part of its primary key. */
function manyToMany(schema: Schema, schemaName: string, near: readonly ForeignKey[]): Relationship[] {
  return near.flatMap((first) => {
    const junction = first.from;
    if (junction.schema !== schemaName || !isJunctionKey(first)) return [];
    return (schema.foreignKeysFrom.get(junction) ?? []).flatMap((second): Relationship[] => {
      if (second.name === first.name || !isJunctionKey(second)) return [];
      const columns = first.columns.map(([own, foreign]): Pair => [foreign, own]);
      const constraints = [first.name, second.name] as const;
      return [
        {
          kind: 'many-to-many',
          isToOne: false,
          target: second.to,
          junction,
          columns,
          farColumns: second.columns,
          constraints,
        },
      ];
    });
  });
}

function isJunctionKey({ from, columns }: ForeignKey): boolean {
  return columns.every(([own]) => from.primaryKey.includes(own));
}

function isMeant(relationship: Relationship, origin: Relation, { name, hint }: EmbedName): boolean {
  if (relationship.kind === 'computed') return false;
  const isNamed = relationship.target.name === name;
  const isSelf = relationship.target === origin;
  if (hint !== undefined) {
    if (!isNamed || !answersHint(relationship, hint)) return false;
    // Of a table's key to itself, the table's name means the many and the key's name the one.
    return !isSelf || relationship.kind === 'many-to-many' || !relationship.isReferencing;
  }
  if (relationship.kind === 'many-to-many') return isNamed;
  if (isNamed && !(isSelf && relationship.isReferencing)) return true;
  // A constraint or a column may stand for the relation it leads to, though not for a view over it.
  const isTarget =
    relationship.constraint === name || (relationship.isReferencing && singleColumn(relationship.columns) === name);
  return (
    isTarget &&
    (relationship.isDeclared || isThroughView(relationship, origin)) &&
    (!isSelf || relationship.isReferencing)
  );
}

/** From a view to a table a constraint or column is clear enough. */
function isThroughView(relationship: Relationship, origin: Relation): boolean {
  return /view$/.test(origin.kind) && /table$/.test(relationship.target.kind);
}

function answersHint(relationship: Relationship, hint: string): boolean {
  if (relationship.kind === 'computed') return false;
  if (relationship.kind === 'many-to-many') {
    return relationship.junction.name === hint || relationship.constraints[1] === hint;
  }
  const [pair] = relationship.columns;
  return (
    relationship.constraint === hint || (relationship.columns.length === 1 && pair !== undefined && pair.includes(hint))
  );
}

function singleColumn(columns: readonly Pair[]): string | undefined {
  return columns.length === 1 ? columns[0]?.[0] : undefined;
}

function noRelationship(
  schema: Schema,
  schemaName: string,
  origin: Relation,
  { name, hint }: EmbedName,
  all: Relationship[],
): RecordsError {
  const using = hint === undefined ? '' : ` using the hint '${hint}'`;
  const isKnown = all.some(({ target }) => target.name === name);
  const suggestion = isKnown ? undefined : closest(name, [...new Set(all.map(({ target }) => target.name))]);
  const similarOrigin =
    all.length > 0
      ? undefined
      : closest(
          origin.name,
          [...(schema.relations.get(schemaName)?.keys() ?? [])].filter((other) => other !== origin.name),
        );
  return new RecordsError(
    'PGRST200',
    `Could not find a relationship between '${origin.name}' and '${name}' in the schema cache`,
    {
      details: `Searched for a foreign key relationship between '${origin.name}' and '${name}'${using} in the schema '${schemaName}', but no matches were found.`,
      hint: suggestion
        ? `Perhaps you meant '${suggestion}' instead of '${name}'.`
        : similarOrigin && `Perhaps you meant '${similarOrigin}' instead of '${origin.name}'.`,
    },
  );
}

function ambiguous(origin: Relation, name: string, found: readonly Relationship[]): RecordsError {
  const targets = found.map((relationship) => `'${name}!${constraintOf(relationship)}'`);
  return new RecordsError(
    'PGRST201',
    `Could not embed because more than one relationship was found for '${origin.name}' and '${name}'`,
    {
      details: found.map((relationship) => ({
        cardinality: relationship.kind,
        embedding: `${origin.name} with ${relationship.target.name}`,
        relationship: describe(origin, relationship),
      })),
      hint: `Try changing '${name}' to one of the following: ${targets.join(', ')}. Find the desired relationship in the 'details' key.`,
    },
  );
}

function constraintOf(relationship: Relationship): string {
  if (relationship.kind === 'computed') return relationship.routine.name;
  return relationship.kind === 'many-to-many' ? relationship.junction.name : relationship.constraint;
}

function describe(origin: Relation, relationship: Relationship): string {
  if (relationship.kind === 'computed') return relationship.routine.name;
  const owns = relationship.columns.map(([own]) => own).join(', ');
  const foreigns = relationship.columns.map(([, foreign]) => foreign).join(', ');
  if (relationship.kind === 'many-to-many') {
    const far = relationship.farColumns.map(([own]) => own).join(', ');
    const [first, second] = relationship.constraints;
    return `${relationship.junction.name} using ${first}(${foreigns}) and ${second}(${far})`;
  }
  return `${relationship.constraint} using ${origin.name}(${owns}) and ${relationship.target.name}(${foreigns})`;
}
