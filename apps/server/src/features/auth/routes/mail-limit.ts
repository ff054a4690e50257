import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { readSmtpSettings } from '#features/email/index.ts';
import type { Db } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import { hasApiKey } from '#platform/http/caller.ts';
import type { AccessKeys } from '#platform/tokens/access-keys.ts';

const WINDOW_MINUTES = 15;

/** Counts a request for a mail. @throws AppError TOO_MANY_REQUESTS */
export type MailLimit = (request: FastifyRequest, reply: FastifyReply) => Promise<void>;

/**
 * Limits how many mails one network address may ask for, over all routes and pages that send some. An office or a server
 * that works for many users is one address: the API key is not counted, and MAIL_LIMIT_PER_IP changes the number.
 * Nor is anybody counted while there is no mail server, because then no stranger is written to.
 */
export function createMailLimit(
  app: FastifyInstance,
  { db, keys }: { db: Db; keys: AccessKeys },
  max: number,
): MailLimit {
  const count = app.createRateLimit({ max, timeWindow: `${WINDOW_MINUTES} minutes` });
  return async (request, reply) => {
    if ((await hasApiKey(keys, request)) || max === 0 || !(await readSmtpSettings(db.system)).enabled) return;
    const counted = await count(request);
    if (counted.isAllowed || !counted.isExceeded) return;
    const seconds = counted.ttlInSeconds;
    reply.header('retry-after', seconds);
    throw new AppError(
      'TOO_MANY_REQUESTS',
      `One network address may ask for ${max} mails in ${WINDOW_MINUTES} minutes; try again in ${seconds} seconds`,
      {
        nextActions: `Wait ${seconds} seconds. A server that asks for its users sends the API key as x-api-key, which is not counted; an admin can set MAIL_LIMIT_PER_IP.`,
        details: { retryAfterSeconds: seconds },
      },
    );
  };
}
