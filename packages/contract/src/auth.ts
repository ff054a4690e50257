import { z } from 'zod';
import { PublicCaptchaSchema } from './captcha.ts';
import { pageLimit } from './pages.ts';

/** Any UUID, also the made-up ones of tests and imports that carry no valid version digit. */
export const UserIdSchema = z.guid('Invalid user ID format');

const MAX_EMAIL_LENGTH = 254;
const MAX_PASSWORD_BYTES = 1024;

/** The address of a new account. */
export const EmailSchema = z.string().trim().toLowerCase().max(MAX_EMAIL_LENGTH).pipe(z.email('Invalid email format'));

/** The address of an existing account: imports bring addresses that a new account could not have. */
export const KnownEmailSchema = z
  .string()
  .trim()
  .toLowerCase()
  .max(MAX_EMAIL_LENGTH)
  .regex(/^[^\s@\0]+@[^\s@\0]+$/, 'Invalid email format');

export const PasswordSchema = z
  .string()
  .refine(
    (password) => new TextEncoder().encode(password).length <= MAX_PASSWORD_BYTES,
    `must have at most ${MAX_PASSWORD_BYTES} bytes`,
  );

/** `name` and `avatar_url` are the keys that clients know; the rest belongs to the app. */
export const ProfileSchema = z.record(z.string(), z.unknown());

export const UserSchema = z.object({
  id: UserIdSchema,
  email: z.string(),
  emailVerified: z.boolean(),
  /** `email` where the user has a password, and the names of linked providers. */
  providers: z.array(z.string()),
  createdAt: z.string(),
  updatedAt: z.string(),
  profile: ProfileSchema.nullable(),
  metadata: z.record(z.string(), z.unknown()).nullable(),
  /** Only while a ban is in force; `until` is null where it is for good. */
  ban: z.object({ until: z.string().nullable(), reason: z.string().nullable() }).optional(),
});
export type User = z.infer<typeof UserSchema>;

/**
 * How a client keeps its session: `web` gets the refresh token as a cookie and a CSRF token, the others get
 * it in the body. Anything else counts as web.
 */
export const ClientTypeSchema = z.enum(['web', 'mobile', 'desktop', 'server']).catch('web');
export type ClientType = z.infer<typeof ClientTypeSchema>;
export const ClientTypeQuerySchema = z.object({ client_type: ClientTypeSchema });

const NameSchema = z.string().trim().min(1).max(100);

export const SignUpSchema = z.object({
  email: EmailSchema,
  password: PasswordSchema,
  name: NameSchema.optional(),
  /** Where the link in the verification mail leads to, once it has been opened. */
  redirectTo: z.string().optional(),
  /** Counts for admins only: the address is taken as verified. */
  autoConfirm: z.boolean().optional(),
});
export type SignUp = z.infer<typeof SignUpSchema>;

export const SignUpReplySchema = z.object({
  user: UserSchema,
  /** Null without a session: an admin created the user, or the address must be verified first. */
  accessToken: z.string().nullable(),
  requireEmailVerification: z.boolean().optional(),
  csrfToken: z.string().optional(),
  refreshToken: z.string().optional(),
});

const PasswordSignInSchema = z.object({
  method: z.literal('password'),
  email: KnownEmailSchema,
  password: PasswordSchema,
});
export type SignIn = z.infer<typeof PasswordSignInSchema>;

/** The code of a mail. */
export const OtpSchema = z.string().regex(/^\d{6}$/, 'OTP code must be a 6-digit numeric code');

const OtpSignInSchema = z.object({
  method: z.literal('otp'),
  email: KnownEmailSchema,
  otp: OtpSchema,
  /** Counts where the sign-in creates the user. */
  name: NameSchema.optional(),
});
export type OtpSignIn = z.infer<typeof OtpSignInSchema>;

/** Clients from before there was a choice do not name the method, or send null. */
export const SignInSchema = z.preprocess(
  (body) => {
    if (typeof body !== 'object' || body === null) return body;
    const { method }: { method?: unknown } = body;
    return { ...body, method: method ?? 'password' };
  },
  z.discriminatedUnion('method', [PasswordSignInSchema, OtpSignInSchema]),
);

export const SessionReplySchema = z.object({
  user: UserSchema,
  accessToken: z.string(),
  csrfToken: z.string().optional(),
  refreshToken: z.string().optional(),
});

