import type { AuthConfig, AuthConfigUpdate, PublicAuthConfig } from '@insforge/contract/auth.ts';
import type { SmtpSettings } from '@insforge/contract/email.ts';
import { readSmtpSettings } from '#features/email/index.ts';
import type { Db, SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { readPublicCaptcha } from './captcha/config.ts';
import { listProviderNames } from './oauth/names.ts';

/** Setting -> column of auth.config. */
const COLUMNS = {
  requireEmailVerification: 'require_email_verification',
  passwordMinLength: 'password_min_length',
  requireNumber: 'require_number',
  requireLowercase: 'require_lowercase',
  requireUppercase: 'require_uppercase',
  requireSpecialChar: 'require_special_char',
  verifyEmailMethod: 'verify_email_method',
  resetPasswordMethod: 'reset_password_method',
  disableSignup: 'disable_signup',
  allowedRedirectUrls: 'allowed_redirect_urls',
} as const satisfies Record<keyof AuthConfigUpdate, string>;

/** What counts until an admin saves something: the defaults of the columns. */
const DEFAULTS: AuthConfig = {
  id: '00000000-0000-0000-0000-000000000000',
  requireEmailVerification: false,
  passwordMinLength: 6,
  requireNumber: false,
  requireLowercase: false,
  requireUppercase: false,
  requireSpecialChar: false,
  verifyEmailMethod: 'code',
  resetPasswordMethod: 'code',
  disableSignup: false,
  allowedRedirectUrls: [],
  createdAt: new Date(0).toISOString(),
  updatedAt: new Date(0).toISOString(),
};

type ConfigRow = Omit<AuthConfig, 'allowedRedirectUrls' | 'createdAt' | 'updatedAt'> & {
  allowedRedirectUrls: string[] | null;
  createdAt: Date | null;
  updatedAt: Date | null;
};

const SELECTED = sql.join([
  ...Object.entries(COLUMNS).map(([setting, column]) => sql`${sql.id(column)} as ${sql.id(setting)}`),
  sql`id, created_at as "createdAt", updated_at as "updatedAt"`,
]);

/** The settings as they are in force. */
export async function readConfig(tx: Pick<SystemTx, 'one'>): Promise<AuthConfig> {
  const row = await tx.one<ConfigRow>(sql`select ${SELECTED} from auth.config`);
  if (!row) return DEFAULTS;
  return {
    ...row,
    allowedRedirectUrls: row.allowedRedirectUrls ?? [],
    createdAt: row.createdAt?.toISOString() ?? DEFAULTS.createdAt,
    updatedAt: row.updatedAt?.toISOString() ?? DEFAULTS.updatedAt,
  };
}

/** Changes the settings that `update` names; the row is made by the first change. */
export async function updateConfig(tx: SystemTx, update: AuthConfigUpdate): Promise<AuthConfig> {
  const changes = Object.entries(COLUMNS)
    .map(([setting, column]) => ({ column, value: update[setting as keyof AuthConfigUpdate] }))
    .filter(({ value }) => value !== undefined);
  await tx.query(sql`insert into auth.config default values on conflict do nothing`);
  await tx.query(sql`
    update auth.config set ${sql.join(changes.map(({ column, value }) => sql`${sql.id(column)} = ${value}`))}`);
  return readConfig(tx);
}

/** The part of the settings that everybody may know. */
export async function readPublicConfig(tx: Pick<SystemTx, 'one'>): Promise<PublicAuthConfig> {
  const [config, providers, captcha] = await Promise.all([
    readConfig(tx),
    listProviderNames(tx),
    readPublicCaptcha(tx),
  ]);
  const { id, createdAt, updatedAt, allowedRedirectUrls, ...settings } = config;
  return { ...providers, ...settings, ...(captcha ? { captcha } : {}) };
}

/** The settings as `GET /api/metadata` shows them to an admin. */
export async function readAuthConfig({
  system,
}: Pick<Db, 'system'>): Promise<
  PublicAuthConfig & Pick<AuthConfig, 'allowedRedirectUrls'> & { smtpConfig: SmtpSettings }
> {
  const [settings, { allowedRedirectUrls }, smtpConfig] = await Promise.all([
    readPublicConfig(system),
    readConfig(system),
    readSmtpSettings(system),
  ]);
  return { ...settings, allowedRedirectUrls, smtpConfig };
}
