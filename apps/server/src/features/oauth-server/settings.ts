import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';

/** True while programs may register themselves. */
export async function readDynamicRegistration(tx: Pick<SystemTx, 'one'>): Promise<boolean> {
  const row = await tx.one<{ isOn: boolean }>(sql`
    select dynamic_registration as "isOn" from auth.oauth_server_settings`);
  return row?.isOn ?? false;
}

export async function setDynamicRegistration(tx: Pick<SystemTx, 'query'>, isOn: boolean): Promise<void> {
  await tx.query(sql`update auth.oauth_server_settings set dynamic_registration = ${isOn}`);
}
