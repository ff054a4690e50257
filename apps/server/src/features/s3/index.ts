import type { FastifyPluginAsync, FastifyRequest } from 'fastify';
import type { Storage } from '#features/storage/index.ts';
import { AppError, toAppError } from '#platform/errors.ts';
import type { Platform } from '#platform/platform.ts';
import { createAccessKeyRing } from './access-keys.ts';
import { accessKeyRoutes, gatewayRoutes } from './routes.ts';

interface S3Options {
  platform: Pick<Platform, 'db' | 'cipher' | 'listener' | 'guards'>;
  storage: Storage;
  /** The region that clients sign for. */
  region: string;
  /** What URLs in answers begin with; absent: the host that the client asked. */
  publicUrl: string | undefined;
  /** How long an upload or a download may stand still. */
  idleMs: number;
}

/** Files over the S3 protocol at `/storage/v1/s3`, and the access keys for it. */
export const s3: FastifyPluginAsync<S3Options> = async (app, { platform, storage, region, publicUrl, idleMs }) => {
  const { db, cipher, listener, guards } = platform;
  const originOf = (request: FastifyRequest) => publicUrl ?? `${request.protocol}://${request.host}`;
  const keys = createAccessKeyRing(db, cipher, listener);
  app.addHook('onClose', () => keys.close());

  await app.register(async (admin) => {
    admin.addHook('onRequest', guards.requireAdmin);
    admin.setErrorHandler((error) => {
      const { code, status, message } = toAppError(error);
      throw code === 'INVALID_INPUT'
        ? new AppError('STORAGE_INVALID_PARAMETER', message, { status, cause: error })
        : error;
    });
    await admin.register(accessKeyRoutes, { db, cipher, keys, originOf, region });
  });
  await app.register(gatewayRoutes, { gateway: { storage, cipher, region }, keys, originOf, idleMs });
};
