import { Provider } from 'oidc-provider';
import { CLIENT, serve } from './oauth-browser.ts';

export interface Person {
  email?: string;
  email_verified?: boolean;
  name?: string;
  picture?: string;
}

/**
 * A real OpenID Connect provider. Whoever the request names in `login_hint` signs in; PKCE is required.
 * @param callbackUrls where it may send browsers
 */
export async function startOpenId(people: Record<string, Person>, callbackUrls: string[]): Promise<{ issuer: string }> {
  const { url: issuer, server } = await serve();
  const provider = new Provider(issuer, {
    clients: [{ client_id: CLIENT.id, client_secret: CLIENT.secret, redirect_uris: callbackUrls }],
    claims: { email: ['email', 'email_verified'], profile: ['name', 'picture'] },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    cookies: { keys: ['only-for-tests'] },
    ttl: { Session: 60, Interaction: 60, Grant: 60, AccessToken: 60, IdToken: 60 },
    findAccount: (_context, id) => ({ accountId: id, claims: async () => ({ sub: id, ...people[id] }) }),
    interactions: { url: (_context, { uid }) => `/sign-in/${uid}` },
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({
        clientId: oidc.client?.clientId ?? '',
        accountId: oidc.session?.accountId ?? '',
      });
      grant.addOIDCScope('openid email profile');
      await grant.save();
      return grant;
    },
  });
  const answer = provider.callback();
  server.on('request', async (request, response) => {
    if (!request.url?.startsWith('/sign-in/')) return answer(request, response);
    const { params } = await provider.interactionDetails(request, response);
    const result = params.login_hint
      ? { login: { accountId: String(params.login_hint) } }
      : { error: 'access_denied', error_description: 'nobody <b>came</b>' };
    await provider.interactionFinished(request, response, result);
  });
  return { issuer };
}
