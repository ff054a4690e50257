-- Mail: settings, templates, the queue with its log, and the one-time codes and links that mails carry.

create schema email;
grant usage on schema email to project_admin;
alter default privileges in schema email grant select on tables to project_admin;

create table email.config (
  id uuid not null default gen_random_uuid() constraint config_pkey primary key,
  enabled boolean not null default false,
  host text not null default '',
  port integer not null default 465,
  username text not null default '',
  password_encrypted text not null default '',
  sender_email text not null default '',
  sender_name text not null default '',
  min_interval_seconds integer not null default 60,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index email_config_singleton_idx on email.config ((1));
insert into email.config default values;

create table email.templates (
  id uuid not null default gen_random_uuid() constraint templates_pkey primary key,
  template_type text not null constraint email_templates_type_unique unique,
  subject text not null,
  body_html text not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
grant insert, update, delete on email.templates to project_admin;

do $seed$
declare
  code text := '<p style="margin:24px 0;font:600 32px/1 ui-monospace,Menlo,Consolas,monospace;letter-spacing:8px">{{ token }}</p>';
  button text := '<p style="margin:24px 0"><a href="{{ link }}" style="display:inline-block;padding:12px 20px;border-radius:8px;background:#111;color:#fff;text-decoration:none">LABEL</a></p><p style="margin:0 0 16px;color:#666;font-size:13px;word-break:break-all">Or open this address: {{ link }}</p>';
  layout text := '<!doctype html><html><body style="margin:0;background:#f6f6f6"><div style="max-width:480px;margin:0 auto;padding:40px 24px;background:#fff;color:#111;font:16px/1.5 system-ui,-apple-system,sans-serif"><h1 style="margin:0 0 16px;font-size:22px">HEADING</h1>CONTENT<p style="margin:24px 0 0;color:#666;font-size:13px">FOOT</p></div></body></html>';
  seed record;
begin
  for seed in
    select * from (values
      ('email-verification-code', 'Verify your email', 'Verify your email',
        '<p style="margin:0">Enter this code to verify your email address. It works for 15 minutes.</p>' || code,
        'If you did not sign up, ignore this message and give the code to nobody.'),
      ('email-verification-link', 'Verify your email', 'Verify your email',
        '<p style="margin:0">Open this link to verify your email address. It works for 24 hours.</p>'
          || replace(button, 'LABEL', 'Verify email'),
        'If you did not sign up, do not open it: somebody else entered your address.'),
      ('reset-password-code', 'Reset your password', 'Reset your password',
        '<p style="margin:0">Enter this code to choose a new password. It works for 15 minutes.</p>' || code,
        'If you did not ask for it, ignore this message; your password stays as it is.'),
      ('reset-password-link', 'Reset your password', 'Reset your password',
        '<p style="margin:0">Open this link to choose a new password. It works for 24 hours.</p>'
          || replace(button, 'LABEL', 'Choose a new password'),
        'If you did not ask for it, ignore this message; your password stays as it is.'),
      ('request-otp', '{{ token }} is your verification code', 'Your verification code',
        '<p style="margin:0">Enter this code to continue. It works for 5 minutes.</p>' || code,
        'If you did not ask for it, ignore this message and give the code to nobody.')
    ) as seeds (type, subject, heading, content, foot)
  loop
    insert into email.templates (template_type, subject, body_html) values (seed.type, seed.subject,
      replace(replace(replace(layout, 'HEADING', seed.heading), 'CONTENT', seed.content), 'FOOT', seed.foot));
  end loop;
end $seed$;

-- Every mail that was accepted: the queue, the log and the development mailbox in one. The payload is
-- encrypted, because it carries codes and links, and is gone once the mail is out.
--   queued    waits for its next attempt
--   captured  there was no mail server; readable in the development mailbox
--   sent      no recipient is left to try
--   decoy     what a request for an unknown address costs: never sent, never shown, soon swept
create table email.messages (
  id uuid primary key default gen_random_uuid(),
  status text not null check (status in ('queued', 'captured', 'sent', 'decoy')),
  -- A template's type, or raw.
  kind text not null,
  -- Of raw mails only; those of templates may contain a code.
  subject text,
  payload_ciphertext text,
  attempts integer not null default 0,
  -- While a server is sending, the moment from which another may take over.
  next_attempt_at timestamptz not null default now(),
  -- Nobody needs it any more after this: the code in it has expired.
  not_after timestamptz not null,
  created_at timestamptz not null default now()
);
create index on email.messages (next_attempt_at) where status = 'queued';
create index on email.messages (status, created_at desc);
create index on email.messages (created_at desc);
revoke all on email.messages from project_admin;

create table email.deliveries (
  message_id uuid not null references email.messages (id) on delete cascade,
  recipient text not null,
  status text not null default 'queued' check (status in ('queued', 'captured', 'accepted', 'failed')),
  reason text,
  updated_at timestamptz not null default now(),
  primary key (message_id, recipient)
);
create index on email.deliveries (lower(recipient));

-- When an address last got a raw mail.
create table email.recipients (
  address text primary key,
  last_mail_at timestamptz not null default now()
);
create index on email.recipients (last_mail_at);

-- One live code or token per address and purpose.
create table auth.email_otps (
  id uuid default gen_random_uuid() constraint _email_otps_pkey primary key,
  email text not null,
  purpose text not null,
  otp_hash text not null,
  expires_at timestamptz not null,
  consumed_at timestamptz,
  created_at timestamptz default now(),
  updated_at timestamptz default now(),
  redirect_to text,
  attempts_count integer not null default 0,
  otp_type text not null default 'NUMERIC_CODE',
  -- Ours: until when no other may be asked for, and what the app of a magic link will prove itself with.
  resend_after timestamptz,
  code_challenge text,
  constraint _email_otps_email_purpose_key unique (email, purpose)
);
create index on auth.email_otps (email, purpose);
create index on auth.email_otps (expires_at);
create index on auth.email_otps (otp_hash);
grant insert, update, delete on auth.email_otps to project_admin;
create trigger update_email_otps_updated_at before update on auth.email_otps
  for each row execute function system.update_updated_at();

-- What a browser carries back to the app after signing in elsewhere, worth a session to the app that can
-- prove that it began (RFC 7636). It stands for a user, or for an address that has just been proved.
create table auth.exchange_codes (
  code_hash text primary key,
  code_challenge text not null,
  user_id uuid references auth.users (id) on delete cascade,
  email_otp_id uuid references auth.email_otps (id) on delete cascade,
  expires_at timestamptz not null,
  check (num_nonnulls(user_id, email_otp_id) = 1)
);
create index on auth.exchange_codes (expires_at);
revoke all on auth.exchange_codes from project_admin;
