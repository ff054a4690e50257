-- Small files lie in their row: one statement decides, stores, and makes both durable.

alter table storage.objects add column bytes bytea;
comment on column storage.objects.bytes is 'The bytes themselves, where they are few. Else they lie in the blob store, under the name in blob.';
-- Bytes are rarely worth compressing twice.
alter table storage.objects alter column bytes set storage external;

drop index storage.objects_blob_idx;
create index on storage.objects (blob) where bytes is null;

create or replace view storage.live_blobs as
  select blob from storage.objects where blob is not null and bytes is null
  union all select blob from storage.uploads where blob is not null
  union all select blob from storage.upload_parts
  union all select blob from storage.renditions;
