import { expect, test } from 'vitest';
import { configureCustom, signInWith, startReachableApp } from './oauth-browser.ts';
import { startOpenId } from './oauth-openid.ts';

const ADA = { email: 'Ada@Example.com', email_verified: true, name: 'Ada', picture: 'https://example.com/ada.png' };

async function startWithOpenId(people: Parameters<typeof startOpenId>[0]) {
  const app = await startReachableApp();
  const { issuer } = await startOpenId(people, [`${app.baseUrl}/api/auth/oauth/custom/sso/callback`]);
  await configureCustom(app, 'sso', { discoveryEndpoint: `${issuer}/.well-known/openid-configuration` });
  return { app, issuer };
}

const as = (who: string) => ({ provider: 'sso', extra: { login_hint: who } });

test('somebody signs in through an OpenID Connect provider, and comes back as the same user', async () => {
  const { app } = await startWithOpenId({ ada: ADA });
  const first = await signInWith(app, as('ada'));
  expect(first).toMatchObject({
    status: 200,
    body: {
      accessToken: expect.any(String),
      refreshToken: expect.any(String),
      user: {
        email: 'ada@example.com',
        emailVerified: true,
        providers: ['sso'],
        profile: { name: 'Ada', avatar_url: 'https://example.com/ada.png' },
      },
    },
  });
  const again = await signInWith(app, as('ada'));
  expect(again.body.user.id).toBe(first.body.user.id);
});
