import { TEMPLATES, type Template, type TemplateType, type TemplateUpdate } from '@insforge/contract/email.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { htmlToText } from '#platform/mail/html-to-text.ts';

interface TemplateRow extends TemplateUpdate {
  id: string;
  templateType: string;
  createdAt: Date;
  updatedAt: Date;
}

const TEMPLATE = sql`
  id, template_type as "templateType", subject, body_html as "bodyHtml", created_at as "createdAt",
  updated_at as "updatedAt"`;

const toTemplate = (row: TemplateRow): Template => ({
  ...row,
  createdAt: row.createdAt.toISOString(),
  updatedAt: row.updatedAt.toISOString(),
});

/** What is sent where the table has no row: it is born with five, and an admin may delete them. */
const DEFAULTS: Record<TemplateType, TemplateUpdate> = {
  'email-verification-code': { subject: 'Verify your email', bodyHtml: '<p>Your code: <b>{{ token }}</b></p>' },
  'email-verification-link': { subject: 'Verify your email', bodyHtml: '<p><a href="{{ link }}">Verify email</a></p>' },
  'reset-password-code': { subject: 'Reset your password', bodyHtml: '<p>Your code: <b>{{ token }}</b></p>' },
  'reset-password-link': {
    subject: 'Reset your password',
    bodyHtml: '<p><a href="{{ link }}">Choose a new password</a></p>',
  },
  'request-otp': {
    subject: '{{ token }} is your verification code',
    bodyHtml: '<p>Your code: <b>{{ token }}</b></p>',
  },
  'magic-link': {
    subject: 'Sign in',
    bodyHtml:
      '<p><a href="{{ link }}">Sign in</a></p><p>The link works for 15 minutes, in the browser in which you asked for it. If you did not ask for it, ignore this message.</p>',
  },
  'password-changed': {
    subject: 'Your password was changed',
    bodyHtml:
      '<p>The password of {{ email }} was changed. If it was not you who did it, reset it now and look for others who can read your mail.</p>',
  },
  'email-changed': {
    subject: 'Your email address was changed',
    bodyHtml:
      '<p>The account of {{ email }} now has the address {{ newEmail }}. If it was not you who did it, tell the people who run the app.</p>',
  },
};

/** The templates that are stored, by type. */
export async function listTemplates(tx: Pick<SystemTx, 'query'>): Promise<Template[]> {
  const rows = await tx.query<TemplateRow>(sql`select ${TEMPLATE} from email.templates order by template_type`);
  return rows.map(toTemplate);
}

/** Replaces a template. */
export async function updateTemplate(
  tx: Pick<SystemTx, 'one'>,
  type: TemplateType,
  { subject, bodyHtml }: TemplateUpdate,
): Promise<Template & { warnings?: string[] }> {
  const row = await tx.one<TemplateRow>(sql`
    insert into email.templates (template_type, subject, body_html) values (${type}, ${subject}, ${bodyHtml})
    on conflict (template_type) do update
    set subject = excluded.subject, body_html = excluded.body_html, updated_at = now()
    returning ${TEMPLATE}`);
  if (!row) throw new Error('the template was not stored');
  const warnings = findMistakes(type, { subject, bodyHtml });
  return { ...toTemplate(row), ...(warnings.length > 0 ? { warnings } : {}) };
}

const PLACEHOLDER = /\{\{\s*(\w{1,40})\s*\}\}/g;

/** What would make a mail useless. The client that sent the template may know better, so nothing is refused. */
function findMistakes(type: TemplateType, { subject, bodyHtml }: TemplateUpdate): string[] {
  const known: readonly string[] = TEMPLATES[type];
  const used = new Set([...`${subject}\n${bodyHtml}`.matchAll(PLACEHOLDER)].map(([, name = '']) => name));
  const unknown = [...used].filter((name) => !known.includes(name));
  const [first = ''] = known;
  return [
    ...unknown.map((name) => `{{ ${name} }} is not a variable of this template and stays as it is written`),
    ...(first !== 'email' && !bodyHtml.match(PLACEHOLDER)?.some((found) => found.includes(first))
      ? [`the body does not contain {{ ${first} }}, without which the mail is of no use`]
      : []),
  ];
}

/** A mail made from a template: values are HTML-escaped, and the same text goes along without markup. */
export async function renderTemplate(
  tx: Pick<SystemTx, 'one'>,
  type: TemplateType,
  variables: Record<string, string>,
): Promise<{ subject: string; html: string; text: string }> {
  const stored = await tx.one<TemplateUpdate & Record<string, unknown>>(sql`
    select subject, body_html as "bodyHtml" from email.templates where template_type = ${type}`);
  const { subject, bodyHtml } = stored ?? DEFAULTS[type];
  const html = fill(bodyHtml, variables, escapeHtml);
  return { subject: fill(subject, variables, toOneLine), html, text: htmlToText(html) };
}

function fill(template: string, variables: Record<string, string>, toText: (value: string) => string): string {
  return template.replace(PLACEHOLDER, (whole, name: string) =>
    Object.hasOwn(variables, name) ? toText(variables[name] ?? '') : whole,
  );
}

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
};
const escapeHtml = (value: string) => value.replace(/[&<>"'`]/g, (character) => ESCAPES[character] ?? character);
const toOneLine = (value: string) => value.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ');
