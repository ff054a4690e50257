import { StorageConfigSchema, StorageUsageSchema, UpdateStorageConfigSchema } from '@insforge/contract/storage.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { audit } from '#platform/audit.ts';
import { measureBuckets } from '../buckets.ts';
import { readConfig, updateConfig } from '../config.ts';
import type { Storage } from '../storage.ts';

/** The settings for all buckets, and what they hold, for the admin. */
export const configRoutes: FastifyPluginAsyncZod<{ storage: Storage }> = async (app, { storage }) => {
  const { db, buckets } = storage;
  app.get('/api/storage/config', { schema: { response: { 200: StorageConfigSchema } } }, () => readConfig(db.system));

  app.put(
    '/api/storage/config',
    { schema: { body: UpdateStorageConfigSchema, response: { 200: StorageConfigSchema } } },
    async (request) => {
      const { maxFileSizeMb } = request.body;
      const config = await db.system.tx(async (tx) => {
        await audit(tx, request, { action: 'UPDATE_STORAGE_CONFIG', module: 'STORAGE', details: { maxFileSizeMb } });
        return updateConfig(tx, maxFileSizeMb);
      });
      buckets.forget();
      return config;
    },
  );

  app.get('/api/storage/usage', { schema: { response: { 200: StorageUsageSchema } } }, async () => {
    const measured = await measureBuckets(db.system);
    const sum = (field: 'objects' | 'bytes') => measured.reduce((total, bucket) => total + bucket[field], 0);
    return { buckets: measured, objects: sum('objects'), bytes: sum('bytes') };
  });
};
