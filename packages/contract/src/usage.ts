import { z } from 'zod';

export const RecordUsageSchema = z.object({
  tool_name: z.string().min(1).max(255),
  success: z.boolean().default(true),
  /** When the tool was called, by the clock of the client. The server keeps its own. */
  timestamp: z.union([z.string(), z.number()]).optional(),
});
export type RecordUsage = z.infer<typeof RecordUsageSchema>;

export const UsageRecordedSchema = z.object({ success: z.literal(true) });

export const UsageQuerySchema = z.object({
  limit: z.coerce.number().int().min(1).max(1000).default(5),
  success: z.stringbool().default(true),
});

export const UsageListSchema = z.object({
  records: z.array(z.object({ tool_name: z.string(), success: z.boolean(), created_at: z.string() })),
});
