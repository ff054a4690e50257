import { z } from 'zod';

/** The providers that are known by name. Every other one is a custom provider under a key of the admin's choice. */
export const OAUTH_PROVIDERS = [
  'google',
  'github',
  'discord',
  'linkedin',
  'facebook',
  'instagram',
  'tiktok',
  'microsoft',
  'apple',
  'x',
  'spotify',
  'gitlab',
] as const;
export type OAuthProvider = (typeof OAUTH_PROVIDERS)[number];

export const OAuthProviderSchema = z.preprocess(
  (name) => (typeof name === 'string' ? name.toLowerCase() : name),
  z.enum(OAUTH_PROVIDERS, `is not a known provider; known are ${OAUTH_PROVIDERS.join(', ')}`),
);

/** The key of a custom provider, as it stands in its addresses. */
export const CustomProviderKeySchema = z
  .string()
  .trim()
  .toLowerCase()
  .regex(/^[a-z0-9_-]{1,64}$/, 'must be 1 to 64 of a-z 0-9 _ -');

/** RFC 7636, section 4.2. */
const CodeChallengeSchema = z
  .string('is required: Base64URL(SHA-256(code_verifier))')
  .regex(/^[\w.~-]{43,128}$/, 'must have 43 to 128 of A-Z a-z 0-9 - . _ ~');

/** Whatever else the query holds goes to the provider, as far as it does not touch the protocol. */
export const StartOAuthQuerySchema = z
  .object({
    redirect_uri: z.string('is required: where the user comes back to').min(1).max(2048),
    code_challenge: CodeChallengeSchema,
  })
  .catchall(z.unknown());
export const StartOAuthReplySchema = z.object({ authUrl: z.string() });

export const ExchangeSchema = z.object({ code: z.string().min(1).max(256), code_verifier: z.string().min(1).max(256) });

const IdTokenSchema = z.string().min(1).max(16_384);

/** Signing in with the ID token that a native SDK of the provider gave to the app. */
export const IdTokenSignInSchema = z.discriminatedUnion('provider', [
  z.object({ provider: z.literal('google'), token: IdTokenSchema }),
  z.object({
    provider: z.literal('apple'),
    token: IdTokenSchema,
    /** The token holds the SHA-256 of it, in lowercase hex. */
    nonce: z.string().min(1).max(255),
    /** Apple tells it to the app only, and only the first time. */
    name: z.string().trim().min(1).max(100).optional(),
  }),
]);
export type IdTokenSignIn = z.infer<typeof IdTokenSignInSchema>;

const ClientIdSchema = z.string().trim().min(1).max(512);
/** Apple's may be a JSON object with a private key. */
const ClientSecretSchema = z.string().trim().min(1).max(8192);
const ScopesSchema = z
  .array(
    z
      .string()
      .regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'must be a scope without spaces')
      .max(200),
  )
  .max(50);

const CONFIG = {
  clientId: ClientIdSchema,
  clientSecret: ClientSecretSchema,
  scopes: ScopesSchema,
  /** The client ids of native apps whose ID tokens are accepted too. */
  nativeClientIds: z.array(z.string().trim().min(1).max(255)).max(20),
  /** Always the callback address of this server; accepted because clients send it. */
  redirectUri: z.string().max(2048).nullable(),
  /** For providers that say nothing of it: the admin knows that they verify addresses, and users may be linked. */
  trustEmail: z.boolean(),
  useSharedKey: z
    .boolean()
    .refine((shared) => !shared, 'there are no shared keys on a server of your own; give clientId and clientSecret'),
};

/** Native apps need neither a secret nor a client id beside their own. */
export const CreateOAuthConfigSchema = z.object({ provider: OAuthProviderSchema, ...z.object(CONFIG).partial().shape });
export type CreateOAuthConfig = z.infer<typeof CreateOAuthConfigSchema>;

const changesSomething = (update: object) => Object.keys(update).length > 0;

export const UpdateOAuthConfigSchema = z
  .object(CONFIG)
  .partial()
  .refine(changesSomething, `name at least one of ${Object.keys(CONFIG).join(', ')}`);
export type UpdateOAuthConfig = z.infer<typeof UpdateOAuthConfigSchema>;

