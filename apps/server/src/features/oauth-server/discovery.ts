import { OAUTH_SCOPES } from '@insforge/contract/oauth-server.ts';
import { PATHS } from './paths.ts';

const AUTH_METHODS = ['client_secret_post', 'client_secret_basic', 'none'];

/**
 * What this server says of itself (OpenID Connect Discovery 1.0, section 3; RFC 8414, section 2). Written here, so
 * that the provider is not loaded for it.
 */
export function describe(issuer: string, registersClients: boolean): Record<string, unknown> {
  return {
    issuer,
    authorization_endpoint: issuer + PATHS.authorization,
    token_endpoint: issuer + PATHS.token,
    userinfo_endpoint: issuer + PATHS.userinfo,
    revocation_endpoint: issuer + PATHS.revocation,
    introspection_endpoint: issuer + PATHS.introspection,
    ...(registersClients ? { registration_endpoint: issuer + PATHS.registration } : {}),
    jwks_uri: issuer + PATHS.jwks,
    scopes_supported: Object.keys(OAUTH_SCOPES),
    response_types_supported: ['code'],
    response_modes_supported: ['query', 'fragment', 'form_post'],
    grant_types_supported: ['authorization_code', 'refresh_token'],
    code_challenge_methods_supported: ['S256'],
    token_endpoint_auth_methods_supported: AUTH_METHODS,
    revocation_endpoint_auth_methods_supported: AUTH_METHODS,
    introspection_endpoint_auth_methods_supported: AUTH_METHODS.slice(0, 2),
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256'],
    claims_supported: ['sub', 'email', 'email_verified', 'name', 'picture', 'updated_at', 'auth_time', 'iss', 'aud'],
    authorization_response_iss_parameter_supported: true,
  };
}
