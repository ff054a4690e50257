import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { chromium, type Page } from 'playwright-core';
import { rolldown } from 'rolldown';
import { onTestFinished } from 'vitest';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

/** Where there is none, tests in a browser say so instead of passing. */
export const hasBrowser = CHROMIUM !== undefined;

/** An empty page in a real browser. */
export async function openPage(): Promise<Page> {
  const browser = await chromium.launch({ executablePath: CHROMIUM ?? '', args: ['--no-sandbox'] });
  onTestFinished(() => browser.close());
  return browser.newPage();
}

/**
 * Opens an app in a real browser: a page on an origin of its own with nothing but the official SDK as
 * `globalThis.insforge`, also after it was left and comes back, so that CORS, cookies and CSRF are the browser's.
 */
export async function openApp(options: { baseUrl: string; anonKey: string }): Promise<Page> {
  const bundle = await (await rolldown({ input: 'sdk', platform: 'browser', plugins: [sdkEntry] })).generate({
    format: 'iife',
  });
  const script = `${bundle.output[0].code}\nglobalThis.insforge = globalThis.createInsForge(${JSON.stringify(options)})`;
  const server = createServer((request, response) => {
    if (request.url === '/sdk.js') response.setHeader('content-type', 'text/javascript').end(script);
    else
      response
        .setHeader('content-type', 'text/html')
        .end('<!doctype html><title>app</title><script src="/sdk.js"></script>');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || !address) throw new Error('no port');

  onTestFinished(() => void server.close());
  const page = await openPage();
  await page.goto(`http://localhost:${address.port}`);
  return page;
}

const sdkEntry = {
  name: 'sdk-entry',
  resolveId: (id: string) => (id === 'sdk' ? id : null),
  load: (id: string) =>
    id === 'sdk' ? `import { createClient } from '@insforge/sdk'; globalThis.createInsForge = createClient;` : null,
};
