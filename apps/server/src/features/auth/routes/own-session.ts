import type { FastifyRequest, onRequestAsyncHookHandler } from 'fastify';
import type { Db } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { Aal, Realm } from '../sessions.ts';

/** The session that a request belongs to, as it stands now. */
export interface OwnSession {
  id: string;
  realm: Realm;
  subject: string;
  aal: Aal;
}

const sessions = new WeakMap<FastifyRequest, OwnSession>();

/**
 * For what only the person themselves may do: whoever asks must hold a session of this server that has not ended.
 * Neither a program that a user lets in, nor an admin in their place, nor a token that somebody else signed will do.
 */
export function requireOwnSession({ system }: Db): onRequestAsyncHookHandler {
  return async (request) => {
    const { more = {} } = request.caller.claims;
    const id = request.caller.sessionId;
    if (id === undefined || more.act !== undefined || more.client_id !== undefined) {
      throw new AppError('FORBIDDEN', 'This is for the people themselves, signed in at this server', {
        nextActions: 'Sign in with POST /api/auth/sessions and send the access token.',
      });
    }
    const session = await system.one<OwnSession>(sql`
      select id, kind as realm, subject, aal from auth.sessions
      where id = ${id} and subject = ${request.caller.actor} and expires_at > now()`);
    if (!session) {
      throw new AppError('AUTH_UNAUTHORIZED', 'The session has ended', {
        nextActions: 'Sign in again with POST /api/auth/sessions.',
      });
    }
    sessions.set(request, session);
  };
}

export function ownSessionOf(request: FastifyRequest): OwnSession {
  const session = sessions.get(request);
  if (!session) throw new Error('requireOwnSession did not run');
  return session;
}
