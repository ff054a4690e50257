import { hash } from '@node-rs/argon2';
import { expect, test } from 'vitest';
import { type Reply, SECRETS, startApp, type TestApp } from '../harness.ts';
import { ALICE, BOB, signUp } from './client.ts';

const WRONG = { ...ALICE, password: 'wrong' };
const OFFICE = '198.51.100.7';
const from = (address: string) => ({ 'x-forwarded-for': address });

const attempt = ({ as }: TestApp, who = ALICE, address = OFFICE) =>
  as('nobody').post('/api/auth/sessions', who, from(address));

const statuses = async (replies: Promise<Reply>[]) => {
  const counts: Record<number, number> = {};
  for (const { status } of await Promise.all(replies)) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
};

/** Lets the wait of everybody pass, and nothing be forgotten. */
const waitItOut = ({ sql }: TestApp) => sql(`update auth.login_failures set free_at = null, counted_at = now()`);

const waits = async ({ sql }: TestApp, which = 'account is not null') => {
  const [row] = await sql<{ seconds: number }>(
    `select coalesce(round(extract(epoch from free_at - counted_at)), 0)::float8 as seconds from auth.login_failures where ${which}`,
  );
  return row?.seconds;
};

/** Users who share a password, as rows: hashing each would take long. */
async function people({ sql }: TestApp, count: number): Promise<{ email: string; password: string }[]> {
  const hashed = await hash(ALICE.password, { memoryCost: 19_456, timeCost: 2, parallelism: 1 });
  const rows = await sql<{ email: string }>(
    `insert into auth.users (email, password) select 'user' || n || '@example.com', $1 from generate_series(1, $2::int) n
     returning email`,
    [hashed, count],
  );
  return rows.map(({ email }) => ({ email, password: ALICE.password }));
}

test('five failures cost nothing, and then each one twice the wait of the last, up to a quarter of an hour', async () => {
  const app = await startApp();
  await signUp(app);
  expect(await statuses(Array.from({ length: 4 }, () => attempt(app, WRONG)))).toEqual({ 401: 4 });
  expect(await waits(app)).toBe(0);
  for (const seconds of [15, 30, 60, 120, 240, 480, 900, 900]) {
    expect((await attempt(app, WRONG)).status).toBe(401);
    expect(await waits(app)).toBe(seconds);
    const refused = await attempt(app);
    expect(refused).toMatchObject({
      status: 429,
      body: { error: 'TOO_MANY_REQUESTS', message: expect.stringMatching(/for this account; try again after \d{4}-/) },
    });
    const retryAfter = Number(refused.headers['retry-after']);
    expect(retryAfter).toBe(refused.body.retryAfterSeconds);
    expect(retryAfter).toBeLessThanOrEqual(seconds);
    expect(retryAfter).toBeGreaterThan(seconds - 10);
    await waitItOut(app);
  }
  expect((await attempt(app)).status).toBe(200);
});

test('attempts that are refused count for nothing', async () => {
  const app = await startApp();
  expect(await statuses(Array.from({ length: 30 }, () => attempt(app, WRONG)))).toEqual({ 401: 5, 429: 25 });
  expect(await waits(app)).toBe(15);
});

test('failures are forgotten, one in two hours', async () => {
  const app = await startApp();
  await statuses(Array.from({ length: 5 }, () => attempt(app, WRONG)));
  await app.sql(`update auth.login_failures
    set free_at = null, counted_at = now() - interval '6 hours 1 second'`);
  expect((await attempt(app, WRONG)).status).toBe(401);
  expect(
    await app.sql(
      'select round(failures::numeric, 2)::float8 as failures from auth.login_failures where account is not null',
    ),
  ).toEqual([{ failures: 3 }]);
});

test('other accounts are not touched, and unknown ones are treated the same', async () => {
  const app = await startApp();
  await signUp(app, BOB);
  const unknown = { email: 'eve@example.com', password: 'wrong' };
  expect(await statuses(Array.from({ length: 7 }, () => attempt(app, unknown)))).toEqual({ 401: 5, 429: 2 });
  expect((await attempt(app, { ...unknown, email: 'EVE@example.com' })).status).toBe(429);
  expect((await attempt(app, BOB)).status).toBe(200);
});

test('a success clears the failures before it', async () => {
  const app = await startApp();
  await signUp(app);
  for (let round = 0; round < 2; round++) {
    expect(await statuses(Array.from({ length: 4 }, () => attempt(app, WRONG)))).toEqual({ 401: 4 });
    expect((await attempt(app)).status).toBe(200);
  }
  expect(await app.sql('select from auth.login_failures where account is not null')).toEqual([]);
});

test('a success writes nothing here', async () => {
  const app = await startApp();
  await signUp(app);
  await attempt(app);
  expect(await app.sql('select from auth.login_failures')).toEqual([]);
});

test('of many attempts at once on two servers, as many passwords are checked as may be, and at most one more', async () => {
  const first = await startApp();
  const second = await startApp({}, { beside: first });
  await signUp(first);
  const attempts = Array.from({ length: 15 }, () => [attempt(first, WRONG), attempt(second, WRONG)]).flat();
  const { 401: checked } = await statuses(attempts);
  expect(checked).toBeGreaterThanOrEqual(5);
  expect(checked).toBeLessThanOrEqual(6);
});

test('many right sign-ins at once are no failures', async () => {
  const app = await startApp();
  await signUp(app);
  expect(await statuses(Array.from({ length: 30 }, () => attempt(app)))).toEqual({ 200: 30 });
});

