import type { User } from '@insforge/contract/auth.ts';
import type { Db, SystemTx } from '#platform/db/db.ts';
import type { Listener } from '#platform/db/listener.ts';
import { quoteLiteral, sql } from '#platform/db/sql.ts';
import { AppError, isUnavailable } from '#platform/errors.ts';

/** What the developer adds to the tokens of users, with the SQL function `auth.custom_claims("user" jsonb)`. */
export interface CustomClaims {
  /**
   * The claims of a user; none where there is no function.
   * @throws AppError AUTH_CUSTOM_CLAIMS_FAILED, so that nobody gets a token that lacks what policies rely on
   */
  of(user: User): Promise<Record<string, unknown>>;
  /** To be called when the function was made or dropped. */
  forget(): void;
}

/** What only the server may say of a user, and what JWT reserves (RFC 7519, section 4.1). */
const RESERVED = new Set(
  'iss sub aud exp nbf iat jti role email sid aal act amr azp client_id scope type kid nonce auth_time'.split(' '),
);
/** Tokens travel in a header with every request; servers in between allow 8 KB for all of them. */
const MAX_BYTES = 4096;
const TIMEOUT_MS = 2_000;
/** DDL made elsewhere is heard of by NOTIFY; where event triggers are not to be had, it is noticed this late. */
const LOOK_AGAIN_MS = 2_000;

export function createCustomClaims(db: Db, listener: Listener): CustomClaims {
  let known: { exists: boolean; at: number } | undefined;
  let changes = 0;
  const forget = () => {
    changes++;
    known = undefined;
  };
  listener.on('pgrst', forget);

  const exists = async () => {
    if (known && Date.now() - known.at < LOOK_AGAIN_MS) return known.exists;
    const before = changes;
    const row = await db.system.one<{ exists: boolean }>(sql`
      select to_regprocedure('auth.custom_claims(jsonb)') is not null as exists`);
    const found = row?.exists ?? false;
    if (before === changes) known = { exists: found, at: Date.now() };
    return found;
  };

  return {
    forget,
    of: async (user) => ((await exists()) ? check(await call(db, user)) : {}),
  };
}

/** As the user, who can read no more here than anywhere, in a transaction that cannot write. */
async function call(db: Db, user: User): Promise<unknown> {
  const { id: sub, email } = user;
  const settings = { transaction_read_only: 'on', statement_timeout: String(TIMEOUT_MS) };
  try {
    const row = await db
      .as({ role: 'authenticated', sub, email })
      .tx(
        (tx) => tx.one<{ claims: unknown }>(sql`select auth.custom_claims(${JSON.stringify(user)}::jsonb) as claims`),
        settings,
      );
    return row?.claims;
  } catch (cause) {
    if (isUnavailable(cause)) throw cause;
    throw failed(`it failed: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
}

function check(claims: unknown): Record<string, unknown> {
  if (claims === null || claims === undefined) return {};
  if (typeof claims !== 'object' || Array.isArray(claims)) throw failed('it returned something else than an object');
  const reserved = Object.keys(claims).filter((name) => RESERVED.has(name));
  if (reserved.length > 0) throw failed(`it returned claims that are reserved: ${reserved.join(', ')}`);
  const bytes = Buffer.byteLength(JSON.stringify(claims));
  if (bytes > MAX_BYTES) throw failed(`it returned ${bytes} bytes; ${MAX_BYTES} are allowed`);
  return { ...claims };
}

/** The user is told that it failed, the log of the admin why. */
function failed(reason: string, cause?: unknown): AppError {
  return new AppError('AUTH_CUSTOM_CLAIMS_FAILED', 'No token could be made, because auth.custom_claims failed', {
    cause: new Error(`auth.custom_claims: ${reason}`, { cause }),
  });
}

const MARK = 'calls ';

/** The name of the function that makes the claims, if there is one. */
export async function readClaimsFunction(tx: Pick<SystemTx, 'one'>): Promise<string | null> {
  const row = await tx.one<{ comment: string | null }>(sql`
    select obj_description(oid, 'pg_proc') as comment
    from to_regprocedure('auth.custom_claims(jsonb)') as oid where oid is not null`);
  if (!row) return null;
  return row.comment?.startsWith(MARK) ? row.comment.slice(MARK.length) : 'auth.custom_claims';
}

/**
 * Makes `auth.custom_claims` call a function of the developer's, who cannot create anything in the schema auth.
 * It is no SECURITY DEFINER: whatever it calls runs as the user.
 * @throws AppError INVALID_INPUT
 */
export async function setClaimsFunction(tx: SystemTx, name: string): Promise<void> {
  const row = await tx.one<{ called: string | null; type: string | null; callable: boolean | null }>(sql`
    select format('%I.%I', n.nspname, p.proname) as called, p.prorettype::regtype::text as type,
      has_function_privilege('authenticated', p.oid, 'execute')
        and has_schema_privilege('authenticated', n.oid, 'usage') as callable
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where p.oid = to_regprocedure(${`${name}(jsonb)`}) and p.prokind = 'f'`);
  if (!row?.called || row.type !== 'jsonb') {
    throw new AppError('INVALID_INPUT', `function: there is no function ${name}(jsonb) that returns jsonb`, {
      nextActions: `Create it: create function ${name}("user" jsonb) returns jsonb language sql stable as $$ select '{}'::jsonb $$;`,
    });
  }
  if (!row.callable) {
    throw new AppError('INVALID_INPUT', `function: the role authenticated may not call ${name}`, {
      nextActions: `grant execute on function ${name}(jsonb) to authenticated;`,
    });
  }
  const body = sql.raw(quoteLiteral(`select ${row.called}($1)`));
  await tx.query(sql`
    create or replace function auth.custom_claims("user" jsonb) returns jsonb language sql stable as ${body}`);
  await tx.query(sql`
    comment on function auth.custom_claims(jsonb) is ${sql.raw(quoteLiteral(`${MARK}${row.called}`))}`);
  await tx.query(sql`grant execute on function auth.custom_claims(jsonb) to authenticated`);
  await tx.query(sql`select pg_notify('pgrst', 'reload schema')`);
}

/** Tokens carry nothing more than what the server says. */
export async function dropClaimsFunction(tx: SystemTx): Promise<void> {
  await tx.query(sql`drop function if exists auth.custom_claims(jsonb)`);
  await tx.query(sql`select pg_notify('pgrst', 'reload schema')`);
}
