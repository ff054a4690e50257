import { z } from 'zod';

const LinkSchema = z
  .url({ protocol: /^https?$/ })
  .max(2048)
  .nullable();

/** How the pages of this server look, and where they lead. Null is the default. */
export const PageSettingsSchema = z.object({
  appName: z.string().trim().min(1).max(80).nullable(),
  logoUrl: LinkSchema,
  accentColor: z
    .string()
    .regex(/^#[\da-f]{6}$/i, 'must be a colour such as #0f766e')
    .nullable(),
  termsUrl: LinkSchema,
  privacyUrl: LinkSchema,
  /** Where people go who came from nowhere. */
  homeUrl: LinkSchema,
});
export type PageSettings = z.infer<typeof PageSettingsSchema>;

export const PageSettingsUpdateSchema = z
  .strictObject(PageSettingsSchema.shape)
  .partial()
  .refine((update) => Object.keys(update).length > 0, 'name at least one setting');
