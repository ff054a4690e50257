-- What ends all sessions of a user also ends the other ways in that somebody may hold: a sign-in under way, a code on
-- its way to an app, what programs may do, and browsers that are signed in at the pages of this server.

create function auth.end_other_ways_in(account uuid) returns void language plpgsql
set search_path = pg_catalog, pg_temp as $$
begin
  delete from auth.factor_challenges where user_id = account;
  delete from auth.exchange_codes where user_id = account;
  -- That the user let a program in stays (the grants).
  delete from auth.oauth_records where user_id = account and model <> 'Grant';
end $$;
revoke execute on function auth.end_other_ways_in(uuid) from public;

create or replace function auth.end_sessions_of_changed_user() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  delete from auth.sessions
  where user_id = new.id and id::text is distinct from current_setting('insforge.kept_session', true);
  perform auth.end_other_ways_in(new.id);
  return null;
end $$;

-- The grants go as well: it was not the owner of the address who let those programs in.
create or replace function auth.expel_from_account(account uuid) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
  delete from auth.sessions where user_id = account;
  perform auth.end_other_ways_in(account);
  delete from auth.oauth_records where user_id = account;
  delete from auth.recovery_codes where user_id = account;
  delete from auth.factors where user_id = account;
end $$;
