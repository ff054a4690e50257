import { Pool, type PoolClient, type PoolConfig, type QueryResult, type QueryResultRow } from 'pg';
import { Batch, isStaleStatement, type Statement, type TextRow } from './batch.ts';
import { compile, type Sql } from './sql.ts';

/** The roles a request can run as. Each is granted to the authenticator login and to nothing else. */
export type Role = 'anon' | 'authenticated' | 'project_admin';

/** Who is asking. Becomes the role of the transaction and the text of `request.jwt.claims`. */
export interface Claims {
  role: Role;
  sub?: string;
  email?: string;
}

interface Tx {
  /** Runs one statement and returns its rows. */
  query<Row extends QueryResultRow>(statement: Sql): Promise<Row[]>;
  /** Runs one statement and returns its first row, if any. */
  one<Row extends QueryResultRow>(statement: Sql): Promise<Row | undefined>;
  /**
   * Runs text as it came, with parameters or as several statements, and returns every result with rows as
   * arrays of values. Only for SQL that the caller was allowed to write itself (raw SQL, migrations).
   */
  run(text: string, values?: readonly unknown[]): Promise<QueryResult<unknown[]>[]>;
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
   * come back as text.
   */
  text(statement: Statement, settings?: Settings): Promise<TextRow[]>;
  /** A transaction of several statements. It commits when `work` returns and rolls back when it throws. */
  tx<Result>(work: (tx: UserTx) => Promise<Result>, settings?: Settings): Promise<Result>;
}

export interface SystemDoor extends Omit<SystemTx, typeof power> {
  /** A transaction of several statements. It commits when `work` returns and rolls back when it throws. */
  tx<Result>(work: (tx: SystemTx) => Promise<Result>): Promise<Result>;
}

/** The two doors to PostgreSQL: one with the rights of the caller, one with those of the platform. */
export interface Db {
  as(claims: Claims): UserDoor;
  readonly system: SystemDoor;
  /** Makes every connection forget its prepared statements. To be called when the schema changed. */
  forgetStatements(): void;
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
  let epoch = 0;

  const once = async (statements: readonly Statement[]) => {
    const client = await users.connect();
    return submit(client, statements, epoch, (broken) => client.release(broken));
  };

  return {
    as: (claims) => ({
      async text(statement, settings) {
        const statements = [prologue(claims, settings), statement];
        try {
          return (await once(statements))[1] ?? [];
        } catch (error) {
          if (!isStaleStatement(error)) throw error;
          return (await once(statements))[1] ?? [];
        }
      },
      tx: (work, settings) =>
        inTransaction(users, work as (tx: Tx) => ReturnType<typeof work>, (client) =>
          submit(client, [BEGIN, prologue(claims, settings)], epoch, () => {}),
        ),
    }),
    system: {
      ...statementsOf(owners),
      tx: (work) =>
        inTransaction(owners, work as (tx: Tx) => ReturnType<typeof work>, (client) => client.query('begin')),
    },
    forgetStatements() {
      epoch++;
    },
    async close() {
      await Promise.all([users.end(), owners.end()]);
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

/** One statement that switches to the caller's role and tells SQL who that is, until the transaction ends. */
function prologue(claims: Claims, settings: Settings = {}): Statement {
  const pairs = Object.entries(settings);
  let text = `select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)`;
  const values = [claims.role, JSON.stringify(claims)];
  for (const [name, value] of pairs) {
    text += `, set_config($${values.push(name)}, $${values.push(value)}, true)`;
  }
  return { text, values };
}

function submit(
  client: PoolClient,
  statements: readonly Statement[],
  epoch: number,
  done: (broken?: boolean) => void,
): Promise<TextRow[][]> {
  return new Promise((resolve, reject) => {
    client.query(
      new Batch(statements, epoch, (error, results) => {
        if (error) {
          done(!('severity' in error));
          reject(error);
        } else {
          done();
          resolve(results);
        }
      }),
    );
  });
}

interface Queryable {
  query: Pool['query'];
}

function statementsOf(target: Queryable, onRun = () => {}): Tx {
  const query = async <Row extends QueryResultRow>(statement: Sql) => {
    const { text, values } = compile(statement);
    return (await target.query<Row>(text, [...values])).rows;
  };
  return {
    query,
    one: async <Row extends QueryResultRow>(statement: Sql) => (await query<Row>(statement))[0],
    async run(text, values) {
      onRun();
      // Without parameters the simple protocol is used, which takes several statements.
      const result = await target.query({ text, rowMode: 'array', ...(values?.length ? { values: [...values] } : {}) });
      return (Array.isArray(result) ? result : [result]) as QueryResult<unknown[]>[];
    },
  };
}

async function inTransaction<Result>(
  pool: Pool,
  work: (tx: Tx) => Promise<Result>,
  begin: (client: PoolClient) => Promise<unknown>,
): Promise<Result> {
  const client = await pool.connect();
  // SQL of the caller's own may leave settings, temporary tables or locks in the session: nobody else gets to see it.
  let dirty = false;
  let broken = true;
  try {
    await begin(client);
    const result = await work(statementsOf(client, () => (dirty = true)));
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
    client.release(broken || dirty);
  }
}
