import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/**
 * A verifier that answers as Turnstile and hCaptcha document: a form with `secret` and `response`, each token good once.
 * https://developers.cloudflare.com/turnstile/get-started/server-side-validation/, https://docs.hcaptcha.com
 */
export async function startVerifier({ secret = 'the-secret', siteKey = 'the-site-key' } = {}) {
  const spent = new Set<string>();
  const verifier = {
    url: '',
    secret,
    siteKey,
    /** What it was asked, latest last. */
    asked: [] as Record<string, string>[],
    /** Instead of checking: an answer of its own, or none at all. */
    outage: undefined as undefined | 'silent' | { status: number; body: string },
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
  const judge = (form: Record<string, string>): string[] => {
    if (!form.secret) return ['missing-input-secret'];
    if (form.secret !== secret) return ['invalid-input-secret'];
    if (!form.response) return ['missing-input-response'];
    if (form.sitekey !== undefined && form.sitekey !== siteKey) return ['sitekey-secret-mismatch'];
    if (!form.response.startsWith('solved-')) return ['invalid-input-response'];
    if (spent.has(form.response))
      return [form.sitekey === undefined ? 'timeout-or-duplicate' : 'already-seen-response'];
    spent.add(form.response);
    return [];
  };
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      const form = Object.fromEntries(new URLSearchParams(text));
      verifier.asked.push(form);
      if (verifier.outage === 'silent') return response.destroy();
      if (verifier.outage) return response.writeHead(verifier.outage.status).end(verifier.outage.body);
      const codes = judge(form);
      const body = { success: codes.length === 0, hostname: 'localhost', 'error-codes': codes };
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  verifier.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/siteverify`;
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return verifier;
}
