import { type RawSql, RawSqlSchema } from '@insforge/contract/schema.ts';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { clientLeft } from '#platform/http/leaving.ts';
import type { SchemaDoor } from '../changes.ts';
import { type RawSqlOutcome, runRawSql, runUnrestrictedSql, toReply } from '../raw-sql.ts';

const AUDITED_CHARACTERS = 300;

export const rawSqlRoutes: FastifyPluginAsyncZod<{ door: SchemaDoor }> = async (app, { door }) => {
  app.post('/api/database/advance/rawsql', { schema: { body: RawSqlSchema } }, async (request, reply) => {
    const outcome = await runRawSql(door, request.body, clientLeft(reply));
    await record(door.db, request, request.body.readOnly ? 'project_reader' : 'project_admin', outcome);
    return send(reply, outcome, request.body);
  });

  app.post('/api/database/advance/rawsql/unrestricted', { schema: { body: RawSqlSchema } }, async (request, reply) => {
    const outcome = await runUnrestrictedSql(door, request.body, clientLeft(reply));
    await record(door.db, request, 'root', outcome);
    return send(reply, outcome, request.body);
  });
};

function send(reply: FastifyReply, outcome: RawSqlOutcome, request: RawSql): FastifyReply {
  return reply.type('application/json; charset=utf-8').send(toReply(outcome, request));
}

function record(
  db: Db,
  request: FastifyRequest<{ Body: RawSql }>,
  executionRole: 'project_admin' | 'project_reader' | 'root',
  { result }: RawSqlOutcome,
): Promise<void> {
  const { query, params, explain, dryRun } = request.body;
  return audit(db.system, request, {
    action: executionRole === 'root' ? 'EXECUTE_RAW_SQL_UNRESTRICTED' : 'EXECUTE_RAW_SQL',
    module: 'DATABASE',
    details: {
      query: query.slice(0, AUDITED_CHARACTERS),
      paramCount: params.length,
      executionRole,
      explain,
      ...(explain ? {} : { rowsAffected: result.rowCount }),
      ...(dryRun ? { dryRun } : {}),
    },
  });
}
