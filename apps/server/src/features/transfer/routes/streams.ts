import type { Readable } from 'node:stream';
import {
  DumpQuerySchema,
  ExportRowsQuerySchema,
  ImportProgressSchema,
  ImportRowsReplySchema,
  ImportRowsSchema,
  type RowFormat,
} from '@insforge/contract/transfer.ts';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { SchemaDoor } from '#features/schema/index.ts';
import { audit } from '#platform/audit.ts';
import { AppError } from '#platform/errors.ts';
import { clientLeft } from '#platform/http/leaving.ts';
import type { DatabaseAddress } from '#platform/platform.ts';
import { streamDump, streamRows } from '../export-streams.ts';
import { importRows } from '../import-rows.ts';
import { readProgress } from '../progress.ts';

const TableParamsSchema = z.object({ table: z.string() });

/** Files of any size, read and written as they come. */
export const streamRoutes: FastifyPluginAsyncZod<{ door: SchemaDoor; database: DatabaseAddress }> = async (
  app,
  { door, database },
) => {
  const { db } = door;

  app.post(
    '/api/database/import/:table',
    { schema: { params: TableParamsSchema, querystring: ImportRowsSchema, response: { 200: ImportRowsReplySchema } } },
    async (request, reply) => {
      const { table } = request.params;
      const { dryRun, ...options } = request.query;
      const format = options.format ?? formatOf(request);
      const totalBytes = Number(request.headers['content-length']) || undefined;
      const work = { ...options, table, format, dryRun, totalBytes };
      const imported = await importRows(db, work, bodyOf(request), clientLeft(reply));
      const { rows, total, errors, moreErrors } = imported;
      if (!dryRun) {
        const details = { table, format, rowsImported: rows, totalRows: total };
        await audit(db.system, request, { action: 'IMPORT_DATABASE', module: 'DATABASE', details });
      }
      return {
        success: true,
        message: dryRun
          ? `Dry run: ${rows} of ${total} rows would be imported`
          : `${rows} of ${total} rows imported into ${table}`,
        table,
        rowsImported: rows,
        totalRows: total,
        ...(dryRun ? { dryRun } : {}),
        ...(errors.length > 0 ? { errors } : {}),
        ...(moreErrors > 0 ? { moreErrors } : {}),
      } as const;
    },
  );

  app.get('/api/database/import', { schema: { response: { 200: ImportProgressSchema } } }, () =>
    readProgress(db.system),
  );

  app.get(
    '/api/database/export/:table',
    { schema: { params: TableParamsSchema, querystring: ExportRowsQuerySchema } },
    async (request, reply) => {
      const { table } = request.params;
      const stream = await streamRows(db, { table, ...request.query }, clientLeft(reply));
      const details = { format: request.query.format, tables: [table] };
      await audit(db.system, request, { action: 'EXPORT_DATABASE', module: 'DATABASE', details });
      return reply.type(CONTENT_TYPES[request.query.format]).send(stream);
    },
  );

  app.get('/api/database/export', { schema: { querystring: DumpQuerySchema } }, async (request, reply) => {
    const stream = await streamDump(db, database, request.query, clientLeft(reply));
    const details = { format: 'sql', tables: request.query.tables ?? 'all', includeData: request.query.data };
    await audit(db.system, request, { action: 'EXPORT_DATABASE', module: 'DATABASE', details });
    return reply.type('application/sql; charset=utf-8').send(stream);
  });
};

const CONTENT_TYPES: Readonly<Record<RowFormat, string>> = {
  csv: 'text/csv; charset=utf-8',
  json: 'application/json; charset=utf-8',
  ndjson: 'application/x-ndjson; charset=utf-8',
};

function formatOf(request: FastifyRequest): RowFormat {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (type === 'text/csv') return 'csv';
  if (type === 'application/json') return 'json';
  if (type === 'application/x-ndjson' || type === 'application/jsonl') return 'ndjson';
  throw new AppError('INVALID_INPUT', 'What kind of file is it?', {
    nextActions:
      'Send ?format=csv, json or ndjson, or a content type of text/csv, application/json, application/x-ndjson.',
  });
}

function bodyOf(request: FastifyRequest): Readable {
  return (request.body as Readable | undefined) ?? request.raw;
}
