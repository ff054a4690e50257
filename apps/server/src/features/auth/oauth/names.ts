import { OAUTH_PROVIDERS } from '@insforge/contract/oauth.ts';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';

/** Clients of the wire contract do not know these by name, and ask for them as they ask for custom ones. */
const LISTED_AS_CUSTOM = ['gitlab'];

/** The providers that users can sign in with. */
export async function listProviderNames(
  tx: Pick<SystemTx, 'one'>,
): Promise<{ oAuthProviders: string[]; customOAuthProviders: string[] }> {
  const names = await tx.one<{ known: string[]; custom: string[] }>(sql`
    select
      array(select provider from auth.oauth_configs
        where provider = any(${OAUTH_PROVIDERS}) and client_id is not null and secret_id is not null
        order by provider) as known,
      array(select key from auth.custom_oauth_configs order by key) as custom`);
  const { known = [], custom = [] } = names ?? {};
  return {
    oAuthProviders: known.filter((name) => !LISTED_AS_CUSTOM.includes(name)),
    customOAuthProviders: [...custom, ...known.filter((name) => LISTED_AS_CUSTOM.includes(name))],
  };
}
