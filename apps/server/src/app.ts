import type { FastifyInstance } from 'fastify';
import { auth, createCaptcha, createFrontDoor, createMailLimit, readAuthConfig } from '#features/auth/index.ts';
import { authPages } from '#features/auth-pages/index.ts';
import { email } from '#features/email/index.ts';
import { health } from '#features/health/index.ts';
import { metadata } from '#features/metadata/index.ts';
import { migrations } from '#features/migrations/index.ts';
import { oauthServer } from '#features/oauth-server/index.ts';
import { createSchemaCache, records } from '#features/records/index.ts';
import { s3 } from '#features/s3/index.ts';
import { schema } from '#features/schema/index.ts';
import { secrets } from '#features/secrets/index.ts';
import { openStorage, readStorageMetadata, storage, storageAsMarkdown } from '#features/storage/index.ts';
import { transfer } from '#features/transfer/index.ts';
import { usage } from '#features/usage/index.ts';
import { createHttpServer } from '#platform/http/server.ts';
import type { Logger } from '#platform/log.ts';
import { openPlatform, type Platform } from '#platform/platform.ts';
import type { Config } from './config.ts';

/**
 * The whole server: the features on an open platform. `close()` undoes all of it.
 * @param opening the platform, where its opening has begun already
 */
export async function buildApp(
  config: Config,
  log: Logger,
  opening: Promise<Platform> = openPlatform(config, log),
): Promise<FastifyInstance & { warnings: string[] }> {
  const platform = await opening;
  const app = await createHttpServer(log, config.trustedProxies, config.storage.idleTimeoutMs);
  app.addHook('onClose', () => platform.close());
  try {
    await registerFeatures(app, { config, log, platform });
    await platform.listener.start();
    await app.ready();
  } catch (error) {
    await app.close();
    throw error;
  }
  return Object.assign(app, { warnings: platform.warnings });
}

async function registerFeatures(
  app: FastifyInstance,
  { config, log, platform }: { config: Config; log: Logger; platform: Platform },
): Promise<void> {
  const { db, listener } = platform;
  const cache = createSchemaCache({ db, log });
  app.addHook('onClose', async () => cache.close());
  listener.on('pgrst', () => cache.follow());
  await cache.reload();

  await app.register(health, { db, version: config.version });
  const captcha = createCaptcha({ platform, log, verifyUrl: config.captchaVerifyUrl });
  app.addHook('onClose', () => captcha.close());
  const mailLimit = createMailLimit(app, platform, config.mailLimitPerIp);
  const { adminUsername, apiBaseUrl, allowPrivateNetwork, oauth } = config;
  await app.register(auth, {
    platform,
    log,
    captcha,
    mailLimit,
    adminUsername,
    apiBaseUrl,
    allowPrivateNetwork,
    oauth,
  });
  await app.register(email, { platform, allowPrivateNetwork, log });
  const door = createFrontDoor(platform, captcha, apiBaseUrl);
  await app.register(oauthServer, { platform, door, apiBaseUrl });
  await app.register(authPages, { platform, door, mailLimit, apiBaseUrl });
  const { requireUser, requireAdmin } = platform.guards;
  await app.register(records, {
    db,
    schema: cache,
    requireUser,
    requireAdmin,
    version: config.version,
    ...config.records,
  });
  await app.register(schema, { platform, reloadSchema: () => cache.reload() });
  await app.register(migrations, { platform, reloadSchema: () => cache.reload() });
  await app.register(metadata, {
    platform,
    version: config.version,
    sections: {
      auth: { read: () => readAuthConfig(db) },
      storage: { read: () => readStorageMetadata(db), toMarkdown: storageAsMarkdown },
    },
  });
  await app.register(transfer, { platform, reloadSchema: () => cache.reload(), dataDir: config.dataDir });
  await app.register(usage, { platform });
  await app.register(secrets, { platform, dataDir: config.dataDir });
  const files = await openStorage({ db, log, listener, dataDir: config.dataDir, s3: config.storage.s3 });
  app.addHook('onClose', () => files.close());
  await app.register(storage, {
    files,
    platform,
    publicUrl: config.publicUrl,
    idleMs: config.storage.idleTimeoutMs,
  });
  await app.register(s3, {
    platform,
    storage: files,
    region: config.storage.region,
    publicUrl: config.publicUrl,
    idleMs: config.storage.idleTimeoutMs,
  });
}
