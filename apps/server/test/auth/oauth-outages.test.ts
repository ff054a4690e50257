import type { IncomingMessage, ServerResponse } from 'node:http';
import { Writable } from 'node:stream';
import { expect, test } from 'vitest';
import { createLog } from '../../src/platform/log.ts';
import { startApp } from '../harness.ts';
import { APP_URL, CLIENT, configureCustom, makePkce, serve, start } from './oauth-browser.ts';
import { readAll } from './oauth-scripted.ts';

// Providers break down, and some repeat in their errors what they were sent. None of it is for the app or for the log.

const ACCESS_TOKEN = 'access-token-of-the-user';
const EMAIL = 'somebody@example.com';
const CODE = 'code-of-the-provider';

interface Asked {
  /** All that we sent, to be thrown back at us. */
  echo: string;
  response: ServerResponse;
}

const answer =
  (status: number, body: string, type = 'application/json') =>
  ({ response }: Asked) =>
    response.writeHead(status, { 'content-type': type }).end(body);

const good = {
  token: answer(200, JSON.stringify({ access_token: ACCESS_TOKEN, token_type: 'Bearer' })),
  user: answer(200, JSON.stringify({ id: '1', email: EMAIL, name: 'Somebody' })),
};

type Script = { token: (asked: Asked) => unknown; user: (asked: Asked) => unknown };

async function startBroken(script: Script) {
  const echoOf = async (request: IncomingMessage) => `${await readAll(request)} ${request.headers.authorization}`;
  const { url } = await serve(async (request, response) => {
    const echo = await echoOf(request);
    if (request.url === '/token') script.token({ echo, response });
    else script.user({ echo, response });
  });
  let written = '';
  const stream = new Writable({
    write(chunk, _encoding, done) {
      written += chunk;
      done();
    },
  });
  const app = await startApp({ ALLOW_PRIVATE_NETWORK: 'true' }, { log: createLog('info', stream) });
  const endpoints = { authorizeUrl: `${url}/authorize`, tokenUrl: `${url}/token`, userinfoUrl: `${url}/user` };
  await configureCustom(app, 'broken', endpoints);
  return { app, written: () => written };
}

/** Comes back from the provider with a code, and says with what the app is opened. */
async function comeBack(script: Script) {
  const { app, written } = await startBroken(script);
  const started = await start(app, { provider: 'broken', pkce: makePkce() });
  const state = new URL(started.body.authUrl).searchParams.get('state') ?? '';
  const query = new URLSearchParams({ code: CODE, state });
  const reply = await app.as('nobody').get(`/api/auth/oauth/custom/broken/callback?${query}`);
  expect(reply.status).toBe(302);
  return { app, log: written(), state, target: new URL(String(reply.headers.location)) };
}

test('a provider that works lets somebody in, so that the failures below mean something', async () => {
  const { target, log } = await comeBack(good);
  expect([...target.searchParams.keys()]).toEqual(['insforge_code']);
  expect(log).not.toContain('oauth.failed');
});

const FAILED = 'The sign-in with broken failed';

test.each<{ what: string; broken: Partial<Script>; error?: string }>([
  {
    what: 'refuses us and repeats what we sent',
    broken: {
      token: ({ echo, response }) =>
        answer(
          401,
          JSON.stringify({ error: 'invalid_client', error_description: echo, [echo]: echo }),
        )({ echo, response }),
    },
    error: 'broken refused the sign-in: invalid_client',
  },
  {
    what: 'refuses us with a code that is what we sent',
    broken: { token: (asked) => answer(400, JSON.stringify({ error: asked.echo }))(asked) },
  },
  {
    what: 'answers a page that repeats what we sent',
    broken: { token: (asked) => answer(200, asked.echo, 'text/html')(asked) },
  },
  { what: 'answers no JSON but what we sent', broken: { token: (asked) => answer(200, asked.echo)(asked) } },
  { what: 'breaks down with what we sent', broken: { token: (asked) => answer(500, asked.echo)(asked) } },
  { what: 'hangs up', broken: { token: ({ response }) => response.destroy() } },
  {
    what: 'gives no token',
    broken: { token: answer(200, JSON.stringify({ token_type: 'Bearer', refresh_token: ACCESS_TOKEN })) },
  },
  { what: 'never ends its answer', broken: { token: answer(200, `{"access_token":"${'x'.repeat(2 ** 21)}"}`) } },
  { what: 'knows no user', broken: { user: (asked) => answer(403, asked.echo)(asked) } },
  { what: 'says who it is in no JSON', broken: { user: (asked) => answer(200, asked.echo)(asked) } },
  { what: 'says who it is with an address first', broken: { user: answer(200, EMAIL) } },
  {
    what: 'sends us elsewhere for the user',
    broken: { user: ({ response }) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end() },
  },
  { what: 'does not say who it is', broken: { user: answer(200, JSON.stringify({ email: EMAIL })) } },
])(
  'a provider that $what: the app hears that it failed, and nobody what was said',
  async ({ broken, error = FAILED }) => {
    const { app, log, state, target } = await comeBack({ ...good, ...broken });
    expect(target.origin + target.pathname).toBe(APP_URL);
    expect([...target.searchParams]).toEqual([['error', error]]);
    expect(log).toContain('oauth.failed');
    const pair = Buffer.from(`${CLIENT.id}:${CLIENT.secret}`).toString('base64');
    for (const secret of [CLIENT.secret, pair, ACCESS_TOKEN, CODE, state, EMAIL, 'somebody']) {
      expect(log, secret).not.toContain(secret);
    }
    expect(await app.sql('select from auth.users')).toEqual([]);
    expect(await app.sql('select from auth.exchange_codes')).toEqual([]);
  },
);
