import { createPublicKey } from 'node:crypto';
import { decodeJwt, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { expect, test } from 'vitest';
import { bearer, ownToken } from '../auth/client.ts';
import { SECRETS } from '../harness.ts';
import { discover, registerClient, signInWith, startProvider } from './flow.ts';

test('a forged token of a program is neither active, nor read, nor withdrawn', async () => {
  const provider = await startProvider();
  const client = await registerClient(provider, { scopes: ['openid', 'email', 'api'] });
  const config = await discover(provider, client);
  const { tokens } = await signInWith(provider, config, { scope: 'openid email api' });
  const token = tokens.access_token;
  const { get, post } = provider.as('nobody');
  const authentication = { client_id: client.clientId, client_secret: client.clientSecret };
  const uses = async (given: string) => ({
    introspected: (await post('/api/oauth/v1/introspect', { token: given, ...authentication })).body,
    userinfo: (await get('/api/oauth/v1/userinfo', bearer(given))).status,
    profile: (await get('/auth/v1/profile', bearer(given))).status,
    session: (await get('/api/auth/sessions/current', bearer(given))).status,
  });
  const claims = decodeJwt(token);
  const { keys } = (await get('/.well-known/jwks.json')).body;
  const publicPem = createPublicKey({ key: keys[0], format: 'jwk' }).export({ type: 'spki', format: 'pem' });
  const { privateKey } = await generateKeyPair('RS256');
  const hs256 = (secret: string) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(new TextEncoder().encode(secret));
  const rs256 = (header: object) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'RS256', ...header }).sign(privateKey);
  const forged: Record<string, string> = {
    'no signature': new UnsecuredJWT(claims).encode(),
    'the public key as a secret': await hs256(String(publicPem)),
    'the shared secret': await hs256(SECRETS.JWT_SECRET),
    'another key under our key id': await rs256({ kid: keys[0].kid }),
    'another key under its own id': await rs256({ kid: 'theirs', jku: 'https://attacker.example/jwks.json' }),
    'another issuer': await ownToken(provider, { ...claims, iss: 'https://attacker.example' }),
    'another audience': await ownToken(provider, { ...claims, aud: 'another-api' }),
    'a token id of nothing': await ownToken(provider, { ...claims, jti: 'unknown' }),
    expired: await ownToken(provider, { ...claims, exp: 1 }),
    'an extension that nobody knows': await ownToken(provider, claims, { crit: ['x'], x: 1 }),
  };
  const refused = { introspected: { active: false }, userinfo: 401, profile: 401, session: 401 };
  for (const [what, given] of Object.entries(forged)) {
    await post('/api/oauth/v1/revoke', { token: given, ...authentication });
    // Third parties may sign with the shared secret. Nobody but us grants with it.
    if (what === 'the shared secret')
      expect(await uses(given), what).toMatchObject({ introspected: { active: false }, userinfo: 401 });
    else expect(await uses(given), what).toEqual(refused);
  }
  const granted = { introspected: { active: true }, userinfo: 200, profile: 200, session: 200 };
  expect(await uses(token)).toMatchObject(granted);
});
