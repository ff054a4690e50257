import { StorageConfigSchema, UpdateStorageConfigSchema } from '@insforge/contract/storage.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { audit } from '#platform/audit.ts';
import { readConfig, updateConfig } from '../config.ts';
import type { Storage } from '../storage.ts';

/** The settings for all buckets, for the admin. */
export const configRoutes: FastifyPluginAsyncZod<{ storage: Storage }> = async (app, { storage: { db } }) => {
  app.get('/api/storage/config', { schema: { response: { 200: StorageConfigSchema } } }, () => readConfig(db.system));

  app.put(
    '/api/storage/config',
    { schema: { body: UpdateStorageConfigSchema, response: { 200: StorageConfigSchema } } },
    (request) =>
      db.system.tx(async (tx) => {
        const config = await updateConfig(tx, request.body.maxFileSizeMb);
        const details = { maxFileSizeMb: config.maxFileSizeMb };
        await audit(tx, request, { action: 'UPDATE_STORAGE_CONFIG', module: 'STORAGE', details });
        return config;
      }),
  );
};
