import type { PublicAuthConfig } from '@insforge/contract/auth.ts';
import type { PageSettings } from '@insforge/contract/auth-pages.ts';
import { DEAD_LINK } from '#features/auth/index.ts';
import type { Flow } from './flow.ts';
import type { Html } from './html.ts';
import {
  askForResetBody,
  onward,
  resetByCodeBody,
  resetByTokenBody,
  secondFactorBody,
  signInBody,
  signUpBody,
  verifyBody,
} from './pages.ts';
import type { Problem } from './problems.ts';

// What each page shows: at first, and after a try that did not work.

/** What a page is drawn from. */
export interface View {
  flow: Flow;
  config: PublicAuthConfig;
  settings: PageSettings;
  csrf: string;
  /** Where the browser goes in the end; undefined where nobody sent it. */
  target: URL | undefined;
}

export interface Outcome {
  title: string;
  lead?: string;
  body?: Html | undefined;
  problem?: string;
  notice?: string | undefined;
  status?: number;
  retryAfterSeconds?: number;
}

/** What was typed in. */
interface Typed {
  email: string;
  name: string;
}

export const signInOutcome = (view: View, form?: Typed, problem?: Problem): Outcome => ({
  title: 'Sign in',
  body: signInBody({ ...view, email: form?.email ?? view.flow.email }),
  ...failed(problem, 401),
  ...(problem === undefined && !isReady(view) ? NOBODY_ASKED : {}),
});

export const secondFactorOutcome = ({ csrf }: View, challenge: string, problem?: Problem): Outcome => ({
  title: 'Second factor',
  lead: 'Enter the code that your authenticator shows.',
  body: secondFactorBody({ csrf, challenge }),
  ...failed(problem),
});

export function signUpOutcome(view: View, form?: Typed, problem?: Problem): Outcome {
  const title = 'Create an account';
  if (view.config.disableSignup) {
    return {
      title,
      problem: 'New accounts are not taken at the moment.',
      body: onward({ flow: view.flow, homeUrl: view.settings.homeUrl }),
      status: 403,
    };
  }
  return {
    title,
    body: signUpBody({ ...view, email: form?.email ?? view.flow.email, name: form?.name ?? '' }),
    ...failed(problem),
    ...(problem === undefined && !isReady(view) ? NOBODY_ASKED : {}),
  };
}

export function verifyOutcome(view: View, form?: Typed, problem?: Problem): Outcome {
  const { flow, config, settings } = view;
  if (flow.insforge_status === 'success') {
    const body = onward({ flow, homeUrl: settings.homeUrl });
    return { title: 'Email verified', lead: 'Thank you. You can sign in now.', body };
  }
  const email = form?.email || flow.email;
  const to = email ? ` to ${email}` : '';
  const isLink = config.verifyEmailMethod === 'link';
  return {
    title: 'Verify your email',
    lead: isLink
      ? `Open the link in the mail that was sent${to}.`
      : `Enter the six digits of the mail that was sent${to}.`,
    notice: flow.notice === 'sent' && problem === undefined ? 'A mail is on its way.' : undefined,
    body: verifyBody({ ...view, email }),
    ...failed(problem ?? problemIn(flow)),
  };
}

export function resetOutcome(view: View, form?: Typed, problem?: Problem): Outcome {
  const { flow, config, settings } = view;
  const email = form?.email || flow.email;
  const shown = { ...view, email };
  if (flow.notice === 'reset') {
    const body = onward({ flow, homeUrl: settings.homeUrl });
    return { title: 'Password changed', lead: 'All devices were signed out. Sign in with the new one.', body };
  }
  if (flow.token) return { title: 'Choose a new password', body: resetByTokenBody(shown), ...failed(problem) };
  if (flow.notice === 'sent' && config.resetPasswordMethod === 'link') {
    return { title: 'Look into your mail', lead: `If ${email} has an account, a link is on its way there.` };
  }
  if (flow.notice === 'sent') {
    const lead = `If ${email} has an account, a code is on its way there.`;
    return { title: 'Choose a new password', lead, body: resetByCodeBody(shown), ...failed(problem) };
  }
  const lead = 'You get a mail with which you can choose a new one.';
  return {
    title: 'Forgot your password?',
    lead,
    body: askForResetBody(shown),
    ...failed(problem ?? problemIn(flow)),
  };
}

export const NOBODY_ASKED = {
  problem:
    'No app sent you here: redirect_to and code_challenge are missing from the address, so you cannot be sent back.',
  status: 400,
};

export const isReady = ({ target, flow }: View) => target !== undefined && flow.code_challenge !== undefined;

/** Not in the words of the address, which anybody can have written. */
const problemIn = ({ insforge_status: status }: Flow): Problem | undefined =>
  status === 'error' ? { text: DEAD_LINK } : undefined;

function failed(problem: Problem | undefined, status = 400): Partial<Outcome> {
  if (problem === undefined) return {};
  const { text, retryAfterSeconds } = problem;
  return retryAfterSeconds === undefined
    ? { problem: text, status }
    : { problem: text, status: 429, retryAfterSeconds };
}
