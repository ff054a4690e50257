import {
  CapturedMailSchema,
  DeliveryListSchema,
  DeliveryQuerySchema,
  EmptyOutboxQuerySchema,
  EmptyOutboxReplySchema,
  OutboxQuerySchema,
  OutboxSchema,
} from '@insforge/contract/email.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { listDeliveries } from '../deliveries.ts';
import { deleteCaptured, listCaptured, readCaptured } from '../mailbox.ts';

/** The development mailbox and the log of deliveries, for the admin. */
export const mailboxRoutes: FastifyPluginAsyncZod<{ db: Db; cipher: Cipher }> = async (app, { db, cipher }) => {
  app.get(
    '/api/email/outbox',
    { schema: { querystring: OutboxQuerySchema, response: { 200: OutboxSchema } } },
    async ({ query }) => {
      const { data, total } = await db.system.tx((tx) => listCaptured(tx, cipher, query));
      return { data, pagination: { offset: query.offset, limit: query.limit, total } };
    },
  );

  app.get(
    '/api/email/outbox/:id',
    { schema: { params: z.object({ id: z.guid() }), response: { 200: CapturedMailSchema } } },
    ({ params }) => db.system.tx((tx) => readCaptured(tx, cipher, params.id)),
  );

  app.delete(
    '/api/email/outbox',
    { schema: { querystring: EmptyOutboxQuerySchema, response: { 200: EmptyOutboxReplySchema } } },
    (request) =>
      db.system.tx(async (tx) => {
        const deletedCount = await deleteCaptured(tx, request.query.to);
        await audit(tx, request, { action: 'EMPTY_OUTBOX', module: 'EMAIL', details: { deletedCount } });
        return { deletedCount };
      }),
  );

  app.get(
    '/api/email/deliveries',
    { schema: { querystring: DeliveryQuerySchema, response: { 200: DeliveryListSchema } } },
    async ({ query }) => {
      const { data, total } = await listDeliveries(db.system, query);
      return { data, pagination: { offset: query.offset, limit: query.limit, total } };
    },
  );
};
