import { RawEmailReplySchema, RawEmailSchema } from '@insforge/contract/email.ts';
import type { FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { Db } from '#platform/db/db.ts';
import { AppError } from '#platform/errors.ts';
import type { Outbox } from '../outbox.ts';

const MAX_BODY_BYTES = 12 * 1024 * 1024;

/** Whoever may sign up may write to anybody in the name of this project, so there is an end to it. */
const PER_USER = {
  max: 100,
  timeWindow: '15 minutes',
  keyGenerator: ({ caller }: FastifyRequest) => `mail:${caller.actor}`,
  allowList: ({ caller }: FastifyRequest) => caller.claims.role === 'project_admin',
  errorResponseBuilder: (_request: FastifyRequest, { after }: { after: string }) =>
    new AppError('TOO_MANY_REQUESTS', `A user may send 100 mails in 15 minutes; try again in ${after}`, {
      nextActions: `Wait ${after}, or send with the API key from a server or a function; it has no such limit.`,
    }),
};

/** Mails that an app writes itself. */
export const rawRoutes: FastifyPluginAsyncZod<{ db: Db; outbox: Outbox }> = async (app, { db, outbox }) => {
  app.post(
    '/api/email/send-raw',
    {
      bodyLimit: MAX_BODY_BYTES,
      config: { rateLimit: PER_USER },
      schema: { body: RawEmailSchema, response: { 200: RawEmailReplySchema } },
    },
    async ({ body }) => {
      await db.system.tx((tx) => outbox.queueRaw(tx, body));
      return {};
    },
  );
};
