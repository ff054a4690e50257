import type { SchemaWarning } from '@insforge/contract/schema.ts';
import { changeSchema, type SchemaDoor } from '#features/schema/index.ts';
import { sessionName } from './progress.ts';
import { runScriptFile, type ScriptOutcome } from './script/run.ts';

/** Runs a SQL file in one transaction, as a change of the schema like any other. */
export async function importScript(
  door: SchemaDoor,
  source: AsyncIterable<Buffer>,
  { filename, truncate, dryRun }: { filename: string; truncate: boolean; dryRun: boolean },
  signal: AbortSignal,
): Promise<{ result: ScriptOutcome; warnings: SchemaWarning[] }> {
  return changeSchema(door, (tx) => runScriptFile(door.db, tx, source, { truncate }), {
    source: 'import',
    statementsOf: () => [],
    // A file takes as long as it takes; whoever sends it ends it by leaving.
    settings: { statement_timeout: '0', application_name: sessionName(filename, undefined) },
    dryRun,
    signal,
  });
}
