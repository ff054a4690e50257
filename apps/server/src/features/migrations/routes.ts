import {
  CreateMigrationReplySchema,
  CreateMigrationSchema,
  DriftSchema,
  DryRunMigrationSchema,
  MigrationListSchema,
  MigrationRehearsalSchema,
} from '@insforge/contract/migrations.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { SchemaDoor } from '#features/schema/index.ts';
import { audit } from '#platform/audit.ts';
import { clientLeft } from '#platform/http/leaving.ts';
import { readDrift } from './drift.ts';
import { applyMigration, createTurns, listMigrations } from './migrations.ts';
import { rehearseMigration } from './rehearsal.ts';

export const migrationRoutes: FastifyPluginAsyncZod<{ door: SchemaDoor }> = async (app, { door }) => {
  const { db } = door;
  const inTurn = createTurns();

  app.get('/api/database/migrations', { schema: { response: { 200: MigrationListSchema } } }, async () => ({
    migrations: await listMigrations(db.system),
  }));

  app.get('/api/database/migrations/drift', { schema: { response: { 200: DriftSchema } } }, () => readDrift(db.system));

  app.post(
    '/api/database/migrations',
    { schema: { body: CreateMigrationSchema, response: { 201: CreateMigrationReplySchema } } },
    async (request, reply) => {
      const { dryRun } = request.body;
      const left = clientLeft(reply);
      const { result, warnings } = await inTurn(() => applyMigration(door, request.body, left));
      if (!dryRun) {
        const details = { name: result.name, version: result.version, statementCount: result.statements.length };
        await audit(db.system, request, { action: 'CREATE_CUSTOM_MIGRATION', module: 'DATABASE', details });
      }
      return reply.status(201).send({
        ...result,
        message: dryRun ? 'Dry run: it works, and nothing was changed' : 'Migration executed successfully',
        ...(dryRun ? { dryRun } : {}),
        ...(warnings.length > 0 ? { warnings } : {}),
      });
    },
  );

  app.post(
    '/api/database/migrations/dry-run',
    { schema: { body: DryRunMigrationSchema, response: { 200: MigrationRehearsalSchema } } },
    (request, reply) => rehearseMigration(door, request.body.sql, clientLeft(reply)),
  );
};
