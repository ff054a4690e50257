import * as oauth from 'openid-client';
import { expect, test } from 'vitest';
import { bearer } from '../auth/client.ts';
import type { Reply } from '../harness.ts';
import { ALICE, CALLBACK, discover, openBrowser, type Provider, registerClient, startProvider } from './flow.ts';

const TOKEN = '/api/oauth/v1/token';
const VERIFIER = 'v'.repeat(43);

/** A program whose user has signed in and is asked what to let it do. */
async function comeToConsent(provider: Provider) {
  const client = await registerClient(provider);
  const url = oauth.buildAuthorizationUrl(await discover(provider, client), {
    redirect_uri: CALLBACK,
    scope: 'openid email',
    code_challenge: await oauth.calculatePKCECodeChallenge(VERIFIER),
    code_challenge_method: 'S256',
  });
  const browser = openBrowser(provider);
  const consent = await browser.submit(await browser.open(url.href), 'Sign in', ALICE);
  return { client, browser, consent };
}

/** Asks for tokens twenty times at once. */
const askOften = ({ as }: Provider, body: object): Promise<Reply[]> =>
  Promise.all(Array.from({ length: 20 }, () => as('nobody').post(TOKEN, body)));

/** What the one who was first got. The others are told that it was used already. */
function winnerOf(replies: readonly Reply[]): Reply['body'] {
  const [first, ...more] = replies.filter(({ status }) => status === 200);
  expect(more).toEqual([]);
  const refused = replies.filter((reply) => reply !== first);
  expect(new Set(refused.map(({ status, body }) => `${status} ${body.error}`))).toEqual(new Set(['400 invalid_grant']));
  return first?.body;
}

test.each(['code', 'refresh token'])(
  'of many who bring one %s at once, one gets tokens, which end since the others were noticed',
  async (kind) => {
    const provider = await startProvider();
    const { post, get } = provider.as('nobody');
    const { client, browser, consent } = await comeToConsent(provider);
    const code = new URL((await browser.submit(consent, 'Allow')).url).searchParams.get('code');
    const credentials = { client_id: client.clientId, client_secret: client.clientSecret };
    const byCode = { grant_type: 'authorization_code', code, redirect_uri: CALLBACK, code_verifier: VERIFIER };
    const refreshed = (refresh_token: string) => ({ grant_type: 'refresh_token', refresh_token, ...credentials });

    const body =
      kind === 'code'
        ? { ...byCode, ...credentials }
        : refreshed((await post(TOKEN, { ...byCode, ...credentials })).body.refresh_token);
    const { access_token, refresh_token } = winnerOf(await askOften(provider, body));
    expect((await get('/auth/v1/profile', bearer(access_token))).status).toBe(401);
    expect(await post(TOKEN, refreshed(refresh_token))).toMatchObject({ body: { error: 'invalid_grant' } });
  },
);

test('a program that is deleted while its user decides gets nothing, and the user is told', async () => {
  const provider = await startProvider();
  const { client, browser, consent } = await comeToConsent(provider);
  expect((await provider.as('admin').delete(`/api/oauth/v1/clients/${client.clientId}`)).status).toBe(200);
  const told = await browser.submit(consent, 'Allow');
  expect(told).toMatchObject({ status: 404, text: expect.stringContaining('The program is gone') });
});
