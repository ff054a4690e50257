-- Tables of the platform itself. project_admin reads them through the default privileges of 0001.

create table system.secrets (
  id uuid default gen_random_uuid() constraint _secrets_pkey primary key,
  key text not null constraint _secrets_name_key unique,
  value_ciphertext text not null,
  is_active boolean default true,
  last_used_at timestamptz,
  expires_at timestamptz,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  is_reserved boolean default false
);
create trigger update_secrets_updated_at before update on system.secrets
  for each row execute function system.update_updated_at();

create table system.audit_logs (
  id uuid default gen_random_uuid() constraint _audit_logs_pkey primary key,
  actor text not null,
  action text not null,
  module text not null,
  details jsonb,
  ip_address inet,
  created_at timestamptz default now(),
  updated_at timestamptz default now()
);
create index on system.audit_logs (actor);
create index on system.audit_logs (created_at desc);
create index on system.audit_logs (module);
create trigger update_audit_logs_updated_at before update on system.audit_logs
  for each row execute function system.update_updated_at();

create table system.custom_migrations (
  version text primary key check (version ~ '^[0-9]{1,64}$'),
  name text not null,
  statements text[] not null,
  created_at timestamptz not null default now(),
  -- SHA-256 of the text as it was sent: an applied migration does not change any more.
  checksum text
);

create table system.mcp_usage (
  id uuid default gen_random_uuid() constraint _mcp_usage_pkey primary key,
  tool_name varchar(255) not null,
  success boolean default true,
  created_at timestamptz default now()
);
create index on system.mcp_usage (created_at desc);

create table system.database_config (
  id uuid primary key default gen_random_uuid(),
  backup_enabled boolean not null default false,
  backup_cron_schedule text not null default '0 0 * * *',
  backup_retention_days integer default 7
    constraint database_config_backup_retention_days_check
    check (backup_retention_days is null or backup_retention_days > 0),
  backup_schedule_anchor timestamptz not null default now(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  auto_enable_rls boolean not null default true
);
create unique index idx_database_config_singleton on system.database_config ((true));
create trigger update_database_config_updated_at before update on system.database_config
  for each row execute function system.update_updated_at();
insert into system.database_config default values;

-- The key under which system.secrets is encrypted, for servers on a shared database that were given none:
-- any number of replicas then agree. Nobody but the owner reads it.
create table system.keyring (
  only_row boolean primary key default true check (only_row),
  encryption_key text not null
);
revoke all on system.keyring from project_admin;
