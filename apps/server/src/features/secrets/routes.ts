import {
  RotateAnonKeyReplySchema,
  RotateAnonKeySchema,
  RotateApiKeyReplySchema,
  RotateApiKeySchema,
} from '@insforge/contract/secrets.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import type { AccessKeys } from '#platform/tokens/access-keys.ts';

interface RotationOptions {
  db: Db;
  keys: AccessKeys;
  /** Stores a new key where people and scripts of this machine look for it. */
  publish: (credentials: { ACCESS_API_KEY?: string; ACCESS_ANON_KEY?: string }) => Promise<void>;
}

/** Replacing the API key and the anon key, for the admin. */
export const rotationRoutes: FastifyPluginAsyncZod<RotationOptions> = async (app, { db, keys, publish }) => {
  app.post(
    '/api/secrets/api-key/rotate',
    { schema: { body: RotateApiKeySchema, response: { 200: RotateApiKeyReplySchema } } },
    async (request) => {
      const { gracePeriodHours } = request.body;
      const { key, ...rest } = await keys.rotate('api', gracePeriodHours);
      const oldKeyExpiresAt = rest.oldKeyExpiresAt.toISOString();
      const details = { oldKeyExpiresAt, gracePeriodHours };
      await audit(db.system, request, { action: 'ROTATE_API_KEY', module: 'SECRETS', details });
      await publish({ ACCESS_API_KEY: key });
      return { success: true, message: report('API key', gracePeriodHours), apiKey: key, oldKeyExpiresAt } as const;
    },
  );

  app.post(
    '/api/secrets/anon-key/rotate',
    { schema: { body: RotateAnonKeySchema, response: { 200: RotateAnonKeyReplySchema } } },
    async (request) => {
      const { gracePeriodHours } = request.body;
      const { key, ...rest } = await keys.rotate('anon', gracePeriodHours);
      const oldKeyExpiresAt = rest.oldKeyExpiresAt.toISOString();
      const details = { oldKeyExpiresAt, gracePeriodHours };
      await audit(db.system, request, { action: 'ROTATE_ANON_KEY', module: 'SECRETS', details });
      await publish({ ACCESS_ANON_KEY: key });
      return { success: true, message: report('Anon key', gracePeriodHours), anonKey: key, oldKeyExpiresAt } as const;
    },
  );
};

function report(what: string, graceHours: number): string {
  const old = graceHours > 0 ? `The old one works for another ${graceHours} hours` : 'The old one has stopped working';
  return `${what} rotated. ${old}.`;
}
