-- Signing in with other providers: their configuration, and the sign-ins that are under way.

create table auth.oauth_configs (
  id uuid default gen_random_uuid() constraint _oauth_configs_pkey primary key,
  provider text not null constraint _oauth_configs_provider_key unique,
  client_id text,
  secret_id uuid constraint oauth_configs_secret_id_fkey references system.secrets (id) on delete restrict,
  scopes text[],
  redirect_uri text,
  use_shared_key boolean default false,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  native_client_ids text[] not null default '{}',
  -- Ours: addresses count as verified where the provider says nothing of it.
  trust_email boolean not null default false
);
grant insert, update, delete on auth.oauth_configs to project_admin;
create trigger update_oauth_configs_updated_at before update on auth.oauth_configs
  for each row execute function system.update_updated_at();

-- Either an OpenID Connect provider, which discovery describes, or a plain OAuth 2.0 one with three addresses.
create table auth.custom_oauth_configs (
  id uuid primary key default gen_random_uuid(),
  key text not null unique constraint custom_oauth_configs_key_format_check check (key ~ '^[a-z0-9_-]+$'),
  name text not null,
  discovery_endpoint text,
  client_id text not null,
  secret_id uuid not null
    constraint custom_oauth_configs_secret_id_fkey references system.secrets (id) on delete restrict,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  authorize_url text,
  token_url text,
  userinfo_url text,
  scopes text[],
  profile jsonb,
  trust_email boolean not null default false,
  constraint custom_oauth_configs_endpoints_check check (
    (discovery_endpoint is not null) = (authorize_url is null)
    and (authorize_url is null) = (token_url is null) and (authorize_url is null) = (userinfo_url is null))
);
grant insert, update, delete on auth.custom_oauth_configs to project_admin;
create trigger update_custom_oauth_configs_updated_at before update on auth.custom_oauth_configs
  for each row execute function system.update_updated_at();

-- A sign-in between its start and the provider's answer. The answer takes the row away, so that it counts once.
create table auth.oauth_states (
  id uuid primary key,
  provider text not null,
  redirect_uri text not null,
  code_challenge text not null,
  expires_at timestamptz not null
);
create index on auth.oauth_states (expires_at);
revoke select on auth.oauth_states from project_admin;

-- When the owner of an address takes over an account that somebody else may have registered with it, nothing
-- that the other one can come in with stays. Accounts are written with the rights of project_admin, which
-- reaches none of these tables; this way all of it is one transaction.
create function auth.expel_from_account(account uuid) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  delete from auth.exchange_codes where user_id = account;
  delete from auth.sessions where user_id = account;
  delete from auth.factor_challenges where user_id = account;
  delete from auth.recovery_codes where user_id = account;
  delete from auth.factors where user_id = account;
end $$;
revoke execute on function auth.expel_from_account(uuid) from public;
grant execute on function auth.expel_from_account(uuid) to project_admin;

-- Whoever proves by mail that an address is theirs did not thereby say that an account elsewhere, which named
-- this address without proof, is theirs too. It could be used to come in behind their back, so it goes. The one
-- that brought the proof itself is said in a setting of the transaction.
create function auth.drop_unproved_identities() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  delete from auth.user_providers
  where user_id = new.id and provider <> 'email'
    and id::text is distinct from current_setting('insforge.proved_identity', true);
  return null;
end $$;
revoke execute on function auth.drop_unproved_identities() from public;

create trigger drop_unproved_identities after update of email_verified on auth.users for each row
  when (new.email_verified and not coalesce(old.email_verified, false))
  execute function auth.drop_unproved_identities();
