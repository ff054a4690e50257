-- Who acts for the user in a session that the user did not open themselves.
alter table auth.sessions add column actor text;
