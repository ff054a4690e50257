import type { MigrationRehearsal } from '@insforge/contract/migrations.ts';
import {
  changeSchema,
  findAlone,
  type ParsedStatement,
  runScript,
  type SchemaDoor,
  withDeadline,
} from '#features/schema/index.ts';
import { AppError, toAppError } from '#platform/errors.ts';
import { MIGRATION_SOURCE, readMigration, terminated } from './migrations.ts';
import { assessRisks } from './risks.ts';

/** Runs a migration for real and undoes it. A migration that fails is an answer here, not an error. */
export async function rehearseMigration(door: SchemaDoor, sql: string, left: AbortSignal): Promise<MigrationRehearsal> {
  let statements: ParsedStatement[] = [];
  try {
    statements = await readMigration(sql);
    if (findAlone(statements, { dryRun: false })) return { valid: true, ...describe(statements, [NOT_TRIED]) };
    const script = { sql, statements };
    const { warnings } = await withDeadline(left, (signal) =>
      changeSchema(door, (tx) => runScript(door.db, tx, script), {
        source: MIGRATION_SOURCE,
        statementsOf: () => [],
        dryRun: true,
        signal,
      }),
    );
    return { valid: true, ...describe(statements), ...(warnings.length > 0 ? { warnings } : {}) };
  } catch (error) {
    const known = toAppError(error);
    if (!(error instanceof AppError) || known.status >= 500) throw error;
    const { line, column, statement } = (known.details ?? {}) as { line?: number; column?: number; statement?: string };
    return {
      valid: false,
      ...describe(statements),
      error: known.message,
      line,
      column,
      statement,
      nextActions: known.nextActions,
    };
  }
}

const NOT_TRIED = 'Statement 1 does not run in a transaction: it was read, but not tried';

function describe(statements: readonly ParsedStatement[], more: readonly string[] = []) {
  const { riskLevel, riskFactors } = assessRisks(statements);
  return {
    statementCount: statements.length,
    statements: statements.map(terminated),
    riskLevel,
    riskFactors: [...riskFactors, ...more],
  };
}
