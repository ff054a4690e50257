/** Loads the schema from the catalogue and holds the current one. */
import { createHash } from 'node:crypto';
import type { Db, SystemTx } from '#platform/db/db.ts';
import { type Sql, sql } from '#platform/db/sql.ts';
import type { Logger } from '#platform/log.ts';
import { buildSchema, type CatalogueRows } from './build.ts';
import * as queries from './catalogue.ts';
import { mapGently } from './gently.ts';
import { emptySchema, type Schema } from './types.ts';

export interface SchemaCache {
  /** The schema to plan against; swapped as a whole. */
  readonly current: Schema;
  /**
   * Reads the catalogue again. Resolves when a load that began after this call has been swapped in, so
   * whoever changed the schema first sees it afterwards; calls in the meantime share one load.
   * @throws when the catalogue could not be read; the old schema stays
   */
  reload(): Promise<void>;
  /** Reloads without anybody waiting for it, and tries again in growing intervals as long as that fails. */
  follow(): void;
  /** Ends trying. */
  close(): void;
  /** True when PostgreSQL knows the time zone by this name. */
  isTimeZone(name: string): Promise<boolean>;
}

interface CacheOptions {
  db: Db;
  log: Logger;
  /** How long to wait before the first repetition; then twice as long each time. */
  retryMs?: number;
}

const MAX_RETRY_MS = 30_000;

/** Creates an empty cache. `reload()` fills it; nothing can be served before. */
export function createSchemaCache({ db, log, retryMs = 500 }: CacheOptions): SchemaCache {
  let current = emptySchema();
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  let timeZones: Promise<Set<string>> | undefined;
  let retry: NodeJS.Timeout | undefined;
  let isClosed = false;

  const load = async () => {
    const startedAt = performance.now();
    try {
      const { schema, durations } = await loadSchema(db);
      if (schema.fingerprint === current.fingerprint) return;
      current = schema;
      // Prepared statements may name what has changed its type or is gone.
      db.forgetStatements();
      log.info({ ms: Math.round(performance.now() - startedAt), ...durations }, 'schema.loaded');
    } catch (error) {
      log.error({ err: error }, 'schema.load_failed');
      throw error;
    }
  };

  const start = () => {
    running = load().finally(() => {
      running = undefined;
    });
    return running;
  };

  const reload = () => {
    if (!running) return start();
    // The running load may have read the catalogue before the caller's change: one more is needed, for all.
    next ??= running
      .catch(() => {})
      .then(() => {
        next = undefined;
        return start();
      });
    return next;
  };

  const follow = (delay = retryMs) => {
    clearTimeout(retry);
    reload().catch(() => {
      if (isClosed) return;
      clearTimeout(retry);
      retry = setTimeout(() => follow(Math.min(delay * 2, MAX_RETRY_MS)), delay);
    });
  };

  return {
    get current() {
      return current;
    },
    reload,
    follow: () => follow(),
    close() {
      isClosed = true;
      clearTimeout(retry);
    },
    async isTimeZone(name) {
      timeZones ??= loadTimeZones(db).catch((error) => {
        timeZones = undefined;
        throw error;
      });
      return (await timeZones).has(name.toLowerCase());
    },
  };
}

/** pg_timezone_names reads some 600 files, and they change with an operating system update only. */
async function loadTimeZones(db: Db): Promise<Set<string>> {
  const rows = await db.system.query<{ name: string }>(sql`select lower(name) as name from pg_timezone_names`);
  return new Set(rows.map(({ name }) => name));
}

interface LoadedSchema {
  schema: Schema;
  durations: { queriesMs: number; relations: number; routines: number };
}

async function loadSchema(db: Db): Promise<LoadedSchema> {
  const startedAt = performance.now();
  const hash = createHash('sha256');
  const catalogue = await db.system.tx(async (tx) => {
    await tx.query(sql`set transaction isolation level repeatable read, read only`);
    // Makes format_type, pg_get_expr and the like qualify every name that is not of pg_catalog.
    await tx.query(sql`set local search_path to pg_catalog`);
    return readCatalogue(tx, async (rows) => {
      for (const text of await mapGently(rows, (row) => JSON.stringify(row))) hash.update(text);
    });
  });
  const queriesMs = Math.round(performance.now() - startedAt);
  const schema = await buildSchema(catalogue, hash.digest('hex'));
  return {
    schema,
    durations: { queriesMs, relations: catalogue.relations.length, routines: catalogue.routines.length },
  };
}

async function readCatalogue(tx: SystemTx, seen: (rows: readonly object[]) => Promise<void>): Promise<CatalogueRows> {
  const read = async <Row extends object>(statement: Sql): Promise<Row[]> => {
    const rows = await tx.query<Row>(statement);
    await seen(rows);
    return rows;
  };
  const schemas = await read<queries.SchemaRow>(queries.exposedSchemas);
  const oids = schemas.map(({ oid }) => oid);
  const [mentions] = await read<queries.MentionsRow>(queries.mentions);
  return {
    schemas,
    types: await read(queries.types),
    relations: await read(queries.relations(oids)),
    columns: await read(queries.columns(oids)),
    constraints: await read(queries.constraints),
    views: await read(queries.views),
    routines: await read(queries.routines(oids)),
    roleSettings: await read(queries.roleSettings),
    representations: await read(queries.representations),
    mediaHandlers: await read(queries.mediaHandlers(oids)),
    readsRequest: mentions?.request ?? false,
    writesResponse: mentions?.response ?? false,
  };
}
