import { z } from 'zod';
import { SchemaWarningSchema } from './schema.ts';

/** Compared as numbers; leading zeros do not count. */
const VersionSchema = z.string().regex(/^\d{1,64}$/, 'must be 1 to 64 digits');

export const MigrationSchema = z.object({
  version: z.string(),
  name: z.string(),
  statements: z.array(z.string()),
  createdAt: z.string(),
});
export type Migration = z.infer<typeof MigrationSchema>;

export const MigrationListSchema = z.object({ migrations: z.array(MigrationSchema) });

const SqlSchema = z.string().min(1, 'Migration SQL is required');

export const CreateMigrationSchema = z.object({
  version: VersionSchema,
  name: z
    .string()
    .max(255)
    .regex(/^[a-z0-9][a-z0-9_-]*$/, 'must be of a-z, 0-9, - and _'),
  sql: SqlSchema,
  /** Runs it, answers, and undoes it. */
  dryRun: z.boolean().default(false),
});
export type CreateMigration = z.infer<typeof CreateMigrationSchema>;

const WarningsSchema = z.array(SchemaWarningSchema).optional();

export const CreateMigrationReplySchema = MigrationSchema.extend({
  message: z.string(),
  dryRun: z.literal(true).optional(),
  warnings: WarningsSchema,
});

export const DryRunMigrationSchema = z.object({ sql: SqlSchema });

export const RiskLevelSchema = z.enum(['low', 'medium', 'high']);
export type RiskLevel = z.infer<typeof RiskLevelSchema>;

/** What a migration would do. Where it would fail, `valid` is false and the other fields say why. */
export const MigrationRehearsalSchema = z.object({
  valid: z.boolean(),
  statementCount: z.number(),
  statements: z.array(z.string()),
  riskLevel: RiskLevelSchema,
  riskFactors: z.array(z.string()),
  warnings: WarningsSchema,
  error: z.string().optional(),
  line: z.number().optional(),
  column: z.number().optional(),
  statement: z.string().optional(),
  nextActions: z.string().optional(),
});
export type MigrationRehearsal = z.infer<typeof MigrationRehearsalSchema>;

/** What has changed in the schema past the migrations. */
export const DriftSchema = z.object({
  latestMigration: z.object({ version: z.string(), name: z.string() }).nullable(),
  changes: z.array(
    z.object({
      madeAt: z.string(),
      /** `raw-sql`, `tables-api`, or `elsewhere` for what came past this server. */
      source: z.string(),
      commands: z.array(z.string()),
      objects: z.array(z.string()),
      statement: z.string().nullable(),
    }),
  ),
  /** The changes as the text of a migration. */
  sql: z.string().optional(),
  nextActions: z.string().optional(),
});
export type Drift = z.infer<typeof DriftSchema>;
