/** Runs compiled requests. The only place of the engine that talks to the database. */
import type { Statement, TextRow } from '#platform/db/batch.ts';
import type { Claims, Db, Settings } from '#platform/db/db.ts';
import { Sql, sql } from '#platform/db/sql.ts';
import { isDatabaseError } from '#platform/errors.ts';
import { RecordsError } from './errors.ts';
import type { Slot } from './plan/types.ts';
import type { Guard, RequestPlan } from './plan.ts';
import { type CompiledRequest, type CompiledStatement, GUARD, RESULT } from './query.ts';

type Values = readonly (string | null)[];

/** What came back: the columns of RESULT, or the lines of a query plan. */
export interface Execution {
  readonly row: TextRow;
  readonly lines: readonly string[];
  /** The planner's estimate of the rows on all pages. */
  readonly estimate: number | undefined;
}

/** With whose rights and under which settings a request runs, and what ends it early. */
export interface ExecutionContext {
  readonly db: Db;
  readonly claims: Claims;
  readonly settings: Settings;
  readonly signal: (() => AbortSignal) | undefined;
}

export async function execute(
  context: ExecutionContext,
  compiled: CompiledRequest,
  values: Values,
): Promise<Execution> {
  const { plan, statement } = compiled;
  try {
    if (plan.isTransaction) return await executeInTransaction(context, compiled, values);
    const { db, claims, settings, signal } = context;
    const { text, slots, isCounted } = statement;
    const rows = await db
      .as(claims)
      .text({ text, values: bind(slots, values), kind: kindOf(plan), isCounted }, settings, signal);
    return {
      row: isCounted ? countedRow(rows[0]) : (rows[0] ?? []),
      lines: plan.format.plan ? rows.map(([line]) => line ?? '') : [],
      estimate: undefined,
    };
  } catch (error) {
    throw fromGuard(error, values, plan.guards) ?? error;
  }
}

/** The columns of RESULT, where only the numbers of rows written and merged came back. */
function countedRow([count = null, merged = null]: TextRow = []): TextRow {
  const row: (string | null)[] = [];
  row[RESULT.body] = '';
  row[RESULT.page] = count;
  row[RESULT.merged] = merged;
  return row;
}

/** What volatile functions and triggers do beside writing rows is not known, nor what EXPLAIN ANALYZE runs. */
function kindOf({ node: { source }, isReadOnly, write, format }: RequestPlan): Statement['kind'] {
  if (format.plan || (source.kind === 'call' && source.call.routine.isVolatile)) return undefined;
  if (isReadOnly) return 'read';
  return write && !write.relation.runsCode ? 'write' : undefined;
}

/** Carries the result out of a transaction that must not commit. */
class RolledBack extends Error {
  readonly execution: Execution;

  constructor(execution: Execution) {
    super('rolled back as the client preferred');
    this.execution = execution;
  }
}

async function executeInTransaction(
  { db, claims, settings, signal }: ExecutionContext,
  { plan, statement, estimate }: CompiledRequest,
  values: Values,
): Promise<Execution> {
  try {
    return await db.as(claims).tx(
      async (tx) => {
        const rows = await tx.query<Record<string, unknown>>(fill(statement, values));
        const columns = rows.map((row) => Object.values(row).map(toText));
        const [explained] = estimate ? await tx.query<Record<string, unknown>>(fill(estimate, values)) : [];
        const execution: Execution = {
          row: columns[0] ?? [],
          lines: plan.format.plan ? columns.map(([line]) => line ?? '') : [],
          estimate: explained && planRows(Object.values(explained)[0]),
        };
        if (!plan.isRolledBack) return execution;
        // Deferred constraints speak up now or never.
        await tx.query(sql`set constraints all immediate`);
        throw new RolledBack(execution);
      },
      settings,
      signal?.(),
    );
  } catch (error) {
    if (error instanceof RolledBack) return error.execution;
    throw error;
  }
}

function toText(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === 'string' ? value : JSON.stringify(value);
}

function bind(slots: readonly Slot[], values: Values): (string | null)[] {
  return slots.map((slot) => slotValue(slot, values));
}

function fill({ sql: { text, values: slots } }: CompiledStatement, values: Values): Sql {
  return new Sql(
    text,
    slots.map((slot) => slotValue(slot as Slot, values)),
  );
}

function slotValue(slot: Slot, values: Values): string | null {
  if (typeof slot === 'number') return values[slot] ?? null;
  return 'literal' in slot ? String(slot.literal) : slot.constant;
}

function planRows(explained: unknown): number | undefined {
  const root: unknown = Array.isArray(explained) ? explained[0] : undefined;
  const plan = typeof root === 'object' && root !== null && 'Plan' in root ? root.Plan : undefined;
  const rows = typeof plan === 'object' && plan !== null && 'Plan Rows' in plan ? plan['Plan Rows'] : undefined;
  return typeof rows === 'number' ? rows : undefined;
}

const BROKEN = new RegExp(`${GUARD}:(PGRST\\d+):(\\d+)`);

/** The refusal that a guard of the statement stands for. */
function fromGuard(error: unknown, values: Values, guards: readonly Guard[]): RecordsError | undefined {
  if (!isDatabaseError(error) || error.code !== '22P02' || guards.length === 0) return undefined;
  const [, code = '', count = ''] = BROKEN.exec(error.message) ?? [];
  const guard = guards.find((candidate) => candidate.code === code);
  if (!guard) return undefined;
  const limit = guard.isBroken.kind === 'more than' ? (slotValue(guard.isBroken.limit, values) ?? '') : '';
  return guardError(guard.code, count, limit);
}

/** What each guard says when it is broken. */
export function guardError(code: Guard['code'], count: string, limit = ''): RecordsError {
  switch (code) {
    case 'PGRST110':
      return new RecordsError(code, 'The maximum number of rows allowed to change was surpassed', {
        details: `Results contain ${count} rows changed but the maximum number allowed is ${limit}`,
      });
    case 'PGRST115':
      return new RecordsError(code, 'Payload values do not match URL in primary key column(s)');
    case 'PGRST116':
      return new RecordsError(code, 'JSON object requested, multiple (or no) rows returned', {
        details: `The result contains ${count} rows`,
      });
    case 'PGRST124':
      return new RecordsError(code, 'Query result exceeds max-affected preference constraint', {
        details: `The query affects ${count} rows`,
      });
  }
}
