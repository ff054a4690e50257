import { randomBytes } from 'node:crypto';

/** A page for people who open a link of a mail when no app wants them back. */
export interface Page {
  html: string;
  /** Nothing but what the page itself brings may run or be loaded. */
  contentSecurityPolicy: string;
}

const STYLE = `
  body { margin: 0; background: #f6f6f6; color: #111; font: 16px/1.5 system-ui, sans-serif }
  main { max-width: 24rem; margin: 12vh auto 0; padding: 2rem; background: #fff; border-radius: 12px }
  h1 { margin: 0 0 .5rem; font-size: 1.4rem } p { margin: 0 } form { margin-top: 1.5rem }
  input, button { box-sizing: border-box; width: 100%; padding: .7rem; border-radius: 8px; font: inherit }
  input { border: 1px solid #767676 } button { margin-top: 1rem; border: 0; background: #111; color: #fff }
  @media (prefers-color-scheme: dark) {
    body { background: #111; color: #eee } main { background: #1c1c1c }
    input { background: #111; color: inherit } button { background: #eee; color: #111 }
  }`;

function page(title: string, content: string, nonce?: string): Page {
  return {
    html: `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>${title}</title><style>${STYLE}</style></head>
<body><main><h1>${title}</h1>${content}</main></body></html>`,
    contentSecurityPolicy: `default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'${
      nonce === undefined ? '' : `; script-src 'nonce-${nonce}'; connect-src 'self'`
    }`,
  };
}

export const verifiedPage = () => page('Email verified', '<p>You can close this page and sign in.</p>');

export const deadLinkPage = () =>
  page('This link does not work', '<p>It has been used, has expired, or was cut. Ask for a new mail.</p>');

/** The form for a new password. @param token of the link, which is hex digits */
export function newPasswordPage(token: string): Page {
  const nonce = randomBytes(16).toString('base64');
  const content = `
<form><label>New password <input type="password" name="password" autocomplete="new-password" required autofocus></label>
<button>Save</button></form><p role="status"></p>
<script nonce="${nonce}">
  const form = document.querySelector('form'), status = document.querySelector('[role=status]');
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const reply = await fetch('reset-password', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ newPassword: form.password.value, otp: '${token.replace(/[^\da-f]/g, '')}' }),
    });
    const { message } = await reply.json();
    status.textContent = message;
    if (reply.ok) form.remove();
  });
</script>`;
  return page('Choose a new password', content, nonce);
}
