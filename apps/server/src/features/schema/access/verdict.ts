import { loadParser, nodesOf } from '../sql/parse.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Who asks about a row: nobody that is signed in, a user whose row it is not, or the one whose row it is. */
export type Asker = 'nobody' | 'other' | 'owner';

/** What a condition can come to, as a set: of a row that is not known, often more than one thing. */
export interface Verdict {
  true: boolean;
  false: boolean;
  null: boolean;
}

type Value = keyof Verdict;
const VALUES: readonly Value[] = ['true', 'false', 'null'];

const only = (value: Value): Verdict => ({ true: false, false: false, null: false, [value]: true });
const TRUE = only('true');
const FALSE = only('false');
const NULL = only('null');
const UNKNOWN: Verdict = { true: true, false: true, null: true };

/** SQL's three-valued logic, for each combination of what the parts can come to. */
function combine(parts: readonly Verdict[], wins: Value, start: Value): Verdict {
  const both = (a: Value, b: Value): Value => (a === wins || b === wins ? wins : a === start ? b : a);
  return parts.reduce((left, right) => {
    const result = { true: false, false: false, null: false };
    for (const a of VALUES) for (const b of VALUES) if (left[a] && right[b]) result[both(a, b)] = true;
    return result;
  }, only(start));
}

export const allOf = (parts: readonly Verdict[]): Verdict => combine(parts, 'false', 'true');
export const anyOf = (parts: readonly Verdict[]): Verdict => combine(parts, 'true', 'false');
const not = (verdict: Verdict): Verdict => ({ ...verdict, true: verdict.false, false: verdict.true });

/** Rows of the condition's own table, or of another one inside of a subquery, whose owner says nothing about it. */
interface Scope {
  asker: Asker;
  role: string;
  isInside: boolean;
}

/**
 * What a policy's condition comes to for somebody. What it says about the caller (`auth.uid()`, `auth.role()`)
 * is known; what it says about the row is not.
 */
export async function judge(condition: string, asker: Asker, role: string): Promise<Verdict> {
  const { parseSync } = await loadParser();
  const { stmts } = parseSync(`select ${condition}`);
  const { SelectStmt } = (stmts?.[0]?.stmt ?? {}) as { SelectStmt?: { targetList?: { ResTarget: { val: Fields } }[] } };
  const expression = SelectStmt?.targetList?.[0]?.ResTarget.val;
  return expression ? evaluate(expression, { asker, role, isInside: false }) : UNKNOWN;
}

const EVALUATORS: Readonly<Record<string, (node: Fields, scope: Scope) => Verdict>> = {
  A_Const: (node) => ('boolval' in node ? ((node.boolval as Fields).boolval === true ? TRUE : FALSE) : UNKNOWN),
  TypeCast: (node, scope) => evaluate(node.arg as Fields, scope),
  BoolExpr: ({ boolop, args }, scope) => {
    const parts = (args as Fields[]).map((part) => evaluate(part, scope));
    if (boolop === 'NOT_EXPR') return not(parts[0] ?? UNKNOWN);
    return boolop === 'AND_EXPR' ? allOf(parts) : anyOf(parts);
  },
  NullTest: ({ arg, nulltesttype }, { asker }) => {
    if (!isUser(arg)) return { ...UNKNOWN, null: false };
    return (asker === 'nobody') === (nulltesttype === 'IS_NULL') ? TRUE : FALSE;
  },
  A_Expr: compare,
  SubLink: ({ subLinkType, subselect }, scope) => {
    const { SelectStmt: select } = (subselect ?? {}) as { SelectStmt?: Fields };
    // An aggregate has a row even where there are none.
    const isAggregate = [...nodesOf(select?.targetList)].some((each) => 'FuncCall' in each);
    if (subLinkType !== 'EXISTS_SUBLINK' || !select?.whereClause || isAggregate) return UNKNOWN;
    const rows = evaluate(select.whereClause as Fields, { ...scope, isInside: true });
    return rows.true ? { ...UNKNOWN, null: false } : FALSE;
  },
};

function evaluate(expression: Fields, scope: Scope): Verdict {
  const [kind = '', node] = Object.entries(expression)[0] ?? [];
  return EVALUATORS[kind]?.(node as Fields, scope) ?? UNKNOWN;
}

function compare({ kind, name, lexpr, rexpr }: Fields, { asker, role, isInside }: Scope): Verdict {
  const operator = (name as { String?: { sval?: string } }[] | undefined)?.at(-1)?.String?.sval;
  const sides = [bare(lexpr), bare(rexpr)];
  if (kind !== 'AEXPR_OP' && kind !== 'AEXPR_OP_ANY') return UNKNOWN;
  if (sides.some(isUser)) {
    if (asker === 'nobody') return NULL;
    if (isInside || kind === 'AEXPR_OP_ANY' || !sides.some((side) => 'ColumnRef' in side)) return UNKNOWN;
    const isSame = asker === 'owner' ? TRUE : FALSE;
    return operator === '=' ? isSame : operator === '<>' ? not(isSame) : UNKNOWN;
  }
  const text = sides.map(constantText).find((value) => value !== undefined);
  if (
    kind === 'AEXPR_OP' &&
    text !== undefined &&
    sides.some((side) => isCall(side, 'role') || isClaim(side, ['role']))
  ) {
    return (operator === '=') === (text === role) ? TRUE : FALSE;
  }
  return UNKNOWN;
}

/** Without casts, and without the subquery that makes a call happen once. */
function bare(expression: unknown): Fields {
  const { TypeCast, SubLink } = (expression ?? {}) as { TypeCast?: { arg: unknown }; SubLink?: Fields };
  if (TypeCast) return bare(TypeCast.arg);
  if (SubLink?.subLinkType === 'EXPR_SUBLINK') {
    const { SelectStmt } = SubLink.subselect as { SelectStmt?: Fields };
    const [target, ...more] = (SelectStmt?.targetList ?? []) as { ResTarget: { val: unknown } }[];
    if (target && more.length === 0 && !SelectStmt?.fromClause) return bare(target.ResTarget.val);
  }
  return (expression ?? {}) as Fields;
}

/** What names the user who is signed in; null for everybody else. */
function isUser(expression: unknown): boolean {
  const side = bare(expression);
  return isCall(side, 'uid') || isCall(side, 'email') || isClaim(side, ['sub', 'email']);
}

function isCall(side: Fields, name: string): boolean {
  const { funcname = [] } = (side.FuncCall ?? {}) as { funcname?: { String?: { sval?: string } }[] };
  return funcname.map((part) => part.String?.sval).join('.') === `auth.${name}`;
}

/** `auth.jwt() ->> 'sub'` */
function isClaim(side: Fields, claims: readonly string[]): boolean {
  const { lexpr, rexpr } = (side.A_Expr ?? {}) as Fields;
  const claim = constantText(bare(rexpr));
  return isCall(bare(lexpr), 'jwt') && claim !== undefined && claims.includes(claim);
}

function constantText(side: Fields): string | undefined {
  return (side.A_Const as { sval?: { sval?: string } } | undefined)?.sval?.sval;
}
