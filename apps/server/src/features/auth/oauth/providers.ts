import type { OAuthProvider, ProfileMapping } from '@insforge/contract/oauth.ts';
import { appleClientSecret, appleName } from './apple.ts';

type Json = Record<string, unknown>;

/** What a provider says about whom it signed in. */
export interface Profile {
  /** Stable and unique within the provider. */
  id: string;
  email: string | undefined;
  /** Whether the address belongs to this person, in the provider's own words; undefined where it says nothing. */
  isEmailVerified: boolean | undefined;
  name: string;
  avatarUrl: string;
}

/** How a provider is spoken to and understood. All that differs between providers is in here. */
export interface ProviderTraits {
  scopes: readonly string[];
  /** Reads the answer about the user; `more` is the answer of `moreUrl`. */
  profile: (json: Json, more: unknown) => Profile;
  /** The members of the answer that are stored with the identity. */
  kept: readonly string[];
  /** Additional parameters of the authorization request. */
  authorize?: Readonly<Record<string, string>>;
  /** How the client secret is sent. By default: as discovery says, else in the body. */
  clientAuth?: 'basic' | 'post';
  /** Makes the client secret out of what is stored, where that is something else. */
  clientSecret?: (stored: string, clientId: string) => Promise<string>;
  /** Finds the user's name in the callback, where it is not in the answer about the user. */
  nameInCallback?: (parameters: URLSearchParams) => string | undefined;
  /** What it calls the client id, where it is not `client_id`. */
  clientIdName?: string;
  /** What stands between scopes, where it is not a space. */
  scopeSeparator?: string;
  usesPkce?: false;
  usesNonce?: false;
}

/** Speaks OpenID Connect; its discovery document, under the issuer, tells the rest. */
interface OpenIdProvider extends ProviderTraits {
  issuer: string;
  /** In place of a discovery document that cannot be relied upon. */
  endpoints?: Readonly<Record<'authorization_endpoint' | 'token_endpoint' | 'jwks_uri', string>>;
  /** What else its ID tokens may name as their issuer. */
  otherIssuers?: readonly string[];
}

/** Speaks OAuth 2.0 only. */
export interface PlainProvider extends ProviderTraits {
  authorizeUrl: string;
  tokenUrl: string;
  userinfoUrl: string;
  moreUrl?: string;
  /** Makes what RFC 6749 wants out of the answer about the token, where it is something else. */
  tokenAnswer?: (json: unknown) => Json;
  /** What it sends as `iss` (RFC 9207). Where we know of none, that parameter is not looked at. */
  responseIssuer?: string;
  /** Paths that differ on an installation of one's own. */
  ownHostPaths?: Readonly<Record<string, string>>;
}

export type ProviderRow = OpenIdProvider | PlainProvider;

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : typeof value === 'number' ? String(value) : undefined;
const member = (json: unknown, path: string): unknown =>
  path
    .split('.')
    .reduce<unknown>(
      (value, name) =>
        typeof value === 'object' && value !== null && Object.hasOwn(value, name) ? (value as Json)[name] : undefined,
      json,
    );
/** Apple and some others say it as text. */
const isTrue = (value: unknown): boolean | undefined =>
  value === undefined ? undefined : value === true || value === 'true';

const OPENID_SCOPES = ['openid', 'email', 'profile'] as const;
const OPENID_KEPT = [
  'sub',
  'email',
  'email_verified',
  'name',
  'picture',
  'given_name',
  'family_name',
  'preferred_username',
  'locale',
] as const;

/** The claims of https://openid.net/specs/openid-connect-core-1_0.html#StandardClaims */
function openIdProfile(json: Json): Profile {
  return {
    id: text(json.sub) ?? '',
    email: text(json.email),
    isEmailVerified: isTrue(json.email_verified),
    name: text(json.name) ?? text(json.preferred_username) ?? '',
    avatarUrl: text(json.picture) ?? '',
  };
}

export const OPENID = { scopes: OPENID_SCOPES, profile: openIdProfile, kept: OPENID_KEPT } satisfies ProviderTraits;

/** How a custom provider without OpenID Connect is understood. */
export function mappedTraits(mapping: ProfileMapping, scopes: readonly string[]): ProviderTraits {
  const { id, email, emailVerified, name, avatarUrl } = mapping;
  const paths = [id, email, name, ...(emailVerified ? [emailVerified] : []), ...(avatarUrl ? [avatarUrl] : [])];
  return {
    scopes,
    kept: [...new Set(paths.map((path) => path.split('.', 1)[0] ?? path))],
    profile: (json) => ({
      id: text(member(json, id)) ?? '',
      email: text(member(json, email)),
      isEmailVerified: emailVerified === undefined ? undefined : isTrue(member(json, emailVerified)),
      name: text(member(json, name)) ?? '',
      avatarUrl: (avatarUrl && text(member(json, avatarUrl))) || '',
    }),
  };
}

