import { createHash, createHmac } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { FastifyPluginAsyncZod } from 'fastify-type-provider-zod';
import type { InteractionResults, Provider } from 'oidc-provider';
import { z } from 'zod';
import type { FrontDoor, Proved } from '#features/auth/index.ts';
import {
  acceptForms,
  captchaTokenIn,
  type FormGuard,
  formTargetOf,
  type Page,
  pageUrl,
  problemOf,
  providerButtons,
  sendPage,
} from '#features/auth-pages/index.ts';
import type { Db } from '#platform/db/db.ts';
import { AppError, toAppError } from '#platform/errors.ts';
import { addressOf } from '#platform/http/caller.ts';
import { logFailure } from '#platform/http/leaving.ts';
import { sayWhoAsks } from '../forwarded.ts';
import { consentPage, errorPage, loginPage, secondFactorPage } from '../pages.ts';
import { interactionPath, PATHS } from '../paths.ts';

interface InteractionOptions {
  db: Db;
  door: FrontDoor;
  provider: () => Promise<Provider>;
  formGuard: FormGuard;
  apiBaseUrl: string;
  /** Keys the verifier of a way round by another provider. */
  jwtSecret: string;
}

type Details = Awaited<ReturnType<Provider['interactionDetails']>>;

const FormSchema = z.looseObject({
  csrf: z.string().optional(),
  step: z.enum(['password', 'code', 'allow', 'cancel', 'switch']),
  email: z.string().trim().toLowerCase().max(254).default(''),
  password: z.string().max(1024).default(''),
  challenge: z.string().max(200).default(''),
  code: z.string().trim().max(64).default(''),
});
type Form = z.infer<typeof FormSchema>;

/** What another provider's answer leaves in the address. */
const ArrivalSchema = z.object({
  insforge_code: z.string().max(200).optional(),
  error: z.string().max(300).optional(),
});

const LIMIT = { rateLimit: { max: 1000, timeWindow: '1 minute' } };

/** The pages on which people sign in and decide, between a program's request and its answer. */
export const interactionRoutes: FastifyPluginAsyncZod<InteractionOptions> = async (app, options) => {
  const { db, provider, formGuard } = options;
  acceptForms(app);
  app.addHook('onRequest', sayWhoAsks);
  app.setErrorHandler(async (error, request, reply) => {
    const { status, code, message, cause } = toAppError(error);
    if (status >= 500) logFailure(cause ?? error, request, reply);
    return sendPage(reply, await errorPage(db, { error: code.toLowerCase(), description: message }), status);
  });
  const params = z.object({ uid: z.string().max(100) });

  app.get(
    '/auth/oauth/:uid',
    { config: LIMIT, schema: { params, querystring: ArrivalSchema } },
    async (request, reply) => {
      const opened = await provider();
      const details = await readDetails(opened, request, reply);
      const csrf = formGuard.token(request, reply);
      const { insforge_code: code, error } = request.query;
      if (code === undefined) return sendPage(reply, await pageOf(options, details, csrf, error));
      const codeVerifier = verifierOf(options, details);
      const answer = await signIn(options, details, { csrf }, () => options.door.arrive({ code, codeVerifier }));
      return conclude(options, details, { request, reply }, answer);
    },
  );

  app.post('/auth/oauth/:uid', { config: LIMIT, schema: { params, body: FormSchema } }, async (request, reply) => {
    formGuard.check(request, request.body.csrf);
    const opened = await provider();
    const details = await readDetails(opened, request, reply);
    if (request.body.step === 'switch') return reply.redirect(anewAs(details), 303);
    const answer = await answerOf(options, opened, details, request);
    return conclude(options, details, { request, reply }, answer);
  });
};

/** Shows the page again, or stores the decision and goes on. */
async function conclude(
  { provider, door }: InteractionOptions,
  details: Details,
  { request, reply }: { request: FastifyRequest; reply: FastifyReply },
  answer: Answer,
): Promise<FastifyReply> {
  if ('page' in answer) return sendPage(reply, answer.page, answer.status, answer);
  const opened = await provider();
  const { login } = answer.result;
  if (login?.accountId !== undefined) await endSessionOfOther(opened, details, login.accountId);
  const options = { mergeWithLastSubmission: answer.merge };
  const next = await opened.interactionResult(request.raw, reply.raw, answer.result, options).catch(isOver);
  try {
    // What changes the account from here on takes the stored sign-in away; what did so before is noticed now.
    if (answer.proved) await door.confirm(answer.proved);
  } catch (error) {
    await (await opened.Interaction.find(details.uid))?.destroy();
    throw error;
  }
  return reply.redirect(next, 303);
}

/** Somebody else was signed in in this browser. The provider would ask them to sign out, on a page of its own. */
async function endSessionOfOther(provider: Provider, { uid, session }: Details, accountId: string): Promise<void> {
  if (session?.accountId === undefined || session.accountId === accountId) return;
  await (await provider.Session.findByUid(session.uid))?.destroy();
  const interaction = await provider.Interaction.find(uid);
  if (!interaction) return;
  interaction.session = undefined;
  await interaction.save(interaction.exp - Math.floor(Date.now() / 1000));
}

/** What is being decided. The cookie of the request says so, and the address must agree. @throws AppError NOT_FOUND */
async function readDetails(provider: Provider, request: FastifyRequest, reply: FastifyReply): Promise<Details> {
  return provider.interactionDetails(request.raw, reply.raw).catch(isOver);
}

