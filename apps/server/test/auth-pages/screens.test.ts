import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as oauth from 'openid-client';
import { type Browser, chromium } from 'playwright-core';
import { expect, onTestFinished, test } from 'vitest';
import { totpCode } from '../../src/features/auth/totp.ts';
import { bearer } from '../auth/client.ts';
import { endCooldown, register } from '../auth/email-client.ts';
import type { TestApp } from '../harness.ts';
import { ALICE, CALLBACK, discover, registerClient, startProvider } from '../oauth-server/flow.ts';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);
/** Where the pictures go, for whoever wants to look at them. */
const PICTURES = process.env.TEST_PICTURES;
const CHALLENGE = 'A'.repeat(43);

async function openBrowser(): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: CHROMIUM ?? '', args: ['--no-sandbox'] });
  onTestFinished(() => browser.close());
  return browser;
}

/** A user with a second factor. */
async function enrol(provider: TestApp, who: { email: string; password: string }): Promise<void> {
  const { accessToken } = (await register(provider, who)).body;
  const { post } = provider.as('nobody');
  const { id, secret } = (await post('/api/auth/factors', undefined, bearer(accessToken))).body;
  const code = totpCode(secret, Math.floor(Date.now() / 30_000));
  expect((await post(`/api/auth/factors/${id}/verify`, { code }, bearer(accessToken))).status).toBe(200);
}

const SIZES = [
  { size: 'phone', viewport: { width: 360, height: 740 } },
  { size: 'desktop', viewport: { width: 1280, height: 800 } },
] as const;

test.skipIf(!CHROMIUM)(
  'the pages work in a real browser without JavaScript, in all sizes and colours',
  async () => {
    const provider = await startProvider();
    await provider.as('admin').put('/api/auth/pages', {
      appName: 'Harbour',
      accentColor: '#4f46e5',
      termsUrl: 'https://example.com/terms',
      privacyUrl: 'https://example.com/privacy',
    });
    await provider
      .as('admin')
      .post('/api/auth/oauth/configs', { provider: 'github', clientId: 'id', clientSecret: 'secret' });
    const careful = { email: 'careful@example.com', password: 'correct horse battery' };
    await enrol(provider, careful);
    const browser = await openBrowser();
    const client = await registerClient(provider, { homepageUrl: 'https://notes.example' });
    const config = await discover(provider, client);
    for (const { size, viewport } of SIZES) {
      for (const colorScheme of ['light', 'dark'] as const) {
        const page = await browser.newPage({ viewport, colorScheme, javaScriptEnabled: false });
        const problems: string[] = [];
        page.on('console', (message) => problems.push(message.text()));
        const picture = async (name: string) => {
          // Nothing sticks out at the side.
          const box = await page.locator('main').boundingBox();
          expect((box?.x ?? -1) >= 0 && (box?.x ?? 0) + (box?.width ?? 0) <= viewport.width, `${name} ${size}`).toBe(
            true,
          );
          if (!PICTURES) return;
          await mkdir(PICTURES, { recursive: true });
          await page.screenshot({ path: `${PICTURES}/${name}-${size}-${colorScheme}.png` });
        };
        // The app, where the browser ends up.
        await page.route(`${CALLBACK}*`, (route) => route.fulfill({ body: 'back in the app' }));
        const flow = `?redirect_to=${encodeURIComponent(CALLBACK)}&code_challenge=${CHALLENGE}`;
        for (const name of ['sign-in', 'sign-up', 'reset', 'verify']) {
          await page.goto(`${provider.url}/auth/${name}${flow}&email=alice@example.com`);
          await picture(name);
        }
        await endCooldown(provider);
        await page.goto(`${provider.url}/auth/reset${flow}`);
        await page.fill('[name=email]', 'alice@example.com');
        await page.click('text=Send a mail');
        await page.waitForSelector('text="Set the password"');
        await picture('reset-code');

        await page.goto(`${provider.url}/auth/sign-in${flow}`);
        await page.fill('[name=email]', ALICE.email);
        await page.press('[name=email]', 'Tab');
        await page.keyboard.type('wrong');
        await page.keyboard.press('Enter');
        await page.waitForSelector('text=Wrong email address or password');
        await picture('sign-in-wrong');
        await page.fill('[name=password]', ALICE.password);
        await page.click('button >> text=Sign in');
        await page.waitForURL(`${CALLBACK}?insforge_code=*`);

        await page.goto(`${provider.url}/auth/sign-in${flow}`);
        await page.fill('[name=email]', careful.email);
        await page.fill('[name=password]', careful.password);
        await page.click('button >> text=Sign in');
        await page.waitForSelector('text=Second factor');
        await picture('second-factor');

        const request = oauth.buildAuthorizationUrl(config, {
          redirect_uri: CALLBACK,
          scope: 'openid profile email',
          code_challenge: CHALLENGE,
          code_challenge_method: 'S256',
        });
        await provider.sql('delete from auth.oauth_records');
        await page.goto(request.href);
        await picture('oauth-login');
        await page.fill('[name=email]', ALICE.email);
        await page.fill('[name=password]', ALICE.password);
        await page.click('button >> text=Sign in');
        await page.waitForSelector('text=Let Notes in?');
        await picture('oauth-consent');
        await page.click('text="Allow"');
        await page.waitForURL(`${CALLBACK}?code=*`);
        expect(problems.filter((text) => text.includes('Content Security Policy'))).toEqual([]);
        await page.close();
      }
    }
  },
  120_000,
);