test('the admin account is limited too', async () => {
  const { as } = await startApp();
  const signIn = (password: string) => as('nobody').post('/api/auth/admin/sessions', { username: 'admin', password });
  expect(await statuses(Array.from({ length: 7 }, () => signIn('wrong')))).toEqual({ 401: 5, 429: 2 });
  expect((await signIn(SECRETS.ROOT_ADMIN_PASSWORD)).status).toBe(429);
});

test('a hundred good users behind one address come in, at once and a minute later, half of them on the second try', async () => {
  const app = await startApp();
  const users = await people(app, 100);
  const half = users.filter((_, index) => index % 2 === 0).map((user) => ({ ...user, password: 'mistyped' }));
  expect(await statuses(half.map((user) => attempt(app, user)))).toEqual({ 401: 50 });
  for (let round = 0; round < 2; round++) {
    expect(await statuses(users.map((user) => attempt(app, user)))).toEqual({ 200: 100 });
  }
}, 60_000);

test('whoever tries one password on many accounts is kept waiting, and no other network is', async () => {
  const app = await startApp();
  const [user] = await people(app, 1);
  await app.sql(`insert into auth.login_failures values
    (null, '${OFFICE}', 99, now(), null, now() + interval '1 hour')`);
  const guess = (n: number) => attempt(app, { email: `guess${n}@example.com`, password: 'Summer2026' });
  for (const [index, seconds] of [1, 2, 4, 8, 16].entries()) {
    expect((await guess(index)).status).toBe(401);
    expect(await waits(app, 'account is null')).toBe(seconds);
    expect(await guess(100 + index)).toMatchObject({
      status: 429,
      headers: { 'retry-after': String(seconds) },
      body: { message: expect.stringMatching(/from this network/) },
    });
    // Whether the password is right is not told either.
    expect((await attempt(app, user)).status).toBe(429);
    expect((await attempt(app, user, '198.51.100.8')).status).toBe(200);
    await app.sql('delete from auth.sessions');
    await waitItOut(app);
  }
});

test('the networks of IPv6 are counted as a whole', async () => {
  const app = await startApp();
  await attempt(app, { ...WRONG, email: 'a@example.com' }, '2001:db8:1:2:3:4:5:6');
  await attempt(app, { ...WRONG, email: 'b@example.com' }, '2001:db8:1:2::9');
  await attempt(app, { ...WRONG, email: 'c@example.com' }, '2001:db8:1:3::9');
  const rows = await app.sql<{ network: string }>(
    'select network, round(failures::numeric)::int as failures from auth.login_failures where account is null order by 1',
  );
  expect(rows).toEqual([
    { network: '2001:db8:1:2::/64', failures: 2 },
    { network: '2001:db8:1:3::/64', failures: 1 },
  ]);
});

test('who is signed in from a network comes in there, whatever strangers do there or elsewhere', async () => {
  const app = await startApp();
  await signUp(app);
  await signUp(app, BOB);
  expect((await attempt(app)).status, 'at home').toBe(200);
  // Strangers elsewhere fail on the account, and others in the office on theirs.
  await statuses(Array.from({ length: 8 }, () => attempt(app, WRONG, '203.0.113.9')));
  await app.sql(`insert into auth.login_failures values
    (null, '${OFFICE}', 200, now(), now() + interval '10 minutes', now() + interval '1 hour')`);
  expect((await attempt(app, ALICE, '203.0.113.9')).status, 'elsewhere').toBe(429);
  expect((await attempt(app, BOB)).status, 'not at home').toBe(429);
  expect((await attempt(app)).status, 'at home').toBe(200);
  // Guessing at home is limited all the same.
  expect(await statuses(Array.from({ length: 7 }, () => attempt(app, WRONG)))).toEqual({ 401: 5, 429: 2 });
  expect((await attempt(app)).status).toBe(429);
});

test('what has been forgotten is swept', async () => {
  const app = await startApp();
  await app.sql(`insert into auth.login_failures
    select 'user:' || n, null, 3, now(), null, now() from generate_series(1, 60) n`);
  await attempt(app, WRONG);
  // Each of the two rows that the attempt made swept up to fifty.
  expect(await app.sql('select from auth.login_failures')).toHaveLength(2);
});

test.each([
  { what: 'sign up', path: '/api/auth/users', max: 100 },
  { what: 'sign in as the admin', path: '/api/auth/admin/sessions', max: 30 },
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
  const elsewhere = await as('anon').post(path, {}, from('203.0.113.7'));
  expect(elsewhere.status).not.toBe(429);
});

test.each([
  { what: 'a port', form: (n: number) => `198.51.100.7:${1024 + n}` },
  { what: 'a port and brackets', form: (n: number) => `[2001:db8::7]:${1024 + n}` },
  { what: 'the addresses of an IPv6 network', form: (n: number) => `2001:db8::${n.toString(16)}` },
])('who comes with $what that always changes is one address all the same', async ({ form }) => {
  const { as } = await startApp();
  const signIn = (address: string) => as('nobody').post('/api/auth/admin/sessions', {}, from(address));
  for (let request = 1; request <= 30; request++) expect((await signIn(form(request))).status).toBe(400);
  expect((await signIn(form(31))).status).toBe(429);
  expect((await signIn('203.0.113.7')).status).toBe(400);
});

test('the admin may create users without that limit', async () => {
  const { as } = await startApp();
  const replies = await Promise.all(Array.from({ length: 110 }, () => as('admin').post('/api/auth/users', {})));
  expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([400]));
});
