import type { FastifyPluginAsync } from 'fastify';
import type { Storage } from '#features/storage/index.ts';
import type { Platform } from '#platform/platform.ts';
import { createAccessKeyRing } from './access-keys.ts';
import { GATEWAY_PATH } from './request.ts';
import { accessKeyRoutes, gatewayRoutes } from './routes.ts';

interface S3Options {
  platform: Pick<Platform, 'db' | 'cipher' | 'listener' | 'guards'>;
  storage: Storage;
  /** The region that clients sign for. */
  region: string;
  /** The URL under which clients reach this server. */
  baseUrl: string;
}

/** Files over the S3 protocol at `/storage/v1/s3`, and the access keys for it. */
export const s3: FastifyPluginAsync<S3Options> = async (app, { platform, storage, region, baseUrl }) => {
  const { db, cipher, listener, guards } = platform;
  const keys = createAccessKeyRing(db, cipher, listener);
  app.addHook('onClose', () => keys.close());

  await app.register(async (admin) => {
    admin.addHook('onRequest', guards.requireAdmin);
    await admin.register(accessKeyRoutes, { db, cipher, keys, config: { endpoint: baseUrl + GATEWAY_PATH, region } });
  });
  await app.register(gatewayRoutes, { gateway: { storage, cipher, region, baseUrl }, keys });
};
