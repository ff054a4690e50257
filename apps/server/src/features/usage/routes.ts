import { RecordUsageSchema, UsageListSchema, UsageQuerySchema, UsageRecordedSchema } from '@insforge/contract/usage.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Db } from '#platform/db/db.ts';
import { listToolCalls, recordToolCall } from './tool-calls.ts';

export const recordRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.post(
    '/api/usage/mcp',
    { schema: { body: RecordUsageSchema, response: { 200: UsageRecordedSchema } } },
    async ({ body }) => {
      await recordToolCall(db.system, body);
      return { success: true } as const;
    },
  );
};

export const usageRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.get(
    '/api/usage/mcp',
    { schema: { querystring: UsageQuerySchema, response: { 200: UsageListSchema } } },
    async ({ query }) => ({ records: await listToolCalls(db.system, query) }),
  );
};
