import { decodeJwt } from 'jose';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { totpCode } from '../../src/features/auth/totp.ts';
import { startApp, type TestApp } from '../harness.ts';
import { ALICE, BOB, bearer, refresh, signUp } from './client.ts';

const FACTORS = '/api/auth/factors';
const SECOND = '/api/auth/sessions/second-factor?client_type=mobile';
const SIGN_IN = '/api/auth/sessions?client_type=mobile';

const STEP_MS = 30_000;

// The step must not end between making a code and sending it.
beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: (Math.floor(Date.now() / STEP_MS) + 0.5) * STEP_MS }));
afterEach(() => void vi.useRealTimers());

/** The codes that count now: of the step before, of this one and of the next. Each counts once, in this order. */
const codeOf = (secret: string, steps: -1 | 0 | 1) => totpCode(secret, Math.floor(Date.now() / STEP_MS) + steps);

/** Signs up and puts an authenticator in force, with the first of the three codes. */
async function enrolled(app: TestApp, who = ALICE) {
  const user = await signUp(app, who);
  const { post } = app.as('nobody');
  const { body: factor } = await post(FACTORS, { name: 'Phone' }, bearer(user.accessToken));
  const code = codeOf(factor.secret, -1);
  const { status, body } = await post(`${FACTORS}/${factor.id}/verify`, { code }, bearer(user.accessToken));
  expect(status).toBe(200);
  return { ...user, factor, accessToken: body.accessToken as string, recoveryCodes: body.recoveryCodes as string[] };
}

const challengeOf = async ({ as }: TestApp, who = ALICE) => {
  const reply = await as('nobody').post(SIGN_IN, who);
  expect(reply).toMatchObject({ status: 403, body: { error: 'AUTH_SECOND_FACTOR_REQUIRED' } });
  expect(reply.headers['set-cookie']).toBeUndefined();
  expect(reply.body.accessToken).toBeUndefined();
  return reply.body.challenge as string;
};

test('enrolled, a sign-in needs both factors, and its tokens say so', async () => {
  const app = await startApp();
  const { post, get } = app.as('nobody');
  const user = await signUp(app);
  const other = (await post(SIGN_IN, ALICE)).body;
  const enrolment = await post(FACTORS, undefined, bearer(user.accessToken));
  expect(enrolment.body).toEqual({
    id: expect.any(String),
    type: 'totp',
    name: 'Authenticator',
    secret: expect.stringMatching(/^[A-Z2-7]{32}$/),
    uri: `otpauth://totp/localhost:alice%40example.com?secret=${enrolment.body.secret}&issuer=localhost&algorithm=SHA1&digits=6&period=30`,
  });
  const { id, secret } = enrolment.body;
  expect(JSON.stringify(await app.sql('select * from auth.factors'))).not.toContain(secret);
  expect((await post(SIGN_IN, ALICE)).status, 'before it is in force').toBe(200);

  const verified = await post(`${FACTORS}/${id}/verify`, { code: codeOf(secret, -1) }, bearer(user.accessToken));
  expect(verified.body).toEqual({ recoveryCodes: expect.any(Array), accessToken: expect.any(String) });
  expect(new Set(verified.body.recoveryCodes).size).toBe(10);
  expect(decodeJwt(verified.body.accessToken)).toMatchObject({ aal: 'aal2' });
  expect(decodeJwt((await refresh(app, user.refreshToken)).body.accessToken)).toMatchObject({ aal: 'aal2' });
  expect((await refresh(app, other.refreshToken)).status, 'a session that showed one factor').toBe(401);

  const signedIn = await post(SECOND, { challenge: await challengeOf(app), code: codeOf(secret, 0) });
  expect(signedIn).toMatchObject({ status: 200, body: { user: { id: user.user.id } } });
  expect(decodeJwt(signedIn.body.accessToken)).toMatchObject({ aal: 'aal2', sub: user.user.id });
  const listed = await get(FACTORS, bearer(signedIn.body.accessToken));
  expect(listed.body).toEqual({
    data: [
      {
        id,
        type: 'totp',
        name: 'Authenticator',
        verified: true,
        createdAt: expect.any(String),
        lastUsedAt: expect.any(String),
      },
    ],
    recoveryCodesLeft: 10,
  });
});

