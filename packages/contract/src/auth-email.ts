import { z } from 'zod';
import { EmailSchema, KnownEmailSchema, OtpSchema, PasswordSchema, UserSchema } from './auth.ts';

/** Checked against the allow list, with an answer that says more than a schema can. */
const RedirectSchema = z.string();

export const SendOtpSchema = z.object({ email: EmailSchema });
export const SendCodeSchema = z.object({ email: KnownEmailSchema, redirectTo: RedirectSchema.optional() });
export type SendCode = z.infer<typeof SendCodeSchema>;

/** Answers are the same whether or not anybody has the address. */
export const SentSchema = z.object({ success: z.literal(true), message: z.string() });

export const VerifyEmailSchema = z.object({ email: KnownEmailSchema, otp: OtpSchema });
export type VerifyEmail = z.infer<typeof VerifyEmailSchema>;

/** A link that was cut or changed on its way is answered like one that has expired. */
export const LinkQuerySchema = z.object({ token: z.string().default('') });

export const ExchangeResetCodeSchema = z.object({ email: KnownEmailSchema, code: OtpSchema });
export const ResetTokenSchema = z.object({ token: z.string(), expiresAt: z.string() });
export const ResetPasswordSchema = z.object({
  newPassword: PasswordSchema,
  /** The token of the link, or of the exchange. */
  otp: z.string().min(1, 'OTP/token is required'),
});
export type ResetPassword = z.infer<typeof ResetPasswordSchema>;
export const MessageSchema = z.object({ message: z.string() });

/** RFC 7636, section 4: of a verifier, or of its SHA-256 as base64url. */
const CodeChallengeSchema = z
  .string()
  .regex(/^[\w-]{43,128}$/, 'must be the base64url of the SHA-256 of the verifier (43 characters)');

export const SendMagicLinkSchema = z.object({
  email: EmailSchema,
  /** Gets `insforge_code`, for POST /api/auth/oauth/exchange. */
  redirectTo: RedirectSchema,
  code_challenge: CodeChallengeSchema,
});
export type SendMagicLink = z.infer<typeof SendMagicLinkSchema>;

/** One of the two proves that it is still the same person: the password, or a code sent to their address. */
const Reauthentication = {
  currentPassword: PasswordSchema.optional(),
  otp: OtpSchema.optional(),
};
export const ChangePasswordSchema = z.object({ ...Reauthentication, newPassword: PasswordSchema });
export type ChangePassword = z.infer<typeof ChangePasswordSchema>;
export const ChangeEmailSchema = z.object({ ...Reauthentication, newEmail: EmailSchema });
export type ChangeEmail = z.infer<typeof ChangeEmailSchema>;
export const ConfirmEmailSchema = z.object({ email: EmailSchema, otp: OtpSchema });
export type ConfirmEmail = z.infer<typeof ConfirmEmailSchema>;
export const UserReplySchema = z.object({ user: UserSchema });