/** Both spellings are in use; web clients send no body, or nulls, because their token is in a cookie. */
export const RefreshSchema = z
  .object({ refreshToken: z.string().nullish(), refresh_token: z.string().nullish() })
  .nullish()
  .transform((body) => ({ refreshToken: body?.refreshToken || body?.refresh_token || undefined }));

export const DoneSchema = z.object({ success: z.literal(true), message: z.string() });

export const UserListQuerySchema = z.object({
  limit: pageLimit({ usual: 10, max: 1000 }),
  offset: z.coerce.number().int().min(0).default(0),
  /** Part of the address or of the name; not a pattern. */
  search: z.string().optional(),
});
export type UserListQuery = z.infer<typeof UserListQuerySchema>;

export const UserListSchema = z.object({
  data: z.array(UserSchema),
  pagination: z.object({ offset: z.number(), limit: z.number(), total: z.number() }),
});

export const DeleteUsersSchema = z.object({ userIds: z.array(UserIdSchema).min(1).max(1000) });
export const DeleteUsersReplySchema = z.object({ message: z.string(), deletedCount: z.number() });

export const UpdateProfileSchema = z.object({ profile: ProfileSchema });
export const ProfileReplySchema = z.object({ id: UserIdSchema, profile: ProfileSchema.nullable() });

export const AnonTokenReplySchema = z.object({ accessToken: z.string(), message: z.string() });

const MethodSchema = z.enum(['code', 'link']);

/**
 * An address that sign-in may lead back to, `*` standing for anything. Schemes that run or read are refused, and so is
 * what no address that is allowed has in it: it would match nothing.
 */
const RedirectUrlSchema = z
  .string()
  .max(2048)
  .regex(
    /^(?:https?:\/\/[^/?@]+(?=[/?]|$)|(?!(?:https?|javascript|vbscript|data|file|blob|about):)[a-z][a-z\d+.-]*:\/)/i,
    'must be an http(s) address or one of an app scheme, such as https://*.example.com/* or myapp://callback',
  )
  .regex(/^[!-"$-[\]-~]*$/, 'must be plain ASCII, with host names as punycode, without backslash and fragment (#)');

const SETTINGS = {
  requireEmailVerification: z.boolean(),
  passwordMinLength: z.number().int().min(4).max(128),
  requireNumber: z.boolean(),
  requireLowercase: z.boolean(),
  requireUppercase: z.boolean(),
  requireSpecialChar: z.boolean(),
  verifyEmailMethod: MethodSchema,
  resetPasswordMethod: MethodSchema,
  disableSignup: z.boolean(),
};

export const AuthConfigSchema = z.object({
  id: z.string(),
  ...SETTINGS,
  /** Empty: every address is allowed, as long as the server is reached at an address of the developer's own network. */
  allowedRedirectUrls: z.array(z.string()),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export type AuthConfig = z.infer<typeof AuthConfigSchema>;

/** What an app needs to know to draw its sign-in form. */
export const PublicAuthConfigSchema = z.object({
  oAuthProviders: z.array(z.string()),
  customOAuthProviders: z.array(z.string()),
  ...SETTINGS,
  /** Absent where none is asked for. */
  captcha: PublicCaptchaSchema.optional(),
});
export type PublicAuthConfig = z.infer<typeof PublicAuthConfigSchema>;

/** A misspelt name would be dropped silently, so a change must change something. */
export const AuthConfigUpdateSchema = z
  .object({
    ...SETTINGS,
    allowedRedirectUrls: z
      .array(RedirectUrlSchema)
      .max(200)
      .nullable()
      .transform((urls) => urls ?? []),
  })
  .partial()
  .refine((update) => Object.keys(update).length > 0, {
    error: `name at least one setting: ${Object.keys(SETTINGS).join(', ')}, allowedRedirectUrls`,
  });
export type AuthConfigUpdate = z.infer<typeof AuthConfigUpdateSchema>;

export const AdminSignInSchema = z.object({ username: z.string().max(256), password: PasswordSchema });
export type AdminSignIn = z.infer<typeof AdminSignInSchema>;
export const AdminSchema = z.object({ admin: z.object({ sub: z.string() }) });
export const AdminSessionReplySchema = AdminSchema.extend({ accessToken: z.string(), csrfToken: z.string() });
