import { EmailSchema } from '@insforge/contract/auth.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { type FrontDoor, LIMITS, type MailLimit, type Proved } from '#features/auth/index.ts';
import type { Db } from '#platform/db/db.ts';
import { AppError, toAppError } from '#platform/errors.ts';
import { addressOf } from '#platform/http/caller.ts';
import { logFailure } from '#platform/http/leaving.ts';
import { FlowSchema, pageUrl } from '../flow.ts';
import { acceptForms, captchaTokenIn, type FormGuard } from '../forms.ts';
import { html } from '../html.ts';
import { formTargetOf, renderPage } from '../layout.ts';
import { readPageSettings } from '../look.ts';
import {
  isReady,
  NOBODY_ASKED,
  type Outcome,
  resetOutcome,
  secondFactorOutcome,
  signInOutcome,
  signUpOutcome,
  type View,
  verifyOutcome,
} from '../outcomes.ts';
import { type Problem, problemOf } from '../problems.ts';
import { sendPage } from '../send.ts';
import { providerRoutes } from './providers.ts';

interface PageOptions {
  db: Db;
  door: FrontDoor;
  mailLimit: MailLimit;
  formGuard: FormGuard;
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

const perMinute = (max: number) => ({ rateLimit: { max, timeWindow: '1 minute' } });

/** The pages for apps that do not draw their own. They do all of it with links and forms. */
export const pageRoutes: FastifyPluginAsyncZod<PageOptions> = async (app, options) => {
  acceptForms(app);
  app.setErrorHandler((error, request, reply) => showError(options, error, request, reply));
  const { door } = options;
  await app.register(providerRoutes, { door });

  page(app, options, 'sign-in', {
    show: (view) => signInOutcome(view),
    async submit(view, form, solved) {
      const proof = () =>
        form.step === 'code'
          ? door.answer({ challenge: form.challenge, code: form.code })
          : door.signIn({ ...form, ...solved });
      return enter(options, view, form, proof, (problem) =>
        form.step === 'code' ? secondFactorOutcome(view, form.challenge, problem) : signInOutcome(view, form, problem),
      );
    },
  });

  page(app, options, 'sign-up', {
    submitsPerMinute: LIMITS.signUp.max,
    show: (view) => signUpOutcome(view),
    async submit(view, form, solved) {
      try {
        return await signUp(options, view, form, solved);
      } catch (error) {
        return signUpOutcome(view, form, problemOf(error));
      }
    },
  });

  page(app, options, 'verify', {
    show: (view) => verifyOutcome(view),
    async submit(view, form, solved) {
      const { email, code } = form;
      if (form.step !== 'again') {
        return enter(
          options,
          view,
          form,
          () => door.verify({ email, otp: code, address: solved.address }),
          (problem) => verifyOutcome(view, form, problem),
        );
      }
      return tryTo(
        () => door.sendVerification(EmailSchema.parse(email), pageUrl('verify', view.flow), solved),
        () => pageUrl('verify', view.flow, { email, notice: 'sent' }),
        (problem) => verifyOutcome(view, form, problem),
      );
    },
  });

  page(app, options, 'reset', {
    show: (view) => resetOutcome(view),
    async submit(view, form, solved) {
      const { address } = solved;
      const { email, code, token, password: newPassword, step } = form;
      if (step === 'ask') {
        return tryTo(
          () => door.sendReset(EmailSchema.parse(email), pageUrl('reset', view.flow), solved),
          () => pageUrl('reset', view.flow, { email, notice: 'sent' }),
          (problem) => resetOutcome(view, form, problem),
        );
      }
      const reset = () =>
        step === 'token'
          ? door.resetByToken({ token, newPassword, address })
          : door.resetByCode({ email, code, newPassword, address });
      return tryTo(
        reset,
        () => pageUrl('reset', view.flow, { notice: 'reset' }),
        (problem) => resetOutcome(view, form, problem),
      );
    },
  });
};

/** The token of the captcha, where the form had one, and who sent the form. */
interface Solved {
  captchaToken: string | undefined;
  address: string | null;
  /** Counts a mail that was asked for. @throws AppError TOO_MANY_REQUESTS */
  countMail: () => Promise<void>;
}

interface PageDefinition {
  show: (view: View) => Outcome;
  /** An address to go to, or what is shown instead. */
  submit: (view: View, form: Form, solved: Solved) => Promise<string | Outcome>;
  /** How many forms a minute one network address may send. */
  submitsPerMinute?: number;
}

function page(app: FastifyInstance, options: PageOptions, name: string, definition: PageDefinition): void {
  const { formGuard, mailLimit } = options;
  const { show, submit, submitsPerMinute = 1000 } = definition;
  app.get(`/auth/${name}`, { config: perMinute(1000) }, async (request, reply) => {
    const view = await look(options, request, reply);
    return display(reply, view, show(view));
  });
  app.post(`/auth/${name}`, { config: perMinute(submitsPerMinute) }, async (request, reply) => {
    const form = parse(FormSchema, request.body ?? {});
    formGuard.check(request, form.csrf);
    const view = await look(options, request, reply);
    const captchaToken = captchaTokenIn({ ...(request.body ?? {}) });
    const solved = { captchaToken, address: addressOf(request), countMail: () => mailLimit(request, reply) };
    const next = await submit(view, form, solved);
    return typeof next === 'string' ? reply.redirect(next, 303) : display(reply, view, next);
  });
}

/** @throws AppError INVALID_INPUT */
function parse<Schema extends z.ZodType>(schema: Schema, given: unknown): z.infer<Schema> {
  const { success, data, error } = schema.safeParse(given);
  if (success) return data;
  const [issue] = error.issues;
  throw new AppError('INVALID_INPUT', `${issue?.path.join('.')}: ${issue?.message}`);
}

/** @throws AppError INVALID_INPUT where the app that sent the browser here made a mistake */
async function look({ db, door, formGuard }: PageOptions, request: FastifyRequest, reply: FastifyReply): Promise<View> {
  const flow = parse(FlowSchema, request.query);
  const target = flow.redirect_to === undefined ? undefined : await door.checkRedirect('redirect_to', flow.redirect_to);
  const [config, settings] = await Promise.all([door.config(), readPageSettings(db.system)]);
  return { flow, config, settings, target, csrf: formGuard.token(request, reply) };
}

function display(
  reply: FastifyReply,
  { settings, config, target }: View,
  { status = 200, retryAfterSeconds, body, ...content }: Outcome,
): FastifyReply {
  const formTargets = target ? [formTargetOf(target)] : [];
  const { captcha } = config;
  const page = renderPage(settings, { ...content, ...(body ? { body } : {}), captcha, formTargets });
  return sendPage(reply, page, status, { retryAfterSeconds });
}

function requireTarget(view: View): asserts view is View & { target: URL } {
  if (!isReady(view)) throw new AppError('INVALID_INPUT', NOBODY_ASKED.problem);
}

async function signUp(
  options: PageOptions,
  view: View,
  { password, name, ...form }: Form,
  solved: Solved,
): Promise<string> {
  const { flow } = view;
  const email = EmailSchema.parse(form.email);
  requireTarget(view);
  const given = { email, password, ...(name === '' ? {} : { name }) };
  const signedUp = await options.door.signUp(given, pageUrl('verify', flow), solved);
  if (signedUp.mustVerify) return pageUrl('verify', flow, { email, notice: 'sent' });
  return leave(options, view, signedUp.proved);
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
  refused: (problem: Problem) => Outcome,
): Promise<string | Outcome> {
  try {
    requireTarget(view);
    return await leave(options, view, await proof());
  } catch (error) {
    const { code, details } = toAppError(error);
    if (code === 'AUTH_SECOND_FACTOR_REQUIRED') return secondFactorOutcome(view, String(details?.challenge));
    // Whoever comes this far knows the password.
    if (code === 'FORBIDDEN') {
      await options.door.sendVerification(email, pageUrl('verify', view.flow), 'already').catch(() => {});
      return pageUrl('verify', view.flow, { email, notice: 'sent' });
    }
    return refused(problemOf(error));
  }
}

async function tryTo(
  work: () => Promise<void>,
  next: () => string,
  refused: (problem: Problem) => Outcome,
): Promise<string | Outcome> {
  try {
    await work();
    return next();
  } catch (error) {
    return refused(problemOf(error));
  }
}

async function showError({ db }: PageOptions, error: unknown, request: FastifyRequest, reply: FastifyReply) {
  const { status, message, cause, details, nextActions } = toAppError(error);
  if (status >= 500) logFailure(cause ?? error, request, reply);
  const isRefused = details?.allowedRedirectUrls !== undefined;
  const body = isRefused ? html`<p class="lead">For whoever builds the app: ${nextActions}</p>` : undefined;
  const content = { title: 'This did not work', problem: message, ...(body ? { body } : {}) };
  return sendPage(reply, renderPage(await readPageSettings(db.system), content), status);
}
