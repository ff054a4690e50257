import type { FastifyReply } from 'fastify';
import type { Page } from './layout.ts';

/** Sends a page. Its address may carry a code, and nobody may put it into a frame or keep it. */
export function sendPage(
  reply: FastifyReply,
  page: Page,
  status = 200,
  { retryAfterSeconds }: { retryAfterSeconds?: number | undefined } = {},
): FastifyReply {
  if (retryAfterSeconds !== undefined) reply.header('retry-after', retryAfterSeconds);
  return reply
    .status(status)
    .headers({
      'content-security-policy': page.contentSecurityPolicy,
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    })
    .type('text/html; charset=utf-8')
    .send(page.html);
}
