import { z } from 'zod';

/** One signed-in device. */
export const SessionInfoSchema = z.object({
  id: z.guid(),
  /** `aal2` where a second factor was shown. */
  aal: z.enum(['aal1', 'aal2']),
  userAgent: z.string().nullable(),
  address: z.string().nullable(),
  createdAt: z.string(),
  /** When its tokens were last refreshed. */
  lastUsedAt: z.string(),
  expiresAt: z.string(),
  /** The admin who acts for the user in this session; null where it is the user. */
  actor: z.string().nullable(),
  /** True for the session of the token that asks. */
  isCurrent: z.boolean(),
});
export type SessionInfo = z.infer<typeof SessionInfoSchema>;
export const SessionListSchema = z.object({ data: z.array(SessionInfoSchema) });
export const EndedSessionsSchema = z.object({ message: z.string(), endedCount: z.number() });

/** A second factor: an authenticator app. */
export const FactorSchema = z.object({
  id: z.guid(),
  type: z.literal('totp'),
  name: z.string(),
  /** False until a code of it was shown; it counts for nothing until then. */
  verified: z.boolean(),
  createdAt: z.string(),
  lastUsedAt: z.string().nullable(),
});
export type Factor = z.infer<typeof FactorSchema>;

export const FactorListSchema = z.object({ data: z.array(FactorSchema), recoveryCodesLeft: z.number() });

export const EnrolFactorSchema = z
  .object({ name: z.string().trim().min(1).max(100).default('Authenticator') })
  .nullish()
  .transform((body) => body ?? { name: 'Authenticator' });

export const EnrolledFactorSchema = z.object({
  id: z.guid(),
  type: z.literal('totp'),
  name: z.string(),
  /** In base32, to be typed by hand. Shown this once. */
  secret: z.string(),
  /** otpauth://…, to be shown as a QR code. */
  uri: z.string(),
});

/** A code of an authenticator, or a recovery code. */
const CodeSchema = z.string().trim().min(6).max(64);
export const FactorCodeSchema = z.object({ code: CodeSchema });
/** Removing a factor that was never put in force needs no code. */
export const RemoveFactorSchema = z
  .object({ code: CodeSchema.optional() })
  .nullish()
  .transform((body) => ({ code: body?.code }));

export const VerifiedFactorSchema = z.object({
  /** With the first factor only. Shown this once. */
  recoveryCodes: z.array(z.string()).optional(),
  /** Says `aal2`; the one that was sent with the request does not. */
  accessToken: z.string(),
});
export const RemovedFactorSchema = z.object({ message: z.string(), accessToken: z.string() });
export const RecoveryCodesSchema = z.object({ recoveryCodes: z.array(z.string()) });

export const SecondFactorSchema = z.object({ challenge: z.string().min(1).max(200), code: CodeSchema });
export type SecondFactor = z.infer<typeof SecondFactorSchema>;

/** `schema.name`; each part as PostgreSQL writes it. */
export const ClaimsFunctionSchema = z.object({
  function: z
    .string()
    .max(200)
    .regex(/^[a-z_][\w$]*\.[a-z_][\w$]*$/, 'must be schema.name in lower case, such as public.token_claims'),
});
export const ClaimsFunctionReplySchema = z.object({ function: z.string().nullable() });
