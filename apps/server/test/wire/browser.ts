import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { chromium, type Page } from 'playwright-core';
import { rolldown } from 'rolldown';
import { onTestFinished } from 'vitest';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync);

/** Where there is none, tests in a browser say so instead of passing. */
export const hasBrowser = CHROMIUM !== undefined;

/**
 * Opens an app in a real browser: an empty page on an origin of its own, with the official SDK as
 * `globalThis.insforge`, so that CORS, cookies and CSRF are the browser's.
 */
export async function openApp(options: { baseUrl: string; anonKey: string }): Promise<Page> {
  const bundle = await (await rolldown({ input: 'sdk', platform: 'browser', plugins: [sdkEntry] })).generate({
    format: 'iife',
  });
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>app</title>');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || !address) throw new Error('no port');

  const browser = await chromium.launch({ executablePath: CHROMIUM ?? '', args: ['--no-sandbox'] });
  onTestFinished(async () => {
    await browser.close();
    server.close();
  });
  const page = await browser.newPage();
  await page.goto(`http://localhost:${address.port}`);
  await page.addScriptTag({ content: bundle.output[0].code });
  await page.evaluate(`globalThis.insforge = globalThis.createInsForge(${JSON.stringify(options)})`);
  return page;
}

const sdkEntry = {
  name: 'sdk-entry',
  resolveId: (id: string) => (id === 'sdk' ? id : null),
  load: (id: string) =>
    id === 'sdk' ? `import { createClient } from '@insforge/sdk'; globalThis.createInsForge = createClient;` : null,
};
