import type { SchemaWarning } from '@insforge/contract/schema.ts';
import type { Db, Settings, SystemTx, UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { findWarnings } from './warnings.ts';

/** What every surface that changes the schema stands on. */
export interface SchemaDoor {
  db: Db;
  /** Makes the data API see the schema as it is now. */
  reloadSchema: () => Promise<void>;
}

export interface ChangeOptions<Result> {
  /** Which surface changes the schema, for the record: `raw-sql`, `migration:7`. */
  source: string;
  /** The SQL that did it, for databases that cannot watch by themselves. */
  statementsOf: (result: Result) => readonly string[];
  /** Undo everything at the end. */
  dryRun?: boolean | undefined;
  /** False for work that is not known to change the schema; it is looked up then. */
  isSchemaChange?: boolean;
  /** For the transaction, besides the usual ones. */
  settings?: Settings;
  signal?: AbortSignal | undefined;
}

/** A change and what is to be said about it. */
export interface Change<Result> {
  result: Result;
  warnings: SchemaWarning[];
}

type Finished<Result> = Change<Result> & { isSchemaChange: boolean };

/**
 * Changes the schema as the admin, in one transaction. When it returns, new tables are closed and the next
 * request sees the change.
 */
export async function changeSchema<Result>(
  { db, reloadSchema }: SchemaDoor,
  work: (tx: UserTx) => Promise<Result>,
  options: ChangeOptions<Result>,
): Promise<Change<Result>> {
  const change = await db
    .as({ role: 'project_admin' })
    .tx((tx) => finish(tx, () => work(tx), options), settingsOf(options), options.signal);
  if (change.isSchemaChange) await reloadSchema();
  return change;
}

/** The same with the rights of the owner; what it leaves in public is the developer's. */
export async function changeSchemaAsOwner<Result>(
  { db, reloadSchema }: SchemaDoor,
  work: (tx: SystemTx) => Promise<Result>,
  options: ChangeOptions<Result>,
): Promise<Change<Result>> {
  const change = await db.system.tx(async (tx) => {
    for (const [name, value] of Object.entries(settingsOf(options))) {
      await tx.query(sql`select set_config(${name}, ${value}, true)`);
    }
    const handOver = async () => {
      const result = await work(tx);
      await tx.query(sql`select system.reassign_public_objects_to_project_admin()`);
      return result;
    };
    return finish(tx, handOver, options);
  }, options.signal);
  if (change.isSchemaChange) await reloadSchema();
  return change;
}

const settingsOf = ({ source, settings }: { source: string; settings?: Settings }): Settings => ({
  search_path: 'public',
  'insforge.change_source': source,
  ...settings,
});

type Statements = Pick<SystemTx, 'query' | 'one'>;

async function finish<Result>(
  tx: Statements,
  work: () => Promise<Result>,
  { dryRun = false, isSchemaChange = true, statementsOf }: ChangeOptions<Result>,
): Promise<Finished<Result>> {
  const inspected = async () => {
    const result = await work();
    if (isSchemaChange) await tx.query(sql`select system.note_schema_changes(${statementsOf(result)})`);
    return { result, ...(await inspect(tx)) };
  };
  const { result, warnings, hasTouched } = await (dryRun ? rehearse(tx, inspected) : inspected());
  return { result, warnings, isSchemaChange: !dryRun && (isSchemaChange || hasTouched) };
}

/** Closes new tables, and finds what is to be said about what was touched. */
async function inspect(tx: Statements): Promise<{ warnings: SchemaWarning[]; hasTouched: boolean }> {
  const state = await tx.one<{ touched: boolean | null }>(sql`
    with began as materialized (select age(pg_current_xact_id_if_assigned()::xid))
    select age is not null and (
      exists (select from pg_class where age(xmin) <= age) or exists (select from pg_proc where age(xmin) <= age)
      or exists (select from pg_policy where age(xmin) <= age)
      or exists (select from pg_constraint where age(xmin) <= age)) as touched
    from began`);
  if (!state?.touched) return { warnings: [], hasTouched: false };
  await tx.query(sql`select system.enable_rls_on_new_tables()`);
  return { warnings: await findWarnings(tx), hasTouched: true };
}

/** Does the work and undoes it, deferred constraints checked. */
export async function rehearse<Result>(tx: Pick<SystemTx, 'query'>, work: () => Promise<Result>): Promise<Result> {
  await tx.query(sql`savepoint rehearsal`);
  const result = await work();
  await tx.query(sql`set constraints all immediate`);
  await tx.query(sql`rollback to savepoint rehearsal`);
  return result;
}
