import { z } from 'zod';

/** What would end a line ends a header too, and lets whoever wrote it begin one of their own. */
const oneLine = (text: z.ZodString) =>
  text.refine((value) => !/[\p{Cc}\u2028\u2029]/u.test(value), 'must not contain line breaks or control characters');

export const SMTP_PORTS = [25, 465, 587, 2525] as const;
const MAX_INTERVAL_SECONDS = 86_400;
const HOST = /^(?:[a-z\d](?:[a-z\d-]*[a-z\d])?\.)*[a-z\d](?:[a-z\d-]*[a-z\d])?\.?$|^[\da-f:.]*:[\da-f:.]*$/i;

/** What may be left empty while mail is switched off, and must not be while it is on. */
const REQUIRED_WHEN_ENABLED = ['host', 'username', 'senderEmail', 'senderName'] as const;

export const SmtpConfigUpdateSchema = z
  .object({
    enabled: z.boolean(),
    host: z
      .string()
      .trim()
      .max(253)
      .refine((host) => host === '' || HOST.test(host), 'must be a host name or an IP address')
      .default(''),
    port: z.number().int().min(1).max(65_535),
    username: oneLine(z.string().trim().max(320)).default(''),
    /** Absent or empty: the stored one stays. */
    password: oneLine(z.string().max(1024)).optional(),
    senderEmail: z
      .string()
      .trim()
      .max(254)
      .refine((address) => address === '' || z.email().safeParse(address).success, 'Invalid email format')
      .default(''),
    senderName: oneLine(z.string().trim().max(100)).default(''),
    /** How soon the same person may be written to again. */
    minIntervalSeconds: z.number().int().min(0).max(MAX_INTERVAL_SECONDS).default(60),
  })
  .superRefine((config, context) => {
    for (const path of REQUIRED_WHEN_ENABLED) {
      if (config.enabled && config[path] === '') {
        context.addIssue({ code: 'custom', path: [path], message: 'is required to send mail' });
      }
    }
  });
export type SmtpConfigUpdate = z.infer<typeof SmtpConfigUpdateSchema>;

/** The settings without the password, as `GET /api/metadata` shows them too. */
export const SmtpSettingsSchema = z.object({
  enabled: z.boolean(),
  host: z.string(),
  port: z.number(),
  username: z.string(),
  hasPassword: z.boolean(),
  senderEmail: z.string(),
  senderName: z.string(),
  minIntervalSeconds: z.number(),
});
export type SmtpSettings = z.infer<typeof SmtpSettingsSchema>;

export const SmtpConfigSchema = SmtpSettingsSchema.extend({
  id: z.string(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export type SmtpConfig = z.infer<typeof SmtpConfigSchema>;

/** The mails that the platform writes itself, and the variables that their templates may use. */
export const TEMPLATES = {
  'email-verification-code': ['token', 'email'],
  'email-verification-link': ['link', 'email'],
  'reset-password-code': ['token', 'email'],
  'reset-password-link': ['link', 'email'],
  'request-otp': ['token', 'email'],
  'magic-link': ['link', 'email'],
  'password-changed': ['email'],
  'email-changed': ['email', 'newEmail'],
} as const satisfies Record<string, readonly string[]>;
export type TemplateType = keyof typeof TEMPLATES;

export const TemplateTypeSchema = z.enum(Object.keys(TEMPLATES) as [TemplateType, ...TemplateType[]]);

export const TemplateUpdateSchema = z.object({
  subject: oneLine(z.string().trim().min(1).max(500)),
  bodyHtml: z.string().min(1).max(200_000),
});
export type TemplateUpdate = z.infer<typeof TemplateUpdateSchema>;

export const TemplateSchema = z.object({
  id: z.string(),
  templateType: z.string(),
  subject: z.string(),
  bodyHtml: z.string(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export type Template = z.infer<typeof TemplateSchema>;
export const TemplateListSchema = z.object({ data: z.array(TemplateSchema) });
/** `warnings`: a variable that nothing fills, or the code or link missing. */
export const TemplateUpdateReplySchema = TemplateSchema.extend({ warnings: z.array(z.string()).optional() });

const AddressSchema = z.string().trim().max(254).pipe(z.email('Invalid email format'));
const MAX_RECIPIENTS = 50;
const AddressesSchema = z
  .union([AddressSchema.transform((one) => [one]), z.array(AddressSchema).min(1).max(MAX_RECIPIENTS)], {
    error: `must be an email address, or a list of 1 to ${MAX_RECIPIENTS} of them`,
  })
  .transform((addresses) => [...new Set(addresses)]);

const MAX_HTML_LENGTH = 5_000_000;

export const RawEmailSchema = z.object({
  to: AddressesSchema,
  subject: oneLine(z.string().trim().min(1, 'Subject is required').max(500, 'Subject too long')),
  html: z.string().trim().min(1, 'HTML content is required').max(MAX_HTML_LENGTH),
  cc: AddressesSchema.optional(),
  bcc: AddressesSchema.optional(),
  /** The name that is shown as the sender; the address is the configured one. */
  from: oneLine(z.string().trim().max(100, 'From name too long')).optional(),
  replyTo: AddressSchema.optional(),
});
export type RawEmail = z.infer<typeof RawEmailSchema>;
export const RawEmailReplySchema = z.object({});

const PageSchema = z.object({
  /** An address that got it, in whatever field. */
  to: z.string().trim().toLowerCase().optional(),
  limit: z.coerce.number().int().min(1).max(100).default(10),
  offset: z.coerce.number().int().min(0).default(0),
});

export const OutboxQuerySchema = PageSchema;
export type OutboxQuery = z.infer<typeof OutboxQuerySchema>;

/** A mail in the development mailbox. */
export const CapturedMailSchema = z.object({
  id: z.string(),
  /** The template it was made from, or `raw`. */
  kind: z.string(),
  from: z.string(),
  to: z.array(z.string()),
  cc: z.array(z.string()),
  bcc: z.array(z.string()),
  replyTo: z.string().nullable(),
  subject: z.string(),
  text: z.string(),
  html: z.string(),
  /** The code or the link, ready to be used by a program. */
  variables: z.record(z.string(), z.string()),
  createdAt: z.string(),
  /** True where text and html were cut for the list; the mail itself has all. */
  isCut: z.boolean().optional(),
});
export type CapturedMail = z.infer<typeof CapturedMailSchema>;

const PaginationSchema = z.object({ offset: z.number(), limit: z.number(), total: z.number() });
export const OutboxSchema = z.object({ data: z.array(CapturedMailSchema), pagination: PaginationSchema });
export const EmptyOutboxQuerySchema = PageSchema.pick({ to: true });
export const EmptyOutboxReplySchema = z.object({ deletedCount: z.number() });

export const DELIVERY_STATUSES = ['queued', 'captured', 'accepted', 'failed'] as const;
export const DeliveryQuerySchema = PageSchema.extend({ status: z.enum(DELIVERY_STATUSES).optional() });
export type DeliveryQuery = z.infer<typeof DeliveryQuerySchema>;

/** What became of one mail for one recipient. */
export const DeliverySchema = z.object({
  messageId: z.string(),
  kind: z.string(),
  recipient: z.string(),
  status: z.enum(DELIVERY_STATUSES),
  /** Of the failure, or of the last attempt while it waits for the next. */
  reason: z.string().nullable(),
  attempts: z.number(),
  subject: z.string().nullable(),
  nextAttemptAt: z.string().nullable(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export type Delivery = z.infer<typeof DeliverySchema>;
export const DeliveryListSchema = z.object({ data: z.array(DeliverySchema), pagination: PaginationSchema });
