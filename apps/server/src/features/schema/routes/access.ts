import { AccessMatrixSchema, CheckAsSchema } from '@insforge/contract/schema.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Db } from '#platform/db/db.ts';
import { clientLeft } from '#platform/http/leaving.ts';
import { checkAs } from '../access/check-as.ts';
import { readAccess } from '../access/matrix.ts';
import { withDeadline } from '../sql/deadline.ts';
import { rowsAsJson } from '../sql/rows.ts';

/** Who can do what, and trying it. */
export const accessRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.get(
    '/api/database/access/:table',
    { schema: { params: z.object({ table: z.string() }), response: { 200: AccessMatrixSchema } } },
    ({ params }) => db.as({ role: 'project_admin' }).tx((tx) => readAccess(tx, params.table)),
  );

  app.post('/api/database/access/check', { schema: { body: CheckAsSchema } }, async (request, reply) => {
    const { result, claims } = await withDeadline(clientLeft(reply), (signal) => checkAs(db, request.body, signal));
    const { rowCount, fields, rows, isComplete } = result;
    const head = {
      as: claims,
      rowCount: rowCount ?? rows.length,
      fields,
      ...(isComplete
        ? {}
        : { truncated: { rowsReturned: rows.length, reason: 'There are more: send a greater maxRows.' } }),
      dryRun: true,
    };
    reply.type('application/json; charset=utf-8');
    return reply.send(`{"rows":${rowsAsJson(result)},${JSON.stringify(head).slice(1)}`);
  });
};
