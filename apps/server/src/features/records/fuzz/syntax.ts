/** What a syntax tree of PostgreSQL's own parser says that a statement is made of. */
import { parse } from 'libpg-query';
import { OPERATORS } from '../grammar/operators.ts';

/** A node of the tree, or a list of them, or a leaf. */
type Tree = unknown;

/** The one statement of a text. Places in the text are left out: they differ with the length of names. */
export async function statementOf(text: string): Promise<Tree> {
  const { stmts = [] } = await parse(text);
  if (stmts.length !== 1) throw new Error(`${stmts.length} statements: ${text}`);
  return stmts[0]?.stmt;
}

const isPlace = (key: string) => /^(location|stmt_len|(rexpr_)?list_(start|end))$/.test(key);

/** Calls `visit` with every named node and with the fields inside of it. */
export function walk(tree: Tree, visit: (kind: string, fields: Record<string, Tree>) => void): void {
  if (Array.isArray(tree)) for (const item of tree) walk(item, visit);
  else if (typeof tree === 'object' && tree !== null) {
    for (const [kind, fields] of Object.entries(tree)) {
      if (/^[A-Z]/.test(kind)) visit(kind, fields as Record<string, Tree>);
      walk(fields, visit);
    }
  }
}

/**
 * Where two trees differ in more than wording: in anything but texts that `words` translates. Undefined when they
 * do not.
 */
export function difference(
  plain: Tree,
  other: Tree,
  words: ReadonlyMap<string, string>,
  path = '',
): string | undefined {
  if (typeof plain === 'string') {
    return plain === other || words.get(plain) === other ? undefined : `${path}: ${plain} became ${other}`;
  }
  if (typeof plain !== 'object' || plain === null || typeof other !== 'object' || other === null) {
    return plain === other ? undefined : `${path}: ${plain} became ${JSON.stringify(other)}`;
  }
  const keys = new Set([...Object.keys(plain), ...Object.keys(other)].filter((key) => !isPlace(key)));
  for (const key of keys) {
    const found = difference(
      (plain as Record<string, Tree>)[key],
      (other as Record<string, Tree>)[key],
      words,
      `${path}.${key}`,
    );
    if (found !== undefined) return found;
  }
  return undefined;
}

const NODES = new Set(
  `A_ArrayExpr A_Const A_Expr A_Star Alias BoolExpr BooleanTest CaseExpr CaseWhen CoalesceExpr ColumnDef ColumnRef
  CommonTableExpr DefElem DeleteStmt ExplainStmt FuncCall InferClause IndexElem InsertStmt Integer JoinExpr List NamedArgExpr
  NullTest OnConflictClause ParamRef RangeFunction RangeSubselect RangeVar ResTarget RowExpr SelectStmt SetToDefault
  SortBy String SubLink TypeCast TypeName UpdateStmt WithClause`.split(/\s+/),
);
const FUNCTIONS = new Set(
  `array_agg count current_setting json_agg json_array_elements json_build_array json_build_object json_strip_nulls
  json_to_record json_to_recordset left length nullif row_to_json set_config st_asgeojson string_agg substring
  to_jsonb to_tsvector to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery unnest
  avg max min sum`.split(/\s+/),
);
const CONSTANTS =
  /^(|\[\]|\n|0|type|FeatureCollection|features|response\.(headers|status)|records\.merged|records-guard:PGRST\d{3}:|1895|format|text|json)$/;
const OPERATOR_TEXTS = new Set([
  ...Object.values(OPERATORS).map(({ sql }) => sql),
  ...['~~', '~~*', '->', '->>', '||', '+', '-', '*', '='],
]);

/** Everything in a statement that the engine has no word for. `names` are those of the schema. */
export function strangers(tree: Tree, names: ReadonlySet<string>): string[] {
  const found: string[] = [];
  const check = (isKnown: boolean, what: string) => {
    if (!isKnown) found.push(what);
  };
  walk(tree, (kind, fields) => {
    check(NODES.has(kind), `node ${kind}`);
    const texts = textsOf(fields);
    if (kind === 'RangeVar')
      check(names.has(String(fields.relname)) || isInternal(String(fields.relname)), `relation ${fields.relname}`);
    if (kind === 'FuncCall') check(isFunction(textsOf(fields.funcname), names), `function ${textsOf(fields.funcname)}`);
    if (kind === 'ColumnRef') for (const text of texts) check(names.has(text) || isInternal(text), `column ${text}`);
    if (kind === 'A_Const') for (const text of texts) check(CONSTANTS.test(text), `constant ${text}`);
    if (kind === 'A_Expr') for (const text of textsOf(fields.name)) check(OPERATOR_TEXTS.has(text), `operator ${text}`);
    if (kind === 'TypeName') for (const text of textsOf(fields.names)) check(isType(text, names), `type ${text}`);
  });
  return found;
}

