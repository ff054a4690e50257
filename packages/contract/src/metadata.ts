import { z } from 'zod';

export const MetadataQuerySchema = z.object({
  format: z.enum(['json', 'markdown']).default('json'),
  /** Says only who asks. */
  mcp: z.string().optional(),
});

const CountedTableSchema = z.object({ tableName: z.string(), recordCount: z.number() });

export const DatabaseMetadataSchema = z.object({
  tables: z.array(CountedTableSchema),
  totalSizeInGB: z.number(),
  hint: z.string().optional(),
});
export type DatabaseMetadata = z.infer<typeof DatabaseMetadataSchema>;

/** The sections of other features come and go with them; a key is there only where the feature is. */
export const MetadataSchema = z.looseObject({ database: DatabaseMetadataSchema, version: z.string() });

export const DatabaseStatisticsSchema = DatabaseMetadataSchema.extend({
  tables: z.array(
    CountedTableSchema.extend({
      sizeInBytes: z.number(),
      rlsEnabled: z.boolean(),
      policyCount: z.number(),
    }),
  ),
  totalTables: z.number(),
  totalRecords: z.number(),
  databaseSize: z.string(),
  lastUpdated: z.string(),
});
export type DatabaseStatistics = z.infer<typeof DatabaseStatisticsSchema>;

export const TableMetadataSchema = z.object({
  schema: z.array(
    z.object({
      columnName: z.string(),
      dataType: z.string(),
      characterMaximumLength: z.number().nullable(),
      isNullable: z.enum(['YES', 'NO']),
      columnDefault: z.string().nullable(),
    }),
  ),
  indexes: z.array(
    z.object({ indexname: z.string(), indexdef: z.string(), isUnique: z.boolean(), isPrimary: z.boolean() }),
  ),
  foreignKeys: z.array(
    z.object({
      constraintName: z.string(),
      columnName: z.string(),
      foreignTableName: z.string(),
      foreignColumnName: z.string(),
      deleteRule: z.string(),
      updateRule: z.string(),
    }),
  ),
  rlsEnabled: z.boolean(),
  policies: z.array(
    z.object({
      policyname: z.string(),
      cmd: z.string(),
      roles: z.array(z.string()),
      qual: z.string().nullable(),
      withCheck: z.string().nullable(),
    }),
  ),
  triggers: z.array(
    z.object({
      triggerName: z.string(),
      actionTiming: z.string(),
      eventManipulation: z.string(),
      actionOrientation: z.string(),
      actionCondition: z.string().nullable(),
      actionStatement: z.string(),
    }),
  ),
  recordCount: z.number(),
});
export type TableMetadata = z.infer<typeof TableMetadataSchema>;

/** How programs of one's own reach the database. The password is asked for separately. */
export const DatabaseConnectionSchema = z.object({
  connectionURL: z.string(),
  parameters: z.object({
    host: z.string(),
    port: z.number(),
    database: z.string(),
    user: z.string(),
    password: z.string(),
    sslmode: z.string(),
  }),
  /** A command that connects, given the password. */
  psql: z.string(),
  /** How to connect many programs at once. */
  pooler: z.string(),
});
export type DatabaseConnection = z.infer<typeof DatabaseConnectionSchema>;
