import {
  FunctionListSchema,
  IndexListSchema,
  PolicyListSchema,
  SchemaListSchema,
  SchemaQuerySchema,
  TriggerListSchema,
} from '@insforge/contract/schema.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Db } from '#platform/db/db.ts';
import { listFunctions, listIndexes, listPolicies, listSchemas, listTriggers } from '../catalog.ts';

export const catalogRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  const admin = db.as({ role: 'project_admin' });

  app.get('/api/database/schemas', { schema: { response: { 200: SchemaListSchema } } }, () => admin.tx(listSchemas));

  app.get(
    '/api/database/functions',
    { schema: { querystring: SchemaQuerySchema, response: { 200: FunctionListSchema } } },
    ({ query }) => admin.tx((tx) => listFunctions(tx, query.schema)),
  );

  app.get(
    '/api/database/indexes',
    { schema: { querystring: SchemaQuerySchema, response: { 200: IndexListSchema } } },
    ({ query }) => admin.tx((tx) => listIndexes(tx, query.schema)),
  );

  app.get(
    '/api/database/policies',
    { schema: { querystring: SchemaQuerySchema, response: { 200: PolicyListSchema } } },
    ({ query }) => admin.tx((tx) => listPolicies(tx, query.schema)),
  );

  app.get(
    '/api/database/triggers',
    { schema: { querystring: SchemaQuerySchema, response: { 200: TriggerListSchema } } },
    ({ query }) => admin.tx((tx) => listTriggers(tx, query.schema)),
  );
};
