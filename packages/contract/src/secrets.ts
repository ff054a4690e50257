import { z } from 'zod';

/** How long a replaced key goes on working, in hours. */
export const KEY_GRACE_HOURS = {
  api: { default: 24, max: 168 },
  anon: { default: 168, max: 720 },
} as const;

const rotation = ({ default: fallback, max }: { default: number; max: number }) =>
  z
    .object({ gracePeriodHours: z.number().int().min(0).max(max).default(fallback) })
    .nullish()
    .transform((body) => body ?? { gracePeriodHours: fallback });

export const RotateApiKeySchema = rotation(KEY_GRACE_HOURS.api);
export const RotateAnonKeySchema = rotation(KEY_GRACE_HOURS.anon);

export const RotateApiKeyReplySchema = z.object({
  success: z.literal(true),
  message: z.string(),
  apiKey: z.string(),
  oldKeyExpiresAt: z.string(),
});
export const RotateAnonKeyReplySchema = RotateApiKeyReplySchema.omit({ apiKey: true }).extend({ anonKey: z.string() });
