import type { PageSettings } from '@insforge/contract/auth-pages.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';

/** Setting -> column of auth.page_settings. */
const COLUMNS = {
  appName: 'app_name',
  logoUrl: 'logo_url',
  accentColor: 'accent_color',
  termsUrl: 'terms_url',
  privacyUrl: 'privacy_url',
  homeUrl: 'home_url',
} as const satisfies Record<keyof PageSettings, string>;

const SELECTED = sql.join(
  Object.entries(COLUMNS).map(([setting, column]) => sql`${sql.id(column)} as ${sql.id(setting)}`),
);

const NONE: PageSettings = {
  appName: null,
  logoUrl: null,
  accentColor: null,
  termsUrl: null,
  privacyUrl: null,
  homeUrl: null,
};

/** How the pages look and where they lead, as the admin set it. */
export async function readPageSettings(tx: Pick<SystemTx, 'one'>): Promise<PageSettings> {
  return (await tx.one<PageSettings>(sql`select ${SELECTED} from auth.page_settings`)) ?? NONE;
}

/** Changes the settings that `update` names; null takes one back. */
export async function updatePageSettings(tx: SystemTx, update: Partial<PageSettings>): Promise<PageSettings> {
  const changes = Object.entries(COLUMNS)
    .map(([setting, column]) => ({ column, value: update[setting as keyof PageSettings] }))
    .filter(({ value }) => value !== undefined);
  await tx.query(sql`
    update auth.page_settings
    set ${sql.join(changes.map(({ column, value }) => sql`${sql.id(column)} = ${value}`))}`);
  return readPageSettings(tx);
}
