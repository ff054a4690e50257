import { decodeJwt, type JWTPayload, SignJWT } from 'jose';
import { expect, test } from 'vitest';
import { bearer, ownToken } from '../auth/client.ts';
import { FORGED_CLAIMS, FORGED_SIGNATURES, type Forge, type Place, show, USER_PLACES } from '../auth/forgeries.ts';
import { SECRETS } from '../harness.ts';
import { discover, registerClient, signInWith, startProvider } from './flow.ts';

const PROFILE: Place = { method: 'get', path: '/auth/v1/profile', good: 200 };
const PLACES = USER_PLACES.filter(({ inPerson }) => !inPerson);

/** A program that a user let in, with its token, and what each part of the server says to one. */
async function letProgramIn() {
  const provider = await startProvider();
  const client = await registerClient(provider, { scopes: ['openid', 'email', 'api'] });
  const config = await discover(provider, client);
  const { tokens } = await signInWith(provider, config, { scope: 'openid email api' });
  const { get, post } = provider.as('nobody');
  const authentication = { client_id: client.clientId, client_secret: client.clientSecret };
  return {
    provider,
    token: tokens.access_token,
    withdraw: (given: string) => post('/api/oauth/v1/revoke', { token: given, ...authentication }),
    /** Where a token of a program is read in another way than the tokens of users. */
    uses: async (given: string) => ({
      introspected: (await post('/api/oauth/v1/introspect', { token: given, ...authentication })).body,
      userinfo: (await get('/api/oauth/v1/userinfo', bearer(given))).status,
      posted: (await post('/api/oauth/v1/userinfo', { access_token: given })).status,
      profile: (await get('/auth/v1/profile', bearer(given))).status,
    }),
  };
}

const REFUSED = { introspected: { active: false }, userinfo: 401, posted: 401, profile: 401 };
const GRANTED = { introspected: { active: true }, userinfo: 200, posted: 200, profile: 200 };

/** The program's token stays good all along, so it is not for want of a grant that the forged ones are refused. */
async function expectRefused(forgeries: [string, Forge][]): Promise<void> {
  const { provider, token, uses, withdraw } = await letProgramIn();
  const claims: JWTPayload = decodeJwt(token);
  for (const [what, forge] of forgeries) {
    const given = await forge(provider, claims);
    expect(await uses(given), what).toEqual(REFUSED);
    for (const place of PLACES) expect((await show(provider, given, place)).status, `${what} ${place.path}`).toBe(401);
    await withdraw(given);
    expect((await show(provider, token, PROFILE)).status, `${what}, withdrawn`).toBe(200);
  }
  expect(await uses(token)).toMatchObject(GRANTED);
  expect(await uses(await ownToken(provider, claims)), 'the same claims, signed again').toMatchObject(GRANTED);
  for (const place of PLACES) expect((await show(provider, token, place)).status, place.path).toBe(place.good);
}

test('a token of a program that our key has not signed opens nothing, and withdraws nothing', async () => {
  await expectRefused(FORGED_SIGNATURES);
});

test('a token of a program that says what no good one says opens nothing, and withdraws nothing', async () => {
  await expectRefused(FORGED_CLAIMS);
});

test('a token that names a grant of a program, signed with the secret of third parties, uses no grant', async () => {
  const { token, uses, withdraw } = await letProgramIn();
  const secret = new TextEncoder().encode(SECRETS.JWT_SECRET);
  const given = await new SignJWT(decodeJwt(token)).setProtectedHeader({ alg: 'HS256' }).sign(secret);
  await withdraw(given);
  // It speaks for the user, as such tokens do, but not for the program.
  expect(await uses(given)).toEqual({ ...REFUSED, profile: 200 });
  expect(await uses(token)).toMatchObject(GRANTED);
});