/** https://docs.github.com/en/rest/users/emails: the public address of a profile proves nothing. */
function primaryEmail(emails: unknown): { email?: string; verified?: boolean } {
  return (Array.isArray(emails) && emails.find((entry) => entry?.primary === true)) || {};
}

/**
 * The known providers. Those that do not say whether an address was verified (Facebook, Microsoft, Spotify, X), or know
 * none (Instagram, TikTok), do not link to an existing account unless an admin answers for it: whoever may enter any
 * address there would own the accounts here.
 */
export const PROVIDERS: Readonly<Record<OAuthProvider, ProviderRow>> = {
  // Native tokens may leave out the scheme: https://developers.google.com/identity/sign-in/web/backend-auth
  google: { ...OPENID, issuer: 'https://accounts.google.com', otherIssuers: ['accounts.google.com'] },
  // Answers `invalid_client` when PKCE is used, and puts no nonce into its ID tokens.
  linkedin: {
    ...OPENID,
    issuer: 'https://www.linkedin.com/oauth',
    clientAuth: 'post',
    usesPkce: false,
    usesNonce: false,
  },
  gitlab: { ...OPENID, issuer: 'https://gitlab.com' },
  // Hands out name and address only to a form that it posts across sites. In June 2025 its discovery document named
  // another issuer than its tokens, for a day: https://github.com/supabase/auth/issues/2051
  apple: {
    ...OPENID,
    issuer: 'https://appleid.apple.com',
    endpoints: {
      authorization_endpoint: 'https://appleid.apple.com/auth/authorize',
      token_endpoint: 'https://appleid.apple.com/auth/token',
      jwks_uri: 'https://appleid.apple.com/auth/keys',
    },
    otherIssuers: ['https://account.apple.com'],
    scopes: ['name', 'email'],
    authorize: { response_mode: 'form_post' },
    clientAuth: 'post',
    clientSecret: appleClientSecret,
    nameInCallback: appleName,
  },
  github: {
    authorizeUrl: 'https://github.com/login/oauth/authorize',
    tokenUrl: 'https://github.com/login/oauth/access_token',
    userinfoUrl: 'https://api.github.com/user',
    moreUrl: 'https://api.github.com/user/emails',
    responseIssuer: 'https://github.com/login/oauth',
    ownHostPaths: { userinfoUrl: '/api/v3/user', moreUrl: '/api/v3/user/emails' },
    scopes: ['user:email'],
    kept: ['id', 'login', 'name', 'email', 'avatar_url'],
    profile: (json, emails) => ({
      id: text(json.id) ?? '',
      email: primaryEmail(emails).email,
      isEmailVerified: primaryEmail(emails).verified === true,
      name: text(json.name) ?? text(json.login) ?? '',
      avatarUrl: text(json.avatar_url) ?? '',
    }),
  },
  discord: {
    authorizeUrl: 'https://discord.com/oauth2/authorize',
    tokenUrl: 'https://discord.com/api/oauth2/token',
    userinfoUrl: 'https://discord.com/api/users/@me',
    scopes: ['identify', 'email'],
    kept: ['id', 'username', 'global_name', 'email', 'verified', 'avatar'],
    profile: (json) => ({
      id: text(json.id) ?? '',
      email: text(json.email),
      isEmailVerified: json.verified === true,
      name: text(json.global_name) ?? text(json.username) ?? '',
      avatarUrl: json.avatar ? `https://cdn.discordapp.com/avatars/${json.id}/${json.avatar}.png` : '',
    }),
  },
  facebook: {
    authorizeUrl: 'https://www.facebook.com/v25.0/dialog/oauth',
    tokenUrl: 'https://graph.facebook.com/v25.0/oauth/access_token',
    userinfoUrl: 'https://graph.facebook.com/v25.0/me?fields=id,email,name,first_name,last_name,picture.type(large)',
    scopes: ['email', 'public_profile'],
    kept: ['id', 'email', 'name', 'first_name', 'last_name', 'picture'],
    profile: (json) => ({
      id: text(json.id) ?? '',
      email: text(json.email),
      isEmailVerified: undefined,
      name: text(json.name) ?? '',
      avatarUrl: text(member(json, 'picture.data.url')) ?? '',
    }),
  },
  // Professional accounts only. In its documentation, answers are in a list under `data`; those it sends are not.
  // https://developers.facebook.com/docs/instagram-platform/instagram-api-with-instagram-login/business-login
  instagram: {
    authorizeUrl: 'https://www.instagram.com/oauth/authorize',
    tokenUrl: 'https://api.instagram.com/oauth/access_token',
    userinfoUrl: 'https://graph.instagram.com/me?fields=user_id,username,name,profile_picture_url',
    scopes: ['instagram_business_basic'],
    scopeSeparator: ',',
    usesPkce: false,
    tokenAnswer: (json) => ({
      access_token: member(json, 'data.0.access_token') ?? member(json, 'access_token'),
      token_type: 'bearer',
    }),
    kept: ['user_id', 'username', 'name', 'data'],
    profile: (json) => {
      const read = (name: string) => text(member(json, `data.0.${name}`)) ?? text(json[name]);
      return {
        id: read('user_id') ?? '',
        email: undefined,
        isEmailVerified: undefined,
        name: read('name') ?? read('username') ?? '',
        avatarUrl: read('profile_picture_url') ?? '',
      };
    },
  },
  // https://developers.tiktok.com/doc/login-kit-web knows no PKCE; that for the desktop has one of its own.
  tiktok: {
    authorizeUrl: 'https://www.tiktok.com/v2/auth/authorize/',
    tokenUrl: 'https://open.tiktokapis.com/v2/oauth/token/',
    userinfoUrl: 'https://open.tiktokapis.com/v2/user/info/?fields=open_id,union_id,avatar_url,display_name',
    scopes: ['user.info.basic'],
    clientIdName: 'client_key',
    scopeSeparator: ',',
    usesPkce: false,
    kept: ['data'],
    profile: (json) => ({
      id: text(member(json, 'data.user.open_id')) ?? '',
      email: undefined,
      isEmailVerified: undefined,
      name: text(member(json, 'data.user.display_name')) ?? '',
      avatarUrl: text(member(json, 'data.user.avatar_url')) ?? '',
    }),
  },
  // Anybody's directory may hold any address; https://www.descope.com/blog/post/noauth.
  microsoft: {
    authorizeUrl: 'https://login.microsoftonline.com/common/oauth2/v2.0/authorize',
    tokenUrl: 'https://login.microsoftonline.com/common/oauth2/v2.0/token',
    userinfoUrl: 'https://graph.microsoft.com/v1.0/me',
    scopes: ['User.Read'],
    kept: ['id', 'mail', 'userPrincipalName', 'displayName', 'givenName', 'surname'],
    profile: (json) => ({
      id: text(json.id) ?? '',
      email: text(json.mail) ?? text(json.userPrincipalName),
      isEmailVerified: undefined,
      name: text(json.displayName) ?? '',
      avatarUrl: '',
    }),
  },
  x: {
    authorizeUrl: 'https://x.com/i/oauth2/authorize',
    tokenUrl: 'https://api.x.com/2/oauth2/token',
    userinfoUrl: 'https://api.x.com/2/users/me?user.fields=id,name,username,profile_image_url,verified,created_at',
    scopes: ['tweet.read', 'users.read'],
    clientAuth: 'basic',
    kept: ['data'],
    profile: (json) => ({
      id: text(member(json, 'data.id')) ?? '',
      email: undefined,
      isEmailVerified: undefined,
      name: text(member(json, 'data.name')) ?? text(member(json, 'data.username')) ?? '',
      avatarUrl: text(member(json, 'data.profile_image_url')) ?? '',
    }),
  },
  spotify: {
    authorizeUrl: 'https://accounts.spotify.com/authorize',
    tokenUrl: 'https://accounts.spotify.com/api/token',
    userinfoUrl: 'https://api.spotify.com/v1/me',
    scopes: ['user-read-email'],
    kept: ['id', 'email', 'display_name', 'images'],
    profile: (json) => ({
      id: text(json.id) ?? '',
      email: text(json.email),
      isEmailVerified: undefined,
      name: text(json.display_name) ?? '',
      avatarUrl: text(member(json, 'images.0.url')) ?? '',
    }),
  },
};

