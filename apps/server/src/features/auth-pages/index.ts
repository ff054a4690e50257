import type { FastifyPluginAsync } from 'fastify';
import type { FrontDoor, MailLimit } from '#features/auth/index.ts';
import type { Platform } from '#platform/platform.ts';
import { createFormGuard } from './forms.ts';
import { pageRoutes } from './routes/pages.ts';
import { pageSettingsRoutes } from './routes/settings.ts';

export { pageUrl } from './flow.ts';
export { acceptForms, captchaTokenIn, createFormGuard, type FormGuard } from './forms.ts';
export { type Html, html } from './html.ts';
export { captchaWidget, formTargetOf, hidden, type Page, renderPage } from './layout.ts';
export { readPageSettings } from './look.ts';
export { providerButtons } from './pages.ts';
export { problemOf } from './problems.ts';
export { pageHeaders, sendPage } from './send.ts';
export { codeForm, passwordForm } from './sign-in-forms.ts';

interface AuthPagesOptions {
  platform: Pick<Platform, 'db' | 'guards' | 'jwtSecret'>;
  door: FrontDoor;
  mailLimit: MailLimit;
  apiBaseUrl: string;
}

/** Pages to sign in, sign up, verify and reset at `/auth/*`, for apps that do not draw their own. */
export const authPages: FastifyPluginAsync<AuthPagesOptions> = async (
  app,
  { platform, door, mailLimit, apiBaseUrl },
) => {
  const { db, guards, jwtSecret } = platform;
  const formGuard = createFormGuard(jwtSecret, apiBaseUrl.startsWith('https:'));
  await app.register(pageRoutes, { db, door, mailLimit, formGuard });
  await app.register(async (admins) => {
    admins.addHook('onRequest', guards.requireAdmin);
    await admins.register(pageSettingsRoutes, { db });
  });
};
