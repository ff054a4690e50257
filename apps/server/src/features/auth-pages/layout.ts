import { createHash } from 'node:crypto';
import type { PageSettings } from '@insforge/contract/auth-pages.ts';
import type { CaptchaPurpose, PublicCaptcha } from '@insforge/contract/captcha.ts';
import { CAPTCHAS } from '#features/auth/index.ts';
import { Html, html } from './html.ts';

/** A whole page and the policy that it is sent with. */
export interface Page {
  html: string;
  contentSecurityPolicy: string;
}

interface Content {
  title: string;
  /** One line below the title. */
  lead?: Html | string | undefined;
  /** What went wrong with the last try. */
  problem?: string | undefined;
  notice?: string | undefined;
  body?: Html;
  /** A captcha on the page: the only thing of others that may run here. */
  captcha?: PublicCaptcha | undefined;
  /** Where the answer to a form may lead besides this server. Browsers hold form-action against redirects too. */
  formTargets?: readonly string[];
}

const DEFAULT_ACCENT = '#0f766e';

/** Draws a page. It needs no script, and none may run; what it looks like is in the one style sheet. */
export function renderPage(settings: PageSettings, content: Content): Page {
  const { appName, logoUrl, termsUrl, privacyUrl } = settings;
  const { title, lead, problem, notice, body, captcha, formTargets = [] } = content;
  const style = styleOf(settings.accentColor ?? DEFAULT_ACCENT);
  const name = appName ?? 'InsForge';
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark">
<title>${title} · ${name}</title>
<style>${styleHtml(style)}</style>
${captcha && html`<script src="${CAPTCHAS[captcha.provider].scriptUrl}" async defer></script>`}
</head>
<body>
<main>
<header>
${logoUrl ? html`<img src="${logoUrl}" alt="${name}">` : html`<span class="mark" aria-hidden="true">${[...name][0]?.toUpperCase()}</span><span class="name">${name}</span>`}
</header>
<h1>${title}</h1>
${lead && html`<p class="lead">${lead}</p>`}
${problem && html`<p class="problem" role="alert">${problem}</p>`}
${notice && html`<p class="notice" role="status">${notice}</p>`}
${body}
</main>
${
  (termsUrl || privacyUrl) &&
  html`<footer>${termsUrl && html`<a href="${termsUrl}">Terms</a>`}${privacyUrl && html`<a href="${privacyUrl}">Privacy</a>`}</footer>`
}
</body>
</html>
`;
  return { html: page.text, contentSecurityPolicy: policyOf(style, logoUrl, { formTargets, captcha }) };
}

/** A field with its label, and what stands opposite the label: behind the field for whoever goes on with the keyboard. */
export function field(
  label: string,
  attributes: Readonly<Record<string, string | true | undefined>>,
  aside?: Html,
): Html {
  const given = Object.entries(attributes).filter(([, value]) => value !== undefined && value !== '');
  const list = given.map(([name, value]) => (value === true ? html` ${name}` : html` ${name}="${value}"`));
  return html`<div class="field"><label><span class="label">${label}</span><input${list}></label>${aside}</div>`;
}

/** The hidden fields of a form. */
export function hidden(values: Readonly<Record<string, string | undefined>>): Html {
  return html`${Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}`;
}

/** The place of the captcha in a form that asks for one. Its script adds a field to the form. */
export function captchaWidget(captcha: PublicCaptcha | undefined, purpose: CaptchaPurpose): Html | undefined {
  if (!captcha?.protects.includes(purpose)) return undefined;
  const { widgetClass, scriptUrl } = CAPTCHAS[captcha.provider];
  const hint = `The check that keeps programs away comes from ${new URL(scriptUrl).host}. If nothing appears here, something in this browser or network blocks it, and the form cannot be sent.`;
  return html`<div class="captcha ${widgetClass}" data-sitekey="${captcha.siteKey}" data-theme="auto" data-hint="${hint}"></div>
<noscript><p class="problem">To keep programs away, this form needs JavaScript.</p></noscript>`;
}

/**
 * What a policy must allow so that the answer to a form may lead to an address, and on from there. Browsers hold
 * form-action against every redirect on the way, and apps send people on from their callback, often to another host.
 */
export function formTargetOf({ protocol }: URL): string {
  return /^https?:$/.test(protocol) ? 'http: https:' : protocol;
}

function policyOf(
  style: string,
  logoUrl: string | null,
  { formTargets, captcha }: Required<Pick<Content, 'formTargets'>> & Pick<Content, 'captcha'>,
): string {
  const hash = createHash('sha256').update(style).digest('base64');
  const sources = captcha ? CAPTCHAS[captcha.provider].sources.join(' ') : '';
  return [
    `default-src 'none'`,
    `style-src 'sha256-${hash}' ${sources}`.trim(),
    ...(sources && ['script-src', 'frame-src', 'connect-src'].map((kind) => `${kind} ${sources}`)),
    logoUrl && `img-src ${logoUrl.replace(/[\s;,]/g, encodeURIComponent)}`,
    `form-action ${[`'self'`, ...formTargets].join(' ')}`,
    `base-uri 'none'`,
    `frame-ancestors 'none'`,
  ]
    .filter(Boolean)
    .join('; ');
}

/** Text on the accent is black or white, whichever is easier to read (WCAG 2.2, relative luminance). */
function inkOn(accent: string): string {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5]
    .map((at) => Number.parseInt(accent.slice(at, at + 2), 16) / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? '#000' : '#fff';
}

/** Not escaped: the text is ours but for the colour, which the settings hold as #rrggbb and nothing else. */
function styleHtml(style: string): Html {
  return new Html(style);
}

const styleOf = (accent: string) => `
:root { --accent: ${accent}; --ink: ${inkOn(accent)}; --page: #f4f4f5; --card: #fff; --text: #18181b; --soft: #5b5b66;
  --focus: ${accent}; --line: #d4d4d8; --edge: #82828c; --problem: #b42318;
  --problem-page: #fef3f2; --notice: #05603a; --notice-page: #ecfdf3 }
@media (prefers-color-scheme: dark) { :root { --page: #0c0c0e; --card: #18181b; --text: #f4f4f5; --soft: #a1a1aa;
  --line: #3f3f46; --edge: #75757f; --problem: #fda29b; --problem-page: #3a1512; --notice: #75e0a7; --notice-page: #0c2a1b;
  --focus: color-mix(in srgb, var(--accent), #fff 45%) } }
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; min-height: 100dvh; display: grid; place-content: center; justify-items: center;
  grid-template-columns: minmax(0, 26rem); padding: 1.5rem 1rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere }
main { width: 100%; padding: 2rem; background: var(--card); border: 1px solid var(--line); border-radius: 16px;
  box-shadow: 0 1px 2px rgb(0 0 0 / .06), 0 12px 32px rgb(0 0 0 / .06) }
header { display: flex; align-items: center; gap: .6rem; margin-bottom: 1.5rem }
header img { max-height: 40px; max-width: 12rem }
.mark { display: grid; place-content: center; flex: none; width: 36px; height: 36px; border-radius: 10px;
  background: var(--accent); color: var(--ink); font-weight: 700 }
.name { font-weight: 600 }
h1 { margin: 0; font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em }
p { margin: .5rem 0 0 }
.lead, .aside, footer { color: var(--soft) }
.problem, .notice { margin-top: 1rem; padding: .65rem .85rem; border-radius: 10px; font-size: .925rem }
.problem { color: var(--problem); background: var(--problem-page) }
.notice { color: var(--notice); background: var(--notice-page) }
form { margin-top: 1.5rem; display: grid; gap: 1rem }
form + form { margin-top: .75rem }
.field { position: relative }
.field > a { position: absolute; top: 0; right: 0; font-size: .875rem }
label { display: grid; gap: .35rem }
.label { font-size: .875rem; font-weight: 500 }
input:not([type=hidden]) { width: 100%; padding: .65rem .8rem; border: 1px solid var(--edge); border-radius: 10px;
  background: var(--card); color: inherit; font: inherit }
input[autocomplete=one-time-code] { letter-spacing: .15em; font-variant-numeric: tabular-nums }
button, .button { display: block; width: 100%; padding: .7rem 1rem; border: 1px solid transparent; border-radius: 10px;
  background: var(--accent); color: var(--ink); font: inherit; font-weight: 600; text-align: center;
  text-decoration: none; cursor: pointer }
button:hover, .button:hover { filter: brightness(.94) }
.plain { background: transparent; color: var(--text); border-color: var(--line); font-weight: 500 }
.plain:hover { background: var(--page); filter: none }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 2px }
a { color: inherit; text-underline-offset: 3px }
.or { display: flex; align-items: center; gap: .75rem; margin: 1.5rem 0 1rem; color: var(--soft); font-size: .875rem }
.or::before, .or::after { content: ""; flex: 1; border-top: 1px solid var(--line) }
.stack { display: grid; gap: .6rem }
form + form.plain, .first { margin-top: 1.5rem }
.captcha { min-height: 65px; overflow: hidden }
.captcha:empty::before { content: attr(data-hint); color: var(--soft); font-size: .875rem }
@media (scripting: none) { .captcha { display: none } }
.hint { margin: -.6rem 0 0; color: var(--soft); font-size: .85rem }
.aside { margin-top: 1.5rem; font-size: .925rem; text-align: center }
ul.scopes { margin: 1.25rem 0 0; padding: 0; list-style: none; border: 1px solid var(--line); border-radius: 12px }
ul.scopes li { padding: .7rem .9rem }
ul.scopes li + li { border-top: 1px solid var(--line) }
ul.scopes strong { display: block; font-weight: 600; font-size: .95rem }
ul.scopes span { color: var(--soft); font-size: .875rem }
footer { display: flex; gap: 1.25rem; margin-top: 1.25rem; font-size: .875rem }
@media (max-width: 30rem) { body { place-content: start center; padding: 1.5rem 0; background: var(--card) }
  main { border: 0; border-radius: 0; box-shadow: none; padding: 1rem 1.5rem } .plain:hover { background: none } }
`;
