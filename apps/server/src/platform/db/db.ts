import type { Readable } from 'node:stream';
import { Pool, type PoolClient, type PoolConfig, type QueryResultRow } from 'pg';
import { isStaleStatement, type Statement, type TextRow, toStatement } from './batch.ts';
import { type BatchRunner, cancelBackend, connect, createBatchRunner, type Login } from './batch-runner.ts';
import { CopyFrom, CopyTo } from './copy.ts';
import { createGroups, type RowWrite } from './groups.ts';
import { identity, prologue, setSession, setTransaction } from './prologue.ts';
import { RawQuery, type RawResult, type ReadLimits } from './raw-query.ts';
import { compile, type Sql, sql } from './sql.ts';

/** The roles a request can run as. Each is granted to the authenticator login and to nothing else. */
export type Role = 'anon' | 'authenticated' | 'project_admin';

/** Who is asking. Becomes the role of the transaction and the text of `request.jwt.claims`. */
export interface Claims {
  readonly role: Role;
  readonly sub?: string;
  readonly email?: string;
  /** What else a token of ours says; `auth.jwt()` gives it to policies. Never outranks the three above. */
  readonly more?: Readonly<Record<string, unknown>>;
}

interface Tx {
  /** Runs one statement and returns its rows. */
  query<Row extends QueryResultRow>(statement: Sql): Promise<Row[]>;
  /** Runs one statement and returns its first row, if any. */
  one<Row extends QueryResultRow>(statement: Sql): Promise<Row | undefined>;
  /**
   * Runs one statement as it came and returns its rows as text. Only for SQL that the caller was allowed to
   * write itself (raw SQL, migrations): the connection is not used again afterwards.
   */
  run(text: string, values?: readonly unknown[], limits?: ReadLimits): Promise<RawResult>;
  /** `COPY … FROM STDIN`, fed from the source. Returns the number of rows. */
  copyFrom(text: string, source: AsyncIterable<Buffer>): Promise<number>;
  /** `COPY … TO STDOUT`. The stream has to be read to its end, or the transaction be left by throwing. */
  copyTo(text: string): Readable;
}

declare const power: unique symbol;
/** A transaction with the rights of a request: PostgreSQL itself refuses what the role may not do. */
export interface UserTx extends Tx {
  readonly [power]: 'user';
}
/** A transaction with the rights of the platform. */
export interface SystemTx extends Tx {
  readonly [power]: 'system';
}

/** Settings of one transaction, by name: `{'search_path': '"shop", "public"'}`. */
export type Settings = Readonly<Record<string, string>>;

export interface UserDoor {
  /**
   * The fast path: one statement in its own transaction, in one round trip. Values travel as text and
   * come back as text. `signal` cancels it; it is asked for where the statement may take its time.
   */
  text(statement: Statement, settings?: Settings, signal?: () => AbortSignal): Promise<TextRow[]>;
  /**
   * The fast path for small writes: a row, in a statement that it may share with others of the same caller that come at
   * the same time. One that fails fails alone.
   * @returns what the statement returned of it; undefined where it did not write it
   */
  grouped(write: RowWrite): Promise<TextRow | undefined>;
  /**
   * Runs a statement and takes it back, in one round trip. Returns where the caller may run it, and throws what it
   * would throw where they may not.
   */
  rehearse(statement: Statement): Promise<void>;
  /**
   * A transaction of several statements. It commits when `work` returns and rolls back when it throws.
   * `signal` cancels the statement that is running, which makes it throw.
   */
  tx<Result>(work: (tx: UserTx) => Promise<Result>, settings?: Settings, signal?: AbortSignal): Promise<Result>;
  /** One statement outside of any transaction, for those that refuse to run in one (CREATE INDEX CONCURRENTLY). */
  alone(text: string, settings?: Settings, signal?: AbortSignal): Promise<RawResult>;
}

