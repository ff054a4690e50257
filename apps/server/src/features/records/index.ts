import type { FastifyPluginAsync, onRequestHookHandler } from 'fastify';
import type { Db } from '#platform/db/db.ts';
import { registerRoutes } from './routes.ts';
import type { SchemaCache } from './schema-cache.ts';

export { createSchemaCache, type SchemaCache } from './schema-cache.ts';

export interface RecordsOptions {
  db: Db;
  schema: SchemaCache;
  /** Identifies the caller of every request. */
  requireUser: onRequestHookHandler;
  /** Off: PGRST123 for every aggregate. */
  areAggregatesEnabled?: boolean;
  /** The most rows that one read returns. */
  maxRows?: number;
  /** On: everybody may ask for query plans, which tell of data that policies hide. */
  arePlansPublic?: boolean;
}

/**
 * Tables and views at `/api/database/records/:table`, functions at `/api/database/rpc/:function`, in the
 * dialect of PostgREST.
 */
export const records: FastifyPluginAsync<RecordsOptions> = async (app, options) => {
  const { db, schema, requireUser, areAggregatesEnabled = true, maxRows, arePlansPublic = false } = options;
  app.addHook('onRequest', requireUser);
  registerRoutes(app, { db, cache: schema, options: { areAggregatesEnabled, maxRows, arePlansPublic } });
};
