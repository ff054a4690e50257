import { z } from 'zod';
import { EmailSchema, ProfileSchema, UserIdSchema, UserSchema } from './auth.ts';

const NameSchema = z.string().trim().min(1).max(100);
const MetadataSchema = z.record(z.string(), z.unknown());

/** What an admin may change of a user. A misspelt name would be dropped silently, so something must change. */
export const UserUpdateSchema = z
  .strictObject({
    email: EmailSchema,
    password: z.string().max(1024),
    emailVerified: z.boolean(),
    name: NameSchema,
    /** Laid over the profile, key by key. */
    profile: ProfileSchema,
    /** Replaced as a whole. */
    metadata: MetadataSchema,
  })
  .partial()
  .refine((update) => Object.keys(update).length > 0, 'name at least one field');
export type UserUpdate = z.infer<typeof UserUpdateSchema>;

/** Without `until`, for good. */
export const BanSchema = z
  .strictObject({
    until: z.iso
      .datetime({ offset: true })
      .refine((until) => Date.parse(until) > Date.now(), 'must be in the future')
      .optional(),
    /** Told to the user when they try to sign in. */
    reason: z.string().trim().min(1).max(500).optional(),
  })
  .nullish()
  .transform((body) => body ?? {});
export type Ban = z.infer<typeof BanSchema>;

export const ImpersonateSchema = z
  .strictObject({
    /** For the audit log. */
    reason: z.string().trim().min(1).max(500).optional(),
  })
  .nullish()
  .transform((body) => body ?? {});

export const ImpersonationSchema = z.object({
  /** Of the user, with the claim `act` that names the admin. It cannot be refreshed. */
  accessToken: z.string(),
  expiresAt: z.string(),
  user: UserSchema,
});

/** One user from elsewhere. Imports bring addresses that a new account could not have. */
export const ImportedUserSchema = z.strictObject({
  id: UserIdSchema.optional(),
  email: z
    .string()
    .trim()
    .toLowerCase()
    .max(254)
    .regex(/^[^\s@\0]+@[^\s@\0]+$/, 'Invalid email format'),
  /** bcrypt, argon2 or scrypt, in the forms that docs/users.md names. */
  passwordHash: z.string().max(512).nullish(),
  emailVerified: z.boolean().default(false),
  name: NameSchema.optional(),
  profile: ProfileSchema.optional(),
  metadata: MetadataSchema.default({}),
  createdAt: z.iso.datetime({ offset: true }).optional(),
  providers: z
    .array(z.strictObject({ provider: z.string().min(1).max(100), providerAccountId: z.string().min(1).max(255) }))
    .max(20)
    .default([]),
});
export type ImportedUser = z.infer<typeof ImportedUserSchema>;

/** Rows are checked one by one, so that one that is wrong does not stop the others. */
export const ImportSchema = z.strictObject({
  users: z.array(z.unknown()).min(1).max(1000),
  dryRun: z.boolean().default(false),
});

const ImportRowSchema = z.object({
  /** Place in `users`, from 0. */
  row: z.number(),
  email: z.string().nullable(),
  outcome: z.enum(['created', 'exists', 'invalid']),
  id: UserIdSchema.optional(),
  message: z.string().optional(),
});
export type ImportRow = z.infer<typeof ImportRowSchema>;

export const ImportReportSchema = z.object({
  dryRun: z.boolean(),
  created: z.number(),
  exists: z.number(),
  invalid: z.number(),
  rows: z.array(ImportRowSchema),
});
export type ImportReport = z.infer<typeof ImportReportSchema>;