export interface SystemDoor extends Omit<SystemTx, typeof power | 'run' | 'copyFrom' | 'copyTo'> {
  /** As at the users' door: one statement in its own transaction, prepared, in one round trip. */
  text(statement: Statement): Promise<TextRow[]>;
  /** As at the users' door. */
  grouped(write: RowWrite): Promise<TextRow | undefined>;
  /**
   * Several statements in one transaction and one round trip, prepared. Returns the rows of the last, as JSON has them:
   * dates are texts.
   * @param kind what all of them do
   */
  json<Row>(kind: Statement['kind'], ...statements: readonly Sql[]): Promise<Row[]>;
  /** As at the users' door. */
  tx<Result>(work: (tx: SystemTx) => Promise<Result>, signal?: AbortSignal): Promise<Result>;
  /** As at the users' door. */
  alone(text: string, settings?: Settings, signal?: AbortSignal): Promise<RawResult>;
}

/** The two doors to PostgreSQL: one with the rights of the caller, one with those of the platform. */
export interface Db {
  as(claims: Claims): UserDoor;
  readonly system: SystemDoor;
  /** Makes every connection forget its prepared statements. To be called when the schema changed. */
  forgetStatements(): void;
  /** How often a statement was found prepared on its connection. */
  readonly preparedStatements: { readonly hits: number; readonly misses: number };
  close(): Promise<void>;
}

export interface DbOptions {
  /** The login that serves requests: NOINHERIT, no rights of its own. */
  authenticator: PoolConfig;
  /** The login that owns the platform's schemas. */
  system: PoolConfig;
  /** Called for an idle connection that broke; the pool replaces it by itself. */
  onError: (error: Error) => void;
}

/** Opens both pools. Nothing is connected before the first statement. */
export function createDb({ authenticator, system, onError }: DbOptions): Db {
  const users = openPool(authenticator, onError);
  const owners = openPool(system, onError);
  // With the pools no more than 40 connections, so that two servers fit into the 100 that PostgreSQL takes by default.
  const usersLogin = { pool: users, config: authenticator, lanes: { read: 4, write: 4 } };
  const ownersLogin = { pool: owners, config: system, lanes: { read: 2, write: 4 } };
  const runner = createBatchRunner([usersLogin, ownersLogin]);
  const groups = createGroups((claims, statement, settings) =>
    claims
      ? runner.run(usersLogin, claims.role, [prologue(claims, settings), statement], { lane: undefined })
      : runner.run(ownersLogin, undefined, [...setTransaction(settings), statement], { lane: undefined }),
  );

  return {
    as: (claims) => ({
      text: (statement, settings, signal) =>
        runner.run(usersLogin, claims.role, [prologue(claims, settings), statement], {
          // The lanes' own time limit must not replace one that was asked for.
          lane: settings?.statement_timeout === undefined ? statement.kind : undefined,
          signal,
        }),
      grouped: (write) => groups.run(claims, write),
      rehearse: (statement) => rehearse(users, runner, claims.role, [BEGIN, prologue(claims), statement, ROLLBACK]),
      tx: (work, settings, signal) =>
        inTransaction(
          usersLogin,
          work as (tx: Tx) => ReturnType<typeof work>,
          (client) => runner.submit(client, claims.role, [begin(settings), prologue(claims, settings)]),
          signal,
        ),
      alone: (text, settings, signal) =>
        runAlone(usersLogin, text, setSession({ ...identity(claims), ...settings }), signal),
    }),
    system: {
      ...statementsOf(owners),
      text: (statement) => runner.run(ownersLogin, undefined, [statement], { lane: statement.kind }),
      grouped: (write) => groups.run(undefined, write),
      async json<Row>(kind: Statement['kind'], ...statements: readonly Sql[]) {
        const [last = sql``, ...before] = statements.toReversed();
        const asJson = sql`with given as (${last}) select to_json(given) from given`;
        const batch = [...before.toReversed(), asJson].map(toStatement);
        const rows = await runner.run(ownersLogin, undefined, batch, { lane: kind });
        return rows.map(([json]): Row => JSON.parse(json ?? 'null'));
      },
      tx: (work, signal) =>
        inTransaction(
          ownersLogin,
          work as (tx: Tx) => ReturnType<typeof work>,
          (client) => client.query('begin'),
          signal,
        ),
      alone: (text, settings = {}, signal) => runAlone(ownersLogin, text, setSession(settings), signal),
    },
    preparedStatements: runner.statements,
    forgetStatements() {
      runner.statements.epoch++;
    },
    async close() {
      await Promise.all([runner.close(), users.end(), owners.end()]);
    },
  };
}

/**
 * The pool listens to its idle clients only. A connection that breaks while it is in use emits an error too,
 * besides failing its statement, and nobody listening would end the process.
 */
