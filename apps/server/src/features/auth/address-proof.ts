import type { User } from '@insforge/contract/auth.ts';
import type { UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { findByEmail, insertUser, readUser } from './users.ts';

/**
 * Marks the address as verified: its owner has typed the code of a mail, or opened its link. The mail confirms the
 * sign-up, and so the password, but nothing that somebody added before it was proved whose address that is: sessions,
 * second factors and linked providers go.
 */
export async function verifyAddress(tx: UserTx, email: string): Promise<User | undefined> {
  const found = await findByEmail(tx, email);
  if (!found) return undefined;
  const { id } = found.user;
  const verified = await tx.one(sql`
    update auth.users set email_verified = true, updated_at = now()
    where id = ${id} and email_verified is not true returning 1`);
  if (verified) await expel(tx, id);
  return readUser(tx, id);
}

/** Ends what others may come in with: sessions, codes, second factors. The one who has proved the address enters anew. */
export async function expel(tx: UserTx, id: string): Promise<void> {
  await tx.query(sql`select auth.expel_from_account(${id})`);
}

/**
 * The account of somebody who has proved that an address is theirs, to sign them in.
 *
 * An account whose address was never verified may have been made by anybody, in order to wait for its owner with
 * a password. The owner takes it over: password, linked providers and sessions go.
 * @returns undefined where there is no account and none may be made
 */
export async function accountOf(
  tx: UserTx,
  email: string,
  { mayCreate, name }: { mayCreate: boolean; name?: string | undefined },
): Promise<User | undefined> {
  const found = await findByEmail(tx, email);
  if (found) {
    const { id, emailVerified } = found.user;
    if (!emailVerified) await takeOver(tx, id);
    await rememberMethod(tx, id, found.user.email);
    return readUser(tx, id);
  }
  if (!mayCreate) return undefined;
  const created = await insertUser(tx, { email, password: null, emailVerified: true, ...(name ? { name } : {}) });
  // Somebody has signed up with the address in this very moment.
  if (!created) return accountOf(tx, email, { mayCreate });
  await rememberMethod(tx, created.id, email);
  return readUser(tx, created.id);
}

async function takeOver(tx: UserTx, id: string): Promise<void> {
  await tx.query(sql`
    update auth.users set password = null, email_verified = true, updated_at = now() where id = ${id}`);
  await tx.query(sql`delete from auth.user_providers where user_id = ${id}`);
  await expel(tx, id);
}

/** A user without a password would otherwise seem to have no way to sign in. */
async function rememberMethod(tx: UserTx, id: string, email: string): Promise<void> {
  await tx.query(sql`
    insert into auth.user_providers (user_id, provider, provider_account_id, provider_data)
    values (${id}, 'email', ${email}, '{"method":"otp"}') on conflict do nothing`);
}
