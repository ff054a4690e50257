import type { PublicAuthConfig } from '@insforge/contract/auth.ts';
import { EmailSchema } from '@insforge/contract/auth.ts';
import type { PageSettings } from '@insforge/contract/auth-pages.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { FrontDoor, Proved } from '#features/auth/index.ts';
import type { Db } from '#platform/db/db.ts';
import { AppError, toAppError } from '#platform/errors.ts';
import { type Flow, FlowSchema, pageUrl } from '../flow.ts';
import { acceptForms, type FormGuard } from '../forms.ts';
import type { Html } from '../html.ts';
import { formTargetOf, renderPage } from '../layout.ts';
import { readPageSettings } from '../look.ts';
import {
  askForResetBody,
  onward,
  resetByCodeBody,
  resetByTokenBody,
  secondFactorBody,
  signInBody,
  signUpBody,
  verifyBody,
} from '../pages.ts';
import { sendPage } from '../send.ts';

interface PageOptions {
  db: Db;
  door: FrontDoor;
  formGuard: FormGuard;
  apiBaseUrl: string;
}

const FormSchema = z.object({
  csrf: z.string().optional(),
  step: z.enum(['password', 'code', 'again', 'ask', 'token']).optional(),
  email: z.string().trim().toLowerCase().max(254).default(''),
  password: z.string().max(1024).default(''),
  name: z.string().trim().max(100).default(''),
  code: z.string().trim().max(64).default(''),
  challenge: z.string().max(200).default(''),
  token: z.string().max(200).default(''),
});
type Form = z.infer<typeof FormSchema>;

/** What a page is drawn from. */
interface View {
  flow: Flow;
  config: PublicAuthConfig;
  settings: PageSettings;
  csrf: string;
  /** Where the browser goes in the end; undefined where nobody sent it. */
  target: URL | undefined;
  reply: FastifyReply;
}

interface Outcome {
  title: string;
  lead?: string;
  body?: Html | undefined;
  problem?: string;
  notice?: string | undefined;
  status?: number;
}

const perMinute = (max: number) => ({ rateLimit: { max, timeWindow: '1 minute' } });

/** The pages for apps that do not draw their own. They do all of it with links and forms. */
export const pageRoutes: FastifyPluginAsyncZod<PageOptions> = async (app, options) => {
  acceptForms(app);
  app.setErrorHandler((error, request, reply) => showError(options, error, request, reply));
  const { door } = options;

  page(app, options, 'sign-in', {
    show: (view) => signInOutcome(view),
    async submit(view, form) {
      const proof = () =>
        form.step === 'code' ? door.answer({ challenge: form.challenge, code: form.code }) : door.signIn(form);
      return enter(options, view, form, proof, (problem) =>
        form.step === 'code' ? secondFactorOutcome(view, form.challenge, problem) : signInOutcome(view, form, problem),
      );
    },
  });

  page(app, options, 'sign-up', {
    show: (view) => signUpOutcome(view),
    async submit(view, form) {
      const { flow } = view;
      try {
        const email = EmailSchema.parse(form.email);
        const { password, name } = form;
        requireTarget(view);
        const signedUp = await door.signUp(
          { email, password, ...(name === '' ? {} : { name }) },
          pageUrl('verify', flow),
        );
        if (signedUp.mustVerify) return pageUrl('verify', flow, { email, notice: 'sent' });
        return leave(options, view, signedUp.proved);
      } catch (error) {
        return signUpOutcome(view, form, problemOf(error));
      }
    },
  });

  page(app, options, 'verify', {
    show: (view) => verifyOutcome(view),
    async submit(view, form) {
      const { email, code } = form;
      if (form.step !== 'again') {
        return enter(
          options,
          view,
          form,
          () => door.verify({ email, otp: code }),
          (problem) => verifyOutcome(view, form, problem),
        );
      }
      return tryTo(
        () => door.sendVerification(EmailSchema.parse(email), pageUrl('verify', view.flow)),
        () => pageUrl('verify', view.flow, { email, notice: 'sent' }),
        (problem) => verifyOutcome(view, form, problem),
      );
    },
  });

  page(app, options, 'reset', {
    show: (view) => resetOutcome(view),
    async submit(view, form, request) {
      const { email, code, token, password: newPassword, step } = form;
      if (step === 'ask') {
        return tryTo(
          () => door.sendReset(EmailSchema.parse(email), pageUrl('reset', view.flow)),
          () => pageUrl('reset', view.flow, { email, notice: 'sent' }),
          (problem) => resetOutcome(view, form, problem),
        );
      }
      const reset = () =>
        step === 'token'
          ? door.resetByToken({ token, newPassword }, request.ip)
          : door.resetByCode({ email, code, newPassword });
      return tryTo(
        reset,
        () => pageUrl('reset', view.flow, { notice: 'reset' }),
        (problem) => resetOutcome(view, form, problem),
      );
    },
  });

  app.get(
    '/auth/with/:provider',
    {
      config: perMinute(100),
      schema: { params: z.object({ provider: z.string().max(100) }), querystring: FlowSchema },
    },
    async (request, reply) => {
      const { provider } = request.params;
      const { redirect_to: redirectTo = '', code_challenge: challenge = '' } = request.query;
      const { oAuthProviders } = await door.config();
      const path = oAuthProviders.includes(provider) ? provider : `custom/${provider}`;
      const started = await app.inject({
        url: `/api/auth/oauth/${path.split('/').map(encodeURIComponent).join('/')}`,
        query: { redirect_uri: redirectTo, code_challenge: challenge },
        remoteAddress: request.ip,
      });
      const { authUrl, message } = started.json();
      if (typeof authUrl === 'string') return reply.redirect(authUrl, 303);
      throw new AppError('INVALID_INPUT', String(message), { status: started.statusCode });
    },
  );
};