test.skipIf(!CHROMIUM)('a captcha that the browser blocks is explained; one that is drawn is not', async () => {
  const provider = await startProvider();
  const captcha = { provider: 'turnstile', siteKey: 'site-key', secretKey: 'secret' };
  expect((await provider.as('admin').put('/api/auth/captcha', captcha)).status).toBe(200);
  const page = await (await openBrowser()).newPage();
  const explanation = async () => {
    await page.goto(
      `${provider.url}/auth/sign-in?redirect_to=${encodeURIComponent(CALLBACK)}&code_challenge=${CHALLENGE}`,
    );
    return page.evaluate<string>(`getComputedStyle(document.querySelector('.cf-turnstile'), '::before').content`);
  };
  await page.route('https://challenges.cloudflare.com/**', (route) => route.abort());
  expect(await explanation()).toContain('comes from challenges.cloudflare.com. If nothing appears here');
  await page.route('https://challenges.cloudflare.com/**', (route) =>
    route.fulfill({
      contentType: 'text/javascript',
      body: `document.querySelector('.cf-turnstile').append(document.createElement('div'))`,
    }),
  );
  expect(await explanation()).toBe('none');
});

test.skipIf(!CHROMIUM)('an app may be anywhere on this machine, and send people on from its callback', async () => {
  const provider = await startProvider();
  const home = await serve('127.0.0.1', (_request, response) => response.end('home'));
  const callback = await serve('::1', (_request, response) => response.writeHead(302, { location: home }).end());
  const page = await (await openBrowser()).newPage();
  const query = new URLSearchParams({ redirect_to: callback, code_challenge: CHALLENGE });
  await page.goto(`${provider.url}/auth/sign-in?${query}`);
  await page.fill('[name=email]', ALICE.email);
  await page.fill('[name=password]', ALICE.password);
  await page.click('button >> text=Sign in');
  await page.waitForURL(home);
});

test.skipIf(!CHROMIUM)('no page of another origin reads the token of a form', async () => {
  const provider = await startProvider();
  const neighbour = await serve('127.0.0.1', (_request, response) => response.end('neighbour'));
  const page = await (await openBrowser()).newPage();
  await page.goto(`${provider.url}/auth/sign-in`);
  await page.goto(neighbour.replace('127.0.0.1', 'localhost'));
  const read = `fetch('${provider.url}/auth/sign-in', { credentials: 'include' }).then(() => 'read', () => 'refused')`;
  expect(await page.evaluate<string>(read)).toBe('refused');
});

/** @returns the URL */
async function serve(host: string, answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await once(server.listen(0, host), 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}/`;
}
