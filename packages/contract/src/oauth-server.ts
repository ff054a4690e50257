import { z } from 'zod';

/** What a user can let a program do, and how the consent page says it. */
export const OAUTH_SCOPES = {
  openid: { title: 'Know who you are', detail: 'An identifier of your account' },
  profile: { title: 'See your profile', detail: 'Your name and picture' },
  email: { title: 'See your email address', detail: 'And whether it is verified' },
  offline_access: { title: 'Stay connected', detail: 'Also while you are away, until you withdraw it' },
  api: { title: 'Act for you', detail: 'Read and change whatever you can read and change here' },
} as const;
export type OAuthScope = keyof typeof OAUTH_SCOPES;
export const OAuthScopeSchema = z.enum(Object.keys(OAUTH_SCOPES) as [OAuthScope, ...OAuthScope[]]);

/** Where a browser may be sent back to. Schemes that run or read something are refused. */
const RedirectUriSchema = z
  .string()
  .max(2048)
  .refine(
    (uri) =>
      /^[\x21-\x7e]+$/.test(uri) &&
      URL.canParse(uri) &&
      !/[#\\]/.test(uri) &&
      !/^(javascript|data|vbscript|file|blob|about|filesystem|view-source):/i.test(uri) &&
      (/^https?:\/\/[^/@]+([/?]|$)/i.test(uri) || /^(?!https?:)[a-z][a-z\d+-]*(\.[a-z\d+-]+)*:\//i.test(uri)),
    'must be a complete address without fragment or user name, such as https://app.example.com/callback',
  )
  .refine(
    (uri) => !/^http:/i.test(uri) || /^http:\/\/(localhost|127\.0\.0\.1|\[::1\])([:/?]|$)/i.test(uri),
    'must use https, except on localhost',
  );

/** Where browsers may be sent back to by one program. */
export const RedirectUrisSchema = z
  .array(RedirectUriSchema)
  .min(1)
  .max(20)
  // With addresses of apps and of this machine, a program is a native one, which has none of these (RFC 8252).
  .refine(
    (uris) =>
      uris.every(isHttps) || !uris.some((uri) => /^https:\/\/(localhost|127\.0\.0\.1|\[::1\])([:/?]|$)/i.test(uri)),
    'https on localhost goes with other https addresses only',
  );

/** True for an address with TLS, as programs on the web have them and those of apps and desktops have none. */
export const isHttps = (uri: string): boolean => /^https:/i.test(uri);

const Fields = {
  name: z.string().trim().min(1).max(100),
  redirectUris: RedirectUrisSchema,
  /** What the program may ask for at most. */
  scopes: z.array(OAuthScopeSchema).min(1),
  homepageUrl: z
    .url({ protocol: /^https?$/ })
    .max(2048)
    .nullable(),
};

export const CreateOAuthClientSchema = z.strictObject({
  name: Fields.name,
  redirectUris: Fields.redirectUris,
  scopes: Fields.scopes.default(['openid', 'profile', 'email', 'offline_access']),
  homepageUrl: Fields.homepageUrl.default(null),
  /** Programs that cannot keep a secret: apps in browsers, on phones and on desktops. */
  isPublic: z.boolean().default(false),
  /** How a confidential client sends its secret. */
  authMethod: z.enum(['client_secret_post', 'client_secret_basic']).default('client_secret_post'),
});
export type CreateOAuthClient = z.infer<typeof CreateOAuthClientSchema>;

export const UpdateOAuthClientSchema = z
  .strictObject(Fields)
  .partial()
  .refine((update) => Object.keys(update).length > 0, 'name at least one field');
export type UpdateOAuthClient = z.infer<typeof UpdateOAuthClientSchema>;

export const OAuthClientSchema = z.object({
  clientId: z.string(),
  name: z.string(),
  redirectUris: z.array(z.string()),
  scopes: z.array(z.string()),
  homepageUrl: z.string().nullable(),
  isPublic: z.boolean(),
  /** True where the program registered itself. */
  isDynamic: z.boolean(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export type OAuthClient = z.infer<typeof OAuthClientSchema>;
export const OAuthClientListSchema = z.object({ data: z.array(OAuthClientSchema) });
/** The secret is shown this once; public clients have none. */
export const CreatedOAuthClientSchema = OAuthClientSchema.extend({ clientSecret: z.string().optional() });
export const RotatedSecretSchema = z.object({ clientId: z.string(), clientSecret: z.string() });

export const OAuthServerSettingsSchema = z.strictObject({
  /** Lets programs register themselves (RFC 7591), as MCP clients do. */
  dynamicRegistration: z.boolean(),
});

/** What a user let a program do. */
export const OAuthGrantSchema = z.object({
  clientId: z.string(),
  clientName: z.string(),
  grantedAt: z.string(),
});
export const OAuthGrantListSchema = z.object({ data: z.array(OAuthGrantSchema) });
export const WithdrawnSchema = z.object({ message: z.string() });

export const OAuthProfileSchema = z.object({
  user: z.object({
    id: z.string(),
    email: z.string().nullable(),
    profile: z.object({ name: z.string().nullable(), avatar_url: z.string().nullable() }),
    email_verified: z.boolean().nullable(),
    created_at: z.string(),
  }),
});
