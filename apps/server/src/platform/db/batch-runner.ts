/** Runs batches: on a lane where they may share one, else on a connection of a pool. */
import { Client, type Pool, type PoolClient, type PoolConfig } from 'pg';
import { isStaleStatement, type Statement, type TextRow } from './batch.ts';
import type { Role } from './db.ts';
import { createLanes } from './lanes.ts';
import type { StatementState } from './prepared.ts';
import { Wire } from './wire.ts';

/** A pool and how its connections are made. */
export interface Login {
  pool: Pool;
  config: PoolConfig;
  /** How many lanes there are at most, beside the pool. */
  lanes: { read: number; write: number };
}

interface RunOptions {
  signal?: AbortSignal | undefined;
  measured?: ((text: string, ms: number) => void) | undefined;
}

export interface BatchRunner {
  readonly statements: StatementState;
  /**
   * Runs a batch and returns the rows of its last statement: on a lane if one is given and has room, else on a
   * connection of the pool.
   */
  run(
    login: Login,
    scope: Role | undefined,
    batch: readonly Statement[],
    options: { lane: Statement['kind']; signal?: (() => AbortSignal) | undefined },
  ): Promise<TextRow[]>;
  /** Runs a batch on a connection that was taken from a pool. */
  submit(client: PoolClient, scope: Role | undefined, batch: readonly Statement[]): Promise<TextRow[]>;
  close(): Promise<void>;
}

/** So much work may be waiting on a lane before the next one is used. One that always has work spares wake-ups. */
const FILLED_MS = 4;

/** @param logins those for which lanes are opened */
export function createBatchRunner(logins: readonly Login[]): BatchRunner {
  const statements: StatementState = { epoch: 0, hits: 0, misses: 0 };
  const wires = new WeakMap<PoolClient, Wire>();
  const lanes = new Map(
    logins.map((login) => {
      const { config, lanes } = login;
      const read = createLanes(config, statements, { max: lanes.read, filledMs: FILLED_MS });
      // Commits that wait for the disk at the same time are written together, and each lane has only one.
      const write = createLanes(config, statements, { max: lanes.write, filledMs: 0 });
      return [login, { read, write }];
    }),
  );

  const wireOf = (client: PoolClient): Wire => {
    const known = wires.get(client);
    if (known) return known;
    const wire = new Wire(client, statements);
    wires.set(client, wire);
    return wire;
  };
  const submit = (client: PoolClient, scope: Role | undefined, batch: readonly Statement[]) =>
    new Promise<TextRow[]>((resolve, reject) => {
      wireOf(client).send(scope, batch, (error, rows) => (error ? reject(error) : resolve(rows)));
    });

  const once = async (
    { pool, config }: Login,
    scope: Role | undefined,
    batch: readonly Statement[],
    { signal, measured }: RunOptions = {},
  ) => {
    const client = await connect(pool, signal);
    let isCancelled = false;
    const cancel = () => {
      // It may arrive late and hit what runs next, so nobody else gets this connection.
      isCancelled = true;
      void cancelBackend(config, client);
    };
    signal?.addEventListener('abort', cancel, { once: true });
    const startedAt = performance.now();
    try {
      const rows = await submit(client, scope, batch);
      measured?.(batch.at(-1)?.text ?? '', performance.now() - startedAt);
      return rows;
    } finally {
      signal?.removeEventListener('abort', cancel);
      client.release(!wireOf(client).isOpen || isCancelled);
    }
  };
  /** A prepared statement that is out of date has done nothing, and is sent again. */
  const alone = async (...parameters: Parameters<typeof once>) => {
    try {
      return await once(...parameters);
    } catch (error) {
      if (!isStaleStatement(error)) throw error;
      return await once(...parameters);
    }
  };

  return {
    statements,
    submit,
    async run(login, scope, batch, { lane: kind, signal }) {
      const lane = kind && lanes.get(login)?.[kind];
      try {
        const rows = await lane?.run(scope, batch);
        if (rows) return rows;
      } catch (error) {
        if (!isStaleStatement(error)) throw error;
      }
      return alone(login, scope, batch, { signal: signal?.(), measured: lane?.measured });
    },
    async close() {
      await Promise.all([...lanes.values()].flatMap(({ read, write }) => [read.close(), write.close()]));
    },
  };
}

/** A connection of the pool, unless the signal is raised before there is one. */
export async function connect(pool: Pool, signal: AbortSignal | undefined): Promise<PoolClient> {
  signal?.throwIfAborted();
  const client = await pool.connect();
  if (signal?.aborted) client.release();
  signal?.throwIfAborted();
  return client;
}

/** Ends the statement that a connection is running. The same login may always do that to itself. */
export async function cancelBackend(config: PoolConfig, client: PoolClient): Promise<void> {
  const { processID } = client as PoolClient & { processID: number };
  const other = new Client(config);
  other.on('error', () => {});
  try {
    await other.connect();
    await other.query('select pg_cancel_backend($1)', [processID]);
  } catch {
    // The statement then ends at its own time limit.
  } finally {
    await other.end().catch(() => {});
  }
}