test('policies can ask for the second factor', async () => {
  const app = await startApp();
  await app.sql(`create table public.vault (gold int); insert into vault values (1);
    alter table vault enable row level security;
    create policy strong on vault to authenticated using (auth.jwt() ->> 'aal' = 'aal2')`);
  const alice = await enrolled(app);
  const bob = await signUp(app, BOB);
  const path = '/api/database/records/vault';
  const seenBy = async ({ accessToken }: { accessToken: string }) =>
    (await app.as('nobody').get(path, bearer(accessToken))).body;
  // The table is known to the records API soon after it was made.
  await expect.poll(() => seenBy(alice)).toEqual([{ gold: 1 }]);
  expect(await seenBy(bob)).toEqual([]);
});

test('a code counts once, in whatever sign-in', async () => {
  const app = await startApp();
  const { factor } = await enrolled(app);
  const { post } = app.as('nobody');
  const code = codeOf(factor.secret, 0);
  expect((await post(SECOND, { challenge: await challengeOf(app), code })).status).toBe(200);
  for (const used of [code, codeOf(factor.secret, -1)]) {
    const reply = await post(SECOND, { challenge: await challengeOf(app), code: used });
    expect(reply).toMatchObject({ status: 400, body: { error: 'INVALID_INPUT' } });
  }
});

test.each([1, 20])('of twenty uses of one code at once, with %d challenges, one signs in', async (count) => {
  const app = await startApp();
  const { factor } = await enrolled(app);
  const challenges = await Promise.all(Array.from({ length: count }, () => challengeOf(app)));
  const code = codeOf(factor.secret, 0);
  const replies = await Promise.all(
    Array.from({ length: 20 }, (_, index) =>
      app.as('nobody').post(SECOND, { challenge: challenges[index % count], code }),
    ),
  );
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
});

test('a challenge counts once, and expires', async () => {
  const app = await startApp();
  const { factor, recoveryCodes } = await enrolled(app);
  const { post } = app.as('nobody');
  const challenge = await challengeOf(app);
  expect((await post(SECOND, { challenge, code: codeOf(factor.secret, 0) })).status).toBe(200);
  expect((await post(SECOND, { challenge, code: recoveryCodes[0] })).status).toBe(400);
  const late = await challengeOf(app);
  await app.sql(`update auth.factor_challenges set expires_at = now() - interval '1 second'`);
  expect((await post(SECOND, { challenge: late, code: recoveryCodes[1] })).body.message).toContain('challenge');
  expect((await post(SECOND, { challenge: 'made-up', code: recoveryCodes[1] })).status).toBe(400);
});

test('guessing is kept waiting after five codes, whatever the challenge', async () => {
  const app = await startApp();
  const { factor } = await enrolled(app);
  const { post } = app.as('nobody');
  for (let index = 0; index < 5; index++) {
    expect((await post(SECOND, { challenge: await challengeOf(app), code: '000000' })).status).toBe(400);
  }
  const reply = await post(SECOND, { challenge: await challengeOf(app), code: codeOf(factor.secret, 0) });
  expect(reply).toMatchObject({ status: 429, body: { error: 'TOO_MANY_REQUESTS' } });
});

test('a recovery code signs in once, however it is spelt, and new ones replace all', async () => {
  const app = await startApp();
  const { recoveryCodes, factor, accessToken } = await enrolled(app);
  const { post } = app.as('nobody');
  const [first = '', second = ''] = recoveryCodes;
  expect(first).toMatch(/^([a-z2-7]{4}-){3}[a-z2-7]{4}$/);
  const spelt = ` ${first.toUpperCase().replaceAll('-', ' ')} `;
  expect((await post(SECOND, { challenge: await challengeOf(app), code: spelt })).status).toBe(200);
  expect((await post(SECOND, { challenge: await challengeOf(app), code: first })).status).toBe(400);

  const renewed = await post(`${FACTORS}/recovery-codes`, { code: codeOf(factor.secret, 0) }, bearer(accessToken));
  expect(renewed.body.recoveryCodes).toHaveLength(10);
  expect((await post(SECOND, { challenge: await challengeOf(app), code: second })).status).toBe(400);
  const stored = JSON.stringify(await app.sql('select * from auth.recovery_codes'));
  expect(stored).not.toContain(renewed.body.recoveryCodes[0].replaceAll('-', '').toUpperCase());
});

