import type { PublicAuthConfig } from '@insforge/contract/auth.ts';
import { type Flow, pageUrl } from './flow.ts';
import { type Html, html } from './html.ts';
import { captchaWidget, field, hidden } from './layout.ts';
import { codeForm, passwordForm } from './sign-in-forms.ts';

// What stands on the pages. Each takes what it shows, and gives the part between the head and the foot.

/** Names of providers as they write them. */
const PROVIDER_NAMES: Record<string, string> = {
  google: 'Google',
  github: 'GitHub',
  discord: 'Discord',
  linkedin: 'LinkedIn',
  facebook: 'Facebook',
  instagram: 'Instagram',
  tiktok: 'TikTok',
  microsoft: 'Microsoft',
  apple: 'Apple',
  x: 'X',
  spotify: 'Spotify',
  gitlab: 'GitLab',
};

interface Shown {
  flow: Flow;
  config: PublicAuthConfig;
  csrf: string;
  /** What was typed in before. */
  email?: string | undefined;
}

export function signInBody({ flow, config, csrf, email = flow.email }: Shown): Html {
  return html`${providerButtons(flow, config)}
${passwordForm({
  values: { csrf },
  email,
  forgotUrl: pageUrl('reset', flow),
  captcha: captchaWidget(config.captcha, 'sign-in'),
})}
${!config.disableSignup && html`<p class="aside">New here? <a href="${pageUrl('sign-up', flow)}">Create an account</a></p>`}`;
}

export function secondFactorBody({ csrf, challenge }: { csrf: string; challenge: string }): Html {
  return codeForm({ values: { csrf, challenge } });
}

export function signUpBody({ flow, config, csrf, email = flow.email, name }: Shown & { name?: string }): Html {
  return html`${providerButtons(flow, config)}
<form method="post">
${hidden({ csrf })}
${field('Name', { type: 'text', name: 'name', value: name, autocomplete: 'name', maxlength: '100' })}
${field('Email', { type: 'email', name: 'email', value: email, autocomplete: 'username', required: true })}
${newPasswordField('Password', config)}
${captchaWidget(config.captcha, 'sign-up')}
<button>Create account</button>
</form>
<p class="aside">Have an account? <a href="${pageUrl('sign-in', flow)}">Sign in</a></p>`;
}

export function verifyBody({ flow, config, csrf, email = flow.email }: Shown): Html {
  const again = html`<form method="post">
${hidden({ csrf, step: 'again', email })}
${!email && emailField()}
${captchaWidget(config.captcha, 'mail')}
<button class="plain">Send another mail</button>
</form>`;
  if (config.verifyEmailMethod === 'link') return again;
  return html`<form method="post">
${hidden({ csrf, step: 'code', email })}
${!email && emailField()}
${mailCodeField()}
<button>Verify</button>
</form>
${again}`;
}

export function askForResetBody({ flow, config, csrf, email = flow.email }: Shown): Html {
  return html`<form method="post">
${hidden({ csrf, step: 'ask' })}
${emailField(email)}
${captchaWidget(config.captcha, 'mail')}
<button>Send a mail</button>
</form>
<p class="aside"><a href="${signInUrl(flow)}">Back to sign in</a></p>`;
}

export function resetByCodeBody({ flow, config, csrf, email = flow.email }: Shown): Html {
  return html`<form method="post">
${hidden({ csrf, step: 'code', email })}
${mailCodeField()}
${newPasswordField('New password', config)}
<button>Set the password</button>
</form>
<p class="aside"><a href="${pageUrl('reset', flow)}">Send another mail</a></p>`;
}

export function resetByTokenBody({ flow, config, csrf }: Shown): Html {
  return html`<form method="post">
${hidden({ csrf, step: 'token', token: flow.token })}
${newPasswordField('New password', config)}
<button>Set the password</button>
</form>`;
}

/** Whoever came without a challenge came from a page that signs people in by itself. */
const signInUrl = (flow: Flow) =>
  flow.redirect_to !== undefined && flow.code_challenge === undefined ? flow.redirect_to : pageUrl('sign-in', flow);

/** Ways on from a page that has done its work. */
export function onward({ flow, homeUrl }: { flow: Flow; homeUrl: string | null }): Html | undefined {
  if (flow.redirect_to) return html`<a class="button first" href="${signInUrl(flow)}">Sign in</a>`;
  return homeUrl ? html`<a class="button first" href="${homeUrl}">Continue</a>` : undefined;
}

/** A button for each provider that is configured; none at all where there is none. */
export function providerButtons(
  flow: Flow,
  { oAuthProviders, customOAuthProviders }: Pick<PublicAuthConfig, 'oAuthProviders' | 'customOAuthProviders'>,
): Html | undefined {
  const providers = [...oAuthProviders, ...customOAuthProviders];
  if (providers.length === 0) return undefined;
  return html`<div class="stack first">${providers.map(
    (name) =>
      html`<a class="button plain" href="${pageUrl(`with/${name}`, flow, { email: flow.email })}">Continue with ${PROVIDER_NAMES[name] ?? name}</a>`,
  )}</div>
<p class="or">or with email</p>`;
}

const emailField = (email?: string) =>
  field('Email', {
    type: 'email',
    name: 'email',
    value: email,
    autocomplete: 'username',
    required: true,
    autofocus: true,
  });

const mailCodeField = () =>
  field('Code', {
    type: 'text',
    name: 'code',
    inputmode: 'numeric',
    pattern: '[0-9]{6}',
    title: 'The six digits of the mail',
    maxlength: '6',
    autocomplete: 'one-time-code',
    required: true,
    autofocus: true,
  });

function newPasswordField(label: string, config: PublicAuthConfig): Html {
  const { passwordMinLength: minimum, requireNumber, requireLowercase, requireUppercase, requireSpecialChar } = config;
  const wants = [
    requireLowercase && 'a lowercase letter',
    requireUppercase && 'an uppercase letter',
    requireNumber && 'a number',
    requireSpecialChar && 'a special character',
  ].filter(Boolean);
  const hint = `At least ${minimum} characters${wants.length > 0 ? `, with ${wants.join(', ')}` : ''}`;
  return html`${field(label, {
    type: 'password',
    name: 'password',
    autocomplete: 'new-password',
    minlength: String(minimum),
    required: true,
    'aria-describedby': 'rules',
  })}<p class="hint" id="rules">${hint}</p>`;
}
