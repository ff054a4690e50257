import { expect, test } from 'vitest';
import { configureCustom } from '../auth/oauth-browser.ts';
import { startOpenId } from '../auth/oauth-openid.ts';
import { CALLBACK, discover, openBrowser, registerClient, startProvider } from './flow.ts';

const ADA = { email: 'ada@example.com', email_verified: true, name: 'Ada' };

test('the login page leads to other providers, and goes on with who comes back', async () => {
  const provider = await startProvider({ ALLOW_PRIVATE_NETWORK: 'true' });
  const { issuer } = await startOpenId({ ada: ADA }, [`${provider.url}/api/auth/oauth/custom/sso/callback`]);
  await configureCustom(provider, 'sso', { discoveryEndpoint: issuer });
  // An allow list of apps does not have to name this server.
  await provider.as('admin').put('/api/auth/config', { allowedRedirectUrls: ['https://app.example.com/*'] });
  const client = await registerClient(provider);
  await discover(provider, client);
  const query = new URLSearchParams({
    client_id: client.clientId,
    redirect_uri: CALLBACK,
    response_type: 'code',
    scope: 'openid email',
    code_challenge: 'A'.repeat(43),
    code_challenge_method: 'S256',
  });
  const begin = async (hint: string) => {
    const browser = openBrowser(provider);
    const login = await browser.open(`${provider.url}/api/oauth/v1/authorize?${query}&login_hint=${hint}`);
    const href = /href="(\/auth\/with\/sso[^"]*)"/.exec(login.text)?.[1]?.replaceAll('&amp;', '&');
    const away = await browser.open(provider.url + href);
    expect(away.url.startsWith(issuer), away.url).toBe(true);
    const back = await openBrowser({ ...provider, url: issuer }).open(away.url);
    return { browser, login, page: await browser.open(back.url), back };
  };

  const { browser, page, back } = await begin('ada');
  expect(page.text).toContain('Let Notes in?');
  expect(page.text).toContain('ada@example.com');
  expect((await browser.submit(page, 'Allow')).url.startsWith(`${CALLBACK}?code=`)).toBe(true);

  const other = openBrowser(provider);
  const waiting = await other.open(`${provider.url}/api/oauth/v1/authorize?${query}`);
  const stolen = new URL(back.url).search;
  expect((await other.open(waiting.url + stolen)).text, 'the answer to another sign-in').not.toContain('Let Notes in?');

  const refused = await begin('');
  expect(refused.page.text).toContain('role="alert"');
  expect(refused.page.text).toContain('Sign in');
});