function isOver(cause: unknown): never {
  // Errors of the protocol have a name for programs; all others are faults.
  if (!(cause instanceof Error && 'error' in cause)) throw cause;
  throw new AppError('NOT_FOUND', 'This sign-in is over or has expired, or was begun in another browser', { cause });
}

/** The same request once more, for somebody else to sign in. */
function anewAs({ params }: Details): string {
  const same = Object.entries(params).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return `${PATHS.authorization}?${new URLSearchParams({ ...Object.fromEntries(same), prompt: 'login' })}`;
}

type Answer =
  | { page: Page; status: number; retryAfterSeconds?: number | undefined }
  | { result: InteractionResults; merge: boolean; proved?: Proved };

async function answerOf(
  options: InteractionOptions,
  provider: Provider,
  details: Details,
  request: FastifyRequest<{ Body: Form }>,
): Promise<Answer> {
  const { step } = request.body;
  if (step === 'cancel') {
    const result = { error: 'access_denied', error_description: 'The user did not allow it' };
    return { result, merge: false };
  }
  if (step === 'allow') return { result: await grant(provider, details), merge: true };
  const { email, password, challenge, code, csrf = '' } = request.body;
  const { door } = options;
  return step === 'code'
    ? signIn(options, details, { csrf, challenge }, () => door.answer({ challenge, code }))
    : signIn(options, details, { csrf, email }, () =>
        door.signIn({ email, password, captchaToken: captchaTokenIn(request.body), address: addressOf(request) }),
      );
}

async function signIn(
  options: InteractionOptions,
  details: Details,
  shown: { csrf: string; email?: string; challenge?: string },
  proof: () => Promise<Proved>,
): Promise<Answer> {
  const { db } = options;
  const common = { ...(await stepOf(options, details)), ...shown };
  let proved: Proved;
  try {
    proved = await proof();
  } catch (error) {
    const { status, code, details: more } = toAppError(error);
    if (code === 'AUTH_SECOND_FACTOR_REQUIRED') {
      const page = await secondFactorPage(db, { ...common, challenge: String(more?.challenge) });
      return { page, status: 200 };
    }
    const { text: problem, retryAfterSeconds } = problemOf(error);
    const { challenge } = shown;
    const page = await (challenge === undefined
      ? loginPage(db, { ...common, problem })
      : secondFactorPage(db, { ...common, problem, challenge }));
    return { page, status, retryAfterSeconds };
  }
  const amr = proved.aal === 'aal2' ? ['pwd', 'otp', 'mfa'] : ['pwd'];
  // The browser session ends with the browser.
  return { result: { login: { accountId: proved.user.id, amr, remember: false } }, merge: false, proved };
}

/** Remembers what the user lets the program do; what was granted before stays granted. */
async function grant(provider: Provider, { grantId, session, params, prompt }: Details): Promise<InteractionResults> {
  if (prompt.name !== 'consent' || !session?.accountId) {
    throw new AppError('INVALID_INPUT', 'There is nothing to allow yet');
  }
  if (!(await provider.Client.find(String(params.client_id)))) throw new AppError('NOT_FOUND', 'The program is gone');
  const existing = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const granted = existing ?? new provider.Grant({ accountId: session.accountId, clientId: String(params.client_id) });
  const { missingOIDCScope, missingOIDCClaims } = prompt.details as {
    missingOIDCScope?: string[];
    missingOIDCClaims?: string[];
  };
  if (missingOIDCScope) granted.addOIDCScope(missingOIDCScope.join(' '));
  if (missingOIDCClaims) granted.addOIDCClaims(missingOIDCClaims);
  return { consent: { grantId: await granted.save() } };
}

const hintOf = ({ login_hint: hint }: Details['params']) => (typeof hint === 'string' ? hint : undefined);

/** Where a way round by another provider or page comes back to, and what it proves itself with: only we can make it. */
function flowOf(options: InteractionOptions, details: Details) {
  const challenge = createHash('sha256').update(verifierOf(options, details)).digest('base64url');
  const email = hintOf(details.params);
  return {
    redirect_to: options.apiBaseUrl + interactionPath(details.uid),
    code_challenge: challenge,
    ...(email === undefined ? {} : { email }),
  };
}

const verifierOf = ({ jwtSecret }: InteractionOptions, { uid }: Details) =>
  createHmac('sha256', jwtSecret).update(`insforge:oauth-arrival:v1:${uid}`).digest('base64url');

async function stepOf(options: InteractionOptions, details: Details) {
  const { params } = details;
  const client = await (await options.provider()).Client.find(String(params.client_id));
  const target = new URL(String(params.redirect_uri));
  const config = await options.door.config();
  const flow = flowOf(options, details);
  return {
    clientName: client?.clientName ?? 'A program',
    providers: providerButtons(flow, config),
    forgotUrl: pageUrl('reset', { redirect_to: flow.redirect_to }),
    signUpUrl: config.disableSignup ? undefined : pageUrl('sign-up', flow),
    captcha: config.captcha,
    homepage: client?.clientUri,
    returnsTo: target.host || target.protocol,
    formTargets: [formTargetOf(target)],
  };
}

async function pageOf(options: InteractionOptions, details: Details, csrf: string, problem?: string): Promise<Page> {
  const { db, door } = options;
  const { prompt, params, session } = details;
  const step = { ...(await stepOf(options, details)), csrf, problem };
  const user = session?.accountId === undefined ? undefined : await door.find(session.accountId);
  if (prompt.name === 'login' || !user) {
    return loginPage(db, { ...step, email: hintOf(params) });
  }
  return consentPage(db, { ...step, email: user.email, scopes: String(params.scope ?? '').split(' ') });
}