function textsOf(tree: Tree): string[] {
  const texts: string[] = [];
  const collect = (value: Tree, key = '') => {
    if (key === 'sval' && typeof value === 'string') texts.push(value);
    else if (typeof value === 'object' && value !== null)
      for (const [name, item] of Object.entries(value)) collect(item, name);
  };
  collect(tree);
  return texts;
}

/** Aliases and columns of the engine's own. */
function isInternal(text: string): boolean {
  return /^([tej]\d+|c\d+|[bcdgrsw]|excluded|order \d+|body|present|element|shown|written|called|arguments|computed .*|pgrst_scalar)$/.test(
    text,
  );
}

function isFunction(names: readonly string[], known: ReadonlySet<string>): boolean {
  return names.length === 1
    ? FUNCTIONS.has(names[0] ?? '')
    : names.every((name) => known.has(name) || name === 'pg_catalog');
}

function isType(text: string, names: ReadonlySet<string>): boolean {
  return (
    names.has(text) ||
    /^(pg_catalog|text|json|jsonb|bool|int[248]|float[48]|numeric|date|uuid|regconfig|tsvector|timestamptz|bytea)$/.test(
      text,
    )
  );
}

/** What a statement joins by which pairs of columns, the terms it orders by, and the logic of each of its queries. */
export interface Shape {
  joins: number;
  pairs: number;
  terms: number;
  /** Conditions with operators for leaves, such as `and(=,or(like,not(is null)))`; without those of joins. */
  readonly logic: string[];
}

/** The shape of a statement, to be held against that of its plan. */
export function shapeOfStatement(tree: Tree): Shape {
  const shape: Shape = { joins: 0, pairs: 0, terms: 0, logic: [] };
  walk(tree, (kind, fields) => {
    if (kind === 'A_Expr' && isPair(fields as unknown as Operation)) shape.pairs++;
    if (kind === 'JoinExpr') shape.joins++;
    if (kind === 'SortBy') shape.terms++;
    if (kind === 'SelectStmt' && fields.whereClause !== undefined) {
      const logic = logicOf(fields.whereClause);
      if (logic !== undefined) shape.logic.push(logic);
    }
  });
  return { ...shape, logic: shape.logic.sort() };
}

/** Conditions of one kind inside of each other are one list, as the parser makes them. */
export function combine(operator: string, parts: readonly (string | undefined)[]): string | undefined {
  const found = parts.filter((part) => part !== undefined);
  if (operator !== 'not' && found.length < 2) return found[0];
  const flat = found.flatMap((part) =>
    part.startsWith(`${operator}(`) ? splitTop(part.slice(operator.length + 1, -1)) : [part],
  );
  return `${operator}(${(operator === 'not' ? found : flat).join()})`;
}

/** The parts of a list that commas of the list itself separate. */
function splitTop(text: string): string[] {
  let depth = 0;
  const parts = [''];
  for (const character of text) {
    if (character === '(') depth++;
    if (character === ')') depth--;
    if (character === ',' && depth === 0) parts.push('');
    else parts[parts.length - 1] += character;
  }
  return parts;
}

interface Expression {
  BoolExpr?: { boolop: string; args: Expression[] };
  NullTest?: { nulltesttype: string };
  BooleanTest?: { booltesttype: string };
  SubLink?: { subLinkType: string; operName?: Tree };
  A_Expr?: Operation;
  ColumnRef?: Tree;
}

interface Operation {
  kind: string;
  name: Tree;
  lexpr: Expression;
  rexpr: Expression;
}

function isPair({ name, lexpr, rexpr }: Operation): boolean {
  return operatorOf(name) === '=' && lexpr?.ColumnRef !== undefined && rexpr?.ColumnRef !== undefined;
}

/** Undefined for what joins a row to its parent. */
function logicOf(tree: Tree): string | undefined {
  const { BoolExpr, NullTest, BooleanTest, SubLink, A_Expr } = tree as Expression;
  if (BoolExpr) return combine(BoolExpr.boolop.replace('_EXPR', '').toLowerCase(), BoolExpr.args.map(logicOf));
  if (NullTest) return NullTest.nulltesttype === 'IS_NULL' ? 'is null' : 'is not null';
  if (BooleanTest) return BooleanTest.booltesttype.replaceAll('_', ' ').toLowerCase();
  if (SubLink) return `${operatorOf(SubLink.operName)} ${SubLink.subLinkType === 'ANY_SUBLINK' ? 'any' : 'all'}`;
  if (!A_Expr) return JSON.stringify(tree);
  if (isPair(A_Expr)) return undefined;
  const operator = operatorOf(A_Expr.name);
  if (A_Expr.kind === 'AEXPR_DISTINCT') return 'is distinct from';
  if (A_Expr.kind === 'AEXPR_OP_ANY') return `${operator} any`;
  return A_Expr.kind === 'AEXPR_OP_ALL' ? `${operator} all` : operator;
}

/** The parser has names of its own for these two. */
function operatorOf(name: Tree): string {
  const [text = ''] = textsOf(name);
  return { '~~': 'like', '~~*': 'ilike' }[text] ?? text;
}