interface PageDefinition {
  show: (view: View) => Outcome;
  /** An address to go to, or what is shown instead. */
  submit: (view: View, form: Form, request: FastifyRequest) => Promise<string | Outcome>;
}

function page(app: FastifyInstance, options: PageOptions, name: string, { show, submit }: PageDefinition): void {
  const { formGuard } = options;
  app.get(`/auth/${name}`, { config: perMinute(100) }, async (request, reply) => {
    const view = await look(options, request, reply);
    return display(view, show(view));
  });
  app.post(`/auth/${name}`, { config: perMinute(30) }, async (request, reply) => {
    const form = FormSchema.parse(request.body ?? {});
    formGuard.check(request, form.csrf);
    const view = await look(options, request, reply);
    const next = await submit(view, form, request);
    return typeof next === 'string' ? reply.redirect(next, 303) : display(view, next);
  });
}

/** @throws AppError INVALID_INPUT where the app that sent the browser here made a mistake */
async function look({ db, door, formGuard }: PageOptions, request: FastifyRequest, reply: FastifyReply): Promise<View> {
  const parsed = FlowSchema.safeParse(request.query);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new AppError('INVALID_INPUT', `${issue?.path.join('.')}: ${issue?.message}`);
  }
  const flow = parsed.data;
  const target = flow.redirect_to === undefined ? undefined : await door.checkRedirect('redirect_to', flow.redirect_to);
  const [config, settings] = await Promise.all([door.config(), readPageSettings(db.system)]);
  return { flow, config, settings, target, reply, csrf: formGuard.token(request, reply) };
}

function display({ settings, reply, target }: View, { status = 200, body, ...content }: Outcome): FastifyReply {
  const formTargets = target ? [formTargetOf(target)] : [];
  return sendPage(reply, renderPage(settings, { ...content, ...(body ? { body } : {}), formTargets }), status);
}

const signInOutcome = (view: View, form?: Form, problem?: string): Outcome => ({
  title: 'Sign in',
  body: signInBody({ ...view, email: form?.email ?? view.flow.email }),
  ...failed(problem, 401),
  ...(problem === undefined && !isReady(view) ? NOBODY_ASKED : {}),
});

const secondFactorOutcome = ({ csrf }: View, challenge: string, problem?: string): Outcome => ({
  title: 'Second factor',
  lead: 'Enter the code that your authenticator shows.',
  body: secondFactorBody({ csrf, challenge }),
  ...failed(problem),
});

function signUpOutcome(view: View, form?: Form, problem?: string): Outcome {
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

function verifyOutcome(view: View, form?: Form, problem?: string): Outcome {
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
    ...failed(problem ?? flow.insforge_error),
  };
}

function resetOutcome(view: View, form?: Form, problem?: string): Outcome {
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
    ...failed(problem ?? flow.insforge_error),
  };
}

const NOBODY_ASKED = {
  problem:
    'No app sent you here: redirect_to and code_challenge are missing from the address, so you cannot be sent back.',
  status: 400,
};

const isReady = ({ target, flow }: View) => target !== undefined && flow.code_challenge !== undefined;

function requireTarget(view: View): asserts view is View & { target: URL } {
  if (!isReady(view)) throw new AppError('INVALID_INPUT', NOBODY_ASKED.problem);
}

/** Sends somebody who has proved who they are back to the app, with a code that is worth a session there. */
async function leave({ door }: PageOptions, view: View, proved: Proved): Promise<string> {
  requireTarget(view);
  return door.returnTo(view.target, proved, view.flow.code_challenge ?? '');
}

async function enter(
  options: PageOptions,
  view: View,
  { email }: Form,
  proof: () => Promise<Proved>,
  refused: (problem: string) => Outcome,
): Promise<string | Outcome> {
  try {
    requireTarget(view);
    return await leave(options, view, await proof());
  } catch (error) {
    const { code, details } = toAppError(error);
    if (code === 'AUTH_SECOND_FACTOR_REQUIRED') return secondFactorOutcome(view, String(details?.challenge));
    // Whoever comes this far knows the password.
    if (code === 'FORBIDDEN') {
      await options.door.sendVerification(email, pageUrl('verify', view.flow)).catch(() => {});
      return pageUrl('verify', view.flow, { email, notice: 'sent' });
    }
    return refused(problemOf(error));
  }
}

async function tryTo(
  work: () => Promise<void>,
  next: () => string,
  refused: (problem: string) => Outcome,
): Promise<string | Outcome> {
  try {
    await work();
    return next();
  } catch (error) {
    return refused(problemOf(error));
  }
}

/** What people are told. @throws what is not their fault */
function problemOf(error: unknown): string {
  if (error instanceof z.ZodError) return error.issues[0]?.message ?? 'Invalid input';
  const { status, message } = toAppError(error);
  if (status >= 500) throw error;
  return message.replace(/^[\w.]+: /, (field) => `${field[0]?.toUpperCase()}${field.slice(1, -2)} `);
}

const failed = (problem: string | undefined, status = 400) => (problem === undefined ? {} : { problem, status });

async function showError({ db }: PageOptions, error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const { status, message, cause } = toAppError(error);
  if (status >= 500) request.log.error({ err: cause ?? error, req: request }, 'request.failed');
  const content = { title: 'This did not work', problem: message };
  return sendPage(reply, renderPage(await readPageSettings(db.system), content), status);
}
