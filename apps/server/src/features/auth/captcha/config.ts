import type { CaptchaConfig, CaptchaUpdate, PublicCaptcha } from '@insforge/contract/captcha.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';

/** Says on all servers that the settings have changed. */
export const CAPTCHA_CHANNEL = 'insforge_captcha';

type CaptchaRow = PublicCaptcha & { secret: string };

/** The settings with the encrypted secret; undefined where none is asked for. */
export function readCaptchaRow(tx: Pick<SystemTx, 'one'>): Promise<CaptchaRow | undefined> {
  return tx.one<CaptchaRow & Record<string, unknown>>(sql`
    select provider, site_key as "siteKey", secret_ciphertext as secret, protects from auth.captcha`);
}

/** What everybody may know. */
export async function readPublicCaptcha(tx: Pick<SystemTx, 'one'>): Promise<PublicCaptcha | undefined> {
  const row = await readCaptchaRow(tx);
  return row && { provider: row.provider, siteKey: row.siteKey, protects: row.protects };
}

/** What the admin may know. */
export async function readCaptchaConfig(tx: Pick<SystemTx, 'one'>): Promise<CaptchaConfig> {
  const found = await readPublicCaptcha(tx);
  return found
    ? { enabled: true, hasSecret: true, ...found }
    : { enabled: false, provider: null, siteKey: null, hasSecret: false, protects: [] };
}

/** @throws AppError INVALID_INPUT where the secret is missing, or is one of another provider */
export async function updateCaptcha(
  tx: SystemTx,
  cipher: Cipher,
  { provider, siteKey, secretKey, protects }: CaptchaUpdate,
): Promise<CaptchaConfig> {
  const before = await readCaptchaRow(tx);
  // It would be sent to somebody whom it was not given for.
  const kept = before?.provider === provider ? before.secret : undefined;
  const secret = secretKey === undefined ? kept : cipher.encrypt(secretKey);
  if (secret === undefined) {
    throw new AppError('INVALID_INPUT', `secretKey: is required, because none of ${provider} is stored`);
  }
  await tx.query(sql`
    insert into auth.captcha (provider, site_key, secret_ciphertext, protects)
    values (${provider}, ${siteKey}, ${secret}, ${protects})
    on conflict (only_row) do update set provider = excluded.provider, site_key = excluded.site_key,
      secret_ciphertext = excluded.secret_ciphertext, protects = excluded.protects`);
  await tx.query(sql`select pg_notify(${CAPTCHA_CHANNEL}, '')`);
  return readCaptchaConfig(tx);
}

export async function removeCaptcha(tx: SystemTx): Promise<void> {
  await tx.query(sql`delete from auth.captcha`);
  await tx.query(sql`select pg_notify(${CAPTCHA_CHANNEL}, '')`);
}
