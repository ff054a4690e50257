-- How strongly a session was proved, second factors, bans, and what ends sessions whoever causes it.

alter table auth.sessions add column aal text not null default 'aal1' check (aal in ('aal1', 'aal2'));

alter table auth.users
  add column banned_until timestamptz,
  add column ban_reason text;

create table auth.factors (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  name text not null,
  secret_ciphertext text not null,
  -- Null until the user has shown once that the authenticator works.
  verified_at timestamptz,
  -- The time step of the last accepted code: no code counts twice (RFC 6238, section 5.2).
  last_step bigint not null default 0,
  last_used_at timestamptz,
  created_at timestamptz not null default now()
);
create index on auth.factors (user_id);
revoke select on auth.factors from project_admin;

create table auth.recovery_codes (
  user_id uuid not null references auth.users (id) on delete cascade,
  code_hash text not null,
  primary key (user_id, code_hash)
);
revoke select on auth.recovery_codes from project_admin;

-- A sign-in whose first factor was right and whose second is awaited.
create table auth.factor_challenges (
  token_hash text primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  expires_at timestamptz not null
);
create index on auth.factor_challenges (user_id);
create index on auth.factor_challenges (expires_at);
revoke select on auth.factor_challenges from project_admin;

-- Also for changes that an admin makes in SQL. The one session that makes the change may go on, and a
-- password that is merely hashed anew is no change: both are said in settings of the transaction.
create function auth.end_sessions_of_changed_user() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  delete from auth.sessions
  where user_id = new.id and id::text is distinct from current_setting('insforge.kept_session', true);
  delete from auth.factor_challenges where user_id = new.id;
  return null;
end $$;
revoke execute on function auth.end_sessions_of_changed_user() from public;

create trigger end_sessions_of_changed_user
  after update of password, is_project_admin, banned_until on auth.users for each row
  when (
    new.is_project_admin is distinct from old.is_project_admin
    or new.banned_until is distinct from old.banned_until and new.banned_until > now()
    or new.password is distinct from old.password
      and coalesce(current_setting('insforge.rehashed', true), '') <> new.id::text
  )
  execute function auth.end_sessions_of_changed_user();
