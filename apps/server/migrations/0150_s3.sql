-- What the S3 gateway keeps beside the tables of storage.

-- One row per multipart upload. It outlives the upload for some days, so that a client that did not get to see
-- the answer to its completion may ask again.
create table storage.s3_uploads (
  upload_id uuid primary key,
  checksum_algorithm text,
  checksum_type text check (checksum_type in ('COMPOSITE', 'FULL_OBJECT')),
  tags jsonb,
  -- What the object is going to have, as soon as a completion begins.
  etag text,
  checksums jsonb,
  completed_at timestamptz,
  created_at timestamptz not null default now()
);
create index on storage.s3_uploads (created_at);

-- Servers keep the keys in memory. Whatever changes one, also by SQL, tells all of them at once.
create function storage.announce_s3_access_keys() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('insforge_s3_access_keys', '');
  return null;
end $$;
revoke execute on function storage.announce_s3_access_keys() from public;
create trigger announce after insert or delete or update of access_key_id, secret_access_key_encrypted
  on storage.s3_access_keys for each statement execute function storage.announce_s3_access_keys();
