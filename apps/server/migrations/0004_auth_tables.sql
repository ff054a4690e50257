-- Identity. Nobody but the platform reaches these tables; project_admin reads all and writes what an
-- import or a trigger on new users needs.

create table auth.users (
  id uuid default gen_random_uuid() constraint _user_pkey primary key,
  email text not null constraint _user_email_key unique,
  password text,
  email_verified boolean default false,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  profile jsonb default '{}',
  metadata jsonb default '{}',
  is_project_admin boolean not null default false,
  is_anonymous boolean not null default false
);
create index on auth.users (lower(email));
grant insert, update, delete, references, trigger on auth.users to project_admin;

create table auth.user_providers (
  id uuid default gen_random_uuid() constraint _account_pkey primary key,
  user_id uuid not null
    constraint _account_user_id_fkey references auth.users (id) on delete cascade
    constraint user_providers_user_id_fkey references auth.users (id) on delete cascade,
  provider text not null,
  provider_account_id text not null,
  access_token text,
  refresh_token text,
  provider_data jsonb,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  constraint _account_provider_provider_account_id_key unique (provider, provider_account_id)
);
grant insert, update, delete on auth.user_providers to project_admin;

create table auth.config (
  id uuid default gen_random_uuid() constraint _auth_configs_pkey primary key,
  require_email_verification boolean not null default false,
  password_min_length integer not null default 6
    constraint _auth_configs_password_min_length_check check (password_min_length between 4 and 128),
  require_number boolean not null default false,
  require_lowercase boolean not null default false,
  require_uppercase boolean not null default false,
  require_special_char boolean not null default false,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  verify_email_method text not null default 'code'
    constraint _auth_configs_verify_email_method_check check (verify_email_method in ('code', 'link')),
  reset_password_method text not null default 'code'
    constraint _auth_configs_reset_password_method_check check (reset_password_method in ('code', 'link')),
  allowed_redirect_urls text[] default '{}',
  disable_signup boolean not null default false
);
create unique index idx_auth_configs_singleton on auth.config ((1));
create trigger update_config_updated_at before update on auth.config
  for each row execute function system.update_updated_at();

-- One row per signed-in device. A refresh token names its session and its generation; the current
-- generation is the only one that works, the one before it for a short grace (see features/auth/sessions.ts).
create table auth.sessions (
  id uuid primary key default gen_random_uuid(),
  kind text not null check (kind in ('user', 'admin')),
  subject text not null,
  user_id uuid references auth.users (id) on delete cascade,
  csrf_nonce text not null,
  generation integer not null default 0,
  rotated_at timestamptz not null default now(),
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  user_agent text,
  ip_address inet,
  -- Admins only: a mark of the password that opened the session, so that changing the password ends it.
  password_mark text,
  check ((kind = 'user') = (user_id is not null))
);
create index on auth.sessions (user_id);
create index on auth.sessions (expires_at);
revoke select on auth.sessions from project_admin;

-- Failed attempts by account, by network, and by account in a network where it is signed in. Shared by all replicas
-- and kept across restarts. They are forgotten little by little, so their number is none that can be counted.
create table auth.login_failures (
  account text,
  network text,
  failures double precision not null,
  counted_at timestamptz not null,
  -- When the next attempt may be made; null at once.
  free_at timestamptz,
  forgotten_at timestamptz not null,
  unique nulls not distinct (account, network)
);
create index on auth.login_failures (forgotten_at);
revoke select on auth.login_failures from project_admin;