test('of twenty uses of one recovery code at once, each with a challenge of its own, one signs in', async () => {
  const app = await startApp();
  const { recoveryCodes, user } = await enrolled(app);
  const challenges = await Promise.all(Array.from({ length: 20 }, () => challengeOf(app)));
  const code = recoveryCodes[0];
  const replies = await Promise.all(challenges.map((challenge) => app.as('nobody').post(SECOND, { challenge, code })));
  expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
  expect(await app.sql('select from auth.recovery_codes where user_id = $1', [user.id])).toHaveLength(9);
});

test('new recovery codes take a code, without which the old ones stay', async () => {
  const app = await startApp();
  const { recoveryCodes, accessToken } = await enrolled(app);
  const { post } = app.as('nobody');
  const before = await app.sql('select code_hash from auth.recovery_codes order by 1');
  for (const body of [undefined, {}, { code: '000000' }, { code: 'aaaa-aaaa-aaaa-aaaa' }]) {
    expect((await post(`${FACTORS}/recovery-codes`, body, bearer(accessToken))).status).toBe(400);
  }
  expect(await app.sql('select code_hash from auth.recovery_codes order by 1')).toEqual(before);
  const spent = await post(`${FACTORS}/recovery-codes`, { code: recoveryCodes[0] }, bearer(accessToken));
  expect(spent.body.recoveryCodes).toHaveLength(10);
});

test('a session that has shown one factor of two adds no other', async () => {
  const app = await startApp();
  const { accessToken } = await enrolled(app);
  const { post } = app.as('nobody');
  const { body: begun } = await post(FACTORS, undefined, bearer(accessToken));
  await app.sql(`update auth.sessions set aal = 'aal1'`);
  const code = codeOf(begun.secret, 0);
  for (const refused of [
    await post(FACTORS, undefined, bearer(accessToken)),
    await post(`${FACTORS}/${begun.id}/verify`, { code }, bearer(accessToken)),
  ]) {
    expect(refused).toMatchObject({ status: 403, body: { error: 'FORBIDDEN' } });
  }
  await app.sql(`update auth.sessions set aal = 'aal2'`);
  expect((await post(`${FACTORS}/${begun.id}/verify`, { code }, bearer(accessToken))).status).toBe(200);
});

test('an account has five authenticators at most', async () => {
  const app = await startApp();
  let { accessToken } = await enrolled(app);
  const { post } = app.as('nobody');
  for (let more = 0; more < 4; more++) {
    const { body: factor } = await post(FACTORS, undefined, bearer(accessToken));
    const code = codeOf(factor.secret, 0);
    accessToken = (await post(`${FACTORS}/${factor.id}/verify`, { code }, bearer(accessToken))).body.accessToken;
  }
  expect(await post(FACTORS, undefined, bearer(accessToken))).toMatchObject({
    status: 400,
    body: { error: 'INVALID_INPUT', message: expect.stringContaining('5 authenticators') },
  });
  expect(await app.sql('select from auth.factors where verified_at is not null')).toHaveLength(5);
});

test('a factor is removed with a code, and the session sinks to one factor at once', async () => {
  const app = await startApp();
  const { factor, accessToken, refreshToken } = await enrolled(app);
  const { delete: remove, post } = app.as('nobody');
  const path = `${FACTORS}/${factor.id}`;
  for (const body of [undefined, {}, { code: '000000' }]) {
    expect((await remove(path, body, bearer(accessToken))).status).toBe(400);
  }
  const removed = await remove(path, { code: codeOf(factor.secret, 0) }, bearer(accessToken));
  expect(removed.status).toBe(200);
  expect(decodeJwt(removed.body.accessToken)).toMatchObject({ aal: 'aal1' });
  expect(decodeJwt((await refresh(app, refreshToken)).body.accessToken)).toMatchObject({ aal: 'aal1' });
  expect(await app.sql('select from auth.recovery_codes')).toEqual([]);
  expect((await post(SIGN_IN, ALICE)).status).toBe(200);
});

