import { createHash } from 'node:crypto';
import type { User } from '@insforge/contract/auth.ts';
import type { Db, SystemTx, UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import { readConfig } from '../config.ts';
import { findByEmail, readUser, USER_WRITER } from '../users.ts';
import type { Identity } from './client.ts';

/** As strict as what is stored; the provider decides what an address is. */
const EMAIL = /^[^\s@\0]+@[^\s@\0]+$/;
const MAX_EMAIL_LENGTH = 254;
const MAX_AVATAR_LENGTH = 2048;

/**
 * The account of somebody whom a provider vouches for. The identity itself finds its account again; besides, only
 * an address that the provider has verified leads to one:
 *
 * | the account with this address | the provider has verified it | it has not |
 * |---|---|---|
 * | is verified | is linked | refused |
 * | is not verified | is taken over: what others could come in with goes | refused |
 * | does not exist | is made, verified | is made, not verified |
 *
 * @throws AppError AUTH_EMAIL_EXISTS, AUTH_SIGNUP_DISABLED, FORBIDDEN
 */
export async function findOrCreateAccount(db: Db, provider: string, identity: Identity): Promise<User> {
  const { requireEmailVerification, disableSignup } = await readConfig(db.system);
  const email = usableEmail(identity.email);
  const proof = { provider, identity, email, isProved: email !== undefined && identity.isEmailVerified };
  const id = await db.as(USER_WRITER).tx(async (tx) => {
    // Sign-ins with the same identity or the same address at once take turns.
    await lock(tx, `oauth:${provider}:${identity.id}`);
    if (email) await lock(tx, `email:${email}`);
    return (
      (await findLinked(tx, proof)) ??
      (await findByAddress(tx, proof)) ??
      (disableSignup ? refuseSignUp() : ((await createAccount(tx, proof)) ?? (await findByAddress(tx, proof))))
    );
  });
  if (id === undefined) throw new Error('the account was neither found nor made');
  const user = await readUser(db.system, id);
  if (requireEmailVerification && !user.emailVerified) throw mustVerify(provider, email);
  return user;
}

/**
 * Makes sure that an identity still leads to the account, and that it does until the transaction ends. Whoever is
 * given a way in without it may get it just after the owner has taken the account over.
 * @throws AppError AUTH_UNAUTHORIZED
 */
export async function holdIdentity(
  tx: Pick<SystemTx, 'one'>,
  provider: string,
  identity: Identity,
  userId: string,
): Promise<void> {
  const held = await tx.one(sql`
    select from auth.user_providers
    where provider = ${provider} and provider_account_id = ${identity.id} and user_id = ${userId} for share`);
  if (!held) throw new AppError('AUTH_UNAUTHORIZED', 'The owner of the address has just taken this account over');
}

interface Proof {
  provider: string;
  identity: Identity;
  email: string | undefined;
  /** True where the provider itself has verified the address. */
  isProved: boolean;
}

function usableEmail(email: string | undefined): string | undefined {
  const normal = email?.trim().toLowerCase();
  return normal && normal.length <= MAX_EMAIL_LENGTH && EMAIL.test(normal) ? normal : undefined;
}

async function lock(tx: UserTx, name: string): Promise<void> {
  await tx.query(sql`select pg_advisory_xact_lock(hashtextextended(${name}, 0))`);
}

async function findLinked(tx: UserTx, { provider, identity, email, isProved }: Proof): Promise<string | undefined> {
  const linked = await tx.one<{ id: string; userId: string }>(sql`
    update auth.user_providers set provider_data = ${JSON.stringify(identity.data)}::jsonb, updated_at = now()
    where provider = ${provider} and provider_account_id = ${identity.id}
    returning id, user_id as "userId"`);
  if (linked && isProved) {
    await tx.query(sql`select set_config('insforge.proved_identity', ${linked.id}, true)`);
    await tx.query(sql`
      update auth.users set email_verified = true, updated_at = now()
      where id = ${linked.userId} and lower(email) = ${email} and email_verified is not true`);
  }
  return linked?.userId;
}

async function findByAddress(tx: UserTx, proof: Proof): Promise<string | undefined> {
  const { provider, email, isProved } = proof;
  const found = email && (await findByEmail(tx, email));
  if (!found) return undefined;
  const { id, emailVerified } = found.user;
  if (!isProved) {
    throw new AppError(
      'AUTH_EMAIL_EXISTS',
      `There is a user ${email} already, and ${provider} has not verified that address`,
      {
        nextActions: 'Sign in with the password, or in the way that was used before.',
      },
    );
  }
  if (!emailVerified) await takeOver(tx, id, proof.identity);
  await link(tx, id, proof);
  return id;
}

/**
 * Anybody can sign up with an address that is not theirs and wait for its owner. The owner gets the account, and
 * nobody else keeps a way in. https://msrc.microsoft.com/blog/2022/05/pre-hijacking-attacks/
 */
async function takeOver(tx: UserTx, id: string, identity: Identity): Promise<void> {
  await tx.query(sql`
    update auth.users
    set password = null, email_verified = true, updated_at = now(),
      profile = case jsonb_typeof(profile) when 'object' then profile else '{}' end || ${profileOf(identity)}::jsonb
    where id = ${id}`);
  await tx.query(sql`delete from auth.user_providers where user_id = ${id}`);
  await tx.query(sql`select auth.expel_from_account(${id})`);
}

/** Undefined where the address was taken in this very moment. */
async function createAccount(tx: UserTx, proof: Proof): Promise<string | undefined> {
  const { provider, identity, email, isProved } = proof;
  const created = await tx.one<{ id: string }>(sql`
    insert into auth.users (email, profile, email_verified)
    values (${email ?? placeholderFor(provider, identity.id)}, ${profileOf(identity)}::jsonb, ${isProved})
    on conflict (email) do nothing
    returning id`);
  if (created) await link(tx, created.id, proof);
  return created?.id;
}

async function link(tx: UserTx, userId: string, { provider, identity }: Proof): Promise<void> {
  await tx.query(sql`
    insert into auth.user_providers (user_id, provider, provider_account_id, provider_data)
    values (${userId}, ${provider}, ${identity.id}, ${JSON.stringify(identity.data)}::jsonb)`);
}

function profileOf({ name, avatarUrl }: Identity): string {
  // Apps put it where it could run.
  const isAddress = /^https?:\/\//i.test(avatarUrl) && avatarUrl.length <= MAX_AVATAR_LENGTH;
  return JSON.stringify({ name: name.slice(0, 100), avatar_url: isAddress ? avatarUrl : '' });
}

/** Every account has an address. This one cannot be written to (RFC 2606), and nobody can prove that it is theirs. */
function placeholderFor(provider: string, accountId: string): string {
  return `${provider}.${createHash('sha256').update(accountId).digest('hex').slice(0, 32)}@no-address.invalid`;
}

function refuseSignUp(): never {
  throw new AppError('AUTH_SIGNUP_DISABLED', 'This project does not take new users');
}

function mustVerify(provider: string, email: string | undefined): AppError {
  return email === undefined
    ? new AppError('FORBIDDEN', `${provider} gave no email address, and this project needs a verified one`)
    : new AppError('FORBIDDEN', 'The address must be verified before signing in', {
        nextActions: 'Ask for the verification mail with POST /api/auth/email/send-verification.',
      });
}
