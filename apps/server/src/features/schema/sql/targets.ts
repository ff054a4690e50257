import type { StatementKind } from './parse.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Where the statements that change the schema name what they change. What they only refer to is not here. */
const TARGETS: Partial<Record<StatementKind, readonly string[]>> = {
  AlterDomainStmt: ['typeName'],
  AlterEnumStmt: ['typeName'],
  AlterFunctionStmt: ['func'],
  AlterObjectSchemaStmt: ['relation', 'object'],
  AlterOwnerStmt: ['relation', 'object'],
  AlterPolicyStmt: ['table'],
  AlterSeqStmt: ['sequence'],
  AlterStatsStmt: ['defnames'],
  AlterTableStmt: ['relation'],
  AlterTypeStmt: ['typeName'],
  CompositeTypeStmt: ['typevar'],
  CreateDomainStmt: ['domainname'],
  CreateEnumStmt: ['typeName'],
  CreateForeignTableStmt: ['base'],
  CreateFunctionStmt: ['funcname'],
  CreatePolicyStmt: ['table'],
  CreateRangeStmt: ['typeName'],
  CreateSeqStmt: ['sequence'],
  CreateStatsStmt: ['defnames'],
  CreateStmt: ['relation'],
  CreateTableAsStmt: ['into'],
  DefineStmt: ['defnames'],
  IndexStmt: ['relation'],
  RefreshMatViewStmt: ['relation'],
  RenameStmt: ['relation', 'object'],
  RuleStmt: ['relation'],
  SelectStmt: ['intoClause'],
  TruncateStmt: ['relations'],
  ViewStmt: ['view'],
};

/** Objects that are named with their table in front: `auth.users.my_trigger`. */
const ON_A_TABLE = new Set(['OBJECT_TRIGGER', 'OBJECT_POLICY', 'OBJECT_RULE', 'OBJECT_TABCONSTRAINT', 'OBJECT_COLUMN']);

/** The schemas whose objects a statement creates, changes or drops, as far as it names them. */
export function targetSchemas(kind: StatementKind, node: Fields): string[] {
  if (kind === 'CreateSchemaStmt' || kind === 'ImportForeignSchemaStmt') {
    return strings([node.schemaname, node.local_schema]);
  }
  const objectKind = String(node.removeType ?? node.renameType ?? node.objectType ?? node.objtype ?? '');
  // Triggers on auth.users are the developer's, and PostgreSQL knows on which tables they may be.
  if (objectKind === 'OBJECT_TRIGGER') return [];
  const schemas = strings([node.newschema]);
  if (objectKind === 'OBJECT_SCHEMA') {
    const named = [node.objects, node.object, node.subname].flat();
    return [...schemas, ...strings(named.map(textOf)), ...strings([node.subname])];
  }
  if (kind === 'GrantStmt') {
    const objects = list(node.objects);
    const areSchemas = node.targtype === 'ACL_TARGET_ALL_IN_SCHEMA';
    return areSchemas ? strings(objects.map(textOf)) : objects.flatMap((object) => schemasOf(object, 2));
  }
  if (kind === 'DropStmt') {
    const depth = ON_A_TABLE.has(objectKind) ? 3 : 2;
    return [...schemas, ...list(node.objects).flatMap((object) => schemasOf(object, depth))];
  }
  if (kind === 'CreateExtensionStmt') return [...schemas, ...strings(list(node.options).map(schemaOption))];
  const depth = ON_A_TABLE.has(objectKind) ? 3 : 2;
  return [...schemas, ...(TARGETS[kind] ?? []).flatMap((field) => schemasOf(node[field], depth))];
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const strings = (values: unknown[]): string[] => values.filter((value) => typeof value === 'string');
const textOf = (node: unknown): unknown => (node as { String?: { sval?: unknown } } | null | undefined)?.String?.sval;

function schemaOption(option: unknown): unknown {
  const { DefElem } = option as { DefElem?: { defname?: string; arg?: unknown } };
  return DefElem?.defname === 'schema' ? textOf(DefElem.arg) : undefined;
}

/** Wrappers that the tree puts around a name. */
const INSIDE = ['RangeVar', 'List', 'ObjectWithArgs', 'TypeName', 'items', 'objname', 'names', 'rel', 'relation'];

/** @param depth how many parts the name has when its schema is given: 2 for a table, 3 for a trigger on one */
function schemasOf(value: unknown, depth: number): string[] {
  if (Array.isArray(value)) {
    const parts = value.map(textOf);
    if (value.length > 0 && parts.every((part) => typeof part === 'string')) {
      const schema = parts.at(-depth);
      return schema === undefined ? [] : [schema];
    }
    return value.flatMap((item) => schemasOf(item, depth));
  }
  if (typeof value !== 'object' || value === null) return [];
  if ('schemaname' in value && typeof value.schemaname === 'string') return [value.schemaname];
  return INSIDE.flatMap((field) => schemasOf((value as Fields)[field], depth));
}
