import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { OAUTH_PROVIDERS } from '@insforge/contract/oauth.ts';
import { expect, onTestFinished } from 'vitest';
import { type Reply, startApp, type TestApp } from '../harness.ts';

/** Where the app of these tests lives. Nothing listens there: the browser stops before it. */
export const APP_URL = 'http://localhost:4321/signed-in';

/** Starts a server on a free port of this machine; it ends with the test. */
export async function serve(listener?: RequestListener): Promise<{ url: string; server: Server }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (typeof address !== 'object' || !address) throw new Error('no port');
  return { url: `http://localhost:${address.port}`, server };
}

/** An app that providers can send browsers back to. */
export interface ReachableApp extends TestApp {
  baseUrl: string;
}

export async function startReachableApp(environment: Record<string, string> = {}): Promise<ReachableApp> {
  // The app must know its own address before it is built.
  const { url, server } = await serve();
  const app = await startApp({ API_BASE_URL: url, ALLOW_PRIVATE_NETWORK: 'true', ...environment });
  server.on('request', (request, response) => app.app.routing(request, response));
  return { ...app, baseUrl: url };
}

/** What the SDK keeps in the page between start and exchange. */
export interface Pkce {
  verifier: string;
  challenge: string;
}

export function makePkce(): Pkce {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

export interface StartOptions {
  provider: string;
  pkce?: Pkce;
  redirectUri?: string;
  extra?: Record<string, string>;
}

export function start({ as }: TestApp, options: StartOptions): Promise<Reply> {
  const { provider, pkce = makePkce(), redirectUri = APP_URL, extra = {} } = options;
  const query = new URLSearchParams({ ...extra, redirect_uri: redirectUri, code_challenge: pkce.challenge });
  const path = OAUTH_PROVIDERS.some((known) => known === provider) ? provider : `custom/${provider}`;
  return as('nobody').get(`/api/auth/oauth/${path}?${query}`);
}

/** A browser: keeps cookies, follows redirects, submits the form of a page that does so by itself. */
export function openBrowser() {
  const cookies = new Map<string, string>();
  const visit = async (url: string, init: RequestInit = {}): Promise<string> => {
    const jar = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { ...init, redirect: 'manual', headers: { ...init.headers, cookie: jar } });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (value === '') cookies.delete(name);
      else cookies.set(name, value);
    }
    const text = await response.text();
    const location = response.headers.get('location');
    if (location) {
      const next = new URL(location, url).href;
      return next.startsWith(APP_URL) ? next : visit(next);
    }
    const form = /<form method="post" action="([^"]+)">(.*?)<\/form>/s.exec(text);
    if (!form) throw new Error(`the browser is stuck at ${url}: ${response.status} ${text.slice(0, 500)}`);
    const fields = [...(form[2] ?? '').matchAll(/name="([^"]+)" value="([^"]*)"/g)].map(
      ([, name = '', value = '']): [string, string] => [name, value.replaceAll('&quot;', '"')],
    );
    return visit(form[1] ?? '', {
      method: 'POST',
      body: new URLSearchParams(fields).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
  };
  return { visit };
}

/** The whole way to the provider and back to the app. Returns the address that the app is opened at. */
export async function arrive(app: TestApp, options: StartOptions): Promise<URL> {
  const started = await start(app, options);
  expect(started).toMatchObject({ status: 200, body: { authUrl: expect.any(String) } });
  return new URL(await openBrowser().visit(started.body.authUrl));
}

export const exchange = ({ as }: TestApp, code: string | null, { verifier }: Pkce) =>
  as('nobody').post('/api/auth/oauth/exchange?client_type=mobile', { code, code_verifier: verifier });

/** Signs somebody in and returns the reply to the exchange. */
export async function signInWith(app: TestApp, options: Omit<StartOptions, 'pkce'>): Promise<Reply> {
  const pkce = makePkce();
  const arrived = await arrive(app, { ...options, pkce });
  expect(arrived.searchParams.get('error')).toBeNull();
  return exchange(app, arrived.searchParams.get('insforge_code'), pkce);
}

export async function configure(app: TestApp, provider: string, more: Record<string, unknown> = {}): Promise<void> {
  const config = { provider, clientId: CLIENT.id, clientSecret: CLIENT.secret, ...more };
  expect(await app.as('admin').post('/api/auth/oauth/configs', config)).toMatchObject({ status: 200 });
}

export async function configureCustom(app: TestApp, key: string, more: Record<string, unknown>): Promise<void> {
  const config = { key, name: key, clientId: CLIENT.id, clientSecret: CLIENT.secret, ...more };
  expect(await app.as('admin').post('/api/auth/oauth/custom/configs', config)).toMatchObject({ status: 200 });
}

/** What every provider of these tests knows this server by. */
export const CLIENT = { id: 'client-of-the-tests', secret: 'secret-of-the-tests-0123456789' };
