import type { FastifyPluginAsync } from 'fastify';
import type { Logger } from '#platform/log.ts';
import type { Platform } from '#platform/platform.ts';
import { createOutbox } from './outbox.ts';
import { mailboxRoutes } from './routes/mailbox.ts';
import { rawRoutes } from './routes/raw.ts';
import { settingsRoutes } from './routes/settings.ts';
import { createWorker } from './worker.ts';

export { createOutbox, type Outbox } from './outbox.ts';
export { readSmtpSettings } from './smtp-config.ts';

interface EmailOptions {
  platform: Pick<Platform, 'db' | 'cipher' | 'listener' | 'guards'>;
  allowPrivateNetwork: boolean;
  log: Logger;
}

/** Sending mail: settings, templates, the queue, its log, and the development mailbox. */
export const email: FastifyPluginAsync<EmailOptions> = async (app, { platform, allowPrivateNetwork, log }) => {
  const { db, cipher, listener, guards } = platform;
  const worker = createWorker({ db, cipher, listener, log, allowPrivateNetwork });
  app.addHook('onReady', async () => worker.wake());
  app.addHook('onClose', () => worker.close());

  await app.register(async (senders) => {
    senders.addHook('onRequest', guards.requireIdentity);
    await senders.register(rawRoutes, { db, outbox: createOutbox(cipher) });
  });
  await app.register(async (admins) => {
    admins.addHook('onRequest', guards.requireAdmin);
    await admins.register(settingsRoutes, { db, cipher, allowPrivateNetwork });
    await admins.register(mailboxRoutes, { db, cipher });
  });
};
