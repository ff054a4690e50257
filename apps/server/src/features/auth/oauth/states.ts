import { createHmac, createSecretKey, randomUUID } from 'node:crypto';
import { jwtVerify, SignJWT } from 'jose';
import type { SystemTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';

const LIFETIME_SECONDS = 3600;
const SWEPT_AT_A_TIME = 50;

/** What has to be remembered while the user is at the provider. */
interface Departure {
  provider: string;
  /** Where the app wants the user back. */
  redirectUri: string;
  /** What the app will prove itself with at the exchange. */
  codeChallenge: string;
}

/** What binds the provider's answer to the one request that we made. */
interface Bindings {
  /** OpenID Connect: comes back inside the ID token. */
  nonce: string;
  /** PKCE: whoever has the code alone cannot use it. */
  codeVerifier: string;
}

export interface States {
  issue(tx: Pick<SystemTx, 'query'>, departure: Departure): Promise<Bindings & { state: string }>;
  /**
   * Takes the state that a provider sent back. It counts once, and only from the provider it was made for.
   * @throws AppError INVALID_INPUT
   */
  redeem(
    tx: Pick<SystemTx, 'one'>,
    provider: string,
    state: string | undefined,
  ): Promise<Bindings & Omit<Departure, 'provider'>>;
}

/**
 * A state is a short signed name (X takes no more than 500 characters) for a row that holds the rest. Nonce and
 * verifier are derived from that name with the server's secret: they are nowhere to be read, at rest or on the way.
 */
export function createStates(jwtSecret: string): States {
  const key = createSecretKey(jwtSecret, 'utf8');
  const derive = (purpose: string, id: string) =>
    createHmac('sha256', jwtSecret).update(`insforge:oauth-${purpose}:v1:${id}`).digest('base64url');
  const bindingsOf = (id: string) => ({ nonce: derive('nonce', id), codeVerifier: derive('verifier', id) });

  return {
    async issue(tx, { provider, redirectUri, codeChallenge }) {
      const id = randomUUID();
      await tx.query(sql`
        with expired as (
          select id from auth.oauth_states where expires_at <= now() limit ${SWEPT_AT_A_TIME} for update skip locked
        ), swept as (
          delete from auth.oauth_states using expired where oauth_states.id = expired.id
        )
        insert into auth.oauth_states (id, provider, redirect_uri, code_challenge, expires_at)
        values (${id}, ${provider}, ${redirectUri}, ${codeChallenge}, now() + make_interval(secs => ${LIFETIME_SECONDS}))`);
      const state = await new SignJWT({ jti: id, provider, type: 'oauth_state' })
        .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
        .setIssuer('insforge')
        .setIssuedAt()
        .setExpirationTime(`${LIFETIME_SECONDS}s`)
        .sign(key);
      return { state, ...bindingsOf(id) };
    },

    async redeem(tx, provider, state) {
      const id = await nameIn(state, provider, key);
      const departure =
        id &&
        (await tx.one<Omit<Departure, 'provider'>>(sql`
          delete from auth.oauth_states where id = ${id} and provider = ${provider} and expires_at > now()
          returning redirect_uri as "redirectUri", code_challenge as "codeChallenge"`));
      if (id && departure) return { ...departure, ...bindingsOf(id) };
      throw new AppError('INVALID_INPUT', 'state: this sign-in is unknown, over, or was completed before', {
        nextActions: `Go back to the app and start again; it calls GET /api/auth/oauth/${provider}.`,
      });
    },
  };
}

async function nameIn(
  state: string | undefined,
  provider: string,
  key: ReturnType<typeof createSecretKey>,
): Promise<string | undefined> {
  const options = { algorithms: ['HS256'], issuer: 'insforge', requiredClaims: ['exp', 'jti'] };
  const verified = await jwtVerify(state ?? '', key, options).catch(() => undefined);
  const { jti, type, provider: madeFor } = verified?.payload ?? {};
  return type === 'oauth_state' && madeFor === provider ? jti : undefined;
}
