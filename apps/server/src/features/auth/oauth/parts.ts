import type { OAuthProvider } from '@insforge/contract/oauth.ts';
import type { Db } from '#platform/db/db.ts';
import type { Logger } from '#platform/log.ts';
import { createOutgoingFetch } from '#platform/outgoing/fetch.ts';
import type { Cipher } from '#platform/secrets/cipher.ts';
import { createOAuthClient } from './client.ts';
import type { OAuthParts } from './flow.ts';
import { createIdTokens } from './id-tokens.ts';
import { createStates } from './states.ts';

interface OAuthOptions {
  db: Db;
  cipher: Cipher;
  log: Logger;
  jwtSecret: string;
  apiBaseUrl: string;
  allowPrivateNetwork: boolean;
  ownHosts: Partial<Record<OAuthProvider, string>>;
}

const TIMEOUT_MS = 10_000;
/** Discovery documents, key sets and profiles have a few kilobytes. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/** What signing in with providers stands on. `close` ends the connections to them. */
export function openOAuth({ jwtSecret, ...given }: OAuthOptions): OAuthParts & { close: () => Promise<void> } {
  const allowPrivate = given.allowPrivateNetwork;
  const outgoing = createOutgoingFetch({ allowPrivate, timeoutMs: TIMEOUT_MS, maxBytes: MAX_ANSWER_BYTES });
  const client = createOAuthClient({ fetch: outgoing.fetch, allowInsecure: allowPrivate });
  const idTokens = createIdTokens({ client, fetch: outgoing.fetch });
  return { ...given, client, idTokens, states: createStates(jwtSecret), close: outgoing.close };
}
