import type { User, UserListQuery } from '@insforge/contract/auth.ts';
import type { Claims, Db, SystemTx, UserTx } from '#platform/db/db.ts';
import { sql } from '#platform/db/sql.ts';
import { AppError } from '#platform/errors.ts';
import type { Origin } from './throttle.ts';

/**
 * Who writes to auth.users: the admin may put triggers on that table, and they run with the rights of the
 * writer. Under the login of the platform, such a trigger would own the machine.
 */
export const USER_WRITER: Claims = { role: 'project_admin' };

/** A profile grows with every merge; beyond this it is not one any more. */
const MAX_PROFILE_BYTES = 256 * 1024;

interface UserRow {
  id: string;
  email: string;
  emailVerified: boolean;
  hasPassword: boolean;
  providers: string[];
  createdAt: Date | string;
  updatedAt: Date | string;
  profile: unknown;
  metadata: unknown;
  /** Null where there is no ban in force. */
  ban: { until: string | null; reason: string | null } | null;
}

/** Of auth.users under the alias u. */
const USER = sql`
  u.id, u.email, coalesce(u.email_verified, false) as "emailVerified", u.password is not null as "hasPassword",
  array(select provider from auth.user_providers where user_id = u.id order by created_at) as providers,
  coalesce(u.created_at, 'epoch') as "createdAt", coalesce(u.updated_at, 'epoch') as "updatedAt",
  u.profile, u.metadata,
  case when u.banned_until > now() then jsonb_build_object(
    'until', case when isfinite(u.banned_until) then u.banned_until end, 'reason', u.ban_reason) end as ban`;

function toUser({
  id,
  email,
  emailVerified,
  hasPassword,
  providers,
  createdAt,
  updatedAt,
  ban,
  ...json
}: UserRow): User {
  return {
    id,
    email,
    emailVerified,
    providers: [...new Set([...(hasPassword ? ['email'] : []), ...providers])],
    createdAt: new Date(createdAt).toISOString(),
    updatedAt: new Date(updatedAt).toISOString(),
    profile: asObject(json.profile),
    metadata: asObject(json.metadata),
    ...(ban ? { ban: { ...ban, until: ban.until && new Date(ban.until).toISOString() } } : {}),
  };
}

/** Imports may have left any JSON in these columns. */
function asObject(json: unknown): Record<string, unknown> | null {
  return typeof json === 'object' && json !== null && !Array.isArray(json) ? { ...json } : null;
}

export const unknownUser = (id: string) => new AppError('AUTH_USER_NOT_FOUND', `There is no user ${id}`);

/** @throws AppError AUTH_USER_NOT_FOUND */
export async function readUser(tx: Pick<SystemTx, 'one'>, id: string): Promise<User> {
  const row = await tx.one<UserRow>(sql`select ${USER} from auth.users u where u.id = ${id}`);
  if (!row) throw unknownUser(id);
  return toUser(row);
}

/** The same, prepared and in one round trip of its own. @throws AppError AUTH_USER_NOT_FOUND */
export async function readUserAtOnce({ system }: Pick<Db, 'system'>, id: string): Promise<User> {
  const [row] = await system.json<UserRow>('read', sql`select ${USER} from auth.users u where u.id = ${id}`);
  if (!row) throw unknownUser(id);
  return toUser(row);
}

interface FoundRow extends UserRow {
  password: string | null;
  mustVerify: boolean;
}

interface Found {
  user: User;
  password: string | null;
  /** True where nobody has proved the address, and that is asked for. */
  mustVerify: boolean;
}

/** The user with this address; the oldest where imports brought several. */
const ofAddress = (email: string) => sql`
  from auth.users u where lower(u.email) = lower(${email}) order by u.created_at, u.id limit 1`;

/** Their row. */
export const byEmail = (email: string) => sql`
  select ${USER}, u.password,
    u.email_verified is not true and exists (select from auth.config where require_email_verification) as "mustVerify"
  ${ofAddress(email)}`;

/** What a row of `byEmail` says, as it is or from JSON. */
export function toFound(row: unknown): Found | undefined {
  if (!row) return undefined;
  const { password, mustVerify, ...user } = row as FoundRow;
  return { user: toUser(user), password, mustVerify };
}

/**
 * The address as its user spells it, and whether it is verified. Nothing else is read: whoever asks for a mail is not to
 * notice by the time how much there is to know of a user.
 */
