-- This server as an OAuth 2.0 and OpenID Connect provider for other programs, and the pages that it shows.

create table auth.oauth_clients (
  id text primary key check (id ~ '^clf_[A-Za-z0-9_-]{16,64}$'),
  name text not null,
  -- Null for public clients, which cannot keep a secret. Encrypted, because the protocol compares it in clear.
  secret_ciphertext text,
  -- As RFC 7591 names it, but for id, name and secret.
  metadata jsonb not null,
  -- True where the program registered itself.
  is_dynamic boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create trigger update_oauth_clients_updated_at before update on auth.oauth_clients
  for each row execute function system.update_updated_at();
revoke select on auth.oauth_clients from project_admin;

-- What the provider remembers: grants, codes, tokens, browser sessions, sign-ins under way. Ids are credentials,
-- so only their hashes are kept, and payloads are encrypted.
create table auth.oauth_records (
  model text not null,
  id_hash text not null,
  payload_ciphertext text not null,
  user_id uuid references auth.users (id) on delete cascade,
  client_id text references auth.oauth_clients (id) on delete cascade,
  grant_id text,
  uid text,
  consumed_at timestamptz,
  expires_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (model, id_hash)
);
create index on auth.oauth_records (grant_id);
create index on auth.oauth_records (user_id);
create index on auth.oauth_records (client_id);
create index on auth.oauth_records (uid);
create index on auth.oauth_records (expires_at);
revoke select on auth.oauth_records from project_admin;

create table auth.oauth_server_settings (
  only_row boolean primary key default true check (only_row),
  dynamic_registration boolean not null default false
);
insert into auth.oauth_server_settings default values;

create table auth.page_settings (
  only_row boolean primary key default true check (only_row),
  app_name text,
  logo_url text,
  accent_color text,
  terms_url text,
  privacy_url text,
  home_url text
);
insert into auth.page_settings default values;

-- How strongly whoever the code stands for has proved who they are.
alter table auth.exchange_codes add column aal text not null default 'aal1' check (aal in ('aal1', 'aal2'));

-- What a user let programs do ends with their sessions; that they let them stays (the grants).
create or replace function auth.end_sessions_of_changed_user() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  delete from auth.sessions
  where user_id = new.id and id::text is distinct from current_setting('insforge.kept_session', true);
  delete from auth.factor_challenges where user_id = new.id;
  delete from auth.exchange_codes where user_id = new.id;
  delete from auth.oauth_records where user_id = new.id and model <> 'Grant';
  return null;
end $$;
