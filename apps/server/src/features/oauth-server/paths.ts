/** Where the protocol lives. The first two are documented addresses of their own. */
export const PATHS = {
  authorization: '/api/oauth/v1/authorize',
  token: '/api/oauth/v1/token',
  userinfo: '/api/oauth/v1/userinfo',
  revocation: '/api/oauth/v1/revoke',
  introspection: '/api/oauth/v1/introspect',
  registration: '/api/oauth/v1/register',
  jwks: '/.well-known/jwks.json',
} as const;

/** Where the browser signs in and consents; its cookie counts for this path only. */
export const interactionPath = (uid: string) => `/auth/oauth/${uid}`;
