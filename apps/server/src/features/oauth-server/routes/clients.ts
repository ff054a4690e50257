import {
  CreatedOAuthClientSchema,
  CreateOAuthClientSchema,
  OAuthClientListSchema,
  OAuthClientSchema,
  OAuthServerSettingsSchema,
  RotatedSecretSchema,
  UpdateOAuthClientSchema,
  WithdrawnSchema,
} from '@insforge/contract/oauth-server.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { createClient, deleteClient, listClients, readClient, rotateClientSecret, updateClient } from '../clients.ts';
import { readDynamicRegistration, setDynamicRegistration } from '../settings.ts';

const CLIENTS = '/api/oauth/v1/clients';
const CLIENT = `${CLIENTS}/:clientId`;
const SETTINGS = '/api/oauth/v1/settings';
const params = z.object({ clientId: z.string().max(100) });

/** The programs that may ask this server's users in, for the admin. */
export const clientRoutes: FastifyPluginAsyncZod<{ db: Db; cipher: Cipher }> = async (app, { db, cipher }) => {
  app.get(CLIENTS, { schema: { response: { 200: OAuthClientListSchema } } }, async () => ({
    data: await listClients(db.system),
  }));

  app.get(CLIENT, { schema: { params, response: { 200: OAuthClientSchema } } }, (request) =>
    readClient(db.system, request.params.clientId),
  );

  app.post(
    CLIENTS,
    { schema: { body: CreateOAuthClientSchema, response: { 200: CreatedOAuthClientSchema } } },
    (request) =>
      db.system.tx(async (tx) => {
        const client = await createClient(tx, cipher, request.body);
        const { clientId, name } = client;
        await audit(tx, request, { action: 'CREATE_OAUTH_CLIENT', module: 'AUTH', details: { clientId, name } });
        return client;
      }),
  );

  app.patch(
    CLIENT,
    { schema: { params, body: UpdateOAuthClientSchema, response: { 200: OAuthClientSchema } } },
    (request) =>
      db.system.tx(async (tx) => {
        const { clientId } = request.params;
        const client = await updateClient(tx, clientId, request.body);
        const details = { clientId, updatedFields: Object.keys(request.body) };
        await audit(tx, request, { action: 'UPDATE_OAUTH_CLIENT', module: 'AUTH', details });
        return client;
      }),
  );

  app.post(`${CLIENT}/rotate-secret`, { schema: { params, response: { 200: RotatedSecretSchema } } }, (request) =>
    db.system.tx(async (tx) => {
      const { clientId } = request.params;
      const clientSecret = await rotateClientSecret(tx, cipher, clientId);
      await audit(tx, request, { action: 'ROTATE_OAUTH_CLIENT_SECRET', module: 'AUTH', details: { clientId } });
      return { clientId, clientSecret };
    }),
  );

  app.delete(CLIENT, { schema: { params, response: { 200: WithdrawnSchema } } }, (request) =>
    db.system.tx(async (tx) => {
      const { clientId } = request.params;
      await deleteClient(tx, clientId);
      await audit(tx, request, { action: 'DELETE_OAUTH_CLIENT', module: 'AUTH', details: { clientId } });
      return { message: 'Client deleted, and what users granted to it withdrawn' };
    }),
  );

  app.get(SETTINGS, { schema: { response: { 200: OAuthServerSettingsSchema } } }, async () => ({
    dynamicRegistration: await readDynamicRegistration(db.system),
  }));

  app.put(
    SETTINGS,
    { schema: { body: OAuthServerSettingsSchema, response: { 200: OAuthServerSettingsSchema } } },
    async (request) => {
      const details = request.body;
      await setDynamicRegistration(db.system, details.dynamicRegistration);
      await audit(db.system, request, { action: 'UPDATE_OAUTH_SERVER', module: 'AUTH', details });
      return details;
    },
  );
};
