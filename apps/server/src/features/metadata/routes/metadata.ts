import {
  DatabaseStatisticsSchema,
  MetadataQuerySchema,
  MetadataSchema,
  TableMetadataSchema,
} from '@insforge/contract/metadata.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { Db } from '#platform/db/db.ts';
import { readDatabase, readStatistics } from '../database.ts';
import { toMarkdown } from '../markdown.ts';
import { readSections, type Sections } from '../sections.ts';
import { readTableMetadata } from '../table.ts';

interface Options {
  db: Db;
  version: string;
  sections: Sections;
}

export const metadataRoutes: FastifyPluginAsyncZod<Options> = async (app, { db, version, sections }) => {
  const admin = db.as({ role: 'project_admin' });

  app.get(
    '/api/metadata',
    { schema: { querystring: MetadataQuerySchema, response: { 200: z.union([MetadataSchema, z.string()]) } } },
    async ({ query }, reply) => {
      const [{ summary, tables }, values] = await Promise.all([admin.tx(readDatabase), readSections(sections)]);
      if (query.format === 'json') return { ...values, database: summary, version };
      reply.type('text/markdown; charset=utf-8').serializer(String);
      return toMarkdown({ version, tables, sizeInGB: summary.totalSizeInGB, sections, values });
    },
  );

  app.get('/api/metadata/database', { schema: { response: { 200: DatabaseStatisticsSchema } } }, () =>
    admin.tx(readStatistics),
  );

  app.get(
    '/api/metadata/:table',
    {
      schema: {
        params: z.object({ table: z.string() }),
        response: { 200: z.record(z.string(), TableMetadataSchema) },
      },
    },
    async ({ params }) => ({ [params.table]: await admin.tx((tx) => readTableMetadata(tx, params.table)) }),
  );
};
