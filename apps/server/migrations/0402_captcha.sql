-- Which captcha is asked for, and where. Without a row, none is.
create table auth.captcha (
  only_row boolean primary key default true check (only_row),
  provider text not null,
  site_key text not null,
  secret_ciphertext text not null,
  protects text[] not null
);
revoke select on auth.captcha from project_admin;
