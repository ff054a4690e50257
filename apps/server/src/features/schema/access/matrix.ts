import type { AccessCell, AccessMatrix } from '@insforge/contract/schema.ts';
import type { UserTx } from '#platform/db/db.ts';
import { COMMANDS, type Command, type Policy, readTableAccess, type TableAccess } from './table-access.ts';
import { type Asker, allOf, anyOf, judge, type Verdict } from './verdict.ts';

/** The rows of the matrix: as which role, and whether it is about one's own rows. */
const CALLERS = {
  anon: { role: 'anon', asker: 'nobody', name: 'anon' },
  authenticated: { role: 'authenticated', asker: 'other', name: 'other users' },
  owner: { role: 'authenticated', asker: 'owner', name: 'the user' },
  admin: { role: 'project_admin', asker: 'nobody', name: 'project_admin' },
} as const;
type Caller = keyof typeof CALLERS;

type Row = Record<Command, AccessCell>;

/**
 * Who can do what with a table or view, from its grants and policies.
 * @param name in public, or with its schema in front
 */
export async function readAccess(tx: UserTx, name: string): Promise<AccessMatrix> {
  const dot = name.indexOf('.');
  const [schema, table] = dot < 0 ? ['public', name] : [name.slice(0, dot), name.slice(dot + 1)];
  return { table: name, ...(await readMatrix(tx, schema, table)) };
}

async function readMatrix(tx: UserTx, schema: string, table: string): Promise<Omit<AccessMatrix, 'table'>> {
  const access = await readTableAccess(tx, schema, table);
  const beneath: Beneath[] = [];
  for (const { schema, name } of access.reads ?? []) beneath.push({ name, matrix: await readMatrix(tx, schema, name) });
  const rowOf = async (caller: Caller): Promise<Row> => {
    const cells: [Command, AccessCell][] = [];
    for (const command of COMMANDS) cells.push([command, await cellOf(access, caller, command, beneath)]);
    return Object.fromEntries(cells) as Row;
  };
  return {
    kind: access.kind,
    rlsEnabled: access.rls,
    anon: await rowOf('anon'),
    authenticated: await rowOf('authenticated'),
    owner: await rowOf('owner'),
    admin: await rowOf('admin'),
  };
}

/** What a view reads with the rights of its caller, and who can do what with that. */
interface Beneath {
  name: string;
  matrix: Omit<AccessMatrix, 'table'>;
}

async function cellOf(access: TableAccess, caller: Caller, command: Command, beneath: Beneath[]): Promise<AccessCell> {
  const { role } = CALLERS[caller];
  const grant = access.grants[role]?.[command] ?? false;
  if (grant === false) return { access: 'none', reason: `${role} has no grant to ${command}` };
  const columns = grant === true ? {} : { columns: grant };
  if (access.kind.endsWith('view')) return { ...viewCell(access, caller, command, beneath), ...columns };
  if (!access.rls || access.bypass.includes(role)) return { access: 'all', ...columns };
  return { ...(await policyCell(access, caller, command)), ...columns };
}

/** A view has no policies of its own. */
function viewCell(
  { updatable, reads, owner }: TableAccess,
  caller: Caller,
  command: Command,
  beneath: Beneath[],
): AccessCell {
  if (!updatable[command]) return { access: 'none', reason: `the view cannot ${command}` };
  if (!reads) return { access: 'all', reason: `the view reads with the rights of its owner ${owner}, not of who asks` };
  const order = ['none', 'own', 'some', 'all'] as const;
  const [weakest] = beneath
    .map(({ name, matrix }) => ({ name, cell: matrix[caller][command] }))
    .sort((a, b) => order.indexOf(a.cell.access) - order.indexOf(b.cell.access));
  if (!weakest) return { access: 'all' };
  return {
    ...weakest.cell,
    reason: weakest.cell.reason ?? `the view reads ${weakest.name} with the rights of who asks`,
  };
}

async function policyCell({ policies }: TableAccess, caller: Caller, command: Command): Promise<AccessCell> {
  const { role, asker, name } = CALLERS[caller];
  const applying = policies.filter((policy) => isFor(policy, command) && policy.roles.includes(role));
  const verdict = await judgeAll(applying, command, asker, role);
  if (!verdict.true) {
    return { access: 'none', reason: `row level security is on, and no policy lets ${name} ${command}` };
  }
  const named = { policies: namesOf(applying) };
  // Whoever can find no row can change rows only in statements that look for none.
  const shown = policies.filter((policy) => isFor(policy, 'select') && policy.roles.includes(role));
  const isBlind = command !== 'insert' && !(await judgeAll(shown, 'select', asker, role)).true;
  const blind = isBlind
    ? { reason: `no policy shows ${name} these rows: only a ${command} without a condition reaches them` }
    : {};
  const check = command === 'update' ? checkOf(applying) : undefined;
  const more = { ...(check === undefined ? {} : { check }), ...named, ...blind };
  const ofOthers = asker === 'owner' ? await judgeAll(applying, command, 'other', role) : verdict;
  if (isAlways(verdict) && isAlways(ofOthers)) return { access: 'all', ...more };
  return { access: ofOthers.true ? 'some' : 'own', condition: conditionOf(applying, command), ...more };
}

const isAlways = (verdict: Verdict) => !verdict.false && !verdict.null;
const isFor = (policy: Policy, command: Command) => policy.command === '*' || policy.command === command;

/** One of the permissive policies, and every restrictive one. Permissive ones go first in lists. */
async function judgeAll(policies: readonly Policy[], command: Command, asker: Asker, role: string): Promise<Verdict> {
  const verdicts = async (wanted: boolean) => {
    const chosen = policies.filter(({ permissive }) => permissive === wanted);
    return Promise.all(chosen.map((policy) => judge(expressionOf(policy, command), asker, role)));
  };
  return allOf([anyOf(await verdicts(true)), ...(await verdicts(false))]);
}

const byKind = (policies: readonly Policy[]) =>
  [...policies].sort((a, b) => Number(b.permissive) - Number(a.permissive));
const namesOf = (policies: readonly Policy[]) => byKind(policies).map(({ name }) => name);

/** A policy without a check of its own is checked by its using. */
function expressionOf({ using, check }: Policy, command: Command): string {
  return (command === 'insert' ? (check ?? using) : using) ?? 'true';
}

const conditionOf = (policies: readonly Policy[], command: Command) =>
  joined(policies, (policy) => expressionOf(policy, command));

/** What rows have to be after an update, where that is not what they have to be before. */
function checkOf(policies: readonly Policy[]): string | undefined {
  if (policies.every(({ using, check }) => check === null || check === using)) return undefined;
  return joined(policies, ({ using, check }) => check ?? using ?? 'true');
}

function joined(policies: readonly Policy[], expression: (policy: Policy) => string): string {
  const some = policies.filter(({ permissive }) => permissive).map(expression);
  const every = policies.filter(({ permissive }) => !permissive).map(expression);
  const either = [...new Set(some)].join(' OR ');
  return [some.length > 1 && every.length > 0 ? `(${either})` : either, ...every].join(' AND ');
}