export async function findAddress(
  tx: Pick<SystemTx, 'one'>,
  email: string,
): Promise<{ email: string; emailVerified: boolean } | undefined> {
  return tx.one(sql`
    select u.email, u.email_verified is true as "emailVerified" ${ofAddress(email)}`);
}

/** The user with this address and their password hash. */
export async function findByEmail(tx: Pick<SystemTx, 'one'>, email: string): Promise<Found | undefined> {
  return toFound(await tx.one(byEmail(email)));
}

/** Where an attempt of somebody who says that this is their address of mail comes from. */
export function originOf(email: string, address: string | null): Origin {
  return { address, sessions: sql`s.user_id in (select id from auth.users where lower(email) = lower(${email}))` };
}

/** Creates a user, or returns undefined where the address is taken in whatever spelling. */
export async function insertUser(
  tx: UserTx,
  {
    email,
    password,
    name,
    emailVerified,
  }: { email: string; password: string | null; name?: string; emailVerified: boolean },
): Promise<User | undefined> {
  const profile = JSON.stringify(name === undefined ? {} : { name });
  const row = await tx.one<UserRow>(sql`
    insert into auth.users as u (email, password, profile, email_verified)
    select ${email}, ${password}, ${profile}::jsonb, ${emailVerified}
    where not exists (select from auth.users where lower(email) = lower(${email}))
    on conflict (email) do nothing
    returning ${USER}`);
  return row && toUser(row);
}

/** Hashes the same password in a better way, unless somebody else did in the meantime. Sessions go on. */
export async function replacePassword(tx: UserTx, id: string, before: string, after: string): Promise<void> {
  await tx.query(sql`select set_config('insforge.rehashed', ${id}, true)`);
  await tx.query(sql`
    update auth.users set password = ${after}, updated_at = now() where id = ${id} and password = ${before}`);
}

/** One page of the users, newest first. */
export async function listUsers(
  tx: Pick<SystemTx, 'query' | 'one'>,
  { limit, offset, search = '' }: UserListQuery,
): Promise<{ data: User[]; total: number }> {
  const matches = sql`
    not u.is_anonymous and not u.is_project_admin
    and (strpos(lower(u.email), lower(${search})) > 0 or strpos(lower(u.profile ->> 'name'), lower(${search})) > 0)`;
  const rows = await tx.query<UserRow>(sql`
    select ${USER} from auth.users u where ${matches}
    order by u.created_at desc, u.id limit ${limit} offset ${offset}`);
  const counted = await tx.one<{ total: number }>(sql`
    select count(*)::float8 as total from auth.users u where ${matches}`);
  return { data: rows.map(toUser), total: counted?.total ?? 0 };
}

/** Deletes users with their sessions and linked providers; unknown ids are not counted. */
export async function deleteUsers(tx: UserTx, ids: readonly string[]): Promise<number> {
  const deleted = await tx.query(sql`delete from auth.users where id = any(${ids}::uuid[]) returning id`);
  return deleted.length;
}

/** @throws AppError AUTH_USER_NOT_FOUND */
export async function readProfile(
  tx: Pick<SystemTx, 'one'>,
  id: string,
): Promise<{ id: string; profile: Record<string, unknown> | null }> {
  const row = await tx.one<{ profile: unknown }>(sql`select profile from auth.users where id = ${id}`);
  if (!row) throw unknownUser(id);
  return { id, profile: asObject(row.profile) };
}

/** Lays the given keys over the profile. @throws AppError AUTH_USER_NOT_FOUND, PAYLOAD_TOO_LARGE */
export async function mergeProfile(
  tx: UserTx,
  id: string,
  profile: Record<string, unknown>,
): Promise<{ id: string; profile: Record<string, unknown> | null }> {
  const row = await tx.one<{ profile: unknown; bytes: number }>(sql`
    update auth.users
    set profile = case jsonb_typeof(profile) when 'object' then profile else '{}' end || ${JSON.stringify(profile)}::jsonb,
        updated_at = now()
    where id = ${id}
    returning profile, octet_length(profile::text) as bytes`);
  if (!row) throw unknownUser(id);
  if (row.bytes > MAX_PROFILE_BYTES) {
    throw new AppError(
      'PAYLOAD_TOO_LARGE',
      `The profile would have ${row.bytes} bytes; ${MAX_PROFILE_BYTES} are allowed`,
      {
        nextActions: 'Keep large things in a table or in storage, and only their id in the profile.',
      },
    );
  }
  return { id, profile: asObject(row.profile) };
}