export const OAuthConfigSchema = z.object({
  id: z.string(),
  provider: z.string(),
  clientId: z.string().nullable(),
  nativeClientIds: z.array(z.string()),
  scopes: z.array(z.string()).nullable(),
  redirectUri: z.string().nullable(),
  trustEmail: z.boolean(),
  useSharedKey: z.boolean(),
  /** What to enter as the redirect address at the provider. */
  callbackUrl: z.string(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export type OAuthConfig = z.infer<typeof OAuthConfigSchema>;
export const OAuthConfigWithSecretSchema = OAuthConfigSchema.extend({ clientSecret: z.string().nullable() });
export const OAuthConfigListSchema = z.object({ data: z.array(OAuthConfigSchema), count: z.number() });

const EndpointSchema = z
  .string()
  .trim()
  .max(2048)
  .refine((value) => {
    if (!URL.canParse(value)) return false;
    const { protocol, username, password, hash } = new URL(value);
    return /^https?:$/.test(protocol) && username === '' && password === '' && hash === '';
  }, 'must be an http(s) address without credentials and fragment');

/** A member of a JSON document: names with dots between them, such as `picture.data.url`. */
const MemberSchema = z
  .string()
  .regex(/^[\w-]+(\.[\w-]+)*$/, 'must be a member name such as email or data.email')
  .max(200);

/** Where a provider that does not speak OpenID Connect keeps what we need, in its answer about the user. */
export const ProfileMappingSchema = z.object({
  id: MemberSchema.default('id'),
  email: MemberSchema.default('email'),
  /** Without it no address counts as verified. */
  emailVerified: MemberSchema.optional(),
  name: MemberSchema.default('name'),
  avatarUrl: MemberSchema.optional(),
});
export type ProfileMapping = z.infer<typeof ProfileMappingSchema>;

const CUSTOM = {
  name: z.string().trim().min(1).max(100),
  clientId: ClientIdSchema,
  clientSecret: ClientSecretSchema,
  /** The issuer of an OpenID Connect provider, or the address of its discovery document. */
  discoveryEndpoint: EndpointSchema.nullable(),
  /** The three addresses of a plain OAuth 2.0 provider, which has no discovery document. */
  authorizeUrl: EndpointSchema.nullable(),
  tokenUrl: EndpointSchema.nullable(),
  userinfoUrl: EndpointSchema.nullable(),
  scopes: ScopesSchema.nullable(),
  profile: ProfileMappingSchema.nullable(),
  trustEmail: z.boolean(),
};
const OPTIONAL = {
  discoveryEndpoint: true,
  authorizeUrl: true,
  tokenUrl: true,
  userinfoUrl: true,
  scopes: true,
  profile: true,
  trustEmail: true,
} as const;

export const CreateCustomOAuthConfigSchema = z.object({ key: CustomProviderKeySchema, ...CUSTOM }).partial(OPTIONAL);
export type CreateCustomOAuthConfig = z.infer<typeof CreateCustomOAuthConfigSchema>;

export const UpdateCustomOAuthConfigSchema = z
  .object(CUSTOM)
  .partial()
  .refine(changesSomething, `name at least one of ${Object.keys(CUSTOM).join(', ')}`);
export type UpdateCustomOAuthConfig = z.infer<typeof UpdateCustomOAuthConfigSchema>;

export const CustomOAuthConfigSchema = z.object({
  id: z.string(),
  key: z.string(),
  name: z.string(),
  discoveryEndpoint: z.string().nullable(),
  clientId: z.string(),
  authorizeUrl: z.string().nullable(),
  tokenUrl: z.string().nullable(),
  userinfoUrl: z.string().nullable(),
  scopes: z.array(z.string()).nullable(),
  profile: ProfileMappingSchema.nullable(),
  trustEmail: z.boolean(),
  callbackUrl: z.string(),
  createdAt: z.string(),
  updatedAt: z.string(),
});
export type CustomOAuthConfig = z.infer<typeof CustomOAuthConfigSchema>;
export const CustomOAuthConfigWithSecretSchema = CustomOAuthConfigSchema.extend({
  clientSecret: z.string().nullable(),
});
export const CustomOAuthConfigListSchema = z.object({ data: z.array(CustomOAuthConfigSchema), count: z.number() });
