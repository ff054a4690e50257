import {
  CatalogQuerySchema,
  CatalogSchema,
  FunctionListSchema,
  IndexListSchema,
  PolicyListSchema,
  SchemaListSchema,
  SchemaQuerySchema,
  TriggerListSchema,
} from '@insforge/contract/schema.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Db } from '#platform/db/db.ts';
import { listFunctions, listIndexes, listPolicies, listSchemas, listTriggers } from '../catalog.ts';
import { readCatalog, summarise } from '../introspection/catalog.ts';
import { catalogAsMarkdown, relationsAsMarkdown } from '../introspection/markdown.ts';

export const catalogRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  const admin = db.as({ role: 'project_admin' });

  app.get(
    '/api/database/catalog',
    { schema: { querystring: CatalogQuerySchema, response: { 200: z.union([CatalogSchema, z.string()]) } } },
    async ({ query }, reply) => {
      const catalog = await admin.tx((tx) => readCatalog(tx, query));
      const isFull = (query.detail ?? (query.tables === undefined ? 'summary' : 'full')) === 'full';
      if (query.format === 'json') return isFull ? catalog : summarise(catalog);
      reply.type('text/markdown; charset=utf-8').serializer(String);
      return isFull ? relationsAsMarkdown(catalog.relations) : catalogAsMarkdown(catalog);
    },
  );

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
