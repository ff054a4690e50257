import type { FastifyPluginAsync } from 'fastify';
import type { Statement } from '#platform/db/batch.ts';
import type { Db } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';

interface HealthOptions {
  db: Db;
  version: string;
}

const PROBE: Statement = { text: 'select 1', values: [], kind: 'read' };

/** `GET /api/health`: ok only when both logins to the database answer, which is all that serving needs. */
export const health: FastifyPluginAsync<HealthOptions> = async (app, { db, version }) => {
  app.get('/api/health', { logLevel: 'silent' }, async () => {
    try {
      await Promise.all([db.as({ role: 'anon' }).text(PROBE), db.system.text(PROBE)]);
    } catch (cause) {
      throw new AppError('UPSTREAM_FAILURE', 'The database does not answer', { cause });
    }
    return { status: 'ok', version, service: 'insforge', timestamp: new Date().toISOString() };
  });
};
