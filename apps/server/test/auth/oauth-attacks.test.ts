import { randomUUID } from 'node:crypto';
import { SignJWT, UnsecuredJWT } from 'jose';
import { expect, test } from 'vitest';
import { type Reply, SECRETS } from '../harness.ts';
import { ownToken } from './client.ts';
import {
  APP_URL,
  CLIENT,
  configureCustom,
  exchange,
  makePkce,
  type ReachableApp,
  start,
  startReachableApp,
} from './oauth-browser.ts';
import { FORGED_ID_TOKENS, type ScriptedOpenId, startScriptedOpenId } from './oauth-scripted.ts';

const MALLORY = { sub: 'mallory', email: 'mallory@example.com', email_verified: true };

/** A server with two providers, of which the attacker may own one. */
async function startWithTwo() {
  const app = await startReachableApp();
  const [alpha, beta] = await Promise.all([startScriptedOpenId(), startScriptedOpenId()]);
  alpha.script.claims = { sub: 'victim', email: 'victim@example.com', email_verified: true };
  beta.script.claims = MALLORY;
  await configureCustom(app, 'alpha', { discoveryEndpoint: alpha.issuer });
  await configureCustom(app, 'beta', { discoveryEndpoint: beta.issuer });
  return { app, alpha, beta };
}

/** Goes to the provider and stops before the answer reaches this server. */
async function answerOf(app: ReachableApp, provider: string, pkce = makePkce()): Promise<URL> {
  const { body } = await start(app, { provider, pkce });
  const { headers } = await fetch(body.authUrl, { redirect: 'manual' });
  return new URL(headers.get('location') ?? '');
}

const deliver = ({ as }: ReachableApp, { pathname, search }: URL): Promise<Reply> =>
  as('nobody').get(pathname + search);

