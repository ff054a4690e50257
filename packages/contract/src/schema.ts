import { z } from 'zod';

/** PostgreSQL cuts longer names off in silence, so that two could become one. */
export const MAX_IDENTIFIER_BYTES = 63;

/** Schemas of the platform. What is in them is changed through the API only. */
export const MANAGED_SCHEMAS = [
  'ai',
  'auth',
  'compute',
  'deployments',
  'email',
  'functions',
  'memory',
  'payments',
  'realtime',
  'schedules',
  'storage',
  'system',
] as const;

const IdentifierSchema = z
  .string()
  .min(1, 'must not be empty')
  .refine((name) => new TextEncoder().encode(name).length <= MAX_IDENTIFIER_BYTES, 'must have at most 63 bytes')
  .refine((name) => !/\p{Cc}/u.test(name), 'must not contain control characters');

/** What can be wrong with an object that a change of the schema has touched, and the SQL that repairs it. */
export const SchemaWarningSchema = z.object({
  rule: z.string(),
  severity: z.enum(['critical', 'warning', 'info']),
  object: z.string(),
  consequence: z.string(),
  fix: z.string(),
});
export type SchemaWarning = z.infer<typeof SchemaWarningSchema>;
const WarningsSchema = z.array(SchemaWarningSchema).optional();

export const ColumnTypeSchema = z.enum(['string', 'date', 'datetime', 'integer', 'float', 'boolean', 'uuid', 'json']);
export type ColumnType = z.infer<typeof ColumnTypeSchema>;

const ReferentialActionSchema = z.enum(['CASCADE', 'SET NULL', 'SET DEFAULT', 'NO ACTION', 'RESTRICT']);
export type ReferentialAction = z.infer<typeof ReferentialActionSchema>;

/** One constraint; a composite key lists several pairs of columns. */
export const ForeignKeySchema = z.object({
  constraintName: IdentifierSchema.optional(),
  /** In `public`, or as `schema.table`. */
  referenceTable: z.string().min(1, 'Target table cannot be empty'),
  referenceColumns: z
    .array(z.object({ sourceColumn: IdentifierSchema, referenceColumn: IdentifierSchema }))
    .min(1, 'At least one pair of columns is required'),
  onDelete: ReferentialActionSchema.default('NO ACTION'),
  onUpdate: ReferentialActionSchema.default('NO ACTION'),
});
export type ForeignKey = z.infer<typeof ForeignKeySchema>;

/** How older clients send a key of one column: with the column. */
const ColumnForeignKeySchema = z.object({
  referenceTable: z.string().min(1, 'Target table cannot be empty'),
  referenceColumn: IdentifierSchema,
  onDelete: ReferentialActionSchema.default('NO ACTION'),
  onUpdate: ReferentialActionSchema.default('NO ACTION'),
});

/** Older documentation calls the same things by shorter names. */
const COLUMN_ALIASES = { name: 'columnName', nullable: 'isNullable', unique: 'isUnique', default: 'defaultValue' };

function withAliases(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, entry]) => {
      const name = COLUMN_ALIASES[key as keyof typeof COLUMN_ALIASES] ?? key;
      return [name in value ? key : name, entry];
    }),
  );
}

const DefaultValueSchema = z.union([z.string(), z.number(), z.boolean(), z.null()]);

const NewColumnObjectSchema = z.object({
  columnName: IdentifierSchema,
  /** One of the eight names of ColumnTypeSchema, or any type of PostgreSQL: `varchar(20)`, `text[]`. */
  type: z.string().min(1, 'must not be empty'),
  isNullable: z.boolean().default(true),
  isUnique: z.boolean().default(false),
  isPrimaryKey: z.boolean().default(false),
  /** A function call or a quoted literal is taken as SQL (`now()`, `'draft'`); anything else is the value itself. */
  defaultValue: DefaultValueSchema.optional(),
  foreignKey: ColumnForeignKeySchema.optional(),
});
export const NewColumnSchema = z.preprocess(withAliases, NewColumnObjectSchema);
export type NewColumn = z.infer<typeof NewColumnObjectSchema>;

const DryRunSchema = z
  .boolean()
  .default(false)
  .describe('Does everything, answers with the SQL and the warnings, and undoes it');

export const CreateTableSchema = z.object({
  tableName: IdentifierSchema,
  columns: z.array(NewColumnSchema).min(1, 'At least one column is required'),
  foreignKeys: z.array(ForeignKeySchema).default([]),
  rlsEnabled: z.boolean().default(true),
  dryRun: DryRunSchema,
});
export type CreateTable = z.infer<typeof CreateTableSchema>;

const ChangeReplySchema = z.object({
  message: z.string(),
  tableName: z.string(),
  /** The statements that were run. */
  sql: z.array(z.string()),
  dryRun: z.literal(true).optional(),
  warnings: WarningsSchema,
});

export const CreateTableReplySchema = ChangeReplySchema.extend({
  columns: z.array(NewColumnObjectSchema),
  autoFields: z.array(z.string()),
  nextActions: z.string(),
});

