import { type Html, html } from './html.ts';
import { field, hidden } from './layout.ts';

interface FormOptions {
  /** Hidden fields, the token of the form guard among them. */
  values: Readonly<Record<string, string | undefined>>;
  action?: string;
}

/** Address and password. */
export function passwordForm(
  options: FormOptions & { email?: string | undefined; forgotUrl?: string; captcha?: Html | undefined },
): Html {
  const { values, action = '', email, forgotUrl, captcha } = options;
  const forgot = forgotUrl === undefined ? undefined : html`<a href="${forgotUrl}">Forgot?</a>`;
  return html`<form method="post" action="${action}">
${hidden({ ...values, step: 'password' })}
${field('Email', {
  type: 'email',
  name: 'email',
  value: email,
  autocomplete: 'username',
  required: true,
  autofocus: email === undefined || email === '' ? true : undefined,
})}
${field(
  'Password',
  {
    type: 'password',
    name: 'password',
    autocomplete: 'current-password',
    required: true,
    autofocus: email ? true : undefined,
  },
  forgot,
)}
${captcha}
<button>Sign in</button>
</form>`;
}

/** The second factor. */
export function codeForm({ values, action = '' }: FormOptions): Html {
  return html`<form method="post" action="${action}">
${hidden({ ...values, step: 'code' })}
${field('Code', {
  type: 'text',
  name: 'code',
  autocomplete: 'one-time-code',
  autocapitalize: 'off',
  spellcheck: 'false',
  maxlength: '40',
  required: true,
  autofocus: true,
})}
<button>Continue</button>
</form>
<p class="aside">No authenticator at hand? A recovery code works once.</p>`;
}