const stateOf = (claims: Record<string, unknown>, secret = SECRETS.JWT_SECRET) =>
  new SignJWT({ jti: randomUUID(), provider: 'alpha', type: 'oauth_state', ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .setIssuer('insforge')
    .setExpirationTime('1h')
    .sign(new TextEncoder().encode(secret));

async function expectNobody({ sql }: ReachableApp): Promise<void> {
  expect(await sql('select from auth.users')).toEqual([]);
  expect(await sql('select from auth.exchange_codes')).toEqual([]);
}

test('an untouched answer works, so that the refusals below mean something', async () => {
  const { app } = await startWithTwo();
  const pkce = makePkce();
  const { status, headers } = await deliver(app, await answerOf(app, 'alpha', pkce));
  expect([status, headers['referrer-policy'], headers['cache-control']]).toEqual([302, 'no-referrer', 'no-store']);
  const code = new URL(String(headers.location)).searchParams.get('insforge_code');
  expect(await exchange(app, code, pkce)).toMatchObject({
    status: 200,
    body: { user: { email: 'victim@example.com' } },
  });
});

type Tamper = (parts: {
  answer: URL;
  app: ReachableApp;
  alpha: ScriptedOpenId;
  beta: ScriptedOpenId;
}) => Promise<unknown> | unknown;

test.each<{ why: string; tamper: Tamper }>([
  { why: 'no state', tamper: ({ answer }) => answer.searchParams.delete('state') },
  { why: 'a state that is no token', tamper: ({ answer }) => answer.searchParams.set('state', 'x') },
  {
    why: 'a state signed by somebody else',
    tamper: async ({ answer }) =>
      answer.searchParams.set('state', await stateOf({}, 'another-secret-0123456789-abcdef')),
  },
  {
    why: 'a state without a signature',
    tamper: async ({ answer, app }) => {
      const claims = { type: 'oauth_state', provider: 'alpha', iss: 'insforge', exp: 9_999_999_999 };
      const [row] = await app.sql<{ id: string }>('select id from auth.oauth_states');
      answer.searchParams.set('state', new UnsecuredJWT({ ...claims, jti: row?.id ?? '' }).encode());
    },
  },
  {
    why: 'a state signed with our private key',
    tamper: async ({ answer, app }) => {
      const claims = { type: 'oauth_state', provider: 'alpha', iss: 'insforge', exp: 9_999_999_999 };
      const [row] = await app.sql<{ id: string }>('select id from auth.oauth_states');
      answer.searchParams.set('state', await ownToken(app, { ...claims, jti: row?.id ?? '' }));
    },
  },
  {
    why: 'a state that was never issued',
    tamper: async ({ answer }) => answer.searchParams.set('state', await stateOf({})),
  },
  {
    why: 'a token that was signed for something else',
    tamper: async ({ answer, app }) => {
      const [row] = await app.sql<{ id: string }>('select id from auth.oauth_states');
      answer.searchParams.set('state', await stateOf({ jti: row?.id, type: 'refresh' }));
    },
  },
  { why: 'an expired state', tamper: ({ app }) => app.sql('update auth.oauth_states set expires_at = now()') },
  {
    why: 'the state of a sign-in with another provider',
    tamper: async ({ answer, app }) => {
      const other = await answerOf(app, 'beta');
      answer.searchParams.set('state', other.searchParams.get('state') ?? '');
    },
  },
  {
    why: 'an answer at the address of another provider (mix-up)',
    tamper: ({ answer }) => {
      answer.pathname = answer.pathname.replace('/alpha/', '/beta/');
    },
  },
])('$why leads nowhere', async ({ tamper }) => {
  const { app, alpha, beta } = await startWithTwo();
  const answer = await answerOf(app, 'alpha');
  await tamper({ answer, app, alpha, beta });
  const reply = await deliver(app, answer);
  expect(reply).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT', nextActions: expect.any(String) } });
  expect(reply.headers.location).toBeUndefined();
  await expectNobody(app);
});

test('asking for the headers of an answer does not use it up', async () => {
  const { app } = await startWithTwo();
  const answer = await answerOf(app, 'alpha');
  expect(await app.as('nobody').head(answer.pathname + answer.search)).toMatchObject({ status: 404 });
  expect(await deliver(app, answer)).toMatchObject({ status: 302 });
});

test('a state counts once', async () => {
  const { app } = await startWithTwo();
  const answer = await answerOf(app, 'alpha');
  const replies = await Promise.all(Array.from({ length: 10 }, () => deliver(app, answer)));
  expect(replies.filter(({ status }) => status === 302)).toHaveLength(1);
  expect(replies.filter(({ status }) => status === 400)).toHaveLength(9);
  expect(await app.sql('select from auth.exchange_codes')).toHaveLength(1);
});

test.each<{ why: string; tamper: Tamper; error?: RegExp }>([
  { why: 'another nonce', tamper: ({ alpha }) => Object.assign(alpha.script.claims, { nonce: 'another' }) },
  { why: 'no nonce', tamper: ({ alpha }) => Object.assign(alpha.script.claims, { nonce: undefined }) },
  { why: 'another audience', tamper: ({ alpha }) => Object.assign(alpha.script.claims, { aud: 'another' }) },
  { why: 'another issuer', tamper: ({ alpha, beta }) => Object.assign(alpha.script.claims, { iss: beta.issuer }) },
  { why: 'an expired ID token', tamper: ({ alpha }) => Object.assign(alpha.script.claims, { exp: 1_000_000_000 }) },
  { why: 'no subject', tamper: ({ alpha }) => Object.assign(alpha.script.claims, { sub: undefined }) },
  {
    why: 'several audiences, made for another one',
    tamper: ({ alpha }) => Object.assign(alpha.script.claims, { aud: [CLIENT.id, 'another'], azp: 'another' }),
  },
  {
    why: 'several audiences and no word for whom',
    tamper: ({ alpha }) => Object.assign(alpha.script.claims, { aud: [CLIENT.id, 'another'] }),
  },
  { why: 'a token that is not valid yet', tamper: ({ alpha }) => Object.assign(alpha.script.claims, { nbf: 9e9 }) },
  ...FORGED_ID_TOKENS.map(({ why, forge }) => ({
    why: `an ID token with ${why} for a signature`,
    tamper: ({ alpha }: { alpha: ScriptedOpenId }) => {
      alpha.script.forge = forge;
    },
  })),
  {
    why: 'the issuer of another provider beside the code (RFC 9207)',
    tamper: ({ answer, beta }) => answer.searchParams.set('iss', beta.issuer),
  },
  {
    why: 'a code of another sign-in, which PKCE binds to that one',
    tamper: async ({ answer, app }) => {
      const other = await answerOf(app, 'alpha');
      answer.searchParams.set('code', other.searchParams.get('code') ?? '');
    },
    error: /^alpha refused the sign-in: invalid_grant$/,
  },
  {
    why: 'a code of another provider',
    tamper: async ({ answer, app }) => {
      const other = await answerOf(app, 'beta');
      answer.searchParams.set('code', other.searchParams.get('code') ?? '');
    },
    error: /^alpha refused the sign-in: invalid_grant$/,
  },
  { why: 'two codes', tamper: ({ answer }) => answer.searchParams.append('code', 'another') },
  { why: 'no code', tamper: ({ answer }) => answer.searchParams.delete('code') },
  {
    why: 'an error text that is more than a code',
    tamper: ({ answer }) => answer.searchParams.set('error', '<script>alert(1)</script>'),
  },
])(
  'the app is told that it failed, and no more: $why',
  async ({ tamper, error = /^The sign-in with alpha failed$/ }) => {
    const { app, alpha, beta } = await startWithTwo();
    const answer = await answerOf(app, 'alpha');
    await tamper({ answer, app, alpha, beta });
    const { status, headers } = await deliver(app, answer);
    expect(status).toBe(302);
    const target = new URL(String(headers.location));
    expect(target.origin + target.pathname).toBe(APP_URL);
    expect([...target.searchParams.keys()]).toEqual(['error']);
    expect(target.searchParams.get('error')).toMatch(error);
    await expectNobody(app);
  },
);

test('whoever lures somebody into their own sign-in gets nothing for it, and nor does the lured one', async () => {
  const { app } = await startWithTwo();
  const mallory = makePkce();
  // Login CSRF: the victim's browser delivers the attacker's answer. Without the attacker's verifier it is worthless.
  const { headers } = await deliver(app, await answerOf(app, 'beta', mallory));
  const code = new URL(String(headers.location)).searchParams.get('insforge_code');
  expect(await exchange(app, code, makePkce())).toMatchObject({ status: 400 });
  expect(await exchange(app, code, mallory)).toMatchObject({ status: 400 });
});

test('two providers may use the same identifier for different people', async () => {
  const { app, alpha, beta } = await startWithTwo();
  alpha.script.claims = { sub: '1', email: 'one@example.com', email_verified: true };
  beta.script.claims = { sub: '1', email: 'two@example.com', email_verified: true };
  await deliver(app, await answerOf(app, 'alpha'));
  await deliver(app, await answerOf(app, 'beta'));
  expect(await app.sql('select from auth.users')).toHaveLength(2);
});