const UpdateColumnSchema = z.preprocess(
  withAliases,
  z.object({
    columnName: IdentifierSchema,
    newColumnName: IdentifierSchema.optional(),
    type: z.string().min(1).optional(),
    isNullable: z.boolean().optional(),
    /** null removes the default. */
    defaultValue: DefaultValueSchema.optional(),
  }),
);

export const UpdateTableSchema = z.object({
  addColumns: z.array(NewColumnSchema).default([]),
  dropColumns: z.array(z.string()).default([]),
  updateColumns: z.array(UpdateColumnSchema).default([]),
  addForeignKeys: z
    .array(
      z.union([
        ForeignKeySchema,
        z.object({ columnName: IdentifierSchema, foreignKey: ColumnForeignKeySchema }).transform(
          ({ columnName, foreignKey: { referenceColumn, ...rest } }): ForeignKey => ({
            ...rest,
            referenceColumns: [{ sourceColumn: columnName, referenceColumn }],
          }),
        ),
      ]),
    )
    .default([]),
  /** Names of constraints, or of columns that have exactly one. */
  dropForeignKeys: z.array(z.string()).default([]),
  renameTable: z.object({ newTableName: IdentifierSchema }).optional(),
  rlsEnabled: z.boolean().optional(),
  dryRun: DryRunSchema,
});
export type UpdateTable = z.infer<typeof UpdateTableSchema>;

export const UpdateTableReplySchema = ChangeReplySchema.extend({ operations: z.array(z.string()) });

export const DropTableReplySchema = ChangeReplySchema.extend({ nextActions: z.string() });

export const TableSchemaSchema = z.object({
  tableName: z.string(),
  columns: z.array(
    z.object({
      columnName: z.string(),
      type: z.string(),
      isNullable: z.boolean(),
      isUnique: z.boolean(),
      isPrimaryKey: z.boolean(),
      defaultValue: z.string().optional(),
    }),
  ),
  foreignKeys: z.array(ForeignKeySchema),
  rlsEnabled: z.boolean(),
  recordCount: z.number(),
});
export type TableSchema = z.infer<typeof TableSchemaSchema>;

/** How much of a result is sent; both can be raised in a request. */
export const RAW_SQL_LIMITS = { maxRows: { default: 10_000, max: 1_000_000 }, maxBytes: 16 * 1024 * 1024 } as const;

export const RawSqlSchema = z.object({
  query: z.string().min(1, 'Query is required'),
  params: z.array(z.unknown()).default([]),
  /** Answers with the plan; nothing is changed. */
  explain: z.boolean().default(false),
  /** Runs all of it and undoes it. */
  dryRun: z.boolean().default(false),
  /** Runs as a role that cannot write, in a transaction that cannot write. */
  readOnly: z.boolean().default(false),
  maxRows: z.number().int().min(1).max(RAW_SQL_LIMITS.maxRows.max).default(RAW_SQL_LIMITS.maxRows.default),
});
export type RawSql = z.infer<typeof RawSqlSchema>;

/** The body of a raw SQL answer. It is written as text, so that numbers and JSON keep every digit. */
export interface RawSqlReply {
  rows: Record<string, unknown>[];
  rowCount: number | null;
  fields: { name: string; dataTypeID: number }[];
  /** Present when rows were left out. */
  truncated?: { rowsReturned: number; reason: string };
  dryRun?: true;
  warnings?: SchemaWarning[];
}

export const SchemaListSchema = z.object({
  schemas: z.array(z.object({ name: z.string(), owner: z.string(), isProtected: z.boolean(), tableCount: z.number() })),
});

export const FunctionListSchema = z.object({
  functions: z.array(z.object({ functionName: z.string(), functionDef: z.string(), kind: z.string() })),
});

export const IndexListSchema = z.object({
  indexes: z.array(
    z.object({
      tableName: z.string(),
      indexName: z.string(),
      indexDef: z.string(),
      isUnique: z.boolean(),
      isPrimary: z.boolean(),
    }),
  ),
});

export const PolicyListSchema = z.object({
  policies: z.array(
    z.object({
      tableName: z.string(),
      policyName: z.string(),
      cmd: z.string(),
      roles: z.array(z.string()),
      qual: z.string().nullable(),
      withCheck: z.string().nullable(),
    }),
  ),
});

export const TriggerListSchema = z.object({
  triggers: z.array(
    z.object({
      tableName: z.string(),
      triggerName: z.string(),
      actionTiming: z.string(),
      eventManipulation: z.string(),
      actionOrientation: z.string(),
      actionCondition: z.string().nullable(),
      actionStatement: z.string(),
    }),
  ),
});

/** Which schema a listing is about. */
export const SchemaQuerySchema = z.object({ schema: z.string().default('public') });

export const DatabaseConfigSchema = z.object({ autoEnableRls: z.boolean() });
export const UpdateDatabaseConfigSchema = DatabaseConfigSchema.partial();

