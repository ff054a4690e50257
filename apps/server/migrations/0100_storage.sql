-- Files. A row of storage.objects says which bytes are behind a key; the bytes lie in the blob store under a
-- random name. Bytes never change: every upload makes a new blob, and the row is what points at it.

create schema storage;
grant usage on schema storage to authenticated, project_admin;
alter default privileges in schema storage grant select on tables to project_admin;

create table storage.buckets (
  name text constraint _storage_buckets_pkey primary key,
  public boolean default true,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  cors_rules jsonb,
  versioning_status text not null default 'Disabled'
    constraint buckets_versioning_status_check check (versioning_status in ('Enabled', 'Disabled', 'Suspended')),
  -- In bytes; null: the limit of storage.config.
  file_size_limit bigint check (file_size_limit > 0),
  -- Such as {image/*,application/pdf}; null: every type.
  allowed_mime_types text[],
  -- True: what a browser could run (html, svg, xml, js) keeps its type and is shown, in a sandbox.
  inline_active_content boolean not null default false
);
grant select, insert, update, delete on storage.buckets to authenticated;

-- Keys compare byte by byte: listings have the order that S3 prescribes, and a prefix is a range of the index.
create table storage.objects (
  bucket text not null constraint objects_bucket_fkey references storage.buckets (name) on delete cascade,
  key text collate "C" not null,
  size bigint not null,
  mime_type text,
  uploaded_at timestamptz default now(),
  uploaded_by text,
  uploaded_via text not null default 'rest'
    constraint objects_uploaded_via_check check (uploaded_via in ('rest', 's3', 'dashboard')),
  s3_access_key_id text,
  etag text,
  -- The name of the bytes in the blob store. Null: this server does not have them.
  blob text,
  -- What the first bytes are, whatever the uploader said; null where they tell nothing.
  detected_type text,
  -- What the uploader wants to get back: {"headers": {"cache-control": …}, "user": {…}, "checksums": {…}}
  metadata jsonb,
  constraint _storage_pkey primary key (bucket, key)
);
create index on storage.objects (s3_access_key_id) where s3_access_key_id is not null;
create index on storage.objects (uploaded_by);
create index on storage.objects (blob);
grant select, insert, update, delete on storage.objects to authenticated;
grant select, references (bucket), references (key) on storage.objects to project_admin;
-- Closed until a policy opens it.
alter table storage.objects enable row level security;

create table storage.object_tags (
  bucket text not null,
  key text collate "C" not null,
  tag_key text not null,
  tag_value text not null,
  constraint object_tags_pkey primary key (bucket, key, tag_key),
  constraint object_tags_bucket_key_fkey foreign key (bucket, key) references storage.objects (bucket, key)
    on delete cascade on update cascade
);

create table storage.config (
  id uuid default gen_random_uuid() constraint config_pkey primary key,
  max_file_size_mb integer not null default 50
    constraint config_max_file_size_mb_check check (max_file_size_mb between 1 and 200),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index idx_storage_config_singleton on storage.config ((1));
create trigger update_storage_config_updated_at before update on storage.config
  for each row execute function system.update_updated_at();
insert into storage.config default values;

create table storage.s3_access_keys (
  id uuid default gen_random_uuid() constraint s3_access_keys_pkey primary key,
  access_key_id text not null constraint s3_access_keys_access_key_id_key unique,
  secret_access_key_encrypted text not null,
  description text,
  created_at timestamptz not null default now(),
  last_used_at timestamptz
);
create index on storage.s3_access_keys (last_used_at);

-- Uploads that arrive in pieces (tus, S3 multipart) or beside us (presigned). They outlive a restart.
create table storage.uploads (
  id uuid primary key default gen_random_uuid(),
  protocol text not null check (protocol in ('tus', 's3', 'presigned')),
  bucket text not null references storage.buckets (name) on delete cascade,
  key text collate "C" not null,
  mime_type text,
  -- What the uploader announced; null where it is not known yet.
  size bigint,
  -- Who began it. Nobody else goes on with it.
  role text not null,
  subject text,
  s3_access_key_id text,
  metadata jsonb,
  -- Of a presigned upload: where the bytes are going to be.
  blob text unique,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  -- Of tus: the object is there. Kept until it expires, for a client that missed the answer.
  completed_at timestamptz
);
create index on storage.uploads (expires_at);
create index on storage.uploads (bucket, key);

create table storage.upload_parts (
  upload_id uuid not null references storage.uploads (id) on delete cascade,
  number integer not null check (number > 0),
  blob text not null,
  size bigint not null,
  etag text not null,
  checksums jsonb,
  created_at timestamptz not null default now(),
  primary key (upload_id, number)
);
create index on storage.upload_parts (blob);

-- Images made from a blob, such as a thumbnail. They go when their source goes.
create table storage.renditions (
  source text not null,
  recipe text not null,
  blob text not null,
  size bigint not null,
  mime_type text not null,
  created_at timestamptz not null default now(),
  primary key (source, recipe)
);
create index on storage.renditions (blob);

-- Blobs that no row points at any more. Written by triggers, so that every way of deleting is covered, and in
-- the transaction that deletes, so that neither a crash nor a rollback leaves the two apart.
create table storage.garbage (
  blob text not null,
  created_at timestamptz not null default now()
);

-- Whoever keeps blobs elsewhere adds a line here: the sweep deletes what is in none of these.
create view storage.live_blobs as
  select blob from storage.objects where blob is not null
  union all select blob from storage.uploads where blob is not null
  union all select blob from storage.upload_parts
  union all select blob from storage.renditions;

create function storage.discard_blobs() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  -- Statement triggers run for no rows as well, and these two call each other.
  if exists (select from gone where blob is not null) then
    insert into storage.garbage (blob) select blob from gone where blob is not null;
  end if;
  return null;
end $$;

create function storage.discard_replaced_blob() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  insert into storage.garbage (blob) values (old.blob);
  return null;
end $$;

-- Other bytes are another object: what was said of the old ones does not hold for them.
create function storage.discard_replaced_tags() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  delete from storage.object_tags t where t.bucket = new.bucket and t.key = new.key;
  return null;
end $$;

-- What is garbage has no use for its renditions.
create function storage.discard_renditions() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from storage.renditions r join gone on r.source = gone.blob) then
    delete from storage.renditions r using gone where r.source = gone.blob;
  end if;
  return null;
end $$;

create trigger discard_blobs after delete on storage.objects
  referencing old table as gone for each statement execute function storage.discard_blobs();
create trigger discard_blobs after delete on storage.uploads
  referencing old table as gone for each statement execute function storage.discard_blobs();
create trigger discard_blobs after delete on storage.upload_parts
  referencing old table as gone for each statement execute function storage.discard_blobs();
create trigger discard_blobs after delete on storage.renditions
  referencing old table as gone for each statement execute function storage.discard_blobs();
create trigger discard_replaced_blob after update of blob on storage.objects
  for each row when (old.blob is not null and old.blob is distinct from new.blob)
  execute function storage.discard_replaced_blob();
create trigger discard_replaced_tags after update of blob on storage.objects
  for each row when (old.blob is distinct from new.blob) execute function storage.discard_replaced_tags();
create trigger discard_replaced_blob after update of blob on storage.upload_parts
  for each row when (old.blob is distinct from new.blob) execute function storage.discard_replaced_blob();
create trigger discard_renditions after insert on storage.garbage
  referencing new table as gone for each statement execute function storage.discard_renditions();
revoke execute on function storage.discard_blobs(), storage.discard_replaced_blob(),
  storage.discard_replaced_tags(), storage.discard_renditions() from public;

-- Servers remember buckets; whoever changes one, by whatever way, tells them to look again.
create function storage.announce_buckets() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('insforge_storage_buckets', '');
  return null;
end $$;
create trigger announce after insert or update or delete on storage.buckets
  for each statement execute function storage.announce_buckets();
create trigger announce after insert or update or delete on storage.config
  for each statement execute function storage.announce_buckets();
revoke execute on function storage.announce_buckets() from public;

-- What policies ask about a key.
create function storage.foldername(name text) returns text[] language sql immutable parallel safe as $$
  select case when name is null then null else coalesce(
    (string_to_array(name, '/'))[1:coalesce(array_length(string_to_array(name, '/'), 1), 0) - 1], '{}') end
$$;

create function storage.filename(name text) returns text language sql immutable parallel safe as $$
  select regexp_replace(name, '^.*/', '')
$$;

create function storage.extension(name text) returns text language sql immutable parallel safe as $$
  select substring(storage.filename(name) from '\.([^.]+)$')
$$;
revoke execute on function storage.foldername(text), storage.filename(text), storage.extension(text) from public;
grant execute on function storage.foldername(text), storage.filename(text), storage.extension(text)
  to authenticated, project_admin;
