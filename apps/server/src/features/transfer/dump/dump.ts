import type { UserTx } from '#platform/db/db.ts';
import { createStatement } from './create.ts';
import { copyRows, insertUsers } from './data.ts';
import { type DumpObject, listObjects } from './objects.ts';
import {
  readConstraints,
  readDefaults,
  readExtensions,
  readForeignKeys,
  readIndexes,
  readKeys,
  readPolicies,
  readRowSecurity,
  readRules,
  readSchemas,
  readSequenceOwners,
  readSequenceValues,
  readTriggers,
} from './rest.ts';
import { readComments, readOtherRights, readRights } from './rights.ts';

/** What is in a dump. */
export interface DumpOptions {
  /** Absent: everything. */
  tables?: readonly string[] | undefined;
  data: boolean;
  /** Of each table; absent: all. */
  rowLimit?: number | undefined;
  functions: boolean;
  policies: boolean;
  triggers: boolean;
  sequences: boolean;
  views: boolean;
  grants: boolean;
  /** The users of the project, to whom rows refer. */
  users: boolean;
}

/** What every dump begins with. */
export const HEADER = `-- A dump of an InsForge project. Into an empty project:
--   POST /api/database/advance/import, or psql -v ON_ERROR_STOP=1 --single-transaction -f
SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET check_function_bodies = false;
SET client_min_messages = warning;

`;

/** Writes the developer's schemas as SQL, piece by piece, in an order in which it can be run. */
export async function* dumpDatabase(tx: UserTx, options: DumpOptions): AsyncGenerator<string | Buffer> {
  const isWhole = options.tables === undefined;
  yield HEADER;
  if (isWhole) yield* section('Schemas and extensions', [...(await readSchemas(tx)), ...(await readExtensions(tx))]);
  const objects = await listObjects(tx, { ...options, tables: options.tables });
  const tables = objects.filter(({ kind }) => kind === 'table');
  const oids = tables.map(({ oid }) => oid);

  yield* creations(
    tx,
    objects.filter(({ needsViews }) => !needsViews),
  );
  if (options.sequences) yield* section('Owners of sequences', await readSequenceOwners(tx, oids));
  if (options.data) {
    if (options.users) yield* insertUsers(tx);
    for (const table of tables) yield* copyRows(tx, table, options.rowLimit);
    yield* section('Values of sequences', options.sequences ? await readSequenceValues(tx, oids) : []);
  }
  yield* section('Keys', await readKeys(tx, oids));
  yield* creations(
    tx,
    objects.filter(({ needsViews }) => needsViews),
  );
  yield* section('Defaults', await readDefaults(tx, oids));
  yield* section('Constraints', await readConstraints(tx, oids));
  yield* section('Indexes', await readIndexes(tx, oids));
  yield* section('Foreign keys', await readForeignKeys(tx, oids));
  const filled = objects.filter(({ kind }) => kind === 'materialized view');
  yield* lines(
    await readIndexes(
      tx,
      filled.map(({ oid }) => oid),
    ),
  );
  if (options.data) yield* lines(filled.map(({ identity }) => `REFRESH MATERIALIZED VIEW ${identity};`));
  yield* section('Rules', await readRules(tx, oids));
  if (options.triggers) yield* section('Triggers', await readTriggers(tx, oids));
  yield* section('Row level security', await readRowSecurity(tx, oids));
  if (options.policies) yield* section('Policies', await readPolicies(tx, oids));
  if (options.grants) yield* dumpRights(tx, objects);
  for (const object of objects) yield* lines(await readComments(tx, object));
}

/** Who owns what, and who may do what, whatever a new project gives by itself. */
export async function* dumpRights(tx: UserTx, objects: readonly DumpObject[]): AsyncGenerator<string> {
  for (const object of objects) yield* lines(await readRights(tx, object));
  const tables = objects.filter(({ kind }) => kind === 'table');
  const rights = await readOtherRights(
    tx,
    tables.map(({ oid }) => oid),
  );
  yield* section('Other rights', rights);
}

async function* creations(tx: UserTx, objects: readonly DumpObject[]): AsyncGenerator<string> {
  for (const object of objects) {
    yield* section(`${object.kind} ${object.identity}`, [await createStatement(tx, object)]);
  }
}

export function* section(title: string, statements: readonly string[]): Generator<string> {
  if (statements.length === 0) return;
  yield `-- ${title.replaceAll('\n', ' ')}\n`;
  yield* lines(statements);
  yield '\n';
}

function* lines(statements: readonly string[]): Generator<string> {
  if (statements.length > 0) yield `${statements.join('\n')}\n`;
}
