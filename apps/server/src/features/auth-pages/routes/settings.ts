import { PageSettingsSchema, PageSettingsUpdateSchema } from '@insforge/contract/auth-pages.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { readPageSettings, updatePageSettings } from '../look.ts';

/** How the pages look, for the admin. */
export const pageSettingsRoutes: FastifyPluginAsyncZod<{ db: Db }> = async (app, { db }) => {
  app.get('/api/auth/pages', { schema: { response: { 200: PageSettingsSchema } } }, () => readPageSettings(db.system));

  app.put(
    '/api/auth/pages',
    { schema: { body: PageSettingsUpdateSchema, response: { 200: PageSettingsSchema } } },
    (request) =>
      db.system.tx(async (tx) => {
        const settings = await updatePageSettings(tx, request.body);
        const details = { updatedFields: Object.keys(request.body) };
        await audit(tx, request, { action: 'UPDATE_AUTH_PAGES', module: 'AUTH', details });
        return settings;
      }),
  );
};
