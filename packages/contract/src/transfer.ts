import { z } from 'zod';
import { SchemaWarningSchema } from './schema.ts';

/** `true` and `false` as forms and queries send them. */
const FlagSchema = z.union([z.boolean(), z.stringbool()]).default(false);

const KeysSchema = z
  .string()
  .transform((keys) => keys.split(',').map((key) => key.trim()))
  .pipe(z.array(z.string().min(1)));

export const RowFormatSchema = z.enum(['csv', 'json', 'ndjson']);
export type RowFormat = z.infer<typeof RowFormatSchema>;

/** How rows of a file get into a table. */
export const ImportRowsSchema = z.object({
  /** By default what the content type says. */
  format: RowFormatSchema.optional(),
  /** Columns of a unique key, comma separated: rows that exist are replaced. */
  upsertKey: KeysSchema.optional(),
  /** `abort` undoes everything at the first bad row; `skip` leaves bad rows out and lists them. */
  onError: z.enum(['abort', 'skip']).default('abort'),
  /** Empties the table first. */
  truncate: FlagSchema,
  dryRun: FlagSchema,
  delimiter: z.string().length(1).default(','),
});
export type ImportRows = z.infer<typeof ImportRowsSchema>;

export const ImportRowsReplySchema = z.object({
  success: z.literal(true),
  message: z.string(),
  table: z.string(),
  rowsImported: z.number(),
  totalRows: z.number(),
  dryRun: z.literal(true).optional(),
  /** Rows that were left out, a hundred at most. */
  errors: z
    .array(
      z.object({
        /** Its number in the file, without the header. */
        row: z.number(),
        /** Of a CSV: the line of the file where the row begins. */
        line: z.number().optional(),
        message: z.string(),
      }),
    )
    .optional(),
  /** How many there are beyond those listed. */
  moreErrors: z.number().optional(),
});
export type ImportRowsReply = z.infer<typeof ImportRowsReplySchema>;

/** Imports that are running, on whichever server. */
export const ImportProgressSchema = z.object({
  imports: z.array(
    z.object({
      /** Or the name of a SQL file. */
      table: z.string(),
      /** `reading` the file, or `storing` rows that have been read. */
      phase: z.enum(['reading', 'storing']),
      /** Read so far. */
      rows: z.number(),
      bytes: z.number(),
      /** Of the file, where the client has said it. */
      totalBytes: z.number().nullable(),
      startedAt: z.string(),
    }),
  ),
});
export type ImportProgress = z.infer<typeof ImportProgressSchema>;

export const BulkUpsertFieldsSchema = z.object({
  table: z.string().min(1, 'Table name is required'),
  schema: z.string().optional(),
  upsertKey: z
    .string()
    .transform((keys) => (keys.trim() === '' ? undefined : keys))
    .pipe(KeysSchema.optional())
    .optional(),
});

export const BulkUpsertReplySchema = z.object({
  success: z.literal(true),
  message: z.string(),
  table: z.string(),
  rowsAffected: z.number(),
  totalRecords: z.number(),
  filename: z.string(),
});

export const ImportFieldsSchema = z.object({ truncate: FlagSchema, dryRun: FlagSchema });

export const ImportScriptReplySchema = z.object({
  success: z.literal(true),
  message: z.string(),
  filename: z.string(),
  tables: z.array(z.string()),
  rowsImported: z.number(),
  fileSize: z.number(),
  statements: z.number(),
  /** Statements of other tools that mean nothing here. */
  skipped: z.array(z.string()),
  dryRun: z.literal(true).optional(),
  warnings: z.array(SchemaWarningSchema).optional(),
});
export type ImportScriptReply = z.infer<typeof ImportScriptReplySchema>;

export const ExportSchema = z.object({
  format: z.enum(['sql', 'json']).default('sql'),
  tables: z.array(z.string()).optional(),
  includeData: z.boolean().default(true),
  includeFunctions: z.boolean().default(false),
  includeSequences: z.boolean().default(false),
  includeViews: z.boolean().default(false),
  rowLimit: z.number().int().positive().max(10_000).default(1_000),
});
export type Export = z.infer<typeof ExportSchema>;

export const ExportReplySchema = z.object({
  format: z.enum(['sql', 'json']),
  data: z.unknown(),
  /** The same as text, which command lines write to a file. */
  content: z.string(),
  tables: z.array(z.string()),
  timestamp: z.string(),
  /** Tables of which not all rows are there. */
  truncatedTables: z.array(z.string()).optional(),
});

/** What a dump has in it; everything by default. */
export const DumpQuerySchema = z.object({
  /** Comma separated, in public or with their schema in front; then only these and nothing around them. */
  tables: KeysSchema.optional(),
  data: z.stringbool().default(true),
  functions: z.stringbool().default(true),
  policies: z.stringbool().default(true),
  triggers: z.stringbool().default(true),
  sequences: z.stringbool().default(true),
  views: z.stringbool().default(true),
  grants: z.stringbool().default(true),
  /** `pg_dump` where it is on the machine and new enough, or always our own. */
  tool: z.enum(['auto', 'insforge']).default('auto'),
});
export type DumpQuery = z.infer<typeof DumpQuerySchema>;

export const ExportRowsQuerySchema = z.object({
  format: RowFormatSchema.default('csv'),
  delimiter: z.string().length(1).default(','),
});
