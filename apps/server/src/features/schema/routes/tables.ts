import {
  CreateTableReplySchema,
  CreateTableSchema,
  DropTableReplySchema,
  TableSchemaSchema,
  UpdateTableReplySchema,
  UpdateTableSchema,
} from '@insforge/contract/schema.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { changeSchema, type SchemaDoor } from '../changes.ts';
import { toTableSchema } from '../table-schema.ts';
import { autoFieldsOf, createTable, dropTable, listTables, requireTable, updateTable } from '../tables.ts';

const ADMIN = { role: 'project_admin' } as const;
const SOURCE = 'tables-api';
const BY_TABLES_API = { source: SOURCE, statementsOf: (statements: readonly string[]) => statements };
const TableParamsSchema = z.object({ tableName: z.string() });
const DryRunQuerySchema = z.object({ dryRun: z.stringbool().default(false) });

/** Reading tables. */
export const tableReadRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.get('/api/database/tables', { schema: { response: { 200: z.array(z.string()) } } }, () =>
    db.as(ADMIN).tx(listTables),
  );

  app.get(
    '/api/database/tables/:tableName/schema',
    { schema: { params: TableParamsSchema, response: { 200: TableSchemaSchema } } },
    ({ params }) => db.as(ADMIN).tx(async (tx) => toTableSchema(tx, await requireTable(tx, params.tableName))),
  );
};

/** Creating, changing and dropping them. */
export const tableChangeRoutes: FastifyPluginAsyncZod<{ door: SchemaDoor }> = async (app, { door }) => {
  const { db } = door;

  app.post(
    '/api/database/tables',
    { schema: { body: CreateTableSchema, response: { 201: CreateTableReplySchema } } },
    async (request, reply) => {
      const { tableName, columns, rlsEnabled, dryRun } = request.body;
      const { result, warnings } = await changeSchema(door, (tx) => createTable(tx, request.body), {
        ...BY_TABLES_API,
        dryRun,
      });
      if (!dryRun) {
        const details = { schemaName: 'public', tableName, columns: columns.map(named), rlsEnabled };
        await audit(db.system, request, { action: 'CREATE_TABLE', module: 'DATABASE', details });
      }
      return reply.status(201).send({
        ...replyTo('created', tableName, dryRun),
        columns,
        autoFields: autoFieldsOf(request.body),
        nextActions: rlsEnabled
          ? `No user reaches it before a policy says so: CREATE POLICY … ON ${tableName} in a migration or with POST /api/database/advance/rawsql.`
          : `Everybody with the anon key reaches it. Insert rows with POST /api/database/records/${tableName}.`,
        sql: result,
        ...(warnings.length > 0 ? { warnings } : {}),
      });
    },
  );

  app.patch(
    '/api/database/tables/:tableName/schema',
    { schema: { params: TableParamsSchema, body: UpdateTableSchema, response: { 200: UpdateTableReplySchema } } },
    async (request) => {
      const { dryRun } = request.body;
      const { result, warnings } = await changeSchema(
        door,
        (tx) => updateTable(tx, request.params.tableName, request.body),
        { source: SOURCE, statementsOf: ({ sql }) => sql, dryRun },
      );
      const { tableName, operations, sql } = result;
      if (!dryRun) {
        const details = { schemaName: 'public', tableName: request.params.tableName, operations };
        await audit(db.system, request, { action: 'UPDATE_TABLE', module: 'DATABASE', details });
      }
      const message = dryRun ? 'Dry run: nothing was changed' : 'Table schema updated successfully';
      return {
        message,
        tableName,
        operations,
        sql,
        ...(dryRun ? { dryRun } : {}),
        ...(warnings.length > 0 ? { warnings } : {}),
      };
    },
  );

  app.delete(
    '/api/database/tables/:tableName',
    {
      schema: { params: TableParamsSchema, querystring: DryRunQuerySchema, response: { 200: DropTableReplySchema } },
    },
    async (request) => {
      const { tableName } = request.params;
      const { dryRun } = request.query;
      const { result, warnings } = await changeSchema(door, (tx) => dropTable(tx, tableName), {
        ...BY_TABLES_API,
        dryRun,
      });
      if (!dryRun) {
        const details = { schemaName: 'public', tableName };
        await audit(db.system, request, { action: 'DELETE_TABLE', module: 'DATABASE', details });
      }
      return {
        ...replyTo('deleted', tableName, dryRun),
        nextActions: dryRun ? BEFORE_DROP : AFTER_DROP,
        sql: result,
        ...(warnings.length > 0 ? { warnings } : {}),
      };
    },
  );
};

const BEFORE_DROP = 'Leave dryRun out to drop it: its rows are then gone for good.';
const AFTER_DROP = 'Its rows are gone for good. Take it out of the types and queries of your app.';

const named = ({ columnName, type }: { columnName: string; type: string }) => ({ columnName, type });

function replyTo(verb: string, tableName: string, dryRun: boolean) {
  return dryRun
    ? ({ message: 'Dry run: nothing was changed', tableName, dryRun: true } as const)
    : { message: `Table ${verb} successfully`, tableName };
}
