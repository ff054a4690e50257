/** `/api/database/admin/tables/:table/records`: what the dashboard's table editor needs; and the engine's caches. */
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { TextRow } from '#platform/db/batch.ts';
import type { Claims, Db } from '#platform/db/db.ts';
import { compile, type Sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { deleteRows, findRow, insertRows, listRows, rangeOf, requireRelation, updateRow } from './admin-records.ts';
import { JSON_TYPE } from './grammar/media-types.ts';
import type { SchemaCache } from './schema/cache.ts';

const ParamsSchema = z.object({ table: z.string() });
const RowSchema = z.record(z.string(), z.unknown());
const SchemaQuerySchema = z.object({ schema: z.string().trim().min(1).default('public') });

const SortSchema = z
  .string()
  .transform((text) =>
    text
      .split(',')
      .filter((term) => term !== '')
      .map((term) => {
        const [, column = '', direction = 'asc'] = /^(.*?)(?::(asc|desc))?$/s.exec(term) ?? [];
        return { column, direction: direction === 'desc' ? ('desc' as const) : ('asc' as const) };
      }),
  )
  .default([]);

const ListQuerySchema = SchemaQuerySchema.extend({
  limit: z.coerce.number().int().min(1).max(500).default(50),
  offset: z.coerce.number().int().min(0).default(0),
  search: z.string().trim().optional(),
  sort: SortSchema,
  filterColumn: z.string().optional(),
  filterValue: z.string().optional(),
});
const LookupQuerySchema = SchemaQuerySchema.extend({ column: z.string().min(1), value: z.string() });
const UpdateSchema = z.object({ pkKeys: RowSchema, data: RowSchema });
const DeleteSchema = z.object({ pkKeys: z.array(RowSchema).min(1) });

interface AdminOptions {
  db: Db;
  cache: SchemaCache;
}

export const adminRoutes: FastifyPluginAsyncZod<AdminOptions> = async (app, { db, cache }) => {
  app.get('/api/database/admin/caches', async () => cacheStats({ db, cache }));

  const path = '/api/database/admin/tables/:table/records';
  const relationOf = ({ params, query }: { params: { table: string }; query: { schema: string } }) =>
    requireRelation(cache.current, query.schema, params.table);

  app.get(path, { schema: { params: ParamsSchema, querystring: ListQuerySchema } }, async (request, reply) => {
    const { filterColumn, filterValue, ...options } = request.query;
    const filter =
      filterColumn === undefined || filterValue === undefined
        ? undefined
        : { column: filterColumn, value: filterValue };
    const [rows, count, total] = await runOne(
      db,
      request.caller.claims,
      listRows(relationOf(request), { ...options, search: options.search, filter }),
    );
    return reply
      .type(JSON_TYPE)
      .header('content-range', rangeOf(options.offset, count, total))
      .send(rows);
  });

  app.get(
    `${path}/lookup`,
    { schema: { params: ParamsSchema, querystring: LookupQuerySchema } },
    async (request, reply) => {
      const { column, value } = request.query;
      const [row] = await runOne(db, request.caller.claims, findRow(relationOf(request), column, value));
      return reply.type(JSON_TYPE).send(row ?? 'null');
    },
  );

  app.post(
    path,
    { schema: { params: ParamsSchema, querystring: SchemaQuerySchema, body: z.array(RowSchema).min(1) } },
    async (request, reply) => {
      const [rows] = await runOne(db, request.caller.claims, insertRows(relationOf(request), request.body));
      return reply.code(201).type(JSON_TYPE).send(rows);
    },
  );

  app.patch(
    path,
    { schema: { params: ParamsSchema, querystring: SchemaQuerySchema, body: UpdateSchema } },
    async (request, reply) => {
      const { pkKeys, data } = request.body;
      const [row] = await runOne(db, request.caller.claims, updateRow(relationOf(request), pkKeys, data));
      if (row == null) throw new AppError('NOT_FOUND', 'There is no row with this primary key');
      return reply.type(JSON_TYPE).send(row);
    },
  );

  app.delete(
    path,
    { schema: { params: ParamsSchema, querystring: SchemaQuerySchema, body: DeleteSchema } },
    async (request) => {
      const [count] = await runOne(db, request.caller.claims, deleteRows(relationOf(request), request.body.pkKeys));
      return { deletedCount: Number(count) };
    },
  );
};

/** How well the engine remembers: requests whose plan, and statements that PostgreSQL, knew already. */
function cacheStats({ db, cache }: AdminOptions) {
  const { hits, misses } = db.preparedStatements;
  return { plans: cache.current.plans.stats, statements: { hits, misses } };
}

async function runOne(db: Db, claims: Claims, statement: Sql): Promise<TextRow> {
  const { text, values } = compile(statement);
  const rows = await db.as(claims).text({ text, values: values.map(String) });
  return rows[0] ?? [];
}
