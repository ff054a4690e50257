import { expect, test } from 'vitest';
import { SECRETS, startApp, type TestApp } from '../harness.ts';
import { ALICE, BOB, signUp } from './client.ts';

const attempt = ({ as }: TestApp, who = ALICE) => as('nobody').post('/api/auth/sessions', who);
const WRONG = { ...ALICE, password: 'wrong' };

const statuses = async (replies: Promise<{ status: number }>[]) => {
  const counts: Record<number, number> = {};
  for (const { status } of await Promise.all(replies)) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
};

test('after ten failures an account takes no more attempts, right or wrong, and says until when', async () => {
  const app = await startApp();
  await signUp(app);
  expect(await statuses(Array.from({ length: 10 }, () => attempt(app, WRONG)))).toEqual({ 401: 10 });
  const refused = await attempt(app);
  expect(refused).toMatchObject({
    status: 429,
    headers: { 'retry-after': expect.stringMatching(/^\d+$/) },
    body: { error: 'TOO_MANY_REQUESTS', message: expect.stringMatching(/try again after \d{4}-\d\d-\d\dT/) },
  });
  expect(refused.body.nextActions).toEqual(expect.any(String));
  const [row] = await app.sql<{ minutes: number }>(
    'select ceil(extract(epoch from window_ends_at - now()) / 60)::int as minutes from auth.login_failures',
  );
  expect(row?.minutes).toBe(15);

  await app.sql('update auth.login_failures set window_ends_at = now()');
  expect((await attempt(app)).status).toBe(200);
});

test('other accounts are not touched, and unknown ones are treated the same', async () => {
  const app = await startApp();
  await signUp(app, BOB);
  const unknown = { email: 'eve@example.com', password: 'wrong' };
  expect(await statuses(Array.from({ length: 12 }, () => attempt(app, unknown)))).toEqual({ 401: 10, 429: 2 });
  const spelling = await attempt(app, { ...unknown, email: 'EVE@example.com' });
  expect(spelling.status).toBe(429);
  expect((await attempt(app, BOB)).status).toBe(200);
});

test('a success clears the failures before it', async () => {
  const app = await startApp();
  await signUp(app);
  for (let round = 0; round < 2; round++) {
    expect(await statuses(Array.from({ length: 9 }, () => attempt(app, WRONG)))).toEqual({ 401: 9 });
    expect((await attempt(app)).status).toBe(200);
  }
  expect(await app.sql('select from auth.login_failures')).toEqual([]);
});

test('of many attempts at once on several replicas, ten passwords are checked', async () => {
  const first = await startApp();
  const second = await startApp({}, { beside: first });
  await signUp(first);
  const attempts = Array.from({ length: 15 }, () => [attempt(first, WRONG), attempt(second, WRONG)]).flat();
  expect(await statuses(attempts)).toEqual({ 401: 10, 429: 20 });
});

test('many right sign-ins at once are no failures', async () => {
  const app = await startApp();
  await signUp(app);
  expect(await statuses(Array.from({ length: 30 }, () => attempt(app)))).toEqual({ 200: 30 });
});

test('the admin account is limited too', async () => {
  const { as } = await startApp();
  const signIn = (password: string) => as('nobody').post('/api/auth/admin/sessions', { username: 'admin', password });
  expect(await statuses(Array.from({ length: 12 }, () => signIn('wrong')))).toEqual({ 401: 10, 429: 2 });
  expect((await signIn(SECRETS.ROOT_ADMIN_PASSWORD)).status).toBe(429);
});

test('windows that have ended are swept', async () => {
  const app = await startApp();
  await app.sql(`insert into auth.login_failures select 'user:' || n, 3, now() from generate_series(1, 60) n`);
  await attempt(app, WRONG);
  expect(await app.sql('select from auth.login_failures')).toHaveLength(11);
});

test.each([
  { what: 'sign-in', path: '/api/auth/sessions', max: 100 },
  { what: 'sign-up', path: '/api/auth/users', max: 100 },
  { what: 'the admin', path: '/api/auth/admin/sessions', max: 30 },
  { what: 'refresh', path: '/api/auth/refresh', max: 1000 },
])('one address makes $max requests a minute to $what', async ({ path, max }) => {
  const { as } = await startApp();
  for (let request = 0; request < max; request++) expect((await as('anon').post(path, {})).status).not.toBe(429);
  expect(await as('anon').post(path, {})).toMatchObject({
    status: 429,
    headers: { 'retry-after': expect.any(String) },
    body: {
      error: 'TOO_MANY_REQUESTS',
      message: expect.stringContaining('this address'),
      nextActions: expect.stringMatching(/^Wait (1 minute|\d+ seconds)\.$/),
    },
  });
  const elsewhere = await as('anon').post(path, {}, { 'x-forwarded-for': '203.0.113.7' });
  expect(elsewhere.status).not.toBe(429);
});

test('the admin may create users without that limit', async () => {
  const { as } = await startApp();
  const replies = await Promise.all(Array.from({ length: 110 }, () => as('admin').post('/api/auth/users', {})));
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([400]));
});
