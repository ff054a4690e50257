import {
  BulkUpsertFieldsSchema,
  BulkUpsertReplySchema,
  ExportReplySchema,
  ExportSchema,
  ImportFieldsSchema,
  ImportScriptReplySchema,
} from '@insforge/contract/transfer.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { SchemaDoor } from '#features/schema/index.ts';
import { audit } from '#platform/audit.ts';
import { AppError } from '#platform/errors.ts';
import { clientLeft } from '#platform/http/leaving.ts';
import { exportDatabase } from '../export.ts';
import { importRows } from '../import-rows.ts';
import { importScript } from '../import-script.ts';
import { receiveForm } from '../uploads.ts';

/** Files as forms, and exports as one JSON answer: how the official clients do it. */
export const formRoutes: FastifyPluginAsyncZod<{ door: SchemaDoor; tmpdir: string }> = async (
  app,
  { door, tmpdir },
) => {
  const { db } = door;

  app.post(
    '/api/database/advance/bulk-upsert',
    { schema: { response: { 200: BulkUpsertReplySchema } } },
    async (request, reply) => {
      const { filename, fields, open } = await receiveForm(request, BulkUpsertFieldsSchema, tmpdir);
      const format = formatOf(filename);
      const options = { onError: 'abort', truncate: false, dryRun: false, delimiter: ',' } as const;
      const { rows, total } = await importRows(db, { ...options, ...fields, format }, open(), clientLeft(reply));
      const details = {
        table: fields.table,
        filename,
        rowsAffected: rows,
        totalRecords: total,
        upsertKey: fields.upsertKey,
      };
      await audit(db.system, request, { action: 'BULK_UPSERT', module: 'DATABASE', details });
      const message = `${rows} of ${total} records written to ${fields.table}`;
      return {
        success: true,
        message,
        table: fields.table,
        rowsAffected: rows,
        totalRecords: total,
        filename,
      } as const;
    },
  );

  app.post(
    '/api/database/advance/import',
    { schema: { response: { 200: ImportScriptReplySchema } } },
    async (request, reply) => {
      const { filename, fields, open } = await receiveForm(request, ImportFieldsSchema, tmpdir);
      const { result, warnings } = await importScript(door, open(), { ...fields, filename }, clientLeft(reply));
      if (!fields.dryRun) {
        const details = {
          filename,
          tables: result.tables,
          rowsImported: result.rows,
          fileSize: result.bytes,
          ...fields,
        };
        await audit(db.system, request, { action: 'IMPORT_DATABASE', module: 'DATABASE', details });
      }
      return {
        success: true,
        message: fields.dryRun ? 'Dry run: it works, and nothing was changed' : 'SQL file imported successfully',
        filename,
        tables: result.tables,
        rowsImported: result.rows,
        fileSize: result.bytes,
        statements: result.statements,
        skipped: result.skipped,
        ...(fields.dryRun ? ({ dryRun: true } as const) : {}),
        ...(warnings.length > 0 ? { warnings } : {}),
      } as const;
    },
  );

  app.post(
    '/api/database/advance/export',
    { schema: { body: ExportSchema, response: { 200: ExportReplySchema } } },
    async (request) => {
      const reply = await exportDatabase(db, request.body);
      const details = { ...request.body, tables: reply.tables };
      await audit(db.system, request, { action: 'EXPORT_DATABASE', module: 'DATABASE', details });
      return reply;
    },
  );
};

function formatOf(filename: string): 'csv' | 'json' | 'ndjson' {
  const [extension = ''] = /[^.]*$/.exec(filename.toLowerCase()) ?? [];
  if (extension === 'csv' || extension === 'json') return extension;
  if (extension === 'ndjson' || extension === 'jsonl') return 'ndjson';
  throw new AppError('INVALID_INPUT', `A .${extension} file has no rows that can be read`, {
    nextActions: 'Send a .csv, .json or .ndjson file; SQL goes to POST /api/database/advance/import.',
  });
}
