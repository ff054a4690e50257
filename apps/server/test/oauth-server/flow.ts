import * as oauth from 'openid-client';
import { expect } from 'vitest';
import { type Reply, startApp, type TestApp } from '../harness.ts';
import { freePort } from '../start/process.ts';

export const CALLBACK = 'https://app.example.com/callback';
export const CLIENTS = '/api/oauth/v1/clients';
export const ALICE = { email: 'alice@example.com', password: 'correct horse battery' };

export interface Provider extends TestApp {
  url: string;
}

/** A server that listens where its discovery document says it does. */
export async function startProvider(environment: Record<string, string> = {}): Promise<Provider> {
  const port = await freePort();
  const url = `http://localhost:${port}`;
  const app = await startApp({ API_BASE_URL: url, ...environment });
  await app.app.listen({ host: 'localhost', port });
  expect((await app.as('anon').post('/api/auth/users', ALICE)).status).toBe(200);
  return { ...app, url };
}

export interface RegisteredClient {
  clientId: string;
  clientSecret?: string;
}

export async function registerClient({ as }: TestApp, more: object = {}): Promise<RegisteredClient> {
  const body = { name: 'Notes', redirectUris: [CALLBACK], ...more };
  const reply: Reply = await as('admin').post(CLIENTS, body);
  expect(reply.status, reply.text).toBe(200);
  return reply.body;
}

/** What openid-client makes of the discovery document. */
export function discover(
  { url }: Provider,
  { clientId, clientSecret }: RegisteredClient,
): Promise<oauth.Configuration> {
  const method = clientSecret === undefined ? oauth.None() : oauth.ClientSecretPost(clientSecret);
  return oauth.discovery(new URL(url), clientId, undefined, method, { execute: [oauth.allowInsecureRequests] });
}

/** A browser without JavaScript: it keeps cookies, follows redirects within the server and posts forms. */
export function openBrowser({ url }: Provider) {
  const cookies = new Map<string, string>();

  const send = async (target: string, init: RequestInit = {}): Promise<Visit> => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const reply = await fetch(target, { ...init, redirect: 'manual', headers: { cookie, ...init.headers } });
    for (const line of reply.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '' || /expires=Thu, 01 Jan 1970/i.test(line)) cookies.delete(name);
      else cookies.set(name, value);
    }
    const location = reply.headers.get('location');
    if (!location) return { url: target, status: reply.status, text: await reply.text(), headers: reply.headers };
    const next = new URL(location, target);
    if (next.origin !== new URL(url).origin) return { url: next.href, status: 0, text: '', headers: reply.headers };
    return send(next.href);
  };

  return {
    cookies,
    open: (target: string) => send(target),
    /** Posts the form of a page that has the button, with what its hidden fields say and what is typed in. */
    submit(page: Visit, button: string, typed: Record<string, string> = {}): Promise<Visit> {
      const form = page.text
        .split('<form ')
        .slice(1)
        .find((part) => part.split('</form>')[0]?.includes(`>${button}</button>`));
      expect(form, `a form with ${button} in ${page.text}`).toBeDefined();
      const hidden = [...(form?.split('</form>')[0]?.matchAll(/type="hidden" name="([^"]+)" value="([^"]*)"/g) ?? [])];
      const values = Object.fromEntries(hidden.map(([, name, value]) => [name, value]));
      const body = new URLSearchParams({ ...values, ...typed });
      const action = /action="([^"]+)"/.exec(form ?? '')?.[1];
      return send(new URL(action ?? '', page.url).href, { method: 'POST', body, headers: { origin: url } });
    },
  };
}

export interface Visit {
  url: string;
  /** 0 where the browser was sent away. */
  status: number;
  text: string;
  headers: Headers;
}

/** Goes through the whole flow: request, login, consent, callback, token. */
export async function signInWith(
  provider: Provider,
  config: oauth.Configuration,
  { scope = 'openid profile email', redirectUri = CALLBACK, browser = openBrowser(provider) } = {},
) {
  const verifier = oauth.randomPKCECodeVerifier();
  const state = oauth.randomState();
  const nonce = oauth.randomNonce();
  const authorizeUrl = oauth.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope,
    state,
    nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  let page = await browser.open(authorizeUrl.href);
  if (page.text.includes('name="password"')) page = await browser.submit(page, 'Sign in', ALICE);
  if (page.text.includes('>Allow</button>')) page = await browser.submit(page, 'Allow');
  expect(page.url.startsWith(redirectUri), `${page.url} ${page.text}`).toBe(true);
  const callback = new URL(page.url);
  const tokens = await oauth.authorizationCodeGrant(config, callback, {
    pkceCodeVerifier: verifier,
    expectedState: state,
    expectedNonce: nonce,
  });
  return { tokens, callback, verifier, browser };
}
