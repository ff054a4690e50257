import { DoneSchema } from '@insforge/contract/auth.ts';
import {
  CreateCustomOAuthConfigSchema,
  CreateOAuthConfigSchema,
  CustomOAuthConfigListSchema,
  CustomOAuthConfigSchema,
  CustomOAuthConfigWithSecretSchema,
  CustomProviderKeySchema,
  OAuthConfigListSchema,
  OAuthConfigSchema,
  OAuthConfigWithSecretSchema,
  OAuthProviderSchema,
  UpdateCustomOAuthConfigSchema,
  UpdateOAuthConfigSchema,
} from '@insforge/contract/oauth.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import { createConfig, deleteConfig, listConfigs, readConfig, updateConfig } from '../oauth/configs.ts';
import {
  createCustomConfig,
  deleteCustomConfig,
  listCustomConfigs,
  readCustomConfig,
  updateCustomConfig,
} from '../oauth/custom-configs.ts';
import { checkAddresses } from '../oauth/endpoints.ts';
import { callbackUrlOf, type OAuthParts } from '../oauth/flow.ts';

/** The providers of the project, for its admin. Secrets are in the answer about a single one only. */
export const oauthConfigRoutes: FastifyPluginAsyncZod<OAuthParts> = async (app, { db, cipher, apiBaseUrl }) => {
  const params = z.object({ provider: OAuthProviderSchema });
  const path = '/api/auth/oauth/:provider/config';
  const complete = <Config extends { provider: string }>(config: Config) => ({
    ...config,
    callbackUrl: callbackUrlOf(apiBaseUrl, config.provider),
  });

  app.get('/api/auth/oauth/configs', { schema: { response: { 200: OAuthConfigListSchema } } }, async () => {
    const data = (await listConfigs(db.system)).map(complete);
    return { data, count: data.length };
  });

  app.post(
    '/api/auth/oauth/configs',
    { schema: { body: CreateOAuthConfigSchema, response: { 200: OAuthConfigSchema } } },
    (request) =>
      db.system.tx(async (tx) => {
        const config = await createConfig(tx, cipher, request.body);
        const details = { provider: config.provider };
        await audit(tx, request, { action: 'CREATE_OAUTH_CONFIG', module: 'AUTH', details });
        return complete(config);
      }),
  );

  app.get(path, { schema: { params, response: { 200: OAuthConfigWithSecretSchema } } }, async (request) =>
    complete(await readConfig(db.system, cipher, request.params.provider)),
  );

  app.put(
    path,
    { schema: { params, body: UpdateOAuthConfigSchema, response: { 200: OAuthConfigSchema } } },
    (request) =>
      db.system.tx(async (tx) => {
        const { provider } = request.params;
        const config = await updateConfig(tx, cipher, provider, request.body);
        const details = { provider, updatedFields: Object.keys(request.body) };
        await audit(tx, request, { action: 'UPDATE_OAUTH_CONFIG', module: 'AUTH', details });
        return complete(config);
      }),
  );

  app.delete(path, { schema: { params, response: { 200: DoneSchema } } }, async (request) => {
    const { provider } = request.params;
    await db.system.tx(async (tx) => {
      await deleteConfig(tx, provider);
      await audit(tx, request, { action: 'DELETE_OAUTH_CONFIG', module: 'AUTH', details: { provider } });
    });
    return { success: true, message: `${provider} is not a way to sign in any more; accounts stay` } as const;
  });
};

/** The same for providers that the admin brings along. */
export const customOAuthConfigRoutes: FastifyPluginAsyncZod<OAuthParts> = async (app, oauth) => {
  const { db, cipher, apiBaseUrl } = oauth;
  const params = z.object({ key: CustomProviderKeySchema });
  const path = '/api/auth/oauth/custom/:key/config';
  const complete = <Config extends { key: string }>(config: Config) => ({
    ...config,
    callbackUrl: callbackUrlOf(apiBaseUrl, config.key),
  });

  app.get(
    '/api/auth/oauth/custom/configs',
    { schema: { response: { 200: CustomOAuthConfigListSchema } } },
    async () => {
      const data = (await listCustomConfigs(db.system)).map(complete);
      return { data, count: data.length };
    },
  );

  app.post(
    '/api/auth/oauth/custom/configs',
    { schema: { body: CreateCustomOAuthConfigSchema, response: { 200: CustomOAuthConfigSchema } } },
    (request) => {
      checkAddresses(request.body, oauth.allowPrivateNetwork);
      return db.system.tx(async (tx) => {
        const config = await createCustomConfig(tx, cipher, request.body);
        const details = { key: config.key, name: config.name };
        await audit(tx, request, { action: 'CREATE_CUSTOM_OAUTH_CONFIG', module: 'AUTH', details });
        return complete(config);
      });
    },
  );

  app.get(path, { schema: { params, response: { 200: CustomOAuthConfigWithSecretSchema } } }, async (request) =>
    complete(await readCustomConfig(db.system, cipher, request.params.key)),
  );

  app.put(
    path,
    { schema: { params, body: UpdateCustomOAuthConfigSchema, response: { 200: CustomOAuthConfigSchema } } },
    (request) => {
      checkAddresses(request.body, oauth.allowPrivateNetwork);
      return db.system.tx(async (tx) => {
        const { key } = request.params;
        const config = await updateCustomConfig(tx, cipher, key, request.body);
        const details = { key, updatedFields: Object.keys(request.body) };
        await audit(tx, request, { action: 'UPDATE_CUSTOM_OAUTH_CONFIG', module: 'AUTH', details });
        return complete(config);
      });
    },
  );

  app.delete(path, { schema: { params, response: { 200: DoneSchema } } }, async (request) => {
    const { key } = request.params;
    await db.system.tx(async (tx) => {
      await deleteCustomConfig(tx, key);
      await audit(tx, request, { action: 'DELETE_CUSTOM_OAUTH_CONFIG', module: 'AUTH', details: { key } });
    });
    return { success: true, message: `${key} is not a way to sign in any more; accounts stay` } as const;
  });
};
