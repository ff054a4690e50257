import {
  SmtpConfigSchema,
  SmtpConfigUpdateSchema,
  TemplateListSchema,
  TemplateTypeSchema,
  TemplateUpdateReplySchema,
  TemplateUpdateSchema,
} from '@insforge/contract/email.ts';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { audit } from '#platform/audit.ts';
import type { Db } from '#platform/db/db.ts';
import { readSmtpConfig, type SmtpOptions, tryOut, updateSmtpConfig } from '../smtp-config.ts';
import { listTemplates, updateTemplate } from '../templates.ts';

/** How mail is sent and what it says, for the admin. */
export const settingsRoutes: FastifyPluginAsyncZod<{ db: Db } & SmtpOptions> = async (app, { db, ...options }) => {
  app.get('/api/auth/smtp-config', { schema: { response: { 200: SmtpConfigSchema } } }, () =>
    readSmtpConfig(db.system),
  );

  app.put(
    '/api/auth/smtp-config',
    { schema: { body: SmtpConfigUpdateSchema, response: { 200: SmtpConfigSchema } } },
    async (request) => {
      const { password, ...settings } = request.body;
      // Not inside of the transaction: it may take as long as the mail server likes.
      await tryOut(db.system, request.body, options);
      return db.system.tx(async (tx) => {
        const details = { ...settings, isPasswordNew: Boolean(password) };
        await audit(tx, request, { action: 'UPDATE_SMTP_CONFIG', module: 'EMAIL', details });
        return updateSmtpConfig(tx, request.body, options);
      });
    },
  );

  app.get('/api/auth/email-templates', { schema: { response: { 200: TemplateListSchema } } }, async () => ({
    data: await listTemplates(db.system),
  }));

  app.put(
    '/api/auth/email-templates/:type',
    {
      schema: {
        params: z.object({ type: TemplateTypeSchema }),
        body: TemplateUpdateSchema,
        response: { 200: TemplateUpdateReplySchema },
      },
    },
    (request) =>
      db.system.tx(async (tx) => {
        const { type } = request.params;
        await audit(tx, request, { action: 'UPDATE_EMAIL_TEMPLATE', module: 'EMAIL', details: { type } });
        return updateTemplate(tx, type, request.body);
      }),
  );
};