export const CatalogQuerySchema = z.object({
  format: z.enum(['json', 'markdown']).default('json'),
  /** Only this schema. */
  schema: z.string().optional(),
  /** Only these tables and views, with all details: `notes,shop.orders`. */
  tables: z.string().optional(),
  /** `full` gives all details of everything. */
  detail: z.enum(['summary', 'full']).optional(),
});
export type CatalogQuery = z.infer<typeof CatalogQuerySchema>;

const RelationKindSchema = z.enum(['table', 'partitioned table', 'foreign table', 'view', 'materialized view']);
export type RelationKind = z.infer<typeof RelationKindSchema>;

/** A table or view in all its details. */
export const RelationSchema = z.object({
  schema: z.string(),
  name: z.string(),
  kind: RelationKindSchema,
  comment: z.string().nullable(),
  /** Exact while they are few, then the planner's estimate. */
  rows: z.number(),
  bytes: z.number(),
  rlsEnabled: z.boolean(),
  columns: z.array(
    z.object({
      name: z.string(),
      type: z.string(),
      nullable: z.boolean(),
      default: z.string().nullable(),
      generated: z.enum(['always', 'by default', 'stored']).nullable(),
      comment: z.string().nullable(),
    }),
  ),
  constraints: z.array(
    z.object({
      name: z.string(),
      kind: z.enum(['primary key', 'unique', 'foreign key', 'check', 'exclusion']),
      definition: z.string(),
    }),
  ),
  /** Foreign keys of other tables that refer to this one. */
  referencedBy: z.array(z.string()),
  indexes: z.array(z.object({ name: z.string(), definition: z.string(), bytes: z.number(), valid: z.boolean() })),
  policies: z.array(
    z.object({
      name: z.string(),
      command: z.string(),
      roles: z.array(z.string()),
      permissive: z.boolean(),
      using: z.string().nullable(),
      check: z.string().nullable(),
    }),
  ),
  triggers: z.array(z.object({ name: z.string(), definition: z.string() })),
  /** The query of a view. */
  definition: z.string().nullable(),
});
export type Relation = z.infer<typeof RelationSchema>;

const RelationSummarySchema = RelationSchema.pick({
  schema: true,
  name: true,
  kind: true,
  rows: true,
  bytes: true,
  rlsEnabled: true,
}).extend({ policies: z.number(), columns: z.array(z.string()) });

export const CatalogSchema = z.object({
  relations: z.array(z.union([RelationSchema, RelationSummarySchema])),
  functions: z.array(
    z.object({
      schema: z.string(),
      name: z.string(),
      arguments: z.string(),
      returns: z.string(),
      language: z.string(),
      volatility: z.enum(['immutable', 'stable', 'volatile']),
      securityDefiner: z.boolean(),
      /** Whether anon may call it. */
      public: z.boolean(),
    }),
  ),
  enums: z.array(z.object({ schema: z.string(), name: z.string(), values: z.array(z.string()) })),
  extensions: z.array(z.object({ name: z.string(), version: z.string(), schema: z.string() })),
  databaseBytes: z.number(),
});
export type Catalog = z.infer<typeof CatalogSchema>;
export type RelationSummary = z.infer<typeof RelationSummarySchema>;

const CellSchema = z.object({
  /** `all` rows, those that are one's `own`, `some` by a condition, or `none`. */
  access: z.enum(['all', 'own', 'some', 'none']),
  /** Which rows, as SQL. */
  condition: z.string().optional(),
  /** What an updated row has to satisfy, where that is something else. */
  check: z.string().optional(),
  /** Only these columns, by their own grants. */
  columns: z.array(z.string()).optional(),
  /** The policies that decide. */
  policies: z.array(z.string()).optional(),
  /** Why there is none, or what else decides. */
  reason: z.string().optional(),
});
export type AccessCell = z.infer<typeof CellSchema>;

const AccessSchema = z.object({ select: CellSchema, insert: CellSchema, update: CellSchema, delete: CellSchema });

/** Who can do what with a table. */
export const AccessMatrixSchema = z.object({
  table: z.string(),
  kind: RelationKindSchema,
  rlsEnabled: z.boolean(),
  anon: AccessSchema,
  /** Any signed-in user, with rows of others. */
  authenticated: AccessSchema,
  /** The user whose row it is. */
  owner: AccessSchema,
  /** The API key. */
  admin: AccessSchema,
});
export type AccessMatrix = z.infer<typeof AccessMatrixSchema>;

export const CheckAsSchema = z.object({
  query: z.string().min(1, 'Query is required'),
  params: z.array(z.unknown()).default([]),
  /** Who asks: anon, or a user by id or address. */
  as: z.union([
    z.literal('anon'),
    z.object({ userId: z.string().min(1), email: z.string().optional() }),
    z.object({ email: z.string().min(1) }),
  ]),
  maxRows: z.number().int().min(1).max(1_000).default(100),
});
export type CheckAs = z.infer<typeof CheckAsSchema>;
