import { expect, test } from 'vitest';
import { NEARBY, startSmtp, useSmtp } from '../email/smtp.ts';
import { openBrowser, startProvider } from '../oauth-server/flow.ts';

// The pages are no way round the limits of the API.

const APP = { redirect_to: 'http://localhost:5173/', code_challenge: 'x'.repeat(43) };

async function startSending() {
  const smtp = await startSmtp();
  const provider = await startProvider({ ...NEARBY, MAIL_LIMIT_PER_IP: '5' });
  await useSmtp(provider, smtp);
  return provider;
}

test('mails that are asked for on pages and over the API are counted together, by network address', async () => {
  const provider = await startSending();
  const browser = openBrowser(provider);
  const visit = (page: string, more: Record<string, string> = {}) =>
    browser.open(`${provider.url}/auth/${page}?${new URLSearchParams({ ...APP, ...more })}`);
  const statuses: number[] = [];
  for (let n = 0; n < 2; n++) {
    const reset = await browser.submit(await visit('reset'), 'Send a mail', { email: `r${n}@example.com` });
    const again = await browser.submit(await visit('verify', { email: `v${n}@example.com` }), 'Send another mail');
    statuses.push(reset.status, again.status);
  }
  expect(statuses).toEqual([200, 200, 200, 200]);
  // From the same address as the browser.
  const askOverApi = async (email: string) => {
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ email }) };
    return (await fetch(`${provider.url}/api/auth/email/send-otp`, init)).status;
  };
  expect(await askOverApi('fifth@example.com')).toBe(202);
  for (const refused of [
    await browser.submit(await visit('reset'), 'Send a mail', { email: 'sixth@example.com' }),
    await browser.submit(await visit('verify', { email: 'sixth@example.com' }), 'Send another mail'),
  ]) {
    expect(refused).toMatchObject({ status: 429, text: expect.stringContaining('Please wait 15 minutes') });
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(800);
  }
  expect(await askOverApi('sixth@example.com')).toBe(429);
  expect(await provider.sql(`select from auth.email_otps where email = 'sixth@example.com'`)).toEqual([]);
});

test('one address makes 100 requests a minute to sign up on the page', async () => {
  const provider = await startProvider();
  const send = (page: string, address: string) =>
    provider.as('nobody').post(`/auth/${page}?${new URLSearchParams(APP)}`, {}, { 'x-forwarded-for': address });
  for (let request = 0; request < 100; request++) expect((await send('sign-up', '198.51.100.7')).status).toBe(403);
  expect((await send('sign-up', '198.51.100.7')).status).toBe(429);
  expect((await send('sign-up', '198.51.100.8')).status).toBe(403);
  expect((await send('sign-in', '198.51.100.7')).status).toBe(403);
});
