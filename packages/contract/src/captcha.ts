import { z } from 'zod';

export const CAPTCHA_PROVIDERS = ['turnstile', 'hcaptcha'] as const;
const CaptchaProviderSchema = z.enum(CAPTCHA_PROVIDERS);
export type CaptchaProvider = z.infer<typeof CaptchaProviderSchema>;

/** What may ask for a captcha: signing up, signing in with a password, and asking for a mail with a code or a link. */
const CaptchaPurposeSchema = z.enum(['sign-up', 'sign-in', 'mail']);
export type CaptchaPurpose = z.infer<typeof CaptchaPurposeSchema>;

/** Keys are made of these; anything else would not be one. */
const KeySchema = z
  .string()
  .trim()
  .regex(/^[\w.:-]{1,200}$/, 'must be a key of the provider');

/** What an app needs in order to show the widget. */
export const PublicCaptchaSchema = z.object({
  provider: CaptchaProviderSchema,
  siteKey: z.string(),
  protects: z.array(CaptchaPurposeSchema),
});
export type PublicCaptcha = z.infer<typeof PublicCaptchaSchema>;

/** As the admin sees it; the secret is never shown. */
export const CaptchaConfigSchema = z.object({
  enabled: z.boolean(),
  provider: CaptchaProviderSchema.nullable(),
  siteKey: z.string().nullable(),
  hasSecret: z.boolean(),
  protects: z.array(CaptchaPurposeSchema),
});
export type CaptchaConfig = z.infer<typeof CaptchaConfigSchema>;

export const CaptchaUpdateSchema = z.strictObject({
  provider: CaptchaProviderSchema,
  siteKey: KeySchema,
  /** Stays when it is left out, as long as the provider does. */
  secretKey: KeySchema.optional(),
  protects: z
    .array(CaptchaPurposeSchema)
    .min(1)
    .default([...CaptchaPurposeSchema.options])
    .transform((purposes) => [...new Set(purposes)]),
});
export type CaptchaUpdate = z.infer<typeof CaptchaUpdateSchema>;