test('enrolment that was not finished counts for nothing, is replaced, and is dropped without a code', async () => {
  const app = await startApp();
  const { accessToken } = await signUp(app);
  const { delete: remove, post, get } = app.as('nobody');
  const first = (await post(FACTORS, undefined, bearer(accessToken))).body;
  const second = (await post(FACTORS, { name: 'Other' }, bearer(accessToken))).body;
  expect((await get(FACTORS, bearer(accessToken))).body.data).toMatchObject([{ id: second.id, verified: false }]);
  const stale = await post(`${FACTORS}/${first.id}/verify`, { code: codeOf(first.secret, 0) }, bearer(accessToken));
  expect(stale.status).toBe(404);
  const wrong = await post(`${FACTORS}/${second.id}/verify`, { code: codeOf(first.secret, 0) }, bearer(accessToken));
  expect(wrong.status).toBe(400);
  expect((await remove(`${FACTORS}/${second.id}`, undefined, bearer(accessToken))).status).toBe(200);
});

test('the admin lets in a user who lost everything', async () => {
  const app = await startApp();
  const { user, refreshToken } = await enrolled(app);
  const path = `/api/auth/users/${user.id}/factors`;
  expect((await app.as('admin').get(path)).body).toMatchObject({ data: [{ verified: true }], recoveryCodesLeft: 10 });
  expect((await app.as('admin').delete(path)).body).toMatchObject({ removedCount: 1 });
  expect((await refresh(app, refreshToken)).status).toBe(401);
  expect((await app.as('nobody').post(SIGN_IN, ALICE)).status).toBe(200);
  expect(await app.sql('select action from system.audit_logs')).toEqual([{ action: 'REMOVE_USER_FACTORS' }]);
});

test.each([
  { who: 'nobody', status: 401 },
  { who: 'anon', status: 401 },
  { who: 'admin', status: 401 },
  { who: 'user', status: 403 },
] as const)('$who, without a session, has no factors: $status', async ({ who, status }) => {
  const app = await startApp();
  const caller = app.as(who === 'user' ? await app.user('carol') : who);
  const path = `${FACTORS}/${crypto.randomUUID()}`;
  const replies = [
    await caller.get(FACTORS),
    await caller.post(FACTORS),
    await caller.post(`${path}/verify`, { code: '000000' }),
    await caller.post(`${FACTORS}/recovery-codes`, { code: '000000' }),
    await caller.delete(path),
  ];
  expect(replies.map((reply) => reply.status)).toEqual(replies.map(() => status));
});

test.each([
  { who: 'nobody', status: 401 },
  { who: 'anon', status: 403 },
  { who: 'user', status: 403 },
] as const)('$who does not reach the factors of users: $status', async ({ who, status }) => {
  const app = await startApp();
  const alice = await app.user('alice');
  const caller = app.as(who === 'user' ? alice : who);
  expect((await caller.get(`/api/auth/users/${alice.sub}/factors`)).status).toBe(status);
  expect((await caller.delete(`/api/auth/users/${alice.sub}/factors`)).status).toBe(status);
});

test('nobody touches a factor of somebody else', async () => {
  const app = await startApp();
  const { factor } = await enrolled(app);
  const bob = await signUp(app, BOB);
  const { delete: remove, post } = app.as('nobody');
  const code = codeOf(factor.secret, 0);
  const verify = await post(`${FACTORS}/${factor.id}/verify`, { code }, bearer(bob.accessToken));
  expect(verify.status).toBe(404);
  expect((await remove(`${FACTORS}/${factor.id}`, { code }, bearer(bob.accessToken))).status).toBe(400);
  const carol = await enrolled(app, { ...BOB, email: 'carol@example.com' });
  const own = { code: codeOf(carol.factor.secret, 0) };
  expect((await remove(`${FACTORS}/${factor.id}`, own, bearer(carol.accessToken))).status, 'with one of hers').toBe(
    404,
  );
  expect((await post(SECOND, { challenge: await challengeOf(app), code })).status).toBe(200);
});
