import { type ImportedUser, ImportedUserSchema, type ImportReport, type ImportRow } from '@insforge/contract/users.ts';
import type { Db, UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { toAppError } from '#platform/errors.ts';
import { isKnownHash } from './passwords.ts';
import { USER_WRITER } from './users.ts';

const UNKNOWN_HASH =
  'passwordHash: must be bcrypt ($2a$, $2b$, $2y$, cost 4 to 16), argon2 ($argon2id$v=19$m=…,t=…,p=…$salt$hash) or scrypt ($scrypt$ln=…,r=…,p=…$salt$hash, at most 128 MB)';

/**
 * Takes over users from elsewhere, with the hashes of their passwords, which are checked and made anew at the
 * first sign-in. Rows that cannot be taken are reported and skipped. A dry run does all of it, and undoes it.
 */
export async function importUsers(db: Db, rows: readonly unknown[], dryRun: boolean): Promise<ImportReport> {
  const report = await db.as(USER_WRITER).tx(async (tx) => {
    await tx.query(sql`savepoint before_import`);
    const results: ImportRow[] = [];
    for (const [row, given] of rows.entries()) results.push({ row, ...(await importRow(tx, given)) });
    if (dryRun) await tx.query(sql`rollback to savepoint before_import`);
    return results;
  });
  const count = (outcome: ImportRow['outcome']) => report.filter((row) => row.outcome === outcome).length;
  return {
    dryRun,
    created: count('created'),
    exists: count('exists'),
    invalid: count('invalid'),
    rows: dryRun ? report.map(({ id, ...row }) => row) : report,
  };
}

async function importRow(tx: UserTx, given: unknown): Promise<Omit<ImportRow, 'row'>> {
  const { data: user, error } = ImportedUserSchema.safeParse(given);
  if (!user) {
    const problems = error.issues.map(({ path, message }) => `${path.join('.') || 'user'}: ${message}`);
    return { email: emailOf(given), outcome: 'invalid', message: problems.join(', ') };
  }
  const { email, passwordHash } = user;
  if (passwordHash && !isKnownHash(passwordHash)) return { email, outcome: 'invalid', message: UNKNOWN_HASH };
  await tx.query(sql`savepoint before_row`);
  try {
    const id = await insertImported(tx, user);
    await tx.query(sql`release savepoint before_row`);
    if (id !== undefined) return { email, outcome: 'created', id };
    return { email, outcome: 'exists', message: 'there is a user with this address, id or linked account already' };
  } catch (cause) {
    const refusal = toAppError(cause);
    if (refusal.status >= 500) throw cause;
    await tx.query(sql`rollback to savepoint before_row`);
    return { email, outcome: 'invalid', message: refusal.message };
  }
}

const emailOf = (given: unknown) =>
  typeof given === 'object' && given !== null && 'email' in given && typeof given.email === 'string'
    ? given.email.slice(0, 254)
    : null;

async function insertImported(tx: UserTx, user: ImportedUser): Promise<string | undefined> {
  const { id = null, email, passwordHash = null, emailVerified, name, metadata, createdAt = null, providers } = user;
  const profile = JSON.stringify({ ...user.profile, ...(name === undefined ? {} : { name }) });
  const linked = JSON.stringify(providers);
  const row = await tx.one<{ id: string }>(sql`
    insert into auth.users as u (id, email, password, email_verified, profile, metadata, created_at)
    select coalesce(${id}::uuid, gen_random_uuid()), ${email}, ${passwordHash}, ${emailVerified}, ${profile}::jsonb,
      ${JSON.stringify(metadata)}::jsonb, coalesce(${createdAt}::timestamptz, now())
    where not exists (select from auth.users where lower(email) = lower(${email}))
      and not exists (
        select from jsonb_to_recordset(${linked}::jsonb) as l (provider text, "providerAccountId" text)
        join auth.user_providers p on p.provider = l.provider and p.provider_account_id = l."providerAccountId")
    on conflict do nothing
    returning u.id`);
  if (!row) return undefined;
  await tx.query(sql`
    insert into auth.user_providers (user_id, provider, provider_account_id)
    select ${row.id}, l.provider, l."providerAccountId"
    from jsonb_to_recordset(${linked}::jsonb) as l (provider text, "providerAccountId" text)
    on conflict do nothing`);
  return row.id;
}