function openPool(config: PoolConfig, onError: (error: Error) => void): Pool {
  const pool = new Pool(config).on('error', onError);
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

const BEGIN: Statement = { text: 'begin', values: [] };
const BEGIN_REPEATABLE_READ: Statement = { text: 'begin isolation level repeatable read', values: [] };

/** The isolation has to be said before anything is read, so it cannot be set like the other settings. */
const begin = (settings: Settings = {}): Statement =>
  settings.transaction_isolation === 'repeatable read' ? BEGIN_REPEATABLE_READ : BEGIN;
const ROLLBACK: Statement = { text: 'rollback', values: [] };

async function rehearse(pool: Pool, runner: BatchRunner, role: Role, batch: readonly Statement[]): Promise<void> {
  const client = await pool.connect();
  let broken = false;
  const once = async () => {
    broken = true;
    await runner.submit(client, role, batch).catch(async (error) => {
      // The rollback at the end of the batch was skipped with the rest of it.
      await client.query('rollback');
      broken = false;
      throw error;
    });
    broken = false;
  };
  try {
    await once().catch((error) => {
      if (!isStaleStatement(error)) throw error;
      return once();
    });
  } finally {
    client.release(broken);
  }
}

interface Queryable {
  query: Pool['query'];
}

function statementsOf(target: Queryable): Pick<Tx, 'query' | 'one'> {
  const query = async <Row extends QueryResultRow>(statement: Sql) => {
    const { text, values } = compile(statement);
    return (await target.query<Row>(text, [...values])).rows;
  };
  return {
    query,
    one: async <Row extends QueryResultRow>(statement: Sql) => (await query<Row>(statement))[0],
  };
}

const UNLIMITED: ReadLimits = { maxRows: Number.MAX_SAFE_INTEGER, maxBytes: Number.MAX_SAFE_INTEGER };

function runRaw(
  client: PoolClient,
  text: string,
  values: readonly unknown[] = [],
  limits = UNLIMITED,
): Promise<RawResult> {
  return new Promise((resolve, reject) => {
    client.query(new RawQuery({ text, values, limits }, (error, result) => (error ? reject(error) : resolve(result))));
  });
}

function copiesOf(client: PoolClient): Pick<Tx, 'copyFrom' | 'copyTo'> {
  return {
    copyFrom: (text, source) =>
      new Promise((resolve, reject) => {
        client.query(new CopyFrom(text, source, (error, rows) => (error ? reject(error) : resolve(rows))));
      }),
    copyTo: (text) => client.query(new CopyTo(text)).stream,
  };
}

async function inTransaction<Result>(
  { pool, config }: Login,
  work: (tx: Tx) => Promise<Result>,
  begin: (client: PoolClient) => Promise<unknown>,
  signal?: AbortSignal,
): Promise<Result> {
  const client = await connect(pool, signal);
  // SQL of the caller's own may leave settings, temporary tables or locks in the session, and a cancellation
  // may still be on its way: nobody else gets this connection then.
  let dirty = false;
  let broken = true;
  const run: Tx['run'] = (text, values, limits) => {
    dirty = true;
    return runRaw(client, text, values, limits);
  };
  const cancel = () => {
    dirty = true;
    void cancelBackend(config, client);
  };
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    await begin(client);
    const result = await work({ ...statementsOf(client), run, ...copiesOf(client) });
    signal?.throwIfAborted();
    await client.query('commit');
    broken = false;
    return result;
  } catch (error) {
    // A connection that cannot even roll back is thrown away, and with it the transaction.
    await client.query('rollback').then(
      () => (broken = false),
      () => {},
    );
    throw error;
  } finally {
    signal?.removeEventListener('abort', cancel);
    client.release(broken || dirty);
  }
}

/** Runs a statement outside of a transaction, on a connection that nobody uses after it. */
async function runAlone(
  { pool, config }: Login,
  text: string,
  session: Statement,
  signal?: AbortSignal,
): Promise<RawResult> {
  const client = await connect(pool, signal);
  const cancel = () => void cancelBackend(config, client);
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    await client.query(session.text, [...session.values]);
    return await runRaw(client, text);
  } finally {
    signal?.removeEventListener('abort', cancel);
    client.release(true);
  }
}
