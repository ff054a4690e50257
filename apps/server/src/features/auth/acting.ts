import type { User } from '@insforge/contract/auth.ts';
import type { Db } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import type { AccessTokens } from '#platform/tokens/access-tokens.ts';
import type { CustomClaims } from './custom-claims.ts';
import { openSession } from './sessions.ts';
import { userClaims } from './sign-in.ts';

const ACTING_SECONDS = 3600;

interface ActingParts {
  db: Db;
  tokens: AccessTokens;
  customClaims: CustomClaims;
}

/**
 * Opens a session in which an admin acts for a user. It has no refresh token, and its access token counts while it
 * goes on: whatever ends the sessions of the user ends this one too.
 */
export async function actFor(
  { db, tokens, customClaims }: ActingParts,
  user: User,
  { actor, userAgent }: { actor: string; userAgent: string | undefined },
): Promise<{ accessToken: string; expiresAt: string }> {
  // https://www.rfc-editor.org/rfc/rfc8693#section-4.1
  const claims = await userClaims(customClaims, user, { aal: 'aal1', act: { sub: actor } });
  const owner = { realm: 'user', subject: user.id, acting: { actor, seconds: ACTING_SECONDS } } as const;
  // Without an address, which would make the admin's network one that the user is signed in from (throttle.ts).
  const { id } = await openSession(db.system, owner, { userAgent, address: null });
  const accessToken = await tokens.sign(claims, id, ACTING_SECONDS);
  return { accessToken, expiresAt: new Date(Date.now() + ACTING_SECONDS * 1000).toISOString() };
}

/** True while a session in which somebody acts for a user has neither ended nor expired. */
export async function isActing({ system }: Db, sessionId: string): Promise<boolean> {
  const live = await system.one(sql`
    select from auth.sessions where id = ${sessionId} and actor is not null and expires_at > now()`);
  return live !== undefined;
}