/** The row of a provider that runs on a host of one's own: GitHub Enterprise, a GitLab, one directory of Microsoft's. */
export function atOwnHost(row: ProviderRow, base: string): ProviderRow {
  if ('issuer' in row) {
    const { endpoints, otherIssuers, ...rest } = row;
    const path = (url: string) => base + new URL(url).pathname;
    return {
      ...rest,
      issuer: base,
      ...(endpoints && {
        endpoints: {
          authorization_endpoint: path(endpoints.authorization_endpoint),
          token_endpoint: path(endpoints.token_endpoint),
          jwks_uri: path(endpoints.jwks_uri),
        },
      }),
    };
  }
  const moved = (name: 'authorizeUrl' | 'tokenUrl' | 'userinfoUrl' | 'moreUrl') => {
    const { pathname, search } = new URL(row[name] ?? '', row.authorizeUrl);
    return `${base}${row.ownHostPaths?.[name] ?? pathname}${search}`;
  };
  return {
    ...row,
    authorizeUrl: moved('authorizeUrl'),
    tokenUrl: moved('tokenUrl'),
    userinfoUrl: moved('userinfoUrl'),
    ...(row.moreUrl === undefined ? {} : { moreUrl: moved('moreUrl') }),
    ...(row.responseIssuer === undefined ? {} : { responseIssuer: `${base}${new URL(row.responseIssuer).pathname}` }),
  };
}
