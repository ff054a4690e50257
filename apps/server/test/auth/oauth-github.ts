import { createHash, randomUUID } from 'node:crypto';
import { CLIENT, serve } from './oauth-browser.ts';
import { readAll } from './oauth-scripted.ts';

interface GitHubUser {
  id: number;
  login: string;
  name: string | null;
  email: string | null;
  avatar_url: string;
  [more: string]: unknown;
}

interface GitHubEmail {
  email: string;
  primary: boolean;
  verified: boolean;
  visibility: 'public' | 'private' | null;
}

export interface GitHub {
  url: string;
  user: GitHubUser;
  emails: GitHubEmail[];
}

/**
 * Answers as GitHub Enterprise Server does:
 * https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
 * https://docs.github.com/en/rest/users/users and https://docs.github.com/en/rest/users/emails
 */
export async function startGitHub(): Promise<GitHub> {
  const { url, server } = await serve();
  const codes = new Map<string, { redirectUri: string; challenge: string; scope: string }>();
  const tokens = new Map<string, string>();
  const github: GitHub = {
    url,
    user: {
      id: 583231,
      login: 'octocat',
      name: 'The Octocat',
      email: 'public@github.example',
      avatar_url: 'https://github.example/images/octocat.gif',
      bio: 'not kept',
    },
    emails: [
      { email: 'other@example.com', primary: false, verified: true, visibility: null },
      { email: 'octocat@example.com', primary: true, verified: true, visibility: 'private' },
    ],
  };

  const redeem = (body: URLSearchParams): Record<string, string> => {
    const code = body.get('code') ?? '';
    const known = codes.get(code);
    codes.delete(code);
    if (body.get('client_id') !== CLIENT.id || body.get('client_secret') !== CLIENT.secret) {
      return {
        error: 'incorrect_client_credentials',
        error_description: 'The client_id and/or client_secret passed are incorrect.',
      };
    }
    const proof = createHash('sha256')
      .update(body.get('code_verifier') ?? '')
      .digest('base64url');
    if (!known || known.redirectUri !== body.get('redirect_uri') || known.challenge !== proof) {
      return { error: 'bad_verification_code', error_description: 'The code passed is incorrect or expired.' };
    }
    const token = `gho_${randomUUID()}`;
    tokens.set(token, known.scope);
    return { access_token: token, scope: known.scope.replaceAll(' ', ','), token_type: 'bearer' };
  };

  server.on('request', async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', url);
    const send = (status: number, json: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(json));
    if (pathname === '/login/oauth/authorize') {
      const redirectUri = searchParams.get('redirect_uri') ?? '';
      const code = randomUUID();
      codes.set(code, {
        redirectUri,
        challenge: searchParams.get('code_challenge') ?? '',
        scope: searchParams.get('scope') ?? '',
      });
      const answer = new URLSearchParams({ code, state: searchParams.get('state') ?? '', iss: `${url}/login/oauth` });
      return response.writeHead(302, { location: `${redirectUri}?${answer}` }).end();
    }
    if (pathname === '/login/oauth/access_token') {
      const answer = redeem(new URLSearchParams(await readAll(request)));
      // JSON only for those who ask for it; errors have the status 200.
      if (request.headers.accept?.includes('application/json')) return send(200, answer);
      const headers = { 'content-type': 'application/x-www-form-urlencoded' };
      return response.writeHead(200, headers).end(new URLSearchParams(answer).toString());
    }
    const scope = tokens.get((request.headers.authorization ?? '').replace(/^bearer /i, ''));
    if (scope === undefined) return send(401, { message: 'Requires authentication' });
    if (!request.headers['user-agent']) return send(403, { message: 'Request forbidden by administrative rules.' });
    if (pathname === '/api/v3/user') return send(200, github.user);
    if (pathname === '/api/v3/user/emails' && scope.includes('user:email')) return send(200, github.emails);
    return send(404, { message: 'Not Found' });
  });
  return github;
}
