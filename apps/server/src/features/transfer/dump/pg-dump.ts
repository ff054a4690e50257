import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { UserTx } from '#platform/db/db.ts';
import { quoteIdentifier, sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { DatabaseAddress } from '#platform/platform.ts';
import { insertUsers } from './data.ts';
import { type DumpOptions, dumpRights, HEADER, section } from './dump.ts';
import { listObjects } from './objects.ts';
import { readExtensions, readPolicies, readRowSecurity, readSchemas, readTriggers } from './rest.ts';

/** Nothing of our own environment: it would tell secrets to whoever can read /proc. */
const PATH = '/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin';

/** Which pg_dump is to be used, and for what. */
export interface PgDump {
  program: string;
  database: DatabaseAddress;
  schemas: readonly string[];
  signal: AbortSignal;
}

/**
 * A pg_dump that can do what is asked for: one that is not older than the server, on a login that sees
 * everything; it has no switches for parts, so only for the whole.
 */
export async function findPgDump(
  tx: UserTx,
  { tables, functions, policies, triggers, sequences, views }: DumpOptions,
  database: DatabaseAddress,
): Promise<Omit<PgDump, 'signal'> | undefined> {
  if (tables || !functions || !policies || !triggers || !sequences || !views) return undefined;
  const state = await tx.one<{ major: number; all: boolean; schemas: string[] }>(sql`
    select current_setting('server_version_num')::int / 10000 as major,
      coalesce((select rolsuper from pg_roles where rolname = ${database.user}), false) as all,
      array(select nspname::text from pg_namespace where system.is_exposed_schema(nspname) order by 1) as schemas`);
  if (!state?.all || state.schemas.some((name) => /\p{Cc}/u.test(name))) return undefined;
  for (const program of [...(database.binDir ? [join(database.binDir, 'pg_dump')] : []), 'pg_dump']) {
    const version = await majorOf(program);
    if (version !== undefined && version >= state.major) return { program, database, schemas: state.schemas };
  }
  return undefined;
}

async function majorOf(program: string): Promise<number | undefined> {
  const told = await promisify(execFile)(program, ['--version'], { env: { PATH } }).catch(() => undefined);
  const version = /\(PostgreSQL\) (\d+)/.exec(told?.stdout ?? '')?.[1];
  return version === undefined ? undefined : Number(version);
}

/**
 * The same dump as our own, written by pg_dump but for what it leaves out: users, extensions, the platform's
 * tables. Row level security and rights too: it says only what differs from PostgreSQL's defaults, so that
 * what a project gives to every new table would come back where it was taken away.
 */
export async function* dumpByPgDump(tx: UserTx, options: DumpOptions, pgDump: PgDump): AsyncGenerator<string | Buffer> {
  const snapshot = await tx.one<{ id: string }>(sql`select pg_export_snapshot() as id`);
  const output = readOutput(pgDump, [
    `--snapshot=${snapshot?.id}`,
    '--no-publications',
    '--no-subscriptions',
    '--no-security-labels',
    '--no-tablespaces',
    '--no-owner',
    '--no-privileges',
    ...pgDump.schemas.map((name) => `--schema=${quoteIdentifier(name)}`),
    ...(options.data ? [] : ['--schema-only']),
  ]);
  try {
    // What fails before the first piece is still an answer of its own.
    const first = await output.next();
    yield HEADER;
    yield* section('Schemas and extensions', [...(await readSchemas(tx)), ...(await readExtensions(tx))]);
    if (options.users) yield* insertUsers(tx);
    yield* withoutSchemas(first.done ? '' : first.value.toString('latin1'), output);
  } finally {
    await output.return(undefined);
  }
  yield 'SET search_path = public;\n';
  yield* section('Triggers on tables of the platform', await readTriggers(tx, []));
  yield* section('Policies on tables of the platform', await readPolicies(tx, []));
  const objects = await listObjects(tx, { ...options, tables: undefined });
  const oids = objects.filter(({ kind }) => kind === 'table').map(({ oid }) => oid);
  yield* section('Row level security', await readRowSecurity(tx, oids));
  if (options.grants) yield* dumpRights(tx, objects);
}

/** Schemas come first in what pg_dump writes, `public` among them. They are there already by then. */
async function* withoutSchemas(first: string, output: AsyncGenerator<Buffer>): AsyncGenerator<Buffer> {
  let head = first;
  while (!PAST_SCHEMAS.test(head)) {
    const next = await output.next();
    if (next.done) break;
    head += next.value.toString('latin1');
  }
  const end = PAST_SCHEMAS.exec(head)?.index ?? head.length;
  const schemas = head.slice(0, end).replace(/^CREATE SCHEMA .*;$/gm, '');
  yield Buffer.from(schemas + head.slice(end), 'latin1');
  yield* output;
}

const PAST_SCHEMAS = /^(COPY|CREATE (?!SCHEMA)\w)/m;

async function* readOutput({ program, database, signal }: PgDump, args: string[]): AsyncGenerator<Buffer> {
  const { host, port, user, password, name, sslmode } = database;
  const child = spawn(program, args, {
    env: {
      PATH,
      PGHOST: host,
      PGPORT: String(port),
      PGUSER: user,
      PGPASSWORD: password,
      PGDATABASE: name,
      PGSSLMODE: sslmode,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
  });
  const ended = once(child, 'close');
  ended.catch(() => {}); // is awaited below, unless reading breaks off before
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length < MAX_COMPLAINT) complaint += text;
  });
  try {
    yield* child.stdout;
    const [code] = await ended;
    if (code !== 0) {
      throw new AppError('UPSTREAM_FAILURE', `pg_dump failed: ${complaint.trim().slice(0, MAX_COMPLAINT)}`, {
        nextActions: 'Send ?tool=insforge to have it dumped without pg_dump.',
      });
    }
  } finally {
    child.kill();
  }
}

const MAX_COMPLAINT = 2_000;
