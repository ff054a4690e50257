import type { FastifyPluginAsync, onRequestAsyncHookHandler } from 'fastify';
import type { Db } from '#platform/db/db.ts';
import { adminRoutes } from './admin-routes.ts';
import { registerRoutes } from './routes.ts';
import type { SchemaCache } from './schema/cache.ts';

export { createSchemaCache, type SchemaCache } from './schema/cache.ts';

export interface RecordsOptions {
  db: Db;
  schema: SchemaCache;
  /** Identifies the caller of every request. */
  requireUser: onRequestAsyncHookHandler;
  /** Lets admins pass only. Without it there are no routes for the dashboard's table editor. */
  requireAdmin?: onRequestAsyncHookHandler;
  /** Off: PGRST123 for every aggregate. */
  areAggregatesEnabled?: boolean;
  /** The most rows that one read returns. */
  maxRows?: number | undefined;
  /** On: everybody may ask for query plans, which tell of data that policies hide. */
  arePlansPublic?: boolean;
  /** Schemas where SQL looks for names after the one of the request. */
  extraSearchPath?: readonly string[];
  /** Of the server, for the OpenAPI document. */
  version?: string;
  /** On: answers have a Server-Timing header with the stages of the engine. */
  hasServerTiming?: boolean;
}

/**
 * Tables and views at `/api/database/records/:table`, functions at `/api/database/rpc/:function`, in the
 * dialect of PostgREST; and whole rows for the dashboard at `/api/database/admin/tables/:table/records`.
 */
export const records: FastifyPluginAsync<RecordsOptions> = async (app, options) => {
  const { db, schema: cache, requireUser, requireAdmin } = options;
  const { areAggregatesEnabled = true, maxRows, arePlansPublic = false, version = '1.0.0' } = options;
  const { hasServerTiming = false, extraSearchPath = ['public'] } = options;
  await app.register(async (scope) => {
    scope.addHook('onRequest', requireUser);
    registerRoutes(scope, {
      db,
      cache,
      version,
      hasServerTiming,
      options: { areAggregatesEnabled, maxRows, arePlansPublic, extraSearchPath },
    });
  });
  if (!requireAdmin) return;
  await app.register(async (scope) => {
    scope.addHook('onRequest', requireAdmin);
    await scope.register(adminRoutes, { db, cache });
  });
};
