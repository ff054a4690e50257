import type { FastifyPluginAsync } from 'fastify';
import type { Db } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

interface HealthOptions {
  db: Db;
  version: string;
}

/** `GET /api/health`: ok only when both logins to the database answer, which is all that serving needs. */
export const health: FastifyPluginAsync<HealthOptions> = async (app, { db, version }) => {
  app.get('/api/health', { logLevel: 'silent' }, async () => {
    try {
      const probe = { text: 'select 1', values: [] };
      await Promise.all([db.as({ role: 'anon' }).text(probe), db.system.query(sql`select 1`)]);
    } catch (cause) {
      throw new AppError('UPSTREAM_FAILURE', 'The database does not answer', { cause });
    }
    return { status: 'ok', version, service: 'insforge', timestamp: new Date().toISOString() };
  });
};
