import type { PublicCaptcha } from '@insforge/contract/captcha.ts';
import { OAUTH_SCOPES, type OAuthScope } from '@insforge/contract/oauth-server.ts';
import {
  captchaWidget,
  codeForm,
  type Html,
  hidden,
  html,
  type Page,
  passwordForm,
  readPageSettings,
  renderPage,
} from '#features/auth-pages/index.ts';
import type { Db } from '#platform/db/db.ts';

/** What every page of a request needs. */
interface Step {
  /** The program that asks. */
  clientName: string;
  csrf: string;
  problem?: string | undefined;
  /** Where the browser goes when all is done. */
  formTargets: readonly string[];
}

/** @param step.providers buttons that lead to other providers */
export async function loginPage(
  db: Db,
  step: Step & {
    email?: string | undefined;
    providers: Html | undefined;
    captcha: PublicCaptcha | undefined;
    forgotUrl: string;
    /** Undefined while sign-up is closed. */
    signUpUrl: string | undefined;
  },
): Promise<Page> {
  const { clientName, csrf, problem, formTargets, email, providers, captcha, forgotUrl, signUpUrl } = step;
  const form = passwordForm({ values: { csrf }, email, captcha: captchaWidget(captcha, 'sign-in'), forgotUrl });
  return renderPage(await readPageSettings(db.system), {
    title: 'Sign in',
    lead: html`to continue to <strong>${clientName}</strong>`,
    problem,
    formTargets,
    captcha,
    body: html`${providers}${form}${cancelForm(csrf, 'Cancel')}
${signUpUrl !== undefined && html`<p class="aside">New here? <a href="${signUpUrl}">Create an account</a></p>`}`,
  });
}

export async function secondFactorPage(db: Db, step: Step & { challenge: string }): Promise<Page> {
  const { csrf, problem, formTargets, challenge } = step;
  return renderPage(await readPageSettings(db.system), {
    title: 'Second factor',
    lead: 'Enter the code that your authenticator shows.',
    problem,
    formTargets,
    body: codeForm({ values: { csrf, challenge } }),
  });
}

interface ConsentStep extends Step {
  scopes: readonly string[];
  email: string;
  /** Where the program says it is at home; nobody has checked it. */
  homepage: string | undefined;
  /** Where the browser is sent back to. */
  returnsTo: string;
}

export async function consentPage(db: Db, step: ConsentStep): Promise<Page> {
  const { clientName, csrf, problem, formTargets, scopes, email, homepage, returnsTo } = step;
  const known = scopes.filter((scope): scope is OAuthScope => scope in OAUTH_SCOPES);
  return renderPage(await readPageSettings(db.system), {
    title: `Let ${clientName} in?`,
    lead: html`You are signed in as <strong>${email}</strong>.`,
    problem,
    formTargets,
    body: html`<ul class="scopes">${known.map(
      (scope) => html`<li><strong>${OAUTH_SCOPES[scope].title}</strong><span>${OAUTH_SCOPES[scope].detail}</span></li>`,
    )}</ul>
<form method="post">${hidden({ csrf, step: 'allow' })}<button>Allow</button></form>
${cancelForm(csrf, 'Do not allow')}
<p class="aside">You will be sent to <strong>${returnsTo}</strong>.${
      homepage !== undefined && html` The program says it is at home at ${homepage}.`
    }</p>
<form method="post">${hidden({ csrf, step: 'switch' })}<button class="plain">Use another account</button></form>`,
  });
}

export async function errorPage(db: Db, problem: { error: string; description: string | undefined }): Promise<Page> {
  return renderPage(await readPageSettings(db.system), {
    title: 'This did not work',
    lead: 'Go back to the program that sent you here and begin again.',
    body: html`<p class="problem" role="alert">${problem.description ?? problem.error} (${problem.error})</p>`,
  });
}

const cancelForm = (csrf: string, label: string) =>
  html`<form method="post">${hidden({ csrf, step: 'cancel' })}<button class="plain">${label}</button></form>`;
