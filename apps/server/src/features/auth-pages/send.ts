import type { FastifyReply } from 'fastify';
import type { Page } from './layout.ts';

/** What a page is sent with. Its address may carry a code, and nobody may put it into a frame or keep it. */
export const pageHeaders = (page: Page) => ({
  'content-security-policy': page.contentSecurityPolicy,
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
});

/** Sends a page, to nobody but the browser: a page of another origin that read it would have the token of its forms. */
export function sendPage(
  reply: FastifyReply,
  page: Page,
  status = 200,
  { retryAfterSeconds }: { retryAfterSeconds?: number | undefined } = {},
): FastifyReply {
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds);
  return reply
    .status(status)
    .removeHeader('access-control-allow-origin')
    .headers(pageHeaders(page))
    .type('text/html; charset=utf-8')
    .send(page.html);
}
