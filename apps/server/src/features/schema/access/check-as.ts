import type { CheckAs } from '@insforge/contract/schema.ts';
import type { Claims, Db, UserTx } from '#platform/db/db.ts';
import type { RawResult } from '#platform/db/raw-query.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { rehearse } from '../changes.ts';
import { findRefusal } from '../sql/guards.ts';
import { parseSql } from '../sql/parse.ts';
import { runScriptAs, toRefusalError } from '../sql/run.ts';

/** Runs SQL as somebody else and undoes it: what would they see, what could they do. */
export async function checkAs(
  db: Db,
  { query, params, as, maxRows }: CheckAs,
  signal: AbortSignal,
): Promise<{ result: RawResult; claims: Claims }> {
  const statements = await parseSql(query);
  const refusal = findRefusal(statements);
  if (refusal) throw toRefusalError(refusal, query, { code: 'FORBIDDEN' });
  const claims = await claimsOf(db, as);
  const script = { sql: query, statements, params, limits: { maxRows, maxBytes: MAX_BYTES } };
  const tryOut = async (tx: UserTx) => {
    const result = await runScriptAs(tx, script);
    await requireSameCaller(tx, claims);
    return result;
  };
  const result = await db.as(claims).tx((tx) => rehearse(tx, () => tryOut(tx)), { search_path: 'public' }, signal);
  return { result, claims };
}

/** SQL that made itself somebody else shows what they may do, which is no answer. */
async function requireSameCaller(tx: UserTx, { role, sub }: Claims): Promise<void> {
  const now = await tx.one<{ role: string; sub: string | null }>(sql`
    select current_user::text as role, auth.jwt() ->> 'sub' as sub`);
  if (now?.role === role && now.sub === (sub ?? null)) return;
  throw new AppError('FORBIDDEN', 'The query changes who it runs as', {
    nextActions: 'Say who asks in "as", and leave roles and request.jwt.claims alone.',
  });
}

const MAX_BYTES = 1024 * 1024;

async function claimsOf(db: Db, as: CheckAs['as']): Promise<Claims> {
  if (as === 'anon') return { role: 'anon' };
  if ('userId' in as) {
    return { role: 'authenticated', sub: as.userId, ...(as.email === undefined ? {} : { email: as.email }) };
  }
  const user = await db.system.one<{ id: string }>(
    sql`select id from auth.users where lower(email) = lower(${as.email})`,
  );
  if (!user) throw new AppError('AUTH_USER_NOT_FOUND', `There is no user ${as.email}`);
  return { role: 'authenticated', sub: user.id, email: as.email };
}
