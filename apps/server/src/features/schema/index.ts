import type { FastifyPluginAsync } from 'fastify';
import type { Platform } from '#platform/platform.ts';
import { accessRoutes } from './routes/access.ts';
import { catalogRoutes } from './routes/catalog.ts';
import { configRoutes } from './routes/config.ts';
import { rawSqlRoutes } from './routes/raw-sql.ts';
import { tableChangeRoutes, tableReadRoutes } from './routes/tables.ts';

export { listFunctions, listIndexes, listPolicies, listTriggers } from './catalog.ts';
export { type Change, changeSchema, rehearse, type SchemaDoor } from './changes.ts';
export { listTableOverviews, type TableOverview } from './row-counts.ts';
export { ALONE_DEADLINE_MS, findAlone, runAlone } from './sql/alone.ts';
export { withDeadline } from './sql/deadline.ts';
export { findRefusal } from './sql/guards.ts';
export { isOwnerStatement, runAsOwner } from './sql/owner-statements.ts';
export { type ParsedStatement, parseSql } from './sql/parse.ts';
export { rowsAsJson } from './sql/rows.ts';
export { runScript, toRefusalError, withPosition } from './sql/run.ts';
export { listTables } from './tables.ts';

interface SchemaOptions {
  platform: Pick<Platform, 'db' | 'guards'>;
  reloadSchema: () => Promise<void>;
}

/** Tables, raw SQL, and what is in the database. All of it is the admin's. */
export const schema: FastifyPluginAsync<SchemaOptions> = async (app, { platform, reloadSchema }) => {
  const { db, guards } = platform;
  const door = { db, reloadSchema };
  app.addHook('onRequest', guards.requireAdmin);
  await app.register(tableReadRoutes, { db });
  await app.register(tableChangeRoutes, { door });
  await app.register(rawSqlRoutes, { door });
  await app.register(catalogRoutes, { db });
  await app.register(accessRoutes, { db });
  await app.register(configRoutes, { db });
};
