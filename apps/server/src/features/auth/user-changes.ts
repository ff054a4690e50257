import type { UserUpdate } from '@insforge/contract/users.ts';
import type { Db } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { readConfig } from './config.ts';
import { checkPasswordRules, hashPassword } from './passwords.ts';
import { mergeProfile, USER_WRITER, unknownUser } from './users.ts';

/**
 * Changes what the update names. Another address counts as unverified unless the update says otherwise; another
 * password ends the sessions (by trigger).
 * @throws AppError AUTH_USER_NOT_FOUND, AUTH_EMAIL_EXISTS, INVALID_INPUT, PAYLOAD_TOO_LARGE
 */
export async function updateUser(db: Db, id: string, update: UserUpdate): Promise<void> {
  const { email = null, password, emailVerified = null, name, profile, metadata = null } = update;
  if (password !== undefined) checkPasswordRules(await readConfig(db.system), password);
  const hashed = password === undefined ? null : await hashPassword(password);
  await db.as(USER_WRITER).tx(async (tx) => {
    const taken = await tx.one(sql`
      select from auth.users where lower(email) = lower(${email}::text) and id <> ${id} limit 1`);
    if (taken) throw new AppError('AUTH_EMAIL_EXISTS', `There is a user ${email} already`);
    const updated = await tx.one(sql`
      update auth.users set
        email_verified = coalesce(${emailVerified}::boolean, email_verified and email = coalesce(${email}::text, email)),
        email = coalesce(${email}::text, email), password = coalesce(${hashed}::text, password),
        metadata = coalesce(${metadata && JSON.stringify(metadata)}::jsonb, metadata), updated_at = now()
      where id = ${id} returning 1`);
    if (!updated) throw unknownUser(id);
    if (name === undefined && profile === undefined) return;
    await mergeProfile(tx, id, { ...profile, ...(name === undefined ? {} : { name }) });
  });
}
